"""The modules `celery`, `celery.canvas`, `celery.result`, ... for scripts, on our own implementation.

_OFFERS says where each name is defined, as "module" or "module:name"; that is imported when it is first used. Any other
name raises ImportError or AttributeError with what to use instead (celery_advice.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from pixyz_worker.canvas import Canvas, Maker
from pixyz_worker.celery_advice import ADVICE
from pixyz_worker.exception import PixyzException


def module(name: str) -> ModuleType:
    """A fresh module by its full name."""
    made = ModuleType(name, f"The names that scripts use of {name}, by pixyz_worker.")
    offered = _OFFERS[name]

    def found(attribute: str) -> Any:
        full_name = f"{name}.{attribute}"
        if attribute in offered:
            source, _, original = offered[attribute].partition(":")
            value = made.__dict__[attribute] = getattr(import_module(source), original or attribute)
            return value
        if full_name in NAMES:
            return import_module(full_name)
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}", name=attribute)
        raise AttributeError(refusal(full_name), name=attribute)

    made.__dict__.update(__all__=sorted(offered), __getattr__=found, __dir__=lambda: sorted(offered))
    return made


def refusal(full_name: str) -> str:
    """Return the message for a name that does not exist here; it says what to use instead."""
    parent = full_name.rpartition(".")[0]
    package = parent.partition(".")[0]
    advice = ADVICE.get(full_name) or f"{parent} has: {', '.join(sorted(_OFFERS[parent])) or 'its exceptions'}"
    return f"scripts have pixyz_worker's own {package} here, which has no {full_name}; {advice}"


@partial(Maker, kind=Canvas)
def signature(
    task: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    immutable: bool = False,
    **more: Any,
) -> Canvas:
    """A signature of pixyz_execute, named or given, or of a function task; a composition is returned unchanged."""
    from pixyz_worker.celery_tasks import CeleryTask
    from pixyz_worker.tasks import pixyz_execute

    if isinstance(task, Canvas):
        return task
    if task in (pixyz_execute.name, f"pixyz_worker.tasks.{pixyz_execute.name}"):
        task = pixyz_execute
    if task is pixyz_execute or isinstance(task, CeleryTask):
        made: Canvas = task.signature(args, kwargs, immutable, **(options or {}), **more)
        return made
    raise PixyzException(
        f"there is no task {task!r} here: pixyz_execute is the only one that has a name, and its context names the "
        "entrypoint to run; write pixyz_execute.s(params, pc)"
    )


def xmap(task: Any, it: Iterable[Any], **options: Any) -> Any:
    """Return `task.map(it)`: one task that calls another with each item in turn."""
    mapped: Any = task.map(it)
    return mapped.set(**options) if options else mapped


def xstarmap(task: Any, it: Iterable[Any], **options: Any) -> Any:
    """Return `task.starmap(it)`: the same for items that are tuples of arguments."""
    mapped: Any = task.starmap(it)
    return mapped.set(**options) if options else mapped


_CANVAS: Mapping[str, str] = {
    **dict.fromkeys(("chain", "chord", "chunks", "group"), "pixyz_worker.canvas"),
    **dict.fromkeys(("Signature", "maybe_signature", "signature", "subtask"), "pixyz_worker.celery_names:signature"),
    **dict.fromkeys(("xmap", "xstarmap"), "pixyz_worker.celery_names"),
}
_RESULT: Mapping[str, str] = {
    **dict.fromkeys(
        ("AsyncResult", "GroupResult", "ResultSet", "allow_join_result", "result_from_tuple"), "pixyz_worker.result"
    ),
    **dict.fromkeys(("EagerResult", "ResultBase", "denied_join_result"), "pixyz_worker.celery_results"),
}
_STATES: Mapping[str, str] = dict.fromkeys(
    (
        "ALL_STATES",
        "EXCEPTION_STATES",
        "FAILURE",
        "IGNORED",
        "NONE_PRECEDENCE",
        "PENDING",
        "PRECEDENCE",
        "PRECEDENCE_LOOKUP",
        "PROPAGATE_STATES",
        "READY_STATES",
        "RECEIVED",
        "REJECTED",
        "RETRY",
        "REVOKED",
        "RUNNING",
        "STARTED",
        "SUCCESS",
        "UNREADY_STATES",
        "precedence",
        "state",
    ),
    "pixyz_worker.celery_states",
)
_OWN_ERRORS = (
    "AlreadyRegistered",
    "BackendError",
    "ChordError",
    "Ignore",
    "ImproperlyConfigured",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SecurityError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
)
_EXCEPTIONS: Mapping[str, str] = {
    **dict.fromkeys(_OWN_ERRORS, "pixyz_worker.exception"),
    "BackendGetMetaError": "pixyz_worker.exception:BackendError",
    "BackendStoreError": "pixyz_worker.exception:BackendError",
    "CDeprecationWarning": "builtins:DeprecationWarning",
    "CPendingDeprecationWarning": "builtins:PendingDeprecationWarning",
    "CeleryError": "pixyz_worker.exception:PixyzException",
    "CeleryWarning": "builtins:UserWarning",
    "IncompleteStream": "pixyz_worker.exception:BackendError",
    # Raised by a handle's get() for a task that was ended at its time limit, or whose process was killed.
    "Terminated": "pixyz_worker.exception:PixyzSignalFault",
    "TimeLimitExceeded": "pixyz_worker.exception:PixyzTimeout",
    "TimeoutError": "pixyz_worker.exception:PixyzTimeout",
    "WorkerLostError": "pixyz_worker.exception:PixyzExecutionFault",
    "WorkerShutdown": "builtins:SystemExit",
    "WorkerTerminate": "builtins:SystemExit",
}
_UUID: Mapping[str, str] = dict.fromkeys(("gen_unique_id", "uuid"), "pixyz_worker.backend:new_id")
_OFFERS: Mapping[str, Mapping[str, str]] = {
    "celery": {
        **_CANVAS,
        **_RESULT,
        "current_app": "pixyz_worker.celery_tasks:app",
        "current_task": "pixyz_worker.current:CURRENT",
        "shared_task": "pixyz_worker.celery_tasks",
        "uuid": _UUID["uuid"],
    },
    "celery.canvas": _CANVAS,
    "celery.exceptions": _EXCEPTIONS,
    "celery.result": _RESULT,
    "celery.states": _STATES,
    "celery.utils": _UUID,
    "celery.utils.log": {
        "get_logger": "pixyz_worker.logger",
        "get_task_logger": "pixyz_worker.logger:get_logger",
    },
    "billiard": {},
    "billiard.exceptions": {
        name: _EXCEPTIONS[name]
        for name in ("SoftTimeLimitExceeded", "Terminated", "TimeLimitExceeded", "TimeoutError", "WorkerLostError")
    },
    "kombu": {},
    "kombu.exceptions": {"OperationalError": _EXCEPTIONS["OperationalError"]},
}

NAMES = tuple(_OFFERS)
"""Full names of the modules that module() makes."""
