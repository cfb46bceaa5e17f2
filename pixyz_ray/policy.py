"""Policy: how a job wants to be treated among others: its turn, seats, retries and limits, how long it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from pixyz_ray.failure import FailureClass
from pixyz_ray.gpu_need import GPU_MODES
from pixyz_ray.units import DURATION_HINT, LARGEST_SIZE, SIZE_HINT, format_number, parse_duration, parse_size
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import suggestion

MAX_PRIORITY = 9
MAX_RETRIES = 20
MAX_KEEP_S = 1000 * 365 * 86400.0
_MIN_MEMORY = 16 * 2**20
_LONG_BITS = 512
_NEVER_AGAIN = frozenset(
    {FailureClass.CANCELLED, FailureClass.DEPENDENCY_FAILED, FailureClass.NODE_LOST, FailureClass.RETRY}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a caller or a script may ask for; the same value is shared by all jobs that ask for the same."""

    priority: int = 5
    """0 to 9; of the jobs that wait, those with the highest begin first."""
    pools: tuple[tuple[str, int], ...] = ()
    """Seats of named pools, such as licences, that it holds while it runs."""
    retries: int | None = None
    """Runs after the first that a failure may cause; None for what the table of retries says."""
    retry_on: tuple[str, ...] | None = None
    """Failure classes that are tried again; None for those of the table."""
    isolation: str = "warm"
    """`warm`: in a process that other jobs have used; `fresh`: in a new one, which ends with it."""
    memory_limit: int | None = None
    """Bytes that the processes of one attempt may take; None for the queue's limit."""
    gpu: str | None = None
    """`require`: it waits for a GPU; `prefer`: it runs on CPU where there is none; None for what the queue says."""
    gpu_memory: int | None = None
    """Bytes that it needs on a GPU, and may take at most; None for what the queue says."""
    keep: bool | float | None = None
    """True: never removed; a number: seconds that it is kept after its end; None for the operator's delay."""


DEFAULT = Policy()
POLICY_KEYS = frozenset(field.name for field in fields(Policy))


def policy_of(asked: Mapping[str, Any], scheduled: Mapping[str, Any]) -> Policy:
    """Return the policy that a caller's config and, below it, an entrypoint's schedule ask for.

    Raises:
        InvalidBackendParameter: a value cannot be used; the sentence says which and what it must be.
    """
    sources = (source.items() for source in (scheduled, asked))
    given = {key: value for items in sources for key, value in items if value is not None and is_policy(key, value)}
    if not given:
        return DEFAULT
    policy = Policy(**{key: _CHECKS[key](value) for key, value in given.items()})
    return _shared(policy, policy.keep is True)


def is_policy(key: str, value: Any) -> bool:
    """Return whether a key of a config, with that value, is the platform's.

    A `gpu` that is no text, such as the number of a device, is the script's own: it was before there was such a policy.
    """
    return key in POLICY_KEYS and (key != "gpu" or value is None or isinstance(value, str))


def as_plain(policy: Policy) -> dict[str, Any]:
    """Return what differs from the defaults, as plain values."""
    return {name: value for name in sorted(POLICY_KEYS) if (value := getattr(policy, name)) != getattr(DEFAULT, name)}


def from_plain(values: Mapping[str, Any]) -> Policy:
    """Return the policy that `as_plain` made plain."""
    if not values:
        return DEFAULT
    # Older versions had no upper bounds; a record must be readable all the same.
    bounded = {name: min(values[name], most) for name, most in _UPPER.items() if type(values.get(name)) in (int, float)}
    return policy_of({**values, **bounded, "pools": dict(values.get("pools", ()))}, {})


@lru_cache(maxsize=1024)
def _shared(policy: Policy, _for_ever: bool) -> Policy:
    # True and 1.0 are equal to a cache, and mean different things here.
    return policy


def _refused(name: str, what: str, value: Any) -> InvalidBackendParameter:
    return InvalidBackendParameter(f"{name!r} must be {what}, not {shown(value)!r}.")


def shown(value: Any, text: Callable[[Any], str] = str) -> str:
    """Return a refused value as it is shown in a message; an integer of any length has a text."""
    if isinstance(value, int) and value.bit_length() > _LONG_BITS:
        return f"an integer of {value.bit_length()} bits"
    return text(value)[:100]


def _whole(name: str, low: int, high: int, what: str) -> Any:
    def check(value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < low or value > high:
            raise _refused(name, what, value)
        return int(value)

    return check


def _memory(name: str) -> Any:
    whole = _whole(name, _MIN_MEMORY, LARGEST_SIZE, f"a number of bytes, at least {_MIN_MEMORY} and below 2**63")

    def check(value: Any) -> int:
        if isinstance(value, str):
            try:
                value = parse_size(value)
            except ValueError:
                raise _refused(name, f"a number of bytes, or {SIZE_HINT}", value) from None
        return int(whole(value))

    return check


def _gpu(value: Any) -> str:
    if value not in GPU_MODES:
        near = suggestion(str(value), GPU_MODES)
        raise InvalidBackendParameter(f"'gpu' must be 'require' or 'prefer', not {shown(value)!r}.{near}")
    return str(value)


def _pools(value: Any) -> tuple[tuple[str, int], ...]:
    named = [value] if isinstance(value, str) else value
    seats = dict.fromkeys(named, 1) if isinstance(named, list | tuple) and _are_names(named) else named
    if not isinstance(seats, Mapping) or not _are_names(seats) or not all(map(_is_seats, seats.values())):
        raise _refused("pools", "names of pools, or seats by name such as {'catia': 1}", value)
    return tuple(sorted(seats.items()))


def _are_names(values: Any) -> bool:
    return all(isinstance(name, str) and name for name in values)


def _is_seats(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_SIZE


def _retry_on(value: Any) -> tuple[str, ...]:
    allowed = [str(one) for one in FailureClass if one not in _NEVER_AGAIN]
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list | tuple) or not all(one in allowed for one in named):
        raise _refused("retry_on", f"a list of failure classes ({', '.join(allowed)})", value)
    return tuple(sorted(set(named)))


def _isolation(value: Any) -> str:
    if value not in ("warm", "fresh"):
        raise _refused("isolation", "'warm' or 'fresh'", value)
    return str(value)


def _keep(value: Any) -> bool | float | None:
    if value is False:
        return None
    if isinstance(value, str):
        try:
            value = parse_duration(value)
        except ValueError:
            raise _refused(
                "keep", f"true, a number of seconds after the job's end, or {DURATION_HINT}", value
            ) from None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # A comparison first: an integer of hundreds of digits is no float.
    if value is not True and not (number and 0 <= value <= MAX_KEEP_S):
        raise _refused(
            "keep", f"true, or a number of seconds after the job's end, at most {format_number(MAX_KEEP_S)}", value
        )
    return True if value is True else float(value)


_UPPER: Mapping[str, int | float] = {"memory_limit": LARGEST_SIZE, "keep": MAX_KEEP_S}
_CHECKS: Mapping[str, Any] = {
    "priority": _whole("priority", 0, MAX_PRIORITY, "a whole number from 0 (last) to 9 (first)"),
    "pools": _pools,
    "retries": _whole("retries", 0, MAX_RETRIES, f"a whole number from 0 to {MAX_RETRIES}"),
    "retry_on": _retry_on,
    "isolation": _isolation,
    "memory_limit": _memory("memory_limit"),
    "gpu": _gpu,
    "gpu_memory": _memory("gpu_memory"),
    "keep": _keep,
}
