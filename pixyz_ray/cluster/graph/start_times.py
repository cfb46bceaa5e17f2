"""When the tasks of a graph start: countdown and eta hold a task back, expires gives up one that has not begun."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from pixyz_ray.cluster.graph.run import GraphRun
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_worker.cause import EXPIRED
from pixyz_worker.task_options import due_time, expiry_time


class StartTimes:
    """Queues tasks for a later time, and revokes those that expire.

    Args:
        jobs: where the tasks live.
        cancel: cancels jobs, with a message.
    """

    def __init__(self, jobs: Lifecycle, cancel: Callable[[Iterable[str], str], Coroutine[Any, Any, None]]) -> None:
        self._jobs = jobs
        self._cancel = cancel

    def wait(self, run: GraphRun, id: str) -> None:
        """Queue a task that may begin after its countdown; one that has expired is revoked instead."""
        now = time.time()
        expiry = self.watch_expiry(run, id)
        if expiry is not None and expiry <= now:
            return
        options = run.start_options(id)
        due = due_time(options, self._ready_since(run, id))
        if due is not None and "countdown" in options and "eta" not in options:
            # After a restart, and a clock that was set back, the task waits no longer than it was to.
            due = min(due, now + options["countdown"])
        self._jobs.turns.wait(id, replace(run.asks_for(id), not_before=due), since=now)

    def watch_expiry(self, run: GraphRun, id: str) -> float | None:
        """Revoke a task at the time that it expires, unless it has begun.

        Returns:
            That time, in seconds since the epoch; None for a task that does not expire.
        """
        expiry = expiry_time(run.start_options(id), self._ready_since(run, id))
        if expiry is not None:
            # Weakly, since the timer of a task that expires in a month must not keep a graph that is over in memory.
            reference = weakref.ref(run)
            asyncio.get_running_loop().call_later(max(0.0, expiry - time.time()), self._expire, reference, id)
        return expiry

    def _ready_since(self, run: GraphRun, id: str) -> float:
        """Return since when a task could run if it had no countdown, in seconds since the epoch."""
        after = run.nodes[id].after
        if after is None:
            return float(run.graph.plain["requested"])
        return run.stopped.get(after) or time.time()

    def _expire(self, reference: weakref.ref[GraphRun], id: str) -> None:
        run = reference()
        if run is None or id in run.states:
            return
        live = self._jobs.live.get(id)
        if live is None or live.record.started is None:
            self._jobs.begin(self._cancel([id], f"TaskRevokedError: {EXPIRED}"))
