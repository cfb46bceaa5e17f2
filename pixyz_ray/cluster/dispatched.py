"""Attempts that Ray has been given: how many have started, and how many still wait for a free machine.

Ray is given more tasks than can run, so that it never idles. Admission counts all of them as running; for users, only
those that have started are.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixyz_ray.jobs import Job

_RECENT_S = 60


@dataclass(frozen=True, slots=True)
class _Attempt:
    queue: str
    submitter: str
    requested: float


class Dispatched:
    """The attempts with Ray, by job. Every change takes constant time."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Attempt] = {}
        self._running: dict[str, _Attempt] = {}
        self._running_in: Counter[str] = Counter()
        self._running_of: Counter[str] = Counter()
        self._recent: dict[str, deque[list[int]]] = {}

    def on_given(self, job: Job) -> None:
        """Count a job's attempt as waiting: Ray has been given it."""
        self.on_end(job.uuid)
        self._waiting[job.uuid] = _Attempt(job.queue, job.submitter, job.requested)

    def waiting(self) -> list[str]:
        """Return the jobs whose attempt Ray has been given and has not started."""
        return list(self._waiting)

    def on_start(self, job: Job) -> None:
        """Count a job's attempt as running."""
        attempt = self._waiting.pop(job.uuid, None)
        if attempt is None:
            return
        self._running[job.uuid] = attempt
        self._running_in[attempt.queue] += 1
        self._running_of[attempt.submitter] += 1
        recent, second = self._recent.setdefault(attempt.queue, deque(maxlen=_RECENT_S)), int(time.monotonic())
        if not recent or recent[-1][0] != second:
            recent.append([second, 0])
        recent[-1][1] += 1

    def on_end(self, uuid: str) -> None:
        """Stop counting a job's attempt."""
        if self._waiting.pop(uuid, None) is None and (attempt := self._running.pop(uuid, None)) is not None:
            self._running_in[attempt.queue] -= 1
            self._running_of[attempt.submitter] -= 1

    def forget_waiting(self, uuid: str) -> None:
        """Stop counting a job's attempt if it has not started."""
        self._waiting.pop(uuid, None)

    def corrected_queues(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return admission's rows of queues with what Ray has not started counted as waiting.

        Args:
            rows: `Turns.queues`; `waiting` counts only jobs that Ray has not been given.
        """
        now, waiting = time.time(), Counter(one.queue for one in self._waiting.values())
        oldest: dict[str, float] = {}
        for one in self._waiting.values():
            oldest[one.queue] = min(one.requested, oldest.get(one.queue, now))
        for row in rows:
            name = row["name"]
            row |= {
                "waiting": row["waiting"] + waiting[name],
                "dispatched": waiting[name],
                "running": self._running_in[name],
                "started_last_minute": self._recent_starts(name),
            }
            if name in oldest:
                row["oldest_wait"] = max(row["oldest_wait"] or 0.0, now - oldest[name])
        return rows

    def corrected_submitters(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return admission's rows of submitters with what Ray has not started counted as waiting."""
        waiting: Mapping[str, int] = Counter(one.submitter for one in self._waiting.values())
        for row in rows:
            row |= {
                "waiting": row["waiting"] + waiting[row["name"]],
                "running": self._running_of[row["name"]],
            }
        return rows

    def _recent_starts(self, queue: str) -> int:
        since = int(time.monotonic()) - _RECENT_S
        return sum(count for second, count in self._recent.get(queue, ()) if second > since)
