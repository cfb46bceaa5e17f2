"""Journal: group commit of job records; all changes of one turn of the event loop are written in one commit."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence

from pixyz_ray.cluster.journal_batch import (
    Arrival,
    Batch,
    Follow,
    Removal,
    Written,
    ended_by_refusal,
    ids_of,
    without_room,
    write_batch,
)
from pixyz_ray.cluster.store_access import LONGEST_PAUSE_S, Side, StoreAccess, first_pause, next_pause
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job
from pixyz_ray.logs import job_logger
from pixyz_ray.store_errors import StoreFull, StoreUnusable

_log = logging.getLogger(__name__)
_LAZY_DELAY_S = 0.05
_QUICK_S = 0.001
_MIN_INTERVAL_S = 0.002
_PATIENT_S = 0.01
_SLOW_S = 0.05
_SLOW_ROW_S = 0.001
_CAREFUL_S = 10.0
_SETTLED_WITHIN_S = 1.0
_TRIED_EVERY_S = 0.1


class Journal:
    """The one writer of a JobStore, used from one event loop.

    A commit to a file takes about 0.1 ms, an fsync of a fast disk 0.2 ms: less than handing either to a thread. After a
    slow one, or a failure, they run in a thread for some seconds; commits to a database server always do.

    Args:
        access: the store.
    """

    def __init__(self, access: StoreAccess) -> None:
        self.access = access
        """The store."""
        self._store = access.store
        self._next = Batch()
        self._writing: Batch | None = None
        self._written: asyncio.Future[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._soon: dict[str, Job] = {}
        self._due = math.inf
        self._flushed = 0.0
        self._not_before = self._failed_at = 0.0
        self._pause_s = first_pause()
        self._careful_until = math.inf if self._store.is_remote else 0.0
        self._unsynced: list[asyncio.Future[None]] = []
        self._sync_takes_s = 0.0
        self._lazy = False

    async def add(self, job: Job | None, graph: Graph | None = None, *, insist: bool = False) -> None:
        """Write a new job, a new graph, or both; return when they survive the death of any process.

        Args:
            job: the job.
            graph: the graph.
            insist: whether to wait however long the store is away.

        Raises:
            StoreUnusable: nothing is written, and nothing will be.
            StoreRefused: the store does not take it.
        """
        if not insist:
            await self._check_room()
        if job is not None:
            self._next.jobs[job.uuid] = job
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next.arrivals.append(Arrival(job, graph, written, insist))
        # While the store is away, a new arrival triggers an attempt instead of waiting for the next one.
        self._not_before = min(self._not_before, self._failed_at + _TRIED_EVERY_S)
        self._flush_soon()
        await written

    async def _check_room(self) -> None:
        """Check that there is room for new jobs; the last room on a full disk is reserved for existing ones.

        Raises:
            StoreFull: there is none.
        """
        if self._store.is_full and (problem := await self.access.read(self._store.room_problem)):
            raise StoreFull(problem)

    async def forget(self, uuids: Sequence[str], root: str | None = None) -> dict[str, int]:
        """Remove jobs, after all changes so far (see JobStore.forget).

        Raises:
            StoreUnusable: nothing was removed, as far as is known.
        """
        self.access.check()
        removed: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        self._next.removals.append(Removal(uuids, root, removed))
        self._flush_soon()
        return await removed

    async def synced(self) -> None:
        """Return when everything written so far is fsynced: it survives a power cut.

        Raises:
            StoreUnusable: the sync failed or timed out.
        """
        if not self._store.needs_sync:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsynced.append(future)
        if len(self._unsynced) == 1:
            asyncio.get_running_loop().call_soon(self._sync)
        await future

    def change(self, job: Job, then: Follow, *, patient: bool = False) -> None:
        """Write a job's change, retrying until the store takes it, and then call `then`.

        Args:
            job: the changed job.
            then: called with the job once it is written.
            patient: whether it may wait some milliseconds to be committed with others.
        """
        self._soon.pop(job.uuid, None)
        self._next.jobs[job.uuid] = job
        self._next.then.append((job, then))
        self._flush_soon(_PATIENT_S if patient else 0.0)

    def change_soon(self, job: Job) -> None:
        """Write a change that may be lost, such as the start of a run, a little later: a short job ends before."""
        self._soon[job.uuid] = job
        self._flush_later()

    def end_graph(self, uuid: str) -> None:
        """Write a graph's end with the next commit or a little later; a restart detects a lost end."""
        self._next.ended_graphs.append(uuid)
        self._flush_later()

    # --- When --------------------------------------------------------------------------------------------------------

    def _flush_later(self) -> None:
        if not self._lazy:
            self._lazy = True
            asyncio.get_running_loop().call_later(_LAZY_DELAY_S, self._flush_lazy)

    def _flush_lazy(self) -> None:
        self._lazy = False
        # Changes made meanwhile are newer.
        self._next.jobs = {**self._soon, **self._next.jobs}
        self._soon = {}
        if self._next:
            self._flush_soon()

    def _flush_soon(self, patience_s: float = 0.0) -> None:
        """Commit in the next turn of the loop; under load, changes of a few milliseconds are committed together."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + patience_s, self._flushed + _MIN_INTERVAL_S, self._not_before)
        if due < self._due:
            self._due = due
            loop.call_at(due, self._flush_when_due, due)

    def _flush_when_due(self, due: float) -> None:
        # An earlier flush may have been scheduled meanwhile.
        if due == self._due:
            self._due = math.inf
            self._flush()

    def _flush(self) -> None:
        """Write the pending batch; if a write is in progress, its end triggers the next one."""
        if self._writing is not None:
            return
        batch, self._next = self._next, Batch()
        loop = asyncio.get_running_loop()
        self._flushed = loop.time()
        if self._flushed < self._careful_until or batch.removals:
            self._write_in_thread(batch)
            return
        outcome: Written | Exception
        try:
            outcome = write_batch(self._store, batch)
        except Exception as error:
            outcome = error
        if loop.time() - self._flushed > _SLOW_S + _SLOW_ROW_S * len(batch.jobs):
            self._careful_until = loop.time() + _CAREFUL_S
        self._settle(batch, outcome)

    async def settled(self, uuid: str) -> None:
        """Wait until the change of a job that is being written is shown, for a second at most.

        The file may contain it already: a client that has read it there must not get an older state from memory.
        """
        if self._writing is not None and self._written is not None and uuid in self._writing.jobs:
            await asyncio.wait((self._written,), timeout=_SETTLED_WITHIN_S)

    def _write_in_thread(self, batch: Batch) -> None:
        self._writing = batch
        self._written = written = asyncio.get_running_loop().create_future()
        self._late = asyncio.get_running_loop().call_later(self.access.patience_s, self._is_late, batch)

        def done(future: asyncio.Future[Written]) -> None:
            if self._late is not None:
                self._late.cancel()
            self._late = None
            self._writing = None
            error = future.exception()
            self._settle(batch, error if isinstance(error, Exception) else future.result())
            written.set_result(None)

        self.access.start(Side.WRITING, lambda: write_batch(self._store, batch)).add_done_callback(done)

    # --- Afterwards --------------------------------------------------------------------------------------------------

    def _settle(self, batch: Batch, outcome: Written | Exception) -> None:
        """Complete a batch that was written, or keep one that failed for another attempt."""
        if isinstance(outcome, Exception):
            self._keep(batch, outcome)
            return
        self._not_before, self._pause_s = 0.0, first_pause()
        self.access.answered(Side.WRITING)
        for arrival in batch.arrivals:
            self._answer(arrival, outcome)
        for removal, states in zip(batch.removals, outcome.removed, strict=True):
            if not removal.removed.done():
                removal.removed.set_result(states)
        for job, follow in batch.then:
            if job.uuid not in outcome.no_room:
                refusal = outcome.refused.get(job.uuid)
                _carry_out(job if refusal is None else ended_by_refusal(job, refusal), follow)
        if outcome.full is not None:
            self._write_again(without_room(batch, outcome.no_room), outcome.full)
        if self._next:
            self._flush_soon()

    def _answer(self, arrival: Arrival, outcome: Written) -> None:
        """Report the outcome to the caller of an arrival; one that insists keeps waiting while there is no room."""
        ids = ids_of(arrival)
        if outcome.no_room.isdisjoint(ids):
            reasons = (outcome.refused[uuid] for uuid in ids if uuid in outcome.refused)
            _tell(arrival.written, next(reasons, None))
        elif not arrival.insists:
            _tell(arrival.written, outcome.full)

    def _write_again(self, left: Batch, error: StoreFull) -> None:
        """Queue again what found no room; later changes take precedence."""
        self._next = left.followed_by(self._next)
        _log.warning("%s Trying again.", error)
        self._not_before = asyncio.get_running_loop().time() + LONGEST_PAUSE_S

    def _keep(self, batch: Batch, error: Exception) -> None:
        """Queue a failed batch again; later changes take precedence."""
        if not isinstance(error, StoreUnusable):
            error = StoreUnusable(f"The job store did not take a change: {error}")
        self._give_up(batch.arrivals, error, tried=True)
        for removal in batch.removals:
            if not removal.removed.done():
                removal.removed.set_exception(error)
        self._next = batch.followed_by(self._next)
        loop = asyncio.get_running_loop()
        self._careful_until = max(self._careful_until, loop.time() + _CAREFUL_S)
        self._failed_at = loop.time()
        self._not_before = self._failed_at + self._pause_s
        self._pause_s = next_pause(self._pause_s)
        self._give_up_pending(error)
        self.access.failed(Side.WRITING, error)
        self._flush_soon()

    def _is_late(self, batch: Batch) -> None:
        """Handle a write that exceeds its deadline: fail the callers that do not insist, and cut the connection."""
        if (left_s := self.access.left_s(Side.WRITING)) > 0:
            self._late = asyncio.get_running_loop().call_later(left_s, self._is_late, batch)
            return
        error = self.access.timeout_error()
        # The thread still has the batch; its outcome applies to everything that is not given up.
        self._give_up(batch.arrivals, error, tried=True)
        self._give_up_pending(error)
        self.access.failed(Side.WRITING, error)
        self._store.cut_off_writer()

    def _give_up_pending(self, error: StoreUnusable) -> None:
        """Give up the pending arrivals and removals whose callers do not insist."""
        waiting = self._next
        self._give_up(waiting.arrivals, error, tried=False)
        for arrival in waiting.arrivals:
            if arrival.given_up and arrival.job is not None:
                waiting.jobs.pop(arrival.job.uuid, None)
        waiting.arrivals = [arrival for arrival in waiting.arrivals if not arrival.given_up]
        for removal in waiting.removals:
            removal.removed.set_exception(error)
        waiting.removals = []

    def _give_up(self, arrivals: Iterable[Arrival], error: StoreUnusable, *, tried: bool) -> None:
        for arrival in arrivals:
            if arrival.insists or arrival.given_up:
                continue
            arrival.given_up = True
            _tell(arrival.written, error)
            if tried:
                self._next.doubtful.append(arrival)

    # --- To the disk -------------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        waiting, self._unsynced = self._unsynced, []
        loop = asyncio.get_running_loop()
        if self._sync_takes_s > _QUICK_S or loop.time() < self._careful_until:
            task = loop.run_in_executor(None, self._timed_sync)
            late = loop.call_later(self.access.patience_s, lambda: _tell_all(waiting, self.access.timeout_error()))

            def done(future: asyncio.Future[None]) -> None:
                late.cancel()
                _tell_all(waiting, future.exception())

            task.add_done_callback(done)
            return
        try:
            self._timed_sync()
        except Exception as error:
            _tell_all(waiting, error)
        else:
            _tell_all(waiting, None)

    def _timed_sync(self) -> None:
        began = time.perf_counter()
        self._store.sync()
        # Moving average: a single slow sync has no lasting effect.
        self._sync_takes_s = (self._sync_takes_s + time.perf_counter() - began) / 2


def _carry_out(job: Job, follow: Follow) -> None:
    # An error in one job's follow-up must not affect the others.
    try:
        follow(job)
    except Exception:
        job_logger(_log, job.uuid).exception("the follow-up of its change failed")


def _tell(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _tell_all(waiting: Iterable[asyncio.Future[None]], error: BaseException | None) -> None:
    for future in waiting:
        _tell(future, error)
