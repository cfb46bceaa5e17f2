"""`celery.states`: status words of tasks, which of them are ends, and which says more than another."""

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
"""The words in the order of how much they say, most first; None stands for any other word."""
PRECEDENCE_LOOKUP = {word: place for place, word in enumerate(PRECEDENCE)}
NONE_PRECEDENCE = PRECEDENCE_LOOKUP[None]


def precedence(state: str | None) -> int:
    """Return the place of a status word in PRECEDENCE; a smaller one says more.

    >>> precedence(SUCCESS) < precedence("an own word") < precedence(PENDING)
    True
    """
    return PRECEDENCE_LOOKUP.get(state, NONE_PRECEDENCE)


class state(str):
    """A status word that is greater than those that say less.

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
