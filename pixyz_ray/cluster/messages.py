"""Validation of what workers and watchdogs report to the tracker.

A script shares its process with the worker that reports for it, and may send anything over the worker's connection.
Each function returns a message in which every field has the right type and a bounded size, or raises BadMessage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pixyz_ray.failure import FailureClass
from pixyz_worker.exception import PixyzException
from pixyz_worker.steps import MAX_STEPS, cut_name

MAX_EVENT_BYTES = 1 << 20
"""Bytes of one message about progress or usage."""
MAX_OUTCOME_BYTES = 16 << 20
"""Bytes of an outcome besides its result: steps, error, log."""
MAX_IDS = 1_000_000
"""Tasks that a script may ask about at once."""
MAX_INTEGER = 2**53 - 1
"""Largest number of steps, and of bytes: JSON readers represent integers up to this one exactly."""
_MAX_TEXT_CHARS = 256 * 1024
_MAX_NAME_CHARS = 255
_MAX_NOTES = 20
_FAILURES = frozenset(map(str, FailureClass))

Check = Callable[[Any], bool]


class BadMessage(PixyzException):
    """A message that no worker of the platform sends."""


def check_attempt(uuid: Any, attempt: Any) -> None:
    """Check the job id and the attempt number of a message.

    Raises:
        BadMessage: they are not an id and a number.
    """
    if not _is_name(uuid) or not _is_count(attempt):
        raise BadMessage("a message without a valid job id and attempt number")


def check_ids(uuids: Any) -> None:
    """Check the ids of tasks that a script names.

    Raises:
        BadMessage: they are not a list of ids.
    """
    if not isinstance(uuids, list | tuple) or len(uuids) > MAX_IDS or not all(map(_is_name, uuids)):
        raise BadMessage(f"Tasks are named by a list of at most {MAX_IDS} ids.")


def check_question(asker: Any, uuids: Any, timeout_s: Any) -> None:
    """Check what a script asks about tasks.

    Raises:
        BadMessage: it is not the id of the caller, a list of task ids, and a number of seconds or None.
    """
    check_ids([asker])
    check_ids(uuids)
    if timeout_s is not None and not _is_number(timeout_s):
        raise BadMessage(f"The seconds to wait are a number or None, not {repr(timeout_s)[:80]}.")


def check_plan(plan: Any, number: Any, max_bytes: int) -> None:
    """Check what a script sends as a graph, before it is parsed.

    Raises:
        BadMessage: it is not text, or is longer than a message may be.
    """
    if not isinstance(plan, str) or not _is_count(number):
        raise BadMessage("A graph is sent as the JSON text of a plan, and its number in the script.")
    if len(plan) > max_bytes:
        raise BadMessage(
            f"The graph has {len(plan)} bytes with the params of its tasks, more than the allowed {max_bytes}. "
            "Put large values into files, and send their names."
        )


def progress_event(event: Any) -> Mapping[str, Any]:
    """Return a progress event.

    Raises:
        BadMessage: a field is missing or of the wrong type.
    """
    kind = event.get("kind") if isinstance(event, dict) else None
    checks = _EVENTS.get(kind) if isinstance(kind, str) else None
    if checks is None:
        raise BadMessage(f"an event of kind {str(kind)[:40]!r}")
    _check(event, checks, f"event {kind!r}")
    if kind == "step":
        event["info"] = cut_name(event["info"])
    return dict(event)


def outcome(message: Any) -> Mapping[str, Any]:
    """Return the outcome of an attempt.

    Raises:
        BadMessage: a field is missing or of the wrong type.
    """
    if not isinstance(message, dict):
        raise BadMessage(f"an outcome that is {type(message).__name__}")
    _check(message, _OUTCOME, "outcome")
    # Only the tracker may set this: a script could make itself run again and again.
    message.pop("uncounted", None)
    steps = message.get("steps") or []
    if len(steps) > MAX_STEPS or not all(map(_is_step, steps)):
        raise BadMessage("an outcome with malformed steps, or with too many")
    message["steps"] = [[cut_name(step[0]), *step[1:]] for step in steps] if message.get("steps") is not None else None
    return message


def max_outcome_bytes(max_result_bytes: int) -> int:
    """Return the size of the largest outcome that a worker writes, for results of at most `max_result_bytes`."""
    return max_result_bytes + MAX_OUTCOME_BYTES


def check_size(size: int, max_result_bytes: int) -> None:
    """Check the bytes of an outcome before it is read.

    Raises:
        BadMessage: it is larger than any that a worker writes.
    """
    if size > max_outcome_bytes(max_result_bytes):
        raise BadMessage(f"an outcome of {size} bytes")


def usage(message: Any) -> Mapping[str, Any]:
    """Return a watchdog's report of an attempt's resource usage or death.

    Raises:
        BadMessage: a field is of the wrong type.
    """
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise BadMessage("a watchdog's report that is not an object")
    _check(message, _USAGE, "a watchdog's report")
    return {key: value for key, value in message.items() if key in _USAGE}


def _check(message: Mapping[str, Any], checks: Mapping[str, Check], what: str) -> None:
    for key, is_good in checks.items():
        if not is_good(message.get(key)):
            raise BadMessage(f"{what} whose {key!r} is {repr(message.get(key))[:80]}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def _is_time(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_CHARS


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT_CHARS


def _is_any_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def _is_failure(value: Any) -> bool:
    return isinstance(value, str) and value in _FAILURES


def _is_step(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (2, 3)
        and isinstance(value[0], str)
        and _is_number(value[1])
        and all(map(_is_count, value[2:]))
    )


def _are_notes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_NOTES and all(map(_is_text, value))


def _or_none(is_good: Check) -> Check:
    return lambda value: value is None or is_good(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_EVENTS: Mapping[str, Mapping[str, Check]] = {
    "started": {"time": _is_time, "node": _is_name, "pid": _is_count, "node_id": _or_none(_is_name)},
    "total": {"total": _is_count},
    "step": {"time": _is_time, "info": _is_any_text, "index": _or_none(_is_count)},
    "stop": {"time": _is_time},
    "state": {"state": _or_none(_is_name)},
}
_OUTCOME: Mapping[str, Check] = {
    "ok": _is_bool,
    "started": _or_none(_is_time),
    "stopped": _or_none(_is_time),
    "error": _or_none(_is_text),
    "sentence": _or_none(_is_text),
    "log": _or_none(_is_text),
    "failure": _or_none(_is_failure),
    "opaque": _or_none(_is_bool),
    "awaits": _or_none(_is_name),
    "retry_after": _or_none(_is_time),
    "exit_code": _or_none(_is_whole),
    "peak_rss": _or_none(_is_count),
    "peak_uss": _or_none(_is_count),
    "peak_gpu_memory": _or_none(_is_count),
    "cpu_time": _or_none(_is_time),
    "total": _or_none(_is_count),
    "steps": _or_none(_is_list),
    "notes": _or_none(_are_notes),
    "node": _or_none(_is_name),
    "refused_by": _or_none(_is_name),
    "unfit": _or_none(_is_bool),
}
_USAGE: Mapping[str, Check] = {
    **dict.fromkeys(("rss", "uss", "processes"), _or_none(_is_count)),
    "peak_rss": _or_none(_is_count),
    "peak_uss": _or_none(_is_count),
    "peak_gpu_memory": _or_none(_is_count),
    "cpu": _or_none(_is_time),
    "cpu_time": _or_none(_is_time),
    "signal": _or_none(_is_count),
    "exit_code": _or_none(_is_whole),
    "reason": _or_none(_is_name),
    "oom_killer": lambda value: value is None or isinstance(value, bool | int),
}
