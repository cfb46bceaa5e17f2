r"""Attempts: each run of a job as a Ray task, from the order to the last word about it, whosever that is.

launch -> started -> the worker's word ------------------------------> settled
                 \-> time limit, cancel -> stop -> Ray's answer, and what the watchdog saw -> settled
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from pixyz_ray.cluster import messages
from pixyz_ray.cluster.answers import Answers
from pixyz_ray.cluster.dispatched import Dispatched
from pixyz_ray.cluster.failures import NOT_INSTALLED, WITHDRAWN, autopsy, classify, dead_node, lost_object
from pixyz_ray.cluster.gpus import Grant
from pixyz_ray.cluster.guards import LOOK_EVERY_S, SILENCE_S, Guards
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.lost_machines import LostMachines
from pixyz_ray.cluster.nodes import NodeRegistry
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.cluster.worker_census import WorkerCensus
from pixyz_ray.failure import LOST, FailureClass
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.logs import job_logger
from pixyz_ray.node_outcomes import find_outcome
from pixyz_ray.queues import find_queue
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_worker.exception import InternalError

_log = logging.getLogger(__name__)
_HANDOVER_S = 0.0015
_SPARE_AFTER_S = 0.3
_NOT_INSTALLED_PAUSE_S = 2.0
_CALL_PATIENCE_S = 0.6
_KILL_PATIENCE_S = 0.7
GRACE_S: Mapping[FailureClass, float] = {
    FailureClass.TIMEOUT: 0.5,
    FailureClass.CANCELLED: 1.0,
    FailureClass.NODE_LOST: 1.0,
}
"""Seconds between asking an attempt to end and killing it, by why it is to end."""


class Course(Protocol):
    """Who decides what follows: the life of the jobs."""

    live: dict[str, LiveJob]

    def change(self, live: LiveJob, job: Job) -> None:
        """Show a changed job."""

    def take_outcome(self, live: LiveJob, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Settle an attempt."""

    def input_lost(self, live: LiveJob, attempt: int, object_id: str) -> None:
        """Take back an attempt that could not begin, since an object that it was to get is lost."""

    def has_started(self, live: LiveJob) -> None:
        """Record that an attempt has begun."""

    def is_over(self, uuid: str) -> None:
        """Record that nothing of an attempt that was stopped is left."""

    def is_ahead(self, uuid: str) -> bool:
        """Return whether a job was launched ahead of its turn, which has not come yet."""

    def hands_over(self, uuid: str) -> bool:
        """Return whether Ray has been given the tasks that follow a job."""

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself."""

    def gpu_grant(self, job: Job) -> Grant:
        """Return what a job gets of the cluster's GPUs now."""

    def has_no_machine(self, uuid: str) -> None:
        """Record that Ray has a job that no machine of the cluster can run now."""


class Attempts:
    """The running attempts of all jobs, on one event loop.

    Args:
        course: what follows when one has begun or ended.
        settings: limits and folders.
    """

    launcher: Launcher
    nodes: NodeRegistry | None = None
    """Told where attempts run, and which machines are lost."""

    def __init__(self, course: Course, settings: Settings) -> None:
        self._course = course
        self._settings = settings
        self.answers = Answers(course.begin)
        self.guards = Guards(self._fell_silent, self._machine_lost)
        self.machines = LostMachines(self._avoid)
        self.dispatched = Dispatched()
        self.workers = WorkerCensus()

    async def look(self) -> None:
        """Look after the watchdogs, for good."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.guards.look()
            self.machines.review()

    # --- Beginning ---------------------------------------------------------------------------------------------------

    def launch(self, live: LiveJob) -> None:
        """Begin the next attempt."""
        job = live.record
        grant = live.grant = self._course.gpu_grant(job)
        changes: dict[str, Any] = {"not_before": None} if job.not_before is not None else {}
        if not job.attempts or job.attempts[-1].stopped is not None:
            changes["attempts"] = (*job.attempts, Attempt(number=len(job.attempts) + 1, queue=job.queue))
        if grant.note:
            changes["notes"] = tuple(dict.fromkeys((*job.notes, grant.note)))
        live.settling = False
        pending = job.state is JobState.PENDING
        job = replace(job, **changes) if pending else job.become(JobState.PENDING, **changes)
        self._course.change(live, job)
        number = len(job.attempts)
        try:
            # An operator may have taken the queue away while the job waited.
            find_queue(self._settings.queue_table, job.queue)
            live.reference, live.value = self.launcher.launch(live)
            self.dispatched.on_given(job)
        except Exception as error:
            job_logger(_log, job.uuid, number).exception("cannot be given to Ray")
            sentence = f"The platform could not give the job to Ray: {type(error).__name__}: {error}"
            outcome = {"ok": False, "failure": str(FailureClass.INTERNAL), "error": sentence}
            asyncio.get_running_loop().call_soon(self._course.take_outcome, live, number, outcome)
            return
        self.answers.expect(live.reference, partial(self._answered, live, number))
        if grant.waits:
            self._course.has_no_machine(job.uuid)

    def take_back(self, live: LiveJob) -> None:
        """Take back a job that was launched ahead of its turn."""
        self.answers.forget(live.reference)
        self.launcher.withdraw(live.reference)
        job = live.record
        self.dispatched.on_end(job.uuid)
        live.start_over()
        live.feed = None
        if job.state is JobState.PENDING:
            self._course.change(live, replace(job, attempts=job.attempts[:-1]))
        else:
            lost = job.with_attempt({"stopped": time.time(), "failure": FailureClass.NODE_LOST})
            self._course.change(live, lost.become(JobState.RETRY, started=None, total=None, steps=()))

    # --- Running -----------------------------------------------------------------------------------------------------

    def take_event(self, uuid: str, attempt: int, event: Mapping[str, Any]) -> None:
        """Take over what a worker tells of a running attempt."""
        messages.check_attempt(uuid, attempt)
        live = self._course.live.get(uuid)
        if live is None or not live.is_running(attempt):
            return
        event = messages.progress_event(event)
        if event["kind"] == "started":
            self._started(live, event)
        else:
            live.take_event(event)

    def _started(self, live: LiveJob, event: Mapping[str, Any]) -> None:
        if live.record.attempts[-1].started is not None:
            raise messages.BadMessage("a second start of an attempt")
        job = live.record.with_attempt({"started": event["time"], "node": event["node"], "pid": event["pid"]})
        self._course.change(live, job.become(JobState.RUNNING, started=event["time"]))
        self.workers.on_start(event["node"], event["pid"])
        if node_id := event.get("node_id"):
            self.guards.on_start(job.uuid, len(job.attempts), node_id)
        if self.nodes is not None:
            self.nodes.on_start(job.uuid, event.get("node_id"))
        self.dispatched.on_start(job)
        loop = asyncio.get_running_loop()
        live.overdue = loop.call_later(job.time_limit, self._overdue, live, len(job.attempts))
        self._course.has_started(live)

    def _overdue(self, live: LiveJob, attempt: int) -> None:
        """End an attempt that ran into its time limit; Ray's answer then leads to `take_outcome`."""
        if live.is_running(attempt):
            live.stopped_for = FailureClass.TIMEOUT
            self._stop(live, FailureClass.TIMEOUT)

    def take_word(self, uuid: str, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Take what a worker says of the end of an attempt."""
        messages.check_attempt(uuid, attempt)
        live = self._course.live.get(uuid)
        # Of an attempt that is being ended only Ray's answer counts: before it, the process is still there.
        if live is None or live.stopped_for is not None:
            return
        outcome = messages.outcome(outcome)
        if self._course.hands_over(uuid) or self._course.is_ahead(uuid):
            # Ray goes on by itself; while it does, both need the processor, and nothing here is urgent. The word of the
            # one before waits like that, and must not come after this one's.
            asyncio.get_running_loop().call_later(_HANDOVER_S, self._course.take_outcome, live, attempt, outcome)
        else:
            self._course.take_outcome(live, attempt, outcome)

    # --- Ray's answer ------------------------------------------------------------------------------------------------

    def _answered(self, live: LiveJob, attempt: int, reference: Any) -> None:
        if not live.is_running(attempt):
            return
        if self._course.is_ahead(live.record.uuid):
            # It may have had nothing to begin with: the word of the one before it is still to come.
            self.answers.expect(reference, partial(self._answered, live, attempt))
        else:
            self._course.begin(self._ray_answered(live, attempt, reference))

    async def _ray_answered(self, live: LiveJob, attempt: int, reference: Any) -> None:
        """Take Ray's answer, whatever it is, where the worker's own word has not come."""
        try:
            outcome: dict[str, Any] | None
            answer = await reference
            # The worker's word got lost, but it is on disk: it was written down before Ray was answered. Where the
            # share did not take it, it is the answer.
            unwritten = answer if isinstance(answer, str) else getattr(answer, "unwritten", None)
            if unwritten is not None:
                messages.check_size(len(unwritten), self._settings.max_result_bytes)
                outcome = dict(messages.outcome(json.loads(unwritten)))
            else:
                outcome = await share_threads().wait_for(partial(self.left_outcome, live.record, attempt))
            if outcome is None:
                raise InternalError("its outcome is not on the share; is the share the same on all machines?")
        except Exception as error:
            if (lost := lost_object(error)) is not None and live.has_nothing_to_begin_with:
                self._course.input_lost(live, attempt, lost)
                return
            outcome = await self._outcome_of_death(live, attempt, error)
            if outcome["error"] == NOT_INSTALLED:
                # The registry finds out which machine that is; until then the next attempt may get there too.
                await asyncio.sleep(_NOT_INSTALLED_PAUSE_S)
        self._course.take_outcome(live, attempt, outcome)

    async def _outcome_of_death(self, live: LiveJob, attempt: int, error: Exception) -> dict[str, Any]:
        job, stopped = live.record, time.time()
        failure, sentence = classify(error)
        machine_is_lost = failure is FailureClass.NODE_LOST
        if live.stopped_for is FailureClass.NODE_LOST:
            failure, sentence = FailureClass.NODE_LOST, WITHDRAWN
        if failure is not FailureClass.INTERNAL:
            self.workers.on_loss(job.attempts[-1].node, job.attempts[-1].pid)
            # The next attempt takes a worker that was idle; the one after it is to find one too.
            asyncio.get_running_loop().call_later(_SPARE_AFTER_S, self.launcher.spare)
        node_id = self.guards.node_of(job.uuid, attempt) or dead_node(error)
        if machine_is_lost and node_id is not None and node_id != self.guards.own_node:
            # Ray goes on giving tasks to a machine for seconds after it has reported it dead.
            self.machines.add(node_id)
            live.may_overlap = True
        died = await self.guards.died(job.uuid, attempt) if failure is FailureClass.CRASH else None
        never_began = died is None and job.attempts[-1].started is None
        if failure is FailureClass.CRASH and (never_began or self._is_anothers(live)):
            failure, sentence = FailureClass.NODE_LOST, LOST
        folder = JobFolder(self._settings.share_path, job.uuid)
        log = await share_threads().wait_for(folder.log_tail)
        limit = self.launcher.memory_limit(job)
        return {**autopsy(failure, sentence, died, limit, live.grant.limit), "stopped": stopped, "log": log}

    def _is_anothers(self, live: LiveJob) -> bool:
        """Return whether a crash may be that of the node before, or a blow that was meant for the job before."""
        return live.has_nothing_to_begin_with or self.launcher.hit_by_mistake(live.record)

    def left_outcome(self, job: Job, attempt: int) -> dict[str, Any] | None:
        """Return what a worker left of an attempt on the share."""
        folder = JobFolder(self._settings.share_path, job.home or job.uuid)
        most = messages.max_outcome_bytes(self._settings.max_result_bytes)
        try:
            if job.home is None:
                found = folder.read_outcome(attempt, most)
            else:
                found = find_outcome(folder, job.uuid, attempt, most)
            return None if found is None else dict(messages.outcome(found))
        except messages.BadMessage as error:
            # It lies where the script can write.
            sentence = f"What the attempt left of its outcome on the share cannot be used: {error}."
            return {"ok": False, "failure": str(FailureClass.INTERNAL), "error": sentence, "sentence": sentence}

    def _avoid(self, node_ids: frozenset[str]) -> None:
        """Give no tasks to machines that are lost."""
        if self.nodes is not None:
            self.nodes.on_lost(node_ids)
        self.place_again()

    def _machine_lost(self, node_id: str) -> None:
        """Give up all attempts on a machine that is not heard any more."""
        self.machines.add(node_id)
        for uuid, attempt in self.guards.placed_on(node_id):
            self._fell_silent(uuid, attempt)

    def _fell_silent(self, uuid: str, attempt: int) -> None:
        """Give up an attempt whose machine is not heard any more; what it may still do counts for nothing."""
        live = self._course.live.get(uuid)
        if live is None or not live.is_running(attempt):
            self.guards.forget(uuid, attempt)
            return
        self.guards.give_up(uuid, attempt)
        self.launcher.withdraw(live.reference)
        job_logger(_log, uuid, attempt).warning("its machine is not heard any more")
        live.may_overlap = True
        sentence = f"The machine {live.record.attempts[-1].node} has not been heard for {SILENCE_S:g} s. {LOST}"
        outcome = {"ok": False, "failure": str(FailureClass.NODE_LOST), "error": sentence}
        self._course.take_outcome(live, attempt, outcome)

    # --- Ending by force ---------------------------------------------------------------------------------------------

    def end_cancelled(self, live: LiveJob) -> None:
        """Stop the attempt of a job that was cancelled, and hear when nothing of it is left."""
        if live.reference is None:
            self._course.is_over(live.record.uuid)
            return
        uuid, attempt = live.record.uuid, len(live.record.attempts)
        self.dispatched.forget_waiting(uuid)

        def over(_reference: Any) -> None:
            if self.nodes is not None:
                self.nodes.on_end(uuid)
            self.guards.forget(uuid, attempt)
            self.dispatched.on_end(uuid)
            self._course.is_over(uuid)

        self.answers.expect(live.reference, over)
        self._stop(live, FailureClass.CANCELLED)

    def interrupt(self, live: LiveJob, message: str) -> None:
        """End an attempt for the platform's own reasons; the job runs again, and this is not counted.

        Ray's answer then leads to `take_outcome`.

        Args:
            live: the job.
            message: what the attempt says about it.
        """
        live.stopped_for, live.stop_message = FailureClass.NODE_LOST, message
        self._stop(live, FailureClass.NODE_LOST)

    def interrupt_job(self, uuid: str, message: str) -> None:
        """Interrupt the running attempt of a job, if it has one (see `interrupt`)."""
        live = self._course.live.get(uuid)
        if live is not None and live.stopped_for is None and live.is_running(len(live.record.attempts)):
            self.interrupt(live, message)

    def place_again(self) -> None:
        """Take back what Ray was given and has not started, since other machines may run it now.

        Ray keeps what a task was submitted with: it may be on its way to a machine that is lost, or wait for others
        although that machine is back.
        """
        self._take_back_waiting(lambda _: True)

    def follow_gpus(self) -> None:
        """Take back what Ray has not started, and what would get something else of the cluster's GPUs now.

        A task that was to have a GPU waits forever when the last one has left.
        """
        self._take_back_waiting(self._gets_other_gpus)

    def _gets_other_gpus(self, live: LiveJob) -> bool:
        before, now = live.grant, self._course.gpu_grant(live.record)
        return before.num_gpus > 0 and (before.num_gpus, before.excluded) != (now.num_gpus, now.excluded)

    def _take_back_waiting(self, is_meant: Callable[[LiveJob], bool]) -> None:
        """Take back tasks that Ray has not started; Ray's answer leads back into line, and no attempt is recorded."""
        for uuid in self.dispatched.waiting():
            live = self._course.live.get(uuid)
            if live is None or live.stopped_for is not None or self._course.is_ahead(uuid):
                continue
            if live.is_running(len(live.record.attempts)) and is_meant(live):
                live.stopped_for = FailureClass.NODE_LOST
                self.launcher.withdraw(live.reference)

    def _stop(self, live: LiveJob, why: FailureClass) -> None:
        """Stop an attempt with all its processes: asked first, then killed.

        The watchdog does it, since Ray's own cancelling knows only asking in vain, or killing the worker alone.
        """
        job, grace_s = live.record, GRACE_S[why]
        if job.attempts[-1].started is None:
            self.launcher.withdraw(live.reference)
        reached = self.guards.stop(job.uuid, len(job.attempts), str(why), grace_s)
        patience = (grace_s if reached else 0.0) + (_KILL_PATIENCE_S if reached else _CALL_PATIENCE_S)
        asyncio.get_running_loop().call_later(patience, self.launcher.kill, live.reference, job)

    def used(self, live: LiveJob) -> dict[str, Any]:
        """Return what the running attempt has taken so far, as fields of an Attempt, as far as it is known."""
        usage = self.guards.usage(live.record.uuid, len(live.record.attempts))
        fields = {name: name for name in ("peak_rss", "peak_uss", "peak_gpu_memory")} | {"cpu_time": "cpu"}
        return {name: usage[key] for name, key in fields.items() if key in usage}

    def close(self, live: LiveJob, attempt: int) -> None:
        """Forget an attempt whose end is known."""
        if self.nodes is not None:
            self.nodes.on_end(live.record.uuid)
        live.cancel_timer()
        self.answers.forget(live.reference)
        self.dispatched.on_end(live.record.uuid)
        self.guards.forget(live.record.uuid, attempt)
