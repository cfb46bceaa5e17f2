"""The modules `celery`, `celery.canvas`, `celery.result`, ... for scripts, on our own implementation.

What they offer is in _OFFERS. Any other name raises ImportError or AttributeError with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from pixyz_worker.backend import new_id
from pixyz_worker.canvas import Canvas, Maker, chain, chord, chunks, group
from pixyz_worker.exception import PixyzException, PixyzTimeout
from pixyz_worker.outcome import TERMINAL_STATES
from pixyz_worker.result import AsyncResult, GroupResult, allow_join_result, result_from_tuple
from pixyz_worker.tasks import pixyz_execute


def module(name: str) -> ModuleType:
    """A fresh module by its full name."""
    made = ModuleType(name, f"The names that scripts use of {name}, by pixyz_worker.")
    made.__dict__.update(_OFFERS[name], __all__=sorted(_OFFERS[name]))

    def missing(attribute: str) -> Any:
        full_name = f"{name}.{attribute}"
        if full_name in NAMES:
            from importlib import import_module

            return import_module(full_name)
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}", name=attribute)
        raise AttributeError(refusal(full_name), name=attribute)

    made.__dict__["__getattr__"] = missing
    return made


def refusal(full_name: str) -> str:
    """Why there is no such name, as a sentence."""
    parent = full_name.rpartition(".")[0]
    there = ", ".join(sorted(_OFFERS[parent]))
    return f"scripts have pixyz_worker's own celery here, which has no {full_name}; {parent} has: {there}"


@partial(Maker, kind=Canvas)
def signature(
    task: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    immutable: bool = False,
    **more: Any,
) -> Canvas:
    """A signature of pixyz_execute, named or given; a composition is given back as it is."""
    if isinstance(task, Canvas):
        return task
    if task is pixyz_execute or task in (pixyz_execute.name, f"pixyz_worker.tasks.{pixyz_execute.name}"):
        return pixyz_execute.signature(args, kwargs, immutable, **(options or {}), **more)
    raise PixyzException(
        f"there is no task {task!r} here: pixyz_execute is the only one, and its context names the entrypoint to run; "
        "write pixyz_execute.s(params, pc)"
    )


_CANVAS: Mapping[str, Any] = {
    "Signature": signature,
    "chain": chain,
    "chord": chord,
    "chunks": chunks,
    "group": group,
    "maybe_signature": signature,
    "signature": signature,
    "subtask": signature,
}
_RESULT: Mapping[str, Any] = {
    "AsyncResult": AsyncResult,
    "GroupResult": GroupResult,
    "ResultBase": AsyncResult | GroupResult,
    "allow_join_result": allow_join_result,
    "result_from_tuple": result_from_tuple,
}
_UNREADY = frozenset({"PENDING", "RECEIVED", "STARTED", "RUNNING", "RETRY"})
_STATES: Mapping[str, Any] = {
    **{word: word for word in _UNREADY | TERMINAL_STATES},
    "ALL_STATES": _UNREADY | TERMINAL_STATES,
    "EXCEPTION_STATES": frozenset({"FAILURE", "RETRY", "REVOKED"}),
    "PROPAGATE_STATES": frozenset({"FAILURE", "REVOKED"}),
    "READY_STATES": TERMINAL_STATES,
    "UNREADY_STATES": _UNREADY,
}
_OFFERS: Mapping[str, Mapping[str, Any]] = {
    "celery": {**_CANVAS, **_RESULT, "uuid": new_id},
    "celery.canvas": _CANVAS,
    "celery.result": _RESULT,
    "celery.states": _STATES,
    "celery.exceptions": {"CeleryError": PixyzException, "TimeoutError": PixyzTimeout},
}

NAMES = tuple(_OFFERS)
"""Full names of the modules that module() makes."""
