"""The life of a job, from the moment it is accepted to its end on disk: its turn, its attempts, retries, cancelling.

accept -> journal -> turn -> attempt -> outcome -> journal -> watchers
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from pixyz_ray.cluster.attempts import Attempts
from pixyz_ray.cluster.errors import EngineNotReady, UnknownJob
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.live import Feed, LiveJob
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.cluster.turns import Turns
from pixyz_ray.failure import FailureClass, cut_short_sentence, timeout_sentence
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.logs import job_logger
from pixyz_ray.meters import SUCCESS, Meters
from pixyz_ray.retries import next_attempt, times_failed
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore, StoreUnusable

_log = logging.getLogger(__name__)
_RECENT = 2000
_SETTLING_S = 0.005


class Followers(Protocol):
    """Who must hear at once that a job has ended: the graphs, whose next nodes are waiting for it."""

    def ended(self, live: LiveJob, job: Job) -> None:
        """Take note of a job's end, just before it is written."""

    def waiting(self, uuid: str) -> Job | None:
        """Return the job of a node whose turn has not come, or None."""

    def begin_node(self, uuid: str) -> bool:
        """Begin a node whose turn has come; False for what is none, or has begun before and is tried again."""

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

    followers: Followers

    def __init__(self, settings: Settings, store: JobStore) -> None:
        self.settings = settings
        self.store = store
        self.journal = Journal(store)
        self.counts = store.counts()
        self.meters = Meters()
        self.live: dict[str, LiveJob] = {}
        self.turns = Turns(settings, self._begin_turn)
        self.attempts = Attempts(self, settings)
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._pinning: Counter[str] = Counter()
        self._on_end: dict[str, list[Callable[[Job], None]]] = {}
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
        """Write a job down, then let it wait for its turn; one that stands for a graph is begun by who knows graphs.

        Raises:
            QueueFull: too many are waiting; nothing of it is kept.
            EngineNotReady: the store does not take it.
        """
        if job.uuid in self.live or job.uuid in self._recent:
            return self.find(job.uuid).as_state()
        answer = job.as_state()
        if job.state is JobState.SENT:
            self._check_room(job)
            job = job.become(JobState.PENDING)
        live = self.live[job.uuid] = LiveJob(job)
        try:
            await self.journal.add(job, graph)
        except BaseException:
            del self.live[job.uuid]
            raise
        self.count(None, job.state)
        (begin or self._wait)(live)
        # The job is accepted once the disk has it; Ray finds a worker for it meanwhile.
        try:
            await self.journal.synced()
        except StoreUnusable as error:
            raise EngineNotReady(str(error)) from error
        return answer

    def _check_room(self, job: Job) -> None:
        try:
            self.turns.check_room(job.submitter)
        except Exception:
            self.meters.rejected()
            raise

    def _wait(self, live: LiveJob) -> None:
        """Let a job wait for its turn, which may come at once."""
        self._get_in_line(live.record)
        # Thousands may wait: the store has them, and here they need no more than their place in line.
        if live.reference is None and not live.record.attempts and not live.is_watched:
            self.live.pop(live.record.uuid, None)

    def _begin_turn(self, uuid: str) -> None:
        """Begin the job whose turn has come."""
        if self.followers.begin_node(uuid):
            return
        live = self.live.get(uuid)
        if live is not None:
            self.attempts.launch(live)
            return
        try:
            self.begin(self.take_up(self.find_live(uuid)))
        except (UnknownJob, StoreUnusable):
            job_logger(_log, uuid).exception("cannot be begun")
            self.turns.release(uuid)

    def start(self, uuid: str, feed: Feed | None, *, wants_value: bool) -> None:
        """Start the job of a node; nothing is written yet, since its graph is."""
        live = self.find_live(uuid)
        live.feed, live.wants_value = feed, wants_value
        self.attempts.launch(live)

    def has_started(self, live: LiveJob) -> None:
        """Take note that an attempt has begun."""
        job = live.record
        if job.retry == 0 and job.started is not None:
            self.meters.started(job.queue, job.started - job.requested)
        self.journal.change_soon(job)
        self.followers.started(job.uuid)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself; the loop alone would keep only a weak reference to it."""
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    # --- An attempt has ended ----------------------------------------------------------------------------------------

    def take_outcome(self, live: LiveJob, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Settle an attempt. Only the first word about the current attempt counts."""
        if not live.is_running(attempt):
            return
        if live.stopped_for is FailureClass.TIMEOUT:
            error = timeout_sentence(live.record.time_limit)
            # The signal that ended it was ours, and says nothing.
            ours = {"ok": False, "failure": "timeout", "error": error, "sentence": error, "result": None}
            outcome = {**outcome, **ours, "signal": None, "exit_code": None}
        self.attempts.close(live, attempt)
        self.turns.release(live.record.uuid)
        if outcome["ok"] and not outcome.get("awaits"):
            job = live.with_outcome(outcome, JobState.SUCCESS)
            self._measure(job)
            self.settle(live, job)
        elif outcome["ok"]:
            job = live.with_outcome(outcome)
            self.followers.wait_for(live, replace(job, awaits=outcome["awaits"], result=None))
        else:
            self._failed(live, live.with_outcome(outcome), str(outcome["error"]), outcome.get("retry_after"))
        self.turns.pump()

    def _measure(self, job: Job) -> None:
        last = job.attempts[-1]
        outcome = SUCCESS if last.failure is None else str(last.failure)
        if last.failure is not None:
            self.meters.attempt_failed(last.queue, outcome)
        if last.started is not None and last.stopped is not None:
            self.meters.ended(last.queue, outcome, last.stopped - last.started)

    def _failed(self, live: LiveJob, job: Job, error: str, asked_delay_s: float | None = None) -> None:
        """End a job whose attempt failed, or let it wait for its next attempt."""
        failure = job.attempts[-1].failure
        assert failure is not None
        self._measure(job)
        self.followers.failed(job.uuid)
        again = next_attempt(job, self.settings.queue_table, asked_delay_s)
        log = job_logger(_log, job.uuid, len(job.attempts))
        if again is None:
            log.info("%s: the job has failed", failure, extra={"queue": job.queue})
            if failure is FailureClass.NODE_LOST:
                error = f"{error}\n{cut_short_sentence(times_failed(job, failure))}"
            self.settle(live, job.become(JobState.FAILURE, error=error, stopped=job.attempts[-1].stopped))
            return
        self.meters.retried(job.attempts[-1].queue, str(failure))
        log.warning("%s: tried again on %s", failure, again.queue, extra={"queue": job.queue})
        live.settling = True
        live.start_over()
        if failure is FailureClass.NODE_LOST and live.feed is not None:
            live.feed = self.followers.feed_again(job.uuid)
        not_before = time.time() + again.delay_s if again.delay_s else None
        # The next queue has its own time limit; on the same queue the job keeps the one that it has.
        same = again.queue == job.queue
        limit = job.time_limit if same else self.settings.time_limit_of(self.settings.queue_table[again.queue])
        job = job.become(JobState.RETRY, queue=again.queue, time_limit=limit, started=None)
        job = replace(job, total=None, steps=(), not_before=not_before)
        self.change(live, job)
        self.journal.change(job, lambda: self._wait_again(live))

    def _wait_again(self, live: LiveJob) -> None:
        live.settling = False
        if not live.record.state.terminal:
            self._get_in_line(live.record)

    def _get_in_line(self, job: Job) -> None:
        self.turns.wait(job.uuid, job, job.requested)
        self.turns.pump()

    def settle(self, live: LiveJob, job: Job, then: Callable[[], None] | None = None) -> None:
        """Write a job's end, then show it: a client must never see an end that a restart could take back."""
        live.settling = True
        self.turns.withdraw(job.uuid)
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
        # What is just being written, such as that it is tried again, may still be followed by this.
        while live.settling and not live.record.state.terminal:
            await asyncio.sleep(_SETTLING_S)
        if live.record.state.terminal:
            return
        # On disk before anything is killed: a cancelled job must not come back after a restart.
        written = asyncio.get_running_loop().create_future()
        job_logger(_log, live.record.uuid).info("cancelled")
        usage = self.attempts.used(live)
        job = live.closed(FailureClass.CANCELLED, error=error, **usage).become(JobState.REVOKED, error=error)
        self.settle(live, job, lambda: written.set_result(None))
        await written
        self.attempts.end_cancelled(live)

    async def pin(self, uuid: str, pinned: bool) -> dict[str, Any]:
        """Keep a job whatever its age, or not; return its JobState."""
        self._pinning[uuid] += 1
        try:
            live = self.find_live(uuid)
            while live.settling and not live.record.state.terminal:
                await asyncio.sleep(_SETTLING_S)
            job = replace(self.find(uuid), pinned=pinned)
            if uuid in self.live:
                live.record = job
            if uuid in self._recent:
                self._recent[uuid] = job
            written = asyncio.get_running_loop().create_future()
            self.journal.change(job, lambda: written.set_result(None))
            await written
        finally:
            self._pinning[uuid] -= 1
            self._pinning += Counter()
        return job.as_state()

    def is_needed(self, uuid: str) -> bool:
        """Tell whether a job cannot be removed now, whatever the store says of it."""
        return uuid in self.live or uuid in self._pinning

    def forget(self, uuids: Sequence[str], states: Mapping[str, int]) -> None:
        """Forget jobs that were removed, so many of each state."""
        for uuid in uuids:
            self._recent.pop(uuid, None)
        for state, number in states.items():
            self.counts[state] = max(0, self.counts.get(state, 0) - number)

    def is_over(self, uuid: str) -> None:
        """Take note that nothing of a cancelled job runs any more: what it held is free."""
        self.turns.release(uuid)
        self.turns.pump()

    def change(self, live: LiveJob, job: Job) -> None:
        """Show a changed job."""
        self.count(live.record.state, job.state)
        live.become(job)

    def count(self, old: JobState | None, new: JobState, number: int = 1) -> None:
        """Keep count of jobs by state."""
        if old is not None:
            self.counts[old] = max(0, self.counts.get(old, 0) - number)
        self.counts[new] = self.counts.get(new, 0) + number

    # --- Asked by attempts -------------------------------------------------------------------------------------------

    def is_ahead(self, uuid: str) -> bool:
        """Tell whether a job was launched ahead of its turn, which has not come yet."""
        return self.followers.is_ahead(uuid)

    def hands_over(self, uuid: str) -> bool:
        """Tell whether Ray has been given what comes after a job."""
        return self.followers.hands_over(uuid)

    # --- After a restart ---------------------------------------------------------------------------------------------

    async def take_up(self, live: LiveJob) -> None:
        """Take up a job where it was left: what a worker has left of it decides, else it is run (again)."""
        job = live.record
        if job.state is JobState.RETRY:
            self.attempts.launch(live)
            return
        attempt = max(1, len(job.attempts))
        outcome = await share_threads().wait_for(partial(self.attempts.left_outcome, job, attempt))
        if live.settling or live.record.state.terminal:
            self.turns.release(job.uuid)
        elif outcome is None and not job.attempts:
            self.attempts.launch(live)
        else:
            if not job.attempts:
                # It had run before anything of that was written down.
                self.change(live, replace(job, attempts=(Attempt(number=1, queue=job.queue),)))
            elif outcome is None:
                job_logger(_log, job.uuid, attempt).info("cut short by a restart")
                error = "The platform was restarted while the attempt ran."
                outcome = {"ok": False, "failure": str(FailureClass.NODE_LOST), "error": error}
            assert outcome is not None
            self.take_outcome(live, attempt, outcome)
