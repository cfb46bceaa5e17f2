"""How a task stands, and who knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

TERMINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""States that a task never leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutcome:
    """How a task stands."""

    state: str
    """One of the status words of a job."""

    result: Any = None
    """What `get()` gives: the task's record, or the bare value of a raw one."""

    error: BaseException | None = None
    """What it failed with; for a task that was not run, what its cause failed with.

    Of one that has ended well: why its result cannot be had any more.
    """

    traceback: str | None = None
    """The same for a person, ending with `Type: message`."""

    stopped: float | None = None
    """When it ended, in seconds since the epoch."""

    own_state: str | None = None
    """State that its script gave `update_state`, while it runs."""

    info: Any = None
    """What its script gave `update_state` as meta, while it runs; else its progress."""


class Outcomes(Protocol):
    """Who knows how tasks stand: all that a handle needs of a backend."""

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """TaskOutcome of a task, waited for up to `timeout_s` seconds (None: until it ends, 0: at once)."""

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        """TaskOutcomes of many tasks, waited for like one; with `until_failure` no longer than until one has failed."""

    def children(self, task_id: str) -> list[Any]:
        """Ids of what follows a task in its graph and of the graphs that it started, as `as_tuple()` gives them."""

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Cancel tasks; those that have ended stay as they are."""
