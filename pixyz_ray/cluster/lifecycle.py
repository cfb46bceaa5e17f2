"""The life of a job, from the moment it is accepted to its end on disk: attempts, retries, time limits, cancelling.

accept -> journal -> Ray task -> events -> outcome -> journal -> watchers
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from pixyz_ray.cluster.answers import Answers
from pixyz_ray.cluster.errors import EngineNotReady, UnknownJob
from pixyz_ray.cluster.failures import classify, timeout_sentence
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.live import Feed, LiveJob
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Attempt, FailureClass, Job, JobState
from pixyz_ray.node_outcomes import find_outcome
from pixyz_ray.queues import MAX_INTERRUPTIONS, after_failure
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.store import JobStore, StoreUnusable
from pixyz_worker.exception import InternalError

_log = logging.getLogger(__name__)
_RECENT = 2000
_HANDOVER_S = 0.0015


class Followers(Protocol):
    """Who must hear at once that a job has ended: the graphs, whose next nodes are waiting for it."""

    def ended(self, live: LiveJob, job: Job) -> None:
        """Take note of a job's end, just before it is written."""

    def waiting(self, uuid: str) -> Job | None:
        """Return the job of a node whose turn has not come, or None."""

    def members(self, group: Job) -> list[Job]:
        """Return the jobs of a group's members."""

    def started(self, uuid: str) -> None:
        """Take note that a job has begun to run."""

    def hands_over(self, uuid: str) -> bool:
        """Tell whether Ray has been given what comes after a job."""

    def failed(self, uuid: str) -> None:
        """Take note that an attempt of a job has failed, whether there will be another or not."""

    def is_ahead(self, uuid: str) -> bool:
        """Tell whether a node was launched ahead of its turn, which has not come yet."""

    def feed_again(self, uuid: str) -> Feed | None:
        """Return what a node's params are made of, without what may be lost."""

    def wait_for(self, live: LiveJob, job: Job) -> None:
        """Let a job last until the one that it awaits has ended."""


class Lifecycle:
    """All jobs that have not ended, on one event loop.

    Args:
        settings: the platform's settings.
        store: where jobs are written down.
    """

    launcher: Launcher
    followers: Followers

    def __init__(self, settings: Settings, store: JobStore) -> None:
        self.settings = settings
        self.store = store
        self.journal = Journal(store)
        self.counts = store.counts()
        self.live: dict[str, LiveJob] = {}
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._on_end: dict[str, list[Callable[[Job], None]]] = {}
        self.answers = Answers(self.begin)
        self._working: set[asyncio.Task[None]] = set()

    def find(self, uuid: str) -> Job:
        """Return a job.

        Raises:
            UnknownJob: there is none of that id.
        """
        live = self.live.get(uuid)
        if live is not None:
            return live.job
        job = self._recent.get(uuid) or self.followers.waiting(uuid) or self.store.get(uuid)
        if job is None:
            raise UnknownJob(f"There is no job {uuid}.")
        return job

    def find_live(self, uuid: str) -> LiveJob:
        """Return a job to be watched or changed; of one that has ended, a passing view."""
        live = self.live.get(uuid)
        if live is None:
            live = LiveJob(self.find(uuid))
            if not live.record.state.terminal:
                self.live[uuid] = live
        return live

    def result_of(self, job: Job) -> Any:
        """Return the result of a job that has ended well; a group's is the list of what its members' handles give."""
        return [self.value_of(member) for member in self.followers.members(job)] if job.kind == "group" else job.result

    def value_of(self, job: Job) -> Any:
        """Return what a job's handle gives."""
        return self.result_of(job) if job.kind == "group" else job.value

    def on_end(self, uuid: str, callback: Callable[[Job], None]) -> None:
        """Call back with a job when its end is on disk, which may be now."""
        job = self.find(uuid)
        if job.state.terminal:
            callback(job)
        else:
            self._on_end.setdefault(uuid, []).append(callback)

    # --- Beginning ---------------------------------------------------------------------------------------------------

    async def accept(
        self, job: Job, graph: Graph | None = None, begin: Callable[[LiveJob], None] | None = None
    ) -> dict[str, Any]:
        """Write a job down, then launch it; one that stands for a graph is begun by whoever knows graphs."""
        if job.uuid in self.live or job.uuid in self._recent:
            return self.find(job.uuid).as_state()
        live = self.live[job.uuid] = LiveJob(job)
        try:
            await self.journal.add(job, graph)
        except BaseException:
            del self.live[job.uuid]
            raise
        self.count(None, job.state)
        answer = job.as_state()
        (begin or self.launch)(live)
        # The job is accepted once the disk has it; Ray finds a worker for it meanwhile.
        try:
            await self.journal.synced()
        except StoreUnusable as error:
            raise EngineNotReady(str(error)) from error
        return answer

    def start(self, uuid: str, feed: Feed | None, *, wants_value: bool) -> None:
        """Start the job of a node; nothing is written yet, since its graph is."""
        live = self.find_live(uuid)
        live.feed, live.wants_value = feed, wants_value
        self.launch(live)

    def launch(self, live: LiveJob) -> None:
        """Begin the next attempt."""
        job = live.record
        queue = self.settings.queue_table[job.queue]
        changes: dict[str, Any] = {}
        if not job.attempts or job.attempts[-1].stopped is not None:
            changes["attempts"] = (*job.attempts, Attempt(number=len(job.attempts) + 1, queue=job.queue))
        if note := self.launcher.note_for(queue):
            changes["notes"] = tuple(dict.fromkeys((*job.notes, note)))
        live.settling = False
        pending = job.state is JobState.PENDING
        job = replace(job, **changes) if pending else job.become(JobState.PENDING, **changes)
        self.change(live, job)
        number = len(job.attempts)
        try:
            live.reference, live.value = self.launcher.launch(live)
        except Exception as error:
            _log.exception("job %s cannot be given to Ray", job.uuid)
            sentence = f"The platform could not give the job to Ray: {type(error).__name__}: {error}"
            outcome = {"ok": False, "failure": str(FailureClass.INTERNAL), "error": sentence}
            asyncio.get_running_loop().call_soon(self.take_outcome, live, number, outcome)
            return
        self.answers.expect(live.reference, partial(self._answered, live, number))

    def _answered(self, live: LiveJob, attempt: int, reference: Any) -> None:
        if not self._is_current(live, attempt):
            return
        if self.followers.is_ahead(live.record.uuid):
            # It may have had nothing to begin with: the word of the one before it is still to come.
            self.answers.expect(reference, partial(self._answered, live, attempt))
        else:
            self.begin(self._ray_answered(live, attempt, reference))

    def take_back(self, live: LiveJob) -> None:
        """Take back a job that was launched ahead of its turn."""
        self.answers.forget(live.reference)
        self.launcher.withdraw(live.reference)
        job = live.record
        live.start_over()
        live.feed = None
        if job.state is JobState.PENDING:
            self.change(live, replace(job, attempts=job.attempts[:-1]))
        else:
            lost = job.with_attempt({"stopped": time.time(), "failure": FailureClass.NODE_LOST})
            self.change(live, lost.become(JobState.RETRY, started=None, total=None, steps=()))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself; the loop alone would keep only a weak reference to it."""
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    # --- Running -----------------------------------------------------------------------------------------------------

    async def _ray_answered(self, live: LiveJob, attempt: int, reference: Any) -> None:
        """Take Ray's answer, whatever it is, where the worker's own word has not come."""
        try:
            await reference
            # The worker's word got lost, but it is on disk: it was written down before Ray was answered.
            outcome = await asyncio.to_thread(self._left_outcome, live.record, attempt)
            if outcome is None:
                raise InternalError("its outcome is not on the share; is the share the same on all machines?")
        except Exception as error:
            failure, sentence = classify(error)
            if failure is FailureClass.CRASH and self._is_anothers(live):
                failure = FailureClass.NODE_LOST
            outcome = {"ok": False, "failure": str(failure), "error": sentence, "stopped": time.time()}
        self.take_outcome(live, attempt, outcome)

    def _is_anothers(self, live: LiveJob) -> bool:
        """Tell whether a crash may be that of the node before, or a blow that was meant for the job before."""
        return live.has_nothing_to_begin_with or self.launcher.hit_by_mistake(live.record)

    def take_word(self, uuid: str, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Take what a worker says of the end of an attempt."""
        live = self.live.get(uuid)
        # Of an attempt that is being ended only Ray's answer counts: before it, the process is still there.
        if live is None or live.stopped_for is not None:
            return
        if self.followers.hands_over(uuid):
            # Ray goes on by itself; while it does, both need the processor, and nothing here is urgent.
            asyncio.get_running_loop().call_later(_HANDOVER_S, self.take_outcome, live, attempt, outcome)
        else:
            self.take_outcome(live, attempt, outcome)

    def take_event(self, uuid: str, attempt: int, event: Mapping[str, Any]) -> None:
        """Take over what a worker tells of a running attempt."""
        live = self.live.get(uuid)
        if live is None or not self._is_current(live, attempt):
            return
        if event.get("kind") == "started":
            self._started(live, event)
        else:
            live.take_event(event)

    def _started(self, live: LiveJob, event: Mapping[str, Any]) -> None:
        attempt = {"started": event["time"], "node": event["node"], "pid": event["pid"]}
        job = live.record
        attempts = (*job.attempts[:-1], replace(job.attempts[-1], **attempt))
        self.change(live, job.become(JobState.RUNNING, started=event["time"], attempts=attempts))
        self.journal.change_soon(live.record)
        loop = asyncio.get_running_loop()
        live.overdue = loop.call_later(self._limit(job), self._overdue, live, len(job.attempts))
        self.followers.started(job.uuid)

    def _limit(self, job: Job) -> float:
        return min(job.time_limit, self.settings.time_limit_of(self.settings.queue_table[job.queue]))

    def _overdue(self, live: LiveJob, attempt: int) -> None:
        """End an attempt that ran into its time limit; Ray's answer then leads to `take_outcome`."""
        if self._is_current(live, attempt):
            live.stopped_for = FailureClass.TIMEOUT
            self.launcher.kill(live.reference, live.record)

    def _is_current(self, live: LiveJob, attempt: int) -> bool:
        """Tell whether that attempt can still be settled."""
        job = live.record
        return not live.settling and not job.state.terminal and job.awaits is None and attempt == len(job.attempts)

    # --- Ending ------------------------------------------------------------------------------------------------------

    def take_outcome(self, live: LiveJob, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Settle an attempt. Only the first word about the current attempt counts."""
        if not self._is_current(live, attempt):
            return
        if live.stopped_for is FailureClass.TIMEOUT:
            error = timeout_sentence(self._limit(live.record))
            outcome = {**outcome, "ok": False, "failure": "timeout", "error": error, "result": None}
        live.cancel_timer()
        self.answers.forget(live.reference)
        if outcome["ok"] and not outcome.get("awaits"):
            self.settle(live, live.with_outcome(outcome, JobState.SUCCESS))
            return
        job = live.with_outcome(outcome)
        if not outcome["ok"]:
            failure = job.attempts[-1].failure
            assert failure is not None
            self._failed(live, job, failure, str(outcome["error"]))
        else:
            self.followers.wait_for(live, replace(job, awaits=outcome["awaits"], result=None))

    def _failed(self, live: LiveJob, job: Job, failure: FailureClass, error: str) -> None:
        """End a job whose attempt failed, or begin its next attempt."""
        self.followers.failed(job.uuid)
        queue = after_failure(self.settings.queue_table, job.queue, failure, job.failures)
        if queue is None or job.interruptions > MAX_INTERRUPTIONS:
            self.settle(live, job.become(JobState.FAILURE, error=error, stopped=job.attempts[-1].stopped))
            return
        live.settling = True
        live.start_over()
        if failure is FailureClass.NODE_LOST and live.feed is not None:
            live.feed = self.followers.feed_again(job.uuid)
        again = replace(job.become(JobState.RETRY, queue=queue, started=None), total=None, steps=())
        self.change(live, again)
        self.journal.change(again, lambda: self.launch(live))

    def settle(self, live: LiveJob, job: Job, then: Callable[[], None] | None = None) -> None:
        """Write a job's end, then show it: a client must never see an end that a restart could take back."""
        live.settling = True
        self.followers.ended(live, job)
        unseen = job.graph is not None and then is None and job.uuid not in self._on_end and not live.is_watched
        self.journal.change(job, lambda: self._show_end(live, job, then), patient=unseen)

    def _show_end(self, live: LiveJob, job: Job, then: Callable[[], None] | None) -> None:
        self.change(live, job)
        self.live.pop(job.uuid, None)
        self._recent[job.uuid] = job
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        for callback in self._on_end.pop(job.uuid, ()):
            callback(job)
        if then is not None:
            then()

    async def cancel(self, live: LiveJob, error: str) -> None:
        """Cancel a job; one that has ended, or is just ending, stays as it is."""
        if live.settling or live.record.state.terminal:
            return
        # On disk before anything is killed: a cancelled job must not come back after a restart.
        written = asyncio.get_running_loop().create_future()
        job = live.closed(FailureClass.CANCELLED).become(JobState.REVOKED, error=error)
        self.settle(live, job, lambda: written.set_result(None))
        await written
        self.answers.forget(live.reference)
        self.launcher.kill(live.reference, live.record)

    def change(self, live: LiveJob, job: Job) -> None:
        """Show a changed job."""
        self.count(live.record.state, job.state)
        live.become(job)

    def count(self, old: JobState | None, new: JobState, number: int = 1) -> None:
        """Keep count of jobs by state."""
        if old is not None:
            self.counts[old] = max(0, self.counts.get(old, 0) - number)
        self.counts[new] = self.counts.get(new, 0) + number

    # --- After a restart ---------------------------------------------------------------------------------------------

    async def take_up(self, live: LiveJob) -> None:
        """Take up a job that a restart has cut short: what a worker left decides, else it is run again."""
        job = live.record
        attempt = len(job.attempts)
        if not attempt or job.state is JobState.RETRY:
            self.launch(live)
            return
        outcome = await asyncio.to_thread(self._left_outcome, job, attempt)
        if outcome is None:
            _log.info("job %s: attempt %d was cut short by a restart", job.uuid, attempt)
            error = f"The platform was restarted {MAX_INTERRUPTIONS + 1} times while the job ran; it was given up."
            outcome = {"ok": False, "failure": str(FailureClass.NODE_LOST), "error": error}
        self.take_outcome(live, attempt, outcome)

    def _left_outcome(self, job: Job, attempt: int) -> dict[str, Any] | None:
        """Return what a worker left of an attempt on the share."""
        folder = JobFolder(self.settings.share_path, job.home or job.uuid)
        return folder.read_outcome(attempt) if job.home is None else find_outcome(folder, job.uuid, attempt)
