"""Drain: bring running attempts to an end before the tracker is stopped or replaced; new jobs are still accepted.

No attempt starts any more. What Ray has been given and has not started is taken back. What still runs after the
deadline is ended, and its job is run again by the next tracker: that is not counted against the job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.store import StoreUnusable

_LOOK_EVERY_S = 0.05
_END_PATIENCE_S = 8.0
_WRITE_PATIENCE_S = 5.0


class Drain:
    """Drains one tracker, on its event loop.

    Args:
        jobs: the jobs that have not ended.
        graphs: their graphs.
        blocked: returns the jobs whose scripts wait for tasks that they have started; such tasks do not start now.
    """

    def __init__(self, jobs: Lifecycle, graphs: Graphs, blocked: Callable[[], Collection[str]]) -> None:
        self._jobs = jobs
        self._graphs = graphs
        self._blocked = blocked
        self._is_done = False

    @property
    def state(self) -> str:
        """`up`, `draining` or `drained`."""
        if not self._jobs.turns.is_closed:
            return "up"
        return "drained" if self._is_done else "draining"

    def running(self) -> list[LiveJob]:
        """Return the jobs with an attempt that has started and not ended."""
        return [live for live in self._with_ray() if live.record.attempts[-1].started is not None]

    async def run(self, deadline_s: float, message: str) -> dict[str, Any]:
        """Drain the tracker.

        Args:
            deadline_s: seconds to wait for running attempts.
            message: what an attempt that is ended says about it.

        Returns:
            How many attempts were `ended`.
        """
        deadline = time.monotonic() + deadline_s
        self._jobs.turns.close("the platform is being stopped or upgraded")
        self._graphs.take_back_ahead()
        while True:
            self._take_back(message)
            running = self.running()
            stuck = self._blocked()
            if time.monotonic() >= deadline or all(live.record.uuid in stuck for live in running):
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        ended = await self._end(running, message)
        with suppress(StoreUnusable, TimeoutError):
            async with asyncio.timeout(_WRITE_PATIENCE_S):
                await self._jobs.journal.synced()
        self._is_done = True
        return {"ended": ended}

    def _with_ray(self) -> list[LiveJob]:
        """Return the jobs whose current attempt Ray has been given, and that can still be settled."""
        return [
            live
            for live in self._jobs.live.values()
            if live.reference is not None and live.record.attempts and live.is_running(len(live.record.attempts))
        ]

    def _take_back(self, message: str) -> None:
        for live in self._with_ray():
            if live.record.attempts[-1].started is None and live.stopped_for is None:
                self._jobs.attempts.interrupt(live, message)

    async def _end(self, running: list[LiveJob], message: str) -> int:
        """End attempts, and return how many when nothing of them is left, or after some seconds."""
        left = [live for live in running if live.is_running(len(live.record.attempts))]
        for live in left:
            self._jobs.attempts.interrupt(live, message)
        deadline = time.monotonic() + _END_PATIENCE_S
        while time.monotonic() < deadline and (self._with_ray() or any(live.settling for live in left)):
            await asyncio.sleep(_LOOK_EVERY_S)
        return len(left)
