"""What happens to a job, as a stream of events that can be taken up again after a break.

An event's id says all that its reader has seen: `attempt-status-steps-duration-log`. Whoever comes back with it is
told the difference to how things stand now, so that no history has to be kept anywhere, and a restart of anything in
between does not matter. All readers of one job share one feed (job_feed.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pixyz_ray.jobs import JobState

_MAX_OFFSET = 1 << 62
_STATES = tuple(JobState)
Step = Sequence[Any]
"""Index, text, and seconds (-1 while it runs) of a step."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How much of a job a reader has seen."""

    attempt: int = 0
    """Attempt that the steps belong to."""
    status: int = -1
    """Index of the last status told, -1 for none."""
    steps: int = 0
    """Steps told."""
    ended: int = 0
    """Steps whose duration was told."""
    log: int = 0
    """Bytes of the log told."""

    def __str__(self) -> str:
        return f"{self.attempt}-{self.status + 1}-{self.steps}-{self.ended}-{self.log}"

    @classmethod
    def parse(cls, text: str | None) -> Seen:
        """Return what an event's id says; an id that is not ours counts as nothing seen."""
        try:
            attempt, status, steps, ended, log = (int(part) for part in (text or "").split("-"))
        except ValueError:
            return cls()
        if min(attempt, status, steps, ended, log) < 0 or status > len(_STATES) or log > _MAX_OFFSET:
            return cls()
        return cls(attempt, status - 1, steps, ended, log)

    @property
    def terminal(self) -> bool:
        """Whether the end was told."""
        return self.status >= 0 and _STATES[self.status].terminal


@dataclass(frozen=True)
class Event:
    """One event of a job; many readers may share it."""

    id: str
    """What its reader has seen with it."""
    kind: str
    """`status`, `step` or `log`."""
    data: dict[str, Any]
    """JSON object."""

    @cached_property
    def encoded(self) -> bytes:
        """The event in the form of server-sent events (WHATWG HTML, section 9.2)."""
        return f"id: {self.id}\nevent: {self.kind}\ndata: {json.dumps(self.data)}\n\n".encode()


@dataclass(slots=True)
class Snapshot:
    """The state of a job, put together from the tracker's pushes, each of which has only the steps that changed."""

    state: dict[str, Any]
    """JobState."""
    attempt: int
    """Number of the attempt that the steps belong to."""
    total: int | None
    """Steps that the attempt is to have."""
    steps: list[Step] = field(default_factory=list)
    """All steps of the attempt."""

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return JobState(self.state["status"]).terminal

    def apply(self, push: dict[str, Any]) -> None:
        """Apply a push of the tracker."""
        if push["attempt"] != self.attempt:
            # Readers may still hold the list of the attempt before.
            self.steps = []
        self.state, self.attempt, self.total = push["state"], push["attempt"], push["total"]
        if push["steps"]:
            self.steps[push["steps"][0][0] :] = push["steps"]

    def changes(self, seen: Seen) -> tuple[Seen, list[Event]]:
        """Return the events that lead from what was seen to this state; if it is the end, that comes last."""
        events: list[Event] = []
        if self.attempt != seen.attempt:
            seen = replace(seen, attempt=self.attempt, steps=0, ended=0)
        tellers = (self._new_steps, self._new_status) if self.terminal else (self._new_status, self._new_steps)
        for tell in tellers:
            for now, event in tell(seen):
                seen = now
                events.append(event)
        return seen, events

    def _new_status(self, seen: Seen) -> Iterator[tuple[Seen, Event]]:
        status = _STATES.index(JobState(self.state["status"]))
        if status != seen.status:
            seen = replace(seen, status=status)
            yield seen, Event(str(seen), "status", self.state)

    def _new_steps(self, seen: Seen) -> Iterator[tuple[Seen, Event]]:
        for index, info, duration in self.steps[seen.ended :]:
            done = duration >= 0
            if index < seen.steps and not done:
                continue
            seen = replace(seen, steps=max(seen.steps, index + 1), ended=index + 1 if done else seen.ended)
            progress = min(100, 100 * index // self.total) if self.total else None
            data = {"index": index, "info": info, "duration": duration, "progress": progress}
            yield seen, Event(str(seen), "step", data)


def is_terminal(push: dict[str, Any]) -> bool:
    """Return whether a push of the tracker says that the job has ended."""
    return JobState(push["state"]["status"]).terminal
