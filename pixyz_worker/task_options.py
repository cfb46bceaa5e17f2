"""Options of a task: what `.set()`, `.apply_async()` and their like take, checked as soon as they are given.

Most are Celery's. Those about how Celery publishes a message are accepted without effect (WITHOUT_EFFECT). Those that
this platform cannot honour are refused, with what to use instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import SIMILAR, nearest, suggestion

START_OPTIONS = frozenset({"countdown", "eta", "expires"})
"""Options about when a task starts; given to a composition, they hold for the tasks that start it."""

PLAIN_START_OPTIONS = START_OPTIONS | {"expires_at"}
"""The same as `start_options` returns them: each a number."""

CALLBACK_OPTIONS = frozenset({"link", "link_error"})
"""Options whose values are signatures, or lists of them."""

CONTEXT_OPTIONS = frozenset(
    {
        "queue",
        "time_limit",
        "priority",
        "pools",
        "retries",
        "retry_on",
        "isolation",
        "memory_limit",
        "gpu_memory",
        "shadow",
    }
)
"""Options that a task's context may set too (`pc.clone(queue="cpu")`); those of its signature are stronger."""

SENT_OPTIONS = CONTEXT_OPTIONS | {"timeout", "gpu"}
"""Options that go to the platform unchanged."""

# A script may have a `gpu` of its own in its context, such as the number of a device.
EXECUTE_OPTIONS = (SENT_OPTIONS - {"gpu"}) | START_OPTIONS | CALLBACK_OPTIONS | {"task_id"}
"""Options that `pc.execute(params, **kw)` takes out of `kw`."""

WITHOUT_EFFECT = frozenset(
    {
        "add_to_parent",
        "compression",
        "connection",
        "ignore_result",
        "producer",
        "publisher",
        "retry",
        "retry_policy",
        "serializer",
        "store_eager_result",
    }
)
"""Options that are accepted and change nothing: they tell Celery how to publish, or what to store."""

_GPU_MODES = ("require", "prefer")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REFUSED: Mapping[str, str] = {
    "soft_time_limit": "use time_limit: at its end SoftTimeLimitExceeded is raised, half a second before the kill",
    "routing_key": "use queue",
    "exchange": "use queue",
    "headers": "put the values into the context: pc.clone(my_key=...)",
    "reply_to": "results are asked for by the handle, or at GET /jobs/{id}",
    "chord": "use chord(header, body)",
    "group_id": "use group(...)",
    "root_id": "the platform sets it",
    "parent_id": "the platform sets it",
    "replaced_task_nesting": "the platform does not replace tasks",
    "stamped_headers": "put the values into the context: pc.clone(my_key=...)",
    "delivery_mode": "every job is written to disk before it runs",
    "keep": "the tasks of a job are kept as long as the job",
    "mandatory": "a queue that does not exist is an error anyway",
}

_KNOWN = SENT_OPTIONS | START_OPTIONS | CALLBACK_OPTIONS | WITHOUT_EFFECT | {"task_id", "fail_fast"}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that were given, without those that are None.

    Raises:
        InvalidBackendParameter: one does not exist here, or has a value of the wrong kind.
    """
    for name, value in options.items():
        if name in _REFUSED and value is not None:
            raise InvalidBackendParameter(f"the option {name!r} has no effect on this platform: {_REFUSED[name]}")
        if name not in _KNOWN and name not in _REFUSED:
            near = nearest(name, _KNOWN, cutoff=SIMILAR)
            hint = f"did you mean {near!r}?" if near else "values for the script go into its context or params."
            raise InvalidBackendParameter(f"there is no option {name!r}; {hint}")
    return {
        name: _CHECKS[name](name, value) if name in _CHECKS else value
        for name, value in options.items()
        if value is not None
    }


def epoch_seconds(moment: datetime) -> float:
    """Return a time in seconds since the epoch; a naive one is in UTC, as in Celery."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except OverflowError:  # a time zone leads out of the years 1 to 9999
        return moment.replace(tzinfo=UTC).timestamp()


def start_options(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the options about when a task starts as plain numbers.

    Returns:
        `countdown` and `expires`: seconds from the moment when the task could start; `eta` and `expires_at`: seconds
        since the epoch.
    """
    plain: dict[str, float] = {}
    for name in START_OPTIONS & options.keys():
        value = options[name]
        if isinstance(value, datetime):
            plain["expires_at" if name == "expires" else name] = max(0.0, epoch_seconds(value))
        else:
            plain[name] = float(value)
    return plain


def due_time(options: Mapping[str, Any], base: float) -> float | None:
    """Return when a task may start, in seconds since the epoch, or None for at once.

    Args:
        options: as `start_options` returns them.
        base: when it could start without them, in seconds since the epoch.
    """
    due = [options["eta"]] if "eta" in options else []
    due += [base + options["countdown"]] if options.get("countdown") else []
    return max(due, default=None)


def expiry_time(options: Mapping[str, Any], base: float) -> float | None:
    """Return when a task that has not started is revoked, in seconds since the epoch, or None for never."""
    ends = [options["expires_at"]] if "expires_at" in options else []
    ends += [base + options["expires"]] if "expires" in options else []
    return min(ends, default=None)


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not -math.inf < seconds < math.inf:
        raise InvalidBackendParameter(f"{name} must be a number of seconds, not {value!r}")
    # A time that is over, such as `deadline - time.time()`, is now.
    return max(0.0, seconds)


def _uuid(name: str, value: Any) -> str:
    text = str(value)
    if not _UUID.fullmatch(text):
        raise InvalidBackendParameter(
            f"{name} becomes a job's id: use a UUID in small letters, as celery.utils.uuid() gives, not {text[:80]!r}"
        )
    return text


def _moment(name: str, value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidBackendParameter(f"{name} must be a datetime, not {value!r}") from None
    if not isinstance(value, datetime):
        raise InvalidBackendParameter(f"{name} must be a datetime, not {type(value).__name__}")
    return value


def _expires(name: str, value: Any) -> float | datetime:
    return _moment(name, value) if isinstance(value, datetime | str) else _seconds(name, value)


def _gpu(name: str, value: Any) -> str:
    if value not in _GPU_MODES:
        raise InvalidBackendParameter(
            f"{name} must be 'require' or 'prefer', not {value!r:.80}.{suggestion(str(value), _GPU_MODES)}"
        )
    return str(value)


def _signatures(name: str, value: Any) -> list[Any]:
    from pixyz_worker.canvas import Canvas

    found = list(value) if isinstance(value, list | tuple) else [value]
    for each in found:
        if not isinstance(each, Canvas):
            raise InvalidBackendParameter(f"{name} takes signatures, such as pixyz_execute.s(pc=pc), not {each!r:.80}")
    return found


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "countdown": _seconds,
    "eta": _moment,
    "expires": _expires,
    "link": _signatures,
    "link_error": _signatures,
    "task_id": _uuid,
    "gpu": _gpu,
}
