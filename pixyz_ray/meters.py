"""What the tracker counts and times for its operators: cheap to feed, plain to hand over.

No figure is kept of a single job: keys are queues and failure classes, of which there are few. A tracker that is
started again counts from zero, which is what those who collect counters expect.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BOUNDS_S: tuple[float, ...] = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0,
)  # fmt: skip
"""Upper bounds, in seconds, of the classes that durations are counted in; there is one more above the last."""

SUCCESS = "success"
"""Outcome of a run that did not fail; the others are failure classes."""


class Durations:
    """How many durations there were in each class, and their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """Durations in each class: above the bound before and up to its own."""
        self.sum_s = 0.0
        """All durations together."""

    def add(self, seconds: float) -> None:
        """Count a duration; one of a clock that was set back is none at all."""
        seconds = max(seconds, 0.0)
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Meters:
    """Counters and durations of all jobs since the tracker was started."""

    def __init__(self) -> None:
        self._waits: dict[str, Durations] = {}
        self._runs: dict[tuple[str, str], Durations] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._retries: dict[tuple[str, str], int] = {}
        self._rejected = 0

    def started(self, queue: str, wait_s: float) -> None:
        """Count an attempt that has begun, and how long it had waited."""
        durations = self._waits.get(queue)
        if durations is None:
            durations = self._waits[queue] = Durations()
        durations.add(wait_s)

    def ended(self, queue: str, outcome: str, run_s: float) -> None:
        """Count a run that is over, and how long it took.

        Args:
            queue: where it ran.
            outcome: SUCCESS, or the class of its failure.
            run_s: seconds from its begin to its end.
        """
        durations = self._runs.get((queue, outcome))
        if durations is None:
            durations = self._runs[queue, outcome] = Durations()
        durations.add(run_s)

    def attempt_failed(self, queue: str, failure: str) -> None:
        """Count an attempt that failed, whether it had begun or not."""
        self._failures[queue, failure] = self._failures.get((queue, failure), 0) + 1

    def retried(self, queue: str, failure: str) -> None:
        """Count a job that is tried again.

        Args:
            queue: where it failed.
            failure: why.
        """
        self._retries[queue, failure] = self._retries.get((queue, failure), 0) + 1

    def rejected(self) -> None:
        """Count a job that was not taken since too many wait."""
        self._rejected += 1

    def as_plain(self) -> dict[str, Any]:
        """Return all figures as JSON values; `counts` are those of the single classes, not yet added up."""
        return {
            "waits": [
                {"queue": queue, "counts": list(one.counts), "sum": one.sum_s} for queue, one in self._waits.items()
            ],
            "runs": [
                {"queue": queue, "outcome": str(outcome), "counts": list(one.counts), "sum": one.sum_s}
                for (queue, outcome), one in self._runs.items()
            ],
            "failures": _counted(self._failures),
            "retries": _counted(self._retries),
            "rejected": self._rejected,
        }


def _counted(counts: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [{"queue": queue, "failure": str(failure), "count": count} for (queue, failure), count in counts.items()]
