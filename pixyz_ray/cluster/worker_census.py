"""Number of workers that run attempts, for the metrics."""

from __future__ import annotations

import time

_LATELY_S = 600.0


class WorkerCensus:
    """Workers by machine and process id. Every change takes constant time."""

    def __init__(self) -> None:
        self._last_start: dict[tuple[str | None, int | None], float] = {}
        self._started = self._lost = 0

    def on_start(self, node: str, pid: int) -> None:
        """Record that a worker has begun an attempt."""
        if self._last_start.pop((node, pid), None) is None:
            self._started += 1
        self._last_start[node, pid] = time.monotonic()

    def on_loss(self, node: str | None, pid: int | None) -> None:
        """Record that the worker of an attempt was lost; it may have had none yet."""
        self._lost += 1
        self._last_start.pop((node, pid), None)

    def counts(self) -> dict[str, int]:
        """Return how many workers ran something in the last ten minutes, and since the start: began, and were lost."""
        since = time.monotonic() - _LATELY_S
        while self._last_start and next(iter(self._last_start.values())) < since:
            del self._last_start[next(iter(self._last_start))]
        return {"alive": len(self._last_start), "started": self._started, "lost": self._lost}
