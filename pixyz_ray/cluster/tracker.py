"""The tracker: owns every task, keeps every state, and feeds the store. It lives in a named actor (see actor.py).

    submit -> journal -> Ray task -> events -> outcome -> journal -> watchers

What is in memory here can be rebuilt from the journal: when the tracker dies its tasks die with it (Ray's rule), it
is started again by Ray, and `_recover` runs again what had not ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from pixyz_ray.cluster.channel import ChannelServer, Endpoint, Peer
from pixyz_ray.cluster.children import child_job, record_of
from pixyz_ray.cluster.errors import EngineNotReady, UnknownJob
from pixyz_ray.cluster.failures import classify, timeout_sentence
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.jobs import Attempt, FailureClass, Job, JobState, StepRecord
from pixyz_ray.queues import MAX_INTERRUPTIONS, after_failure
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.store import JobStore, StoreUnusable, decode_job
from pixyz_worker.exception import InternalError

_log = logging.getLogger(__name__)
_RECENT = 2000
_MAX_PAGE = 1000


class Tracker:
    """Owns the tasks of all jobs, on one event loop.

    Args:
        settings: the platform's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = JobStore(settings.job_store_url)
        self._journal = Journal(self._store)
        self._counts = self._store.counts()
        self._live: dict[str, LiveJob] = {}
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._packing: dict[str, asyncio.Future[None]] = {}
        self._following: set[asyncio.Task[None]] = set()

    # --- Scripts' face -----------------------------------------------------------------------------------------------

    async def submit_child(self, parent_id: str, call: Mapping[str, Any]) -> dict[str, Any]:
        """Accept a task that a running script starts."""
        parent = self._find(parent_id)
        job = await asyncio.to_thread(child_job, parent, call, self._settings)
        return await self._accept(job)

    async def outcome(self, uuid: str, timeout_s: float | None) -> tuple[str, Any, str | None]:
        """Return (state, result, error) of a task, waited for at most so many seconds."""
        live = self._live.get(uuid)
        if live is not None and timeout_s != 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(live.ended.wait(), timeout_s)
        job = self._find(uuid)
        return str(job.state), record_of(job), job.error

    async def revoke(self, uuid: str) -> dict[str, Any]:
        """Cancel a job."""
        return await self._cancel(None, 0, uuid)

    # --- The channel's face ------------------------------------------------------------------------------------------

    async def open(self, host: str) -> Endpoint:
        """Listen on that address, take up what had not ended, and return where to call."""
        server = ChannelServer(
            {
                "submit": self._submit,
                "state": self._state,
                "details": self._details,
                "task_meta": self._task_meta,
                "page": self._page,
                "cancel": self._cancel,
                "watch": self._watch,
                "unwatch": self._unwatch,
                "pack": self._pack,
                "counts": self._count,
                "event": self._event,
                "ended": self._ended_event,
            }
        )
        endpoint = await server.listen(host)
        self._launcher = Launcher(self._settings, endpoint)
        self._recover()
        self._launcher.warm_up()
        return endpoint

    async def _submit(self, _peer: Peer, _number: int, record: dict[str, Any], again: bool) -> dict[str, Any]:
        # Sent again since no answer came: the tracker that had accepted it may be gone.
        if again and (known := self._store.get(record["uuid"])) is not None:
            return known.as_state()
        return await self._accept(decode_job(record))

    async def _state(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        return self._find(uuid).as_state()

    async def _details(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        return self._find(uuid).as_details()

    async def _task_meta(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        return self._find(uuid).as_task_meta()

    async def _page(
        self, _peer: Peer, _number: int, state: str | None, limit: int, after: str | None
    ) -> list[dict[str, Any]]:
        limit = min(limit, _MAX_PAGE)
        wanted = None if state is None else JobState(state)
        if wanted is not None and not wanted.terminal:
            return self._live_page(wanted, limit, after)
        page = self._store.page(state=wanted, limit=limit, after=after)
        # How a live job stands is known here and not in the store.
        return [self._live[row["uuid"]].job.as_state() if row["uuid"] in self._live else row for row in page]

    def _live_page(self, state: JobState, limit: int, after: str | None) -> list[dict[str, Any]]:
        before = math.inf if after is None else self._find(after).requested
        jobs = (live.record for live in reversed(self._live.values()))
        found = (job for job in jobs if job.state is state and job.requested < before)
        return [self._live[job.uuid].job.as_state() for job in islice(found, limit)]

    async def _count(self, _peer: Peer, _number: int) -> dict[str, int]:
        return dict(self._counts)

    async def _watch(self, peer: Peer, number: int, uuid: str) -> None:
        live = self._live.get(uuid) or LiveJob(self._find(uuid))
        live.watch(peer, number)

    async def _unwatch(self, peer: Peer, _number: int, watched: int) -> None:
        if stop := peer.on_close.pop(watched, None):
            stop()

    async def _event(self, _peer: Peer, _number: int, uuid: str, attempt: int, event: dict[str, Any]) -> None:
        live = self._live.get(uuid)
        if live is None or not self._is_current(live, attempt):
            return
        if event.get("kind") == "started":
            self._started(live, event)
        else:
            live.take_event(event)

    async def _ended_event(self, _peer: Peer, _number: int, uuid: str, attempt: int, outcome: dict[str, Any]) -> None:
        live = self._live.get(uuid)
        # Of an attempt that is being ended only Ray's answer counts: before it, the process is still there.
        if live is not None and live.stopped_for is None:
            await self._ended(live, attempt, outcome)

    async def _pack(self, _peer: Peer, _number: int, uuid: str) -> None:
        """Return when the archive of a job's outputs is there."""
        self._find(uuid)
        packing = self._packing.get(uuid)
        if packing is None:
            packing = self._packing[uuid] = asyncio.ensure_future(self._launcher.pack(uuid))
            packing.add_done_callback(lambda _: self._packing.pop(uuid, None))
        await asyncio.shield(packing)

    async def _cancel(self, _peer: Peer | None, _number: int, uuid: str) -> dict[str, Any]:
        """Cancel a job; one that has ended, or is just ending, stays as it is."""
        live = self._live.get(uuid)
        if live is None or live.settling:
            return self._find(uuid).as_state()
        # On disk before anything is killed: a cancelled job must not come back after a restart.
        error = "The job was cancelled."
        await self._settle(live, self._closed(live, FailureClass.CANCELLED).become(JobState.REVOKED, error=error))
        self._launcher.kill(live.reference, live.record)
        return live.job.as_state()

    # --- The way of a job --------------------------------------------------------------------------------------------

    def _find(self, uuid: str) -> Job:
        live = self._live.get(uuid)
        if live is not None:
            return live.job
        job = self._recent.get(uuid) or self._store.get(uuid)
        if job is None:
            raise UnknownJob(f"There is no job {uuid}.")
        return job

    async def _accept(self, job: Job) -> dict[str, Any]:
        """Write a job down, then start it. The same job sent again is accepted once."""
        if job.uuid in self._live or job.uuid in self._recent:
            return self._find(job.uuid).as_state()
        live = self._live[job.uuid] = LiveJob(job)
        try:
            await self._journal.add(job)
        except BaseException:
            del self._live[job.uuid]
            raise
        self._count_change(None, job.state)
        answer = job.as_state()
        self._launch(live)
        # The job is accepted once the disk has it; Ray finds a worker for it meanwhile.
        try:
            await self._journal.synced()
        except StoreUnusable as error:
            raise EngineNotReady(str(error)) from error
        return answer

    def _launch(self, live: LiveJob) -> None:
        """Begin the next attempt."""
        job = live.record
        queue = self._settings.queue_table[job.queue]
        changes: dict[str, Any] = {}
        if not job.attempts or job.attempts[-1].stopped is not None:
            changes["attempts"] = (*job.attempts, Attempt(number=len(job.attempts) + 1, queue=job.queue))
        if note := self._launcher.note_for(queue):
            changes["notes"] = tuple(dict.fromkeys((*job.notes, note)))
        live.settling = False
        pending = job.state is JobState.PENDING
        job = replace(job, **changes) if pending else job.become(JobState.PENDING, **changes)
        self._change(live, job)
        number = len(job.attempts)
        live.reference = self._launcher.launch(live.record)
        self._begin(self._follow(live, number, live.reference))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself; the loop alone would keep only a weak reference to it."""
        task = asyncio.get_running_loop().create_task(work)
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, live: LiveJob, attempt: int, reference: Any) -> None:
        """Wait for Ray's answer, whatever it is."""
        try:
            await reference
            # The line has told it already, or else it is on disk: a worker writes it down before it answers Ray.
            if not self._is_current(live, attempt):
                return
            outcome = await asyncio.to_thread(self._folder(live.record).read_outcome, attempt)
            if outcome is None:
                raise InternalError("its outcome is not on the share; is the share the same on all machines?")
        except Exception as error:
            failure, sentence = classify(error)
            if failure is FailureClass.CRASH and self._launcher.hit_by_mistake(live.record):
                failure = FailureClass.NODE_LOST
            outcome = {"ok": False, "failure": str(failure), "error": sentence, "stopped": time.time()}
        await self._ended(live, attempt, outcome)

    def _is_current(self, live: LiveJob, attempt: int) -> bool:
        """Tell whether that attempt can still be settled."""
        job = live.record
        return not live.settling and not job.state.terminal and attempt == len(job.attempts)

    def _folder(self, job: Job) -> JobFolder:
        return JobFolder(self._settings.share_path, job.uuid)

    def _started(self, live: LiveJob, event: Mapping[str, Any]) -> None:
        attempt = {"started": event["time"], "node": event["node"], "pid": event["pid"]}
        job = live.record
        attempts = (*job.attempts[:-1], replace(job.attempts[-1], **attempt))
        self._change(live, job.become(JobState.RUNNING, started=event["time"], attempts=attempts))
        self._journal.change_soon(live.record)
        loop = asyncio.get_running_loop()
        live.overdue = loop.call_later(self._limit(job), self._overdue, live, len(job.attempts))

    def _limit(self, job: Job) -> float:
        return min(job.time_limit, self._settings.time_limit_of(self._settings.queue_table[job.queue]))

    def _overdue(self, live: LiveJob, attempt: int) -> None:
        """End an attempt that ran into its time limit; Ray's answer then leads to `_ended`."""
        if self._is_current(live, attempt):
            live.stopped_for = FailureClass.TIMEOUT
            self._launcher.kill(live.reference, live.record)

    async def _ended(self, live: LiveJob, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Settle an attempt. Only the first word about the current attempt counts."""
        if not self._is_current(live, attempt):
            return
        if live.stopped_for is FailureClass.TIMEOUT:
            error = timeout_sentence(self._limit(live.record))
            outcome = {**outcome, "ok": False, "failure": "timeout", "error": error, "result": None}
        live.cancel_timer()
        job = self._with_outcome(live.job, outcome)
        if outcome["ok"]:
            await self._settle(live, job.become(JobState.SUCCESS, error=None))
            return
        failure = job.attempts[-1].failure
        assert failure is not None
        await self._failed(live, job, failure, str(outcome["error"]))

    async def _failed(self, live: LiveJob, job: Job, failure: FailureClass, error: str) -> None:
        """End a job whose attempt failed, or begin its next attempt."""
        queue = after_failure(self._settings.queue_table, job.queue, failure, job.failures)
        if queue is None or job.interruptions > MAX_INTERRUPTIONS:
            await self._settle(live, job.become(JobState.FAILURE, error=error))
            return
        live.settling = True
        live.start_over()
        again = replace(job.become(JobState.RETRY, queue=queue, started=None), total=None, steps=())
        self._change(live, again)
        await self._journal.change(again)
        self._launch(live)

    def _with_outcome(self, job: Job, outcome: Mapping[str, Any]) -> Job:
        stopped = outcome.get("stopped") or time.time()
        failure = FailureClass(outcome["failure"]) if outcome.get("failure") else None
        ended: dict[str, Any] = {"stopped": stopped, "failure": failure}
        changes: dict[str, Any] = {"result": outcome.get("result")}
        if outcome.get("started"):
            ended["started"] = changes["started"] = outcome["started"]
        if outcome.get("steps") is not None:
            changes["steps"] = tuple(StepRecord(info=info, duration=seconds) for info, seconds in outcome["steps"])
            changes["total"] = outcome.get("total")
        return job.with_attempt(ended, **changes)

    def _closed(self, live: LiveJob, failure: FailureClass) -> Job:
        job = live.job
        return job.with_attempt({"stopped": time.time(), "failure": failure}) if job.attempts else job

    async def _settle(self, live: LiveJob, job: Job) -> None:
        """Write a job's end, then show it: a client must never see an end that a restart could take back."""
        live.settling = True
        await self._journal.change(job)
        self._change(live, job)
        self._live.pop(job.uuid, None)
        self._recent[job.uuid] = job
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def _change(self, live: LiveJob, job: Job) -> None:
        self._count_change(live.record.state, job.state)
        live.become(job)

    def _count_change(self, old: JobState | None, new: JobState) -> None:
        if old is not None:
            self._counts[old] = max(0, self._counts.get(old, 0) - 1)
        self._counts[new] = self._counts.get(new, 0) + 1

    # --- After a restart ---------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Take up every job that had not ended: what a worker left decides, else it is run again."""
        for job in self._store.live():
            live = self._live[job.uuid] = LiveJob(job)
            self._begin(self._take_up(live))

    async def _take_up(self, live: LiveJob) -> None:
        job = live.record
        attempt = len(job.attempts)
        if not attempt or job.state is JobState.RETRY:
            self._launch(live)
            return
        outcome = await asyncio.to_thread(self._folder(job).read_outcome, attempt)
        if outcome is None:
            _log.info("job %s: attempt %d was cut short by a restart", job.uuid, attempt)
            error = f"The platform was restarted {MAX_INTERRUPTIONS + 1} times while the job ran; it was given up."
            outcome = {"ok": False, "failure": str(FailureClass.NODE_LOST), "error": error}
        await self._ended(live, attempt, outcome)
