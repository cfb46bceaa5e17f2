"""The life of a job, from the moment it is accepted to its end on disk: its turn, its attempts, retries, cancelling.

accept -> journal -> turn -> attempt -> outcome -> journal -> watchers
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pixyz_ray.cluster.attempts import Attempts
from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.finder import JobFinder
from pixyz_ray.cluster.gpus import Grant
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.live import Feed, LiveJob
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.cluster.turns import Turns
from pixyz_ray.cluster.weight import is_light
from pixyz_ray.failure import LOST, FailureClass, cut_short_sentence, timeout_sentence
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.logs import job_logger
from pixyz_ray.meters import SUCCESS, Meters
from pixyz_ray.retries import next_attempt, times_failed
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore, StoreUnusable
from pixyz_worker.exception import InvalidBackendParameter

_log = logging.getLogger(__name__)
_RECENT = 2000
_SETTLING_S = 0.005
_CALL_UP_AGAIN_S = 1.0


class Lifecycle(JobFinder):
    """All jobs that have not ended, on one event loop.

    Args:
        settings: the platform's settings.
        store: where jobs are written down.
    """

    def __init__(self, settings: Settings, store: JobStore) -> None:
        super().__init__(store)
        self.settings = settings
        self.access.on_change = self._store_changed
        self.journal = Journal(self.access)
        self.counts = store.counts()
        self.meters = Meters()
        self.turns = Turns(settings, self._begin_turn)
        self.attempts = Attempts(self, settings)
        self._pinning: Counter[str] = Counter()
        self._working: set[asyncio.Task[None]] = set()
        self._called_up: list[str] = []
        self._calling_up = False

    # --- The store ---------------------------------------------------------------------------------------------------

    def _store_changed(self) -> None:
        """Pause dispatching while the store is unavailable: records could be neither read nor written."""
        self.dispatch_unless_in_trouble()

    def dispatch_unless_in_trouble(self) -> None:
        """Pause dispatching while the store is unavailable or no machine can run jobs, else resume it."""
        nodes = self.attempts.nodes
        if (trouble := self.access.trouble or (None if nodes is None else nodes.trouble())) is not None:
            self.turns.pause(trouble)
        else:
            self.turns.go_on()

    def off_end(self, uuid: str, callback: Callable[[Job], None]) -> None:
        """Remove a callback of `on_end` that has not been called."""
        callbacks = self._on_end.get(uuid)
        if callbacks is not None and callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del self._on_end[uuid]

    # --- Beginning ---------------------------------------------------------------------------------------------------

    async def accept(
        self, job: Job, graph: Graph | None = None, begin: Callable[[LiveJob], None] | None = None
    ) -> dict[str, Any]:
        """Write a job down, then let it wait for its turn; one that stands for a graph is begun by who knows graphs.

        Raises:
            QueueFull: too many are waiting; nothing of it is kept.
            EngineNotReady: the store does not take it.
        """
        known = self.in_memory(job.uuid)
        if known is not None:
            return known.as_state()
        answer = job.as_state()
        if job.state is JobState.SENT:
            self._check_room(job)
            job = self._with_gpu_note(job).become(JobState.PENDING)
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
            job_logger(_log, job.uuid).error("may be lost: %s", error)
            raise EngineNotReady(
                "The job store does not answer, so that it is not certain that the job was accepted. List the jobs, or "
                "send it again."
            ) from error
        return answer

    def _with_gpu_note(self, job: Job) -> Job:
        """Return a job with a note if it requires a GPU that no machine has now.

        Raises:
            InvalidBackendParameter: none will ever have it.
        """
        if (why := self.turns.never_fits(job)) is not None:
            raise InvalidBackendParameter(
                f"{why[0].upper()}{why[1:]}. Ask for less 'gpu_memory', or for 'gpu': 'prefer'."
            )
        grant = self.turns.gpu_grant(job)
        # A job that runs on CPU gets its note when it begins.
        return replace(job, notes=(*job.notes, grant.note)) if grant.waits and grant.note else job

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
        self._called_up.append(uuid)
        if not self._calling_up:
            self._calling_up = True
            self.begin(self._call_up())

    async def _call_up(self) -> None:
        """Fetch the records of dispatched jobs in batches, and begin the jobs."""
        try:
            while self._called_up:
                uuids, self._called_up = self._called_up, []
                await self._begin_stored(uuids)
        finally:
            # Whatever went wrong, the next job whose turn has come starts this again.
            self._calling_up = False
        self.turns.pump()

    async def _begin_stored(self, uuids: Sequence[str]) -> None:
        try:
            found = await self.access.read(self.store.get_many, uuids)
        except StoreUnusable:
            self._put_back(uuids)
            return
        except Exception:
            # A fault of ours: not at once again, or nothing else would be done.
            _log.exception("the records of %d jobs whose turn had come could not be read", len(uuids))
            asyncio.get_running_loop().call_later(_CALL_UP_AGAIN_S, self._put_back, uuids)
            return
        for uuid in uuids:
            self._take_turn(uuid, found.get(uuid))

    def _put_back(self, uuids: Sequence[str]) -> None:
        for uuid in uuids:
            self.turns.put_back(uuid)
        self.turns.pump()

    def _take_turn(self, uuid: str, stored: Job | None) -> None:
        """Begin a job with its record from the store, unless it has ended meanwhile."""
        job = self.in_memory(uuid) or stored
        if job is None or job.state.terminal:
            if job is None:
                job_logger(_log, uuid).error("its turn has come, and it has no record")
            self.turns.release(uuid)
            return
        self.begin(self.take_up(self._as_live(job)))

    def start(self, uuid: str, feed: Feed | None, *, wants_value: bool) -> None:
        """Start the job of a node; nothing is written yet, since its graph is."""
        live = self.live_node(uuid)
        live.feed, live.wants_value = feed, wants_value
        self.attempts.launch(live)

    def gpu_grant(self, job: Job) -> Grant:
        """Return what a job gets of the cluster's GPUs now."""
        return self.turns.gpu_grant(job)

    def has_no_machine(self, uuid: str) -> None:
        """Record that Ray has a job that no machine can run now: those behind it may begin meanwhile."""
        self.turns.park(uuid)

    def has_started(self, live: LiveJob) -> None:
        """Record that an attempt has begun."""
        job = live.record
        self.turns.unpark(job.uuid)
        if job.retry == 0 and job.started is not None:
            self.meters.started(job.queue, max(0.0, job.started - job.requested))
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
        elif live.stopped_for is FailureClass.NODE_LOST:
            if live.record.attempts[-1].started is None and live.record.state is JobState.PENDING:
                self._take_back(live, attempt)
                return
            outcome = {**outcome, **_interrupted(live)}
        self.attempts.close(live, attempt)
        self.turns.release(live.record.uuid)
        if outcome.get("refused_by") is not None:
            # Only now that the attempt is closed: what waits may be taken back, to be placed on other machines.
            outcome = self._refused_by_machine(live, outcome)
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

    def _take_back(self, live: LiveJob, attempt: int) -> None:
        """Put a job back in line whose attempt was taken back before it began: there is nothing to record."""
        self.attempts.close(live, attempt)
        live.start_over()
        self.change(live, replace(live.record, attempts=live.record.attempts[:-1]))
        self.turns.put_back(live.record.uuid)
        # Nothing else may happen that gives it its turn.
        self.turns.pump()

    def _refused_by_machine(self, live: LiveJob, outcome: Mapping[str, Any]) -> Mapping[str, Any]:
        """Record that a machine has refused an attempt, before it is launched again; return the outcome for it."""
        if live.record.attempts[-1].started is not None or outcome.get("started"):
            # No worker refuses an attempt that has begun; the script may forge such a report.
            return outcome
        if (nodes := self.attempts.nodes) is not None:
            nodes.on_refusal(outcome["refused_by"], str(outcome["error"]), unfit=bool(outcome.get("unfit")))
        return {**outcome, "uncounted": True}

    def _measure(self, job: Job) -> None:
        last = job.attempts[-1]
        outcome = SUCCESS if last.failure is None else str(last.failure)
        if last.failure is not None:
            self.meters.attempt_failed(last.queue, outcome)
        if last.started is not None and last.stopped is not None:
            self.meters.ended(last.queue, outcome, max(0.0, last.stopped - last.started))

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
        live.start_over()
        if failure is FailureClass.NODE_LOST and live.feed is not None:
            self.followers.feed_again(live, None)
        not_before = time.time() + again.delay_s if again.delay_s else None
        # The next queue has its own time limit; on the same queue the job keeps the one that it has.
        same = again.queue == job.queue
        limit = job.time_limit if same else self.settings.time_limit_of(self.settings.queue_table[again.queue])
        job = job.become(JobState.RETRY, queue=again.queue, time_limit=limit, started=None)
        self._change_and_wait(live, replace(job, total=None, steps=(), not_before=not_before))

    def input_lost(self, live: LiveJob, attempt: int, object_id: str) -> None:
        """Take back an attempt that could not begin since its input was lost with a machine: it is not a retry.

        Args:
            live: the job.
            attempt: number of the attempt.
            object_id: Ray's id of the lost object; empty if it is not known.
        """
        if not live.is_running(attempt):
            return
        self.attempts.close(live, attempt)
        self.turns.release(live.record.uuid)
        self.followers.failed(live.record.uuid)
        live.start_over()
        self.followers.feed_again(live, object_id)
        job = replace(live.record, attempts=live.record.attempts[:-1])
        if job.attempts:
            job = job.become(JobState.RETRY)
        self._change_and_wait(live, job)

    def run_again(self, job: Job, reason: str) -> None:
        """Run a node again that has succeeded, since its value is lost."""
        self._recent.pop(job.uuid, None)
        live = self.live[job.uuid] = LiveJob(job)
        self._change_and_wait(live, job.run_again(reason))

    def _change_and_wait(self, live: LiveJob, job: Job) -> None:
        """Write a changed job down, then let it wait for its turn."""
        live.settling = True
        self.change(live, job)
        self.journal.change(job, lambda written: self._wait_again(live, written))

    def _wait_again(self, live: LiveJob, written: Job) -> None:
        if self.refused(live, written):
            return
        live.settling = False
        if not live.record.state.terminal:
            self._get_in_line(live.record)

    def refused(self, live: LiveJob, written: Job) -> bool:
        """End a live job if the store has refused its record; return whether it has."""
        if not written.state.terminal:
            return False
        self.turns.withdraw(written.uuid)
        self.followers.ended(live, written)
        self._show_end(live, written, None)
        return True

    def _get_in_line(self, job: Job) -> None:
        self.turns.wait(job.uuid, job, job.requested)
        self.turns.pump()

    def settle(self, live: LiveJob, job: Job, then: Callable[[], None] | None = None) -> None:
        """Write a job's end, then show it: a client must never see an end that a restart could take back."""
        live.settling = True
        self.turns.withdraw(job.uuid)
        self.followers.ended(live, job)
        unseen = job.graph is not None and then is None and job.uuid not in self._on_end and not live.is_watched
        self.journal.change(job, lambda written: self._show_end(live, written, then), patient=unseen)

    def _show_end(self, live: LiveJob, job: Job, then: Callable[[], None] | None) -> None:
        self.change(live, job)
        self.live.pop(job.uuid, None)
        # A large job is read from the store on demand.
        if is_light(job):
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
            self.access.check()
            live = await self.find_live(uuid)
            while live.settling and not live.record.state.terminal:
                await asyncio.sleep(_SETTLING_S)
            job = replace(await self.find(uuid), pinned=pinned)
            if uuid in self.live:
                live.record = job
            if uuid in self._recent:
                self._recent[uuid] = job
            written = asyncio.get_running_loop().create_future()
            self.journal.change(job, lambda _written: written.set_result(None))
            await written
        finally:
            self._pinning[uuid] -= 1
            self._pinning += Counter()
        return job.as_state()

    def is_needed(self, uuid: str) -> bool:
        """Return whether a job cannot be removed now, whatever the store says of it."""
        return uuid in self.live or uuid in self._pinning

    def forget(self, uuids: Sequence[str], states: Mapping[str, int]) -> None:
        """Forget jobs that were removed, so many of each state."""
        for uuid in uuids:
            self._recent.pop(uuid, None)
        for state, number in states.items():
            self.counts[state] = max(0, self.counts.get(state, 0) - number)

    def is_over(self, uuid: str) -> None:
        """Record that nothing of a cancelled job runs any more: what it held is free."""
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
        """Return whether a job was launched ahead of its turn, which has not come yet."""
        return self.followers.is_ahead(uuid)

    def hands_over(self, uuid: str) -> bool:
        """Return whether Ray has been given the tasks that follow a job."""
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


def _interrupted(live: LiveJob) -> dict[str, Any]:
    """Return the fields that replace those of an outcome whose attempt the platform ended; the signal was ours."""
    error = live.stop_message or LOST
    nothing = dict.fromkeys(("result", "awaits", "retry_after", "signal", "exit_code"))
    failure = str(FailureClass.NODE_LOST)
    return {"ok": False, "failure": failure, "error": error, "sentence": error, "uncounted": True, **nothing}
