"""`celery.states`: the states of tasks, which of them are final, and their precedence."""

from __future__ import annotations

from pixyz_worker.outcome import TERMINAL_STATES

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
RUNNING = "RUNNING"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
RETRY = "RETRY"
IGNORED = "IGNORED"

READY_STATES = TERMINAL_STATES
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, RUNNING, REJECTED, RETRY})
ALL_STATES = READY_STATES | UNREADY_STATES
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})

PRECEDENCE = [SUCCESS, FAILURE, None, REVOKED, RUNNING, STARTED, RECEIVED, REJECTED, RETRY, PENDING]
"""States by precedence, the highest first; None marks the place of any other state."""
PRECEDENCE_LOOKUP = {each: index for index, each in enumerate(PRECEDENCE)}
NONE_PRECEDENCE = PRECEDENCE_LOOKUP[None]


def precedence(state: str | None) -> int:
    """Return the index of a state in PRECEDENCE; a smaller one takes precedence.

    >>> precedence(SUCCESS) < precedence("another") < precedence(PENDING)
    True
    """
    return PRECEDENCE_LOOKUP.get(state, NONE_PRECEDENCE)


class state(str):
    """A state that compares by precedence: it is greater than those of lower precedence.

    >>> state(SUCCESS) > state(PENDING), state(RETRY) <= state(FAILURE)
    (True, True)
    """

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
