"""Journal: writes job records to the store, all that came in one turn of the event loop in one commit."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job
from pixyz_ray.logs import job_logger
from pixyz_ray.store import JobStore, StoreFull

_log = logging.getLogger(__name__)
_LAZY_DELAY_S = 0.05
_RETRY_DELAY_S = 0.5
_QUICK_S = 0.001
_MIN_INTERVAL_S = 0.002
_PATIENT_S = 0.01


class Journal:
    """The one writer of a JobStore, used from one event loop.

    Args:
        store: where records go. A commit takes about a tenth of a millisecond, and waiting for a quick disk twice that:
            less than handing either to a thread. Waiting for a slow disk is handed to one.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._changed: dict[str, Job] = {}
        self._soon: dict[str, Job] = {}
        self._then: list[tuple[Job, Callable[[], None]]] = []
        self._due = math.inf
        self._flushed = 0.0
        self._graphs: list[Graph] = []
        self._ended_graphs: list[str] = []
        self._uncommitted: list[asyncio.Future[None]] = []
        self._unsynced: list[asyncio.Future[None]] = []
        self._sync_takes_s = 0.0
        self._lazy = False

    async def add(self, job: Job | None, graph: Graph | None = None) -> None:
        """Return when a new job, a new graph, or both are written: no death of a process can take it back.

        Raises:
            StoreUnusable: it is not, and nothing of it will be.
        """
        self._store.check_room()
        if job is not None:
            self._changed[job.uuid] = job
        if graph is not None:
            self._graphs.append(graph)
        await self._committed()

    async def synced(self) -> None:
        """Return when all that was written is on the disk itself: no power cut can take it back.

        Raises:
            StoreUnusable: the disk did not take it.
        """
        await self._gather(self._unsynced, self._sync)

    def change(self, job: Job, then: Callable[[], None], *, patient: bool = False) -> None:
        """Write a job's change, however long the store does not take it, and only then do what follows.

        Args:
            job: the changed job.
            then: what follows.
            patient: whether nobody waits for it, so that it can go with others.
        """
        self._soon.pop(job.uuid, None)
        self._changed[job.uuid] = job
        self._then.append((job, then))
        self._flush_soon(_PATIENT_S if patient else 0.0)

    def change_soon(self, job: Job) -> None:
        """Write a change that may be lost, such as the start of a run, a little later: a quick job has ended then."""
        self._soon[job.uuid] = job
        self._flush_later()

    def end_graph(self, uuid: str) -> None:
        """Note that a graph has ended, with the next commit or a little later; after a restart it is seen again."""
        self._ended_graphs.append(uuid)
        self._flush_later()

    def _flush_later(self) -> None:
        if not self._lazy:
            self._lazy = True
            asyncio.get_running_loop().call_later(_LAZY_DELAY_S, self._flush_lazy)

    def flush(self) -> None:
        """Commit what has gathered, now."""
        self._due = math.inf
        self._flushed = asyncio.get_running_loop().time()
        changed, graphs, ended, waiting = self._changed, self._graphs, self._ended_graphs, self._uncommitted
        self._changed, self._graphs, self._ended_graphs, self._uncommitted = {}, [], [], []
        then, self._then = self._then, []
        error: Exception | None = None
        try:
            if changed or graphs or ended:
                self._store.write(changed.values(), graphs, ended)
        except Exception as trouble:
            # Whatever it is: those who wait for this commit must hear of it.
            error = trouble
            self._ended_graphs = ended + self._ended_graphs
            self._flush_later()
        _settle(waiting, error)
        # On a full disk one that is large must not keep the others from being written: each is tried by itself.
        apart_s = 2 * _MIN_INTERVAL_S if isinstance(error, StoreFull) else 0.0
        for number, (job, follow) in enumerate(then):
            if error is None:
                _carry_out(job, follow)
            else:
                job_logger(_log, job.uuid).warning("%s Trying again.", error)
                delay_s = _RETRY_DELAY_S + number * apart_s
                asyncio.get_running_loop().call_later(delay_s, self.change, job, follow)

    async def _committed(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._uncommitted.append(future)
        self._flush_soon()
        await future

    def _flush_soon(self, patience_s: float = 0.0) -> None:
        """Commit in the next turn of the loop; in a flood, what comes in a few milliseconds goes together."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + patience_s, self._flushed + _MIN_INTERVAL_S)
        if due < self._due:
            self._due = due
            loop.call_at(due, self._flush_when_due, due)

    def _flush_when_due(self, due: float) -> None:
        # Another flush may have come between, or one that was due earlier.
        if due == self._due:
            self.flush()

    def _gather(self, waiting: list[asyncio.Future[None]], work: Callable[[], None]) -> asyncio.Future[None]:
        """Do some work once for all who want it in this turn of the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting.append(future)
        if len(waiting) == 1:
            loop.call_soon(work)
        return future

    def _sync(self) -> None:
        waiting, self._unsynced = self._unsynced, []
        if self._sync_takes_s > _QUICK_S:
            task = asyncio.get_running_loop().run_in_executor(None, self._timed_sync)
            task.add_done_callback(lambda done: _settle(waiting, done.exception()))
            return
        try:
            self._timed_sync()
        except Exception as error:
            _settle(waiting, error)
        else:
            _settle(waiting, None)

    def _timed_sync(self) -> None:
        began = time.perf_counter()
        self._store.sync()
        # Halfway from the last one: a single hiccup changes nothing for long.
        self._sync_takes_s = (self._sync_takes_s + time.perf_counter() - began) / 2

    def _flush_lazy(self) -> None:
        self._lazy = False
        # What was changed meanwhile is newer.
        self._changed = {**self._soon, **self._changed}
        self._soon = {}
        if self._changed or self._ended_graphs:
            self.flush()


def _carry_out(job: Job, follow: Callable[[], None]) -> None:
    # What goes wrong with one job must not keep the others from going on.
    try:
        follow()
    except Exception:
        job_logger(_log, job.uuid).exception("what follows its change failed")


def _settle(waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
    for future in waiting:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
