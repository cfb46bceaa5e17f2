"""What comes out of a script: an attempt's outcome, its result checked to be JSON, its error as text."""

from __future__ import annotations

import json
import math
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixyz_worker.exception import PixyzException

MAX_ERROR_CHARS = 64 * 1024
_MAX_INTEGER_BITS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an attempt ended. Plain values only, since it crosses processes and is left on disk."""

    ok: bool
    """Whether the script returned and its result is JSON."""
    started: float
    """Seconds since the epoch."""
    stopped: float
    """Seconds since the epoch."""
    result: Any = None
    """JSON value that the script returned."""
    error: str | None = None
    """Traceback cut to the user's script, or a sentence."""
    failure: str | None = None
    """A FailureClass word."""
    total: int | None = None
    """Steps announced."""
    steps: list[tuple[str, float]] = field(default_factory=list)
    """(info, seconds) of each step."""

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


class NotJson(PixyzException):
    """A script returned a value that JSON cannot hold."""


def checked_json(value: Any) -> Any:
    """Return a script's result when it is JSON.

    Raises:
        NotJson: a sentence that names the offending key and its type.
    """
    if value is None or isinstance(value, bool | str):
        return value
    problem = _first_problem(value, "result", 0)
    if problem is not None:
        raise NotJson(problem)
    # Through JSON and back, so that the result looks the same here as it will in any client.
    return json.loads(json.dumps(value))


def _first_problem(value: Any, where: str, depth: int) -> str | None:
    if depth > 200:
        return f"The result is nested too deeply at {where[:200]}, or contains itself."
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
                return f"The result is not JSON: a key of {where} is {key!r} of type {_type(key)}, not a string."
            if problem := _first_problem(item, f"{where}[{key!r}]", depth + 1):
                return problem
        return None
    if isinstance(value, list | tuple):
        problems = (_first_problem(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value))
        return next((problem for problem in problems if problem), None)
    return _not_json(value, where)


def _not_json(value: Any, where: str) -> str:
    return (
        f"The result is not JSON: {where} is of type {_type(value)}. "
        "Return dicts with string keys, lists, strings, numbers, booleans or None."
    )


def _type(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def user_traceback(error: BaseException, script: Path) -> str:
    """Return an error's traceback with the frames of the user's script alone.

    The last line is `Type: message`, as Python prints it.
    """
    return _formatted(error, script, script_only=True)


def full_traceback(error: BaseException, script: Path) -> str:
    """Return an error's traceback from the first frame of the user's script on, libraries included."""
    return _formatted(error, script, script_only=False)


def _formatted(error: BaseException, script: Path, *, script_only: bool) -> str:
    try:
        trace = traceback.TracebackException.from_exception(error)
        _cut(trace, str(script), script_only)
        text = "".join(trace.format()).rstrip()
    except Exception as trouble:
        # The exception's own __str__ or __repr__ fails.
        text = f"{type(error).__name__}: <the message cannot be shown: {type(trouble).__name__}>"
    text = text.replace(f"{script.parent}{os.sep}", "").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) > MAX_ERROR_CHARS:
        half = MAX_ERROR_CHARS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text


def _cut(trace: traceback.TracebackException, script: str, script_only: bool) -> None:
    """Drop frames of an error, of its causes and of the members of a group of errors."""
    pending = [trace]
    while pending:
        one = pending.pop()
        ours = [number for number, frame in enumerate(one.stack) if frame.filename == script]
        first = ours[0] if ours else len(one.stack)
        kept = [one.stack[number] for number in ours] if script_only else list(one.stack)[first:]
        one.stack = traceback.StackSummary.from_list(kept)
        pending += [other for other in (one.__cause__, one.__context__) if other is not None]
        pending += one.exceptions or []
