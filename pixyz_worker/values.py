"""Values that tasks return: what a record can hold, and what goes on to the next task."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.result import AsyncResult, GroupResult

_MAX_INTEGER_BITS = 4096
_MAX_DEPTH = 200
_PLAIN_INTEGER = 1 << 63
_MAX_VALUES = 20_000_000
_MAX_MESSAGE_CHARS = 2000


class NotJson(PixyzException):
    """A script returned a value that JSON cannot hold."""


def checked_json(value: Any) -> Any:
    """Return a script's result as any client will see it, when it is JSON; a handle as its ids.

    Raises:
        NotJson: a sentence that names the offending key and its type.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if type(value) is int and -_PLAIN_INTEGER < value < _PLAIN_INTEGER:
        return value
    if isinstance(value, AsyncResult | GroupResult):
        value = value.as_tuple()
    problem = _first_problem(value, "result", 0, [_MAX_VALUES])
    if problem is not None:
        cut = len(problem) - _MAX_MESSAGE_CHARS
        raise NotJson(problem if cut <= 0 else f"{problem[:_MAX_MESSAGE_CHARS]} [{cut} characters left out]")
    # Through JSON and back, so that the result looks the same here as it will in any client.
    return json.loads(json.dumps(value))


def passed_on(value: Any, *, raw: bool) -> tuple[Any, bool]:
    """Return what the next task gets of a result, and whether it is JSON.

    A raw result may be anything that can be pickled: it goes on as it is where it is not JSON.

    Raises:
        NotJson: it is neither JSON nor raw.
    """
    try:
        return checked_json(value), True
    except NotJson:
        if not raw:
            raise
        return value, False


def described(value: Any) -> dict[str, Any]:
    """Return what a record shows of a value that JSON cannot hold: its type, and the shape of an array.

    >>> described({1, 2})
    {'type': 'set'}
    """
    about: dict[str, Any] = {"type": _type(value)}
    for name in ("shape", "dtype", "num_rows", "nbytes"):
        found = getattr(value, name, None)
        if isinstance(found, int):
            about[name] = found
        elif isinstance(found, tuple) and all(isinstance(item, int) for item in found):
            about[name] = list(found)
        elif found is not None and name == "dtype":
            about[name] = str(found)
    return about


def task_record(
    *,
    uuid: str,
    name: str,
    requested: str | None,
    started: str | None,
    stopped: str | None,
    steps: Iterable[Mapping[str, Any]],
    retry: int,
    result: Any,
) -> dict[str, Any]:
    """The record of a task that ended well: its result, unless it is raw. The shape is that of a job's details."""
    return {
        "uuid": uuid,
        "name": name,
        "status": "SUCCESS",
        "progress": 100,
        "error": None,
        "time_info": {"request": requested, "started": started, "stopped": stopped},
        "steps": list(steps),
        "retry": retry,
        "result": result,
    }


def _first_problem(value: Any, where: str, depth: int, left: list[int]) -> str | None:
    """Return what is wrong with a value, or None.

    Args:
        value: the result, or a part of it.
        where: its place in the result, in words.
        depth: how deep it is nested.
        left: how many more values the result may have, as the only item; a list can hold itself many times.
    """
    left[0] -= 1
    if left[0] < 0:
        return (
            f"The result has more than {_MAX_VALUES} values. Write it to a file below pc.get_output_dir(), and "
            "return its name."
        )
    if depth > _MAX_DEPTH:
        return (
            f"The result is nested too deeply at {where[:200]}, or contains itself. "
            "Of a chain of more than 90 tasks return as_list(), which is flat, not as_tuple()."
        )
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        return (
            f"The result is not JSON: {where} is an integer of {value.bit_length()} bits, too long to be written down."
        )
    if value is None or isinstance(value, bool | str | int):
        return None
    if isinstance(value, float):
        return (
            None if math.isfinite(value) else f"The result is not JSON: {where} is {value}, which JSON does not have."
        )
    if isinstance(value, Mapping):
        if not isinstance(value, dict):
            return _not_json(value, where)
        for key, item in value.items():
            if not isinstance(key, str):
                return f"The result is not JSON: a key of {where} is {_shown(key)} of type {_type(key)}, not a string."
            if problem := _first_problem(item, f"{where}[{key[:200]!r}]", depth + 1, left):
                return problem
        return None
    if isinstance(value, list | tuple):
        problems = (_first_problem(item, f"{where}[{i}]", depth + 1, left) for i, item in enumerate(value))
        return next((problem for problem in problems if problem), None)
    return _not_json(value, where)


def _not_json(value: Any, where: str) -> str:
    return (
        f"The result is not JSON: {where} is of type {_type(value)}. "
        "Return dicts with string keys, lists, strings, numbers, booleans or None; between the tasks of a graph, "
        "raw=True in the context lets any value pass."
    )


def _shown(key: Any) -> str:
    try:
        return repr(key)[:200]
    except Exception:
        # An integer of thousands of digits, or a class whose __repr__ fails.
        return "one that cannot be shown"


def _type(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
