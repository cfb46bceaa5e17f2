"""Graphs: starts each node when its turn has come, hands results on by reference, takes along what a failure blocks.

    submit -> journal -> first nodes -> a node has ended -> the next ones -> ... -> the graph has ended

A graph belongs to the tracker, not to the script that started it. It is written down whole before anything of it
runs; what its nodes have come to is in their own records.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from pixyz_ray.cluster.graph.awaiting import Awaiting
from pixyz_ray.cluster.graph.feeds import feed_of, shape_of
from pixyz_ray.cluster.graph.intake import Intake
from pixyz_ray.cluster.graph.lookup import GraphLookup
from pixyz_ray.cluster.graph.lost_values import LostValues
from pixyz_ray.cluster.graph.node_line import NodeLine
from pixyz_ray.cluster.graph.run import GraphRun, Value
from pixyz_ray.cluster.graph.runs import GraphRuns
from pixyz_ray.cluster.graph.start_times import StartTimes
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import Feed, LiveJob
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.logs import job_logger
from pixyz_ray.storage import JobFolder
from pixyz_worker.cause import not_called, not_wanted
from pixyz_worker.cause import not_run as not_run_text
from pixyz_worker.exception import InvalidBackendParameter

_log = logging.getLogger(__name__)
_CANCELLED = "The job was cancelled."
_KEEP_AFTER_S = 2.0


class Graphs:
    """All graphs that have not ended, on the tracker's event loop.

    Args:
        jobs: where their nodes live.
    """

    def __init__(self, jobs: Lifecycle) -> None:
        self._jobs = jobs
        self.runs = GraphRuns()
        self.lookup = GraphLookup(jobs, self.runs)
        self.awaiting = Awaiting(jobs, self.runs)
        self.intake = Intake(jobs.access, self.runs, jobs.settings)
        self._line = NodeLine(jobs.turns)
        self.lost = LostValues(jobs, self._line.add, self.not_run)
        self._start_times = StartTimes(jobs, self.cancel)
        self._endings: deque[tuple[LiveJob, Job]] = deque()
        self._draining = False

    # --- Beginning ---------------------------------------------------------------------------------------------------

    async def submit(self, parent_id: str, text: str, number: int, attempt: int) -> list[str]:
        """Start a graph for a running script; return the ids of its nodes, which are others if it is there already.

        Args:
            parent_id: job whose script it is.
            text: the plan, as JSON.
            number: how many graphs this run of the script has started before.
            attempt: which run of the script it is.

        Raises:
            InvalidBackendParameter, InvalidScript: it cannot be run; nothing of it is.
        """
        self._jobs.turns.rest(parent_id)
        # The script waits for the answer anyway: it need not fail because the store is away for a moment.
        parent = await self._jobs.find(parent_id, insist=True)
        if attempt != len(parent.attempts):
            raise InvalidBackendParameter("This attempt was given up; what it starts would count for nothing.")
        if (known := await self.intake.known(text, parent, number)) is not None:
            return known
        if forsaken := self.intake.forsaken(parent, number):
            await self.cancel(forsaken, f"The script was run again and started another graph: {_CANCELLED}")
        run = await share_threads().wait_for(partial(self.intake.prepared, text, parent, number))
        with self.runs.coming_in(run):
            await self.intake.check_new(run.graph, insist=True)
            await self._jobs.journal.add(None, run.graph, insist=True)
        self._begin(run)
        if (await self._jobs.find(parent_id, insist=True)).state is JobState.REVOKED:
            # Meanwhile: whoever cancelled it did not know of this graph.
            await self.cancel(run.nodes)
        return [*run.nodes]

    async def submit_alone(self, job: Job, text: str) -> dict[str, Any]:
        """Accept a graph that comes from outside, with the job that stands for it."""
        run = await share_threads().wait_for(partial(self.intake.prepared, text, job, 0))
        if (live := self._jobs.live.get(job.uuid)) is not None:
            # Sent again while it is being accepted.
            return live.job.as_state()

        def begin(live: LiveJob) -> None:
            self._begin(run)
            self.awaiting.watch(live)

        with self.runs.coming_in(run):
            await self.intake.check_new(run.graph, insist=False)
            job = job.become(JobState.RUNNING, started=time.time(), awaits=run.graph.uuid)
            return await self._jobs.accept(job, run.graph, begin)

    def _begin(self, run: GraphRun) -> None:
        self.runs.add(run)
        self._jobs.count(None, JobState.PENDING, len(run.nodes))
        for id in run.first():
            self.turn(run, id)
        self._jobs.turns.pump()

    # --- A node's turn -----------------------------------------------------------------------------------------------

    def turn(self, run: GraphRun, id: str) -> None:
        """Let a node begin, all that it depends on having ended well; it may have been cancelled before."""
        if id in run.states:
            return
        if id in run.ahead:
            run.ahead.discard(id)
            self._jobs.turns.hold(id, run.asks_for(id))
            return
        if run.nodes[id].kind != "group":
            if run.start_options(id):
                self._start_times.wait(run, id)
                return
            self._line.add(run, id)
            return
        live = self._jobs.live_node(id)
        run.begun.add(id)
        done = len(run.nodes[id].members) - run.left[id]
        self._jobs.change(live, live.job.become(JobState.RUNNING, started=time.time(), done=done))
        self._jobs.journal.change_soon(live.record)
        if not run.left[id]:
            self._jobs.settle(live, live.job.become(JobState.SUCCESS, result=None))

    def begin_node(self, uuid: str) -> bool:
        """Begin a node whose turn has come; False for what is none, or has begun before and is tried again."""
        run = self.runs.of(uuid)
        if run is None or (uuid in run.begun and uuid not in run.starved):
            return False
        self._line.leave(run, uuid)
        if run.missing(uuid):
            run.begun.add(uuid)
            self._jobs.begin(self._start_from_store(run, uuid))
        else:
            self._start(run, uuid, feed_of(run, uuid))
        return True

    async def _start_from_store(self, run: GraphRun, id: str) -> None:
        """Start a node that gets results which only the store, or the share, still has."""
        if await self.lost.prepare(run, id):
            self._start(run, id, feed_of(run, id))

    def started(self, uuid: str) -> None:
        """Give Ray the one task that comes after one that has started: it can begin as soon as that has returned.

        Not sooner: what the tracker does while Ray hands over from one task to the next makes both wait.
        """
        run = self.runs.of(uuid)
        node = run.next_of(uuid) if run is not None else None
        if run is None or node is None or node.id in run.begun or node.id in run.states:
            return
        live = self._jobs.live[uuid]
        # Who was launched ahead itself, and whose turn is still to come, will have the place of the one before.
        holder = run.nodes[uuid].after if uuid in run.ahead else uuid
        if live.reference is None or live.record.wait or holder is None:
            return
        if not self._jobs.turns.may_follow(holder, run.asks_for(node.id)):
            return
        run.ahead.add(node.id)
        self._start(run, node.id, Feed(["ref", 0], [live.value]) if node.fed else Feed(None, [live.reference]))

    def _start(self, run: GraphRun, id: str, feed: Feed | None) -> None:
        run.begun.add(id)
        run.starved.discard(id)
        self._jobs.start(id, feed, wants_value=run.is_wanted(id))

    def take_back_ahead(self) -> None:
        """Take back all nodes that were launched ahead of their turn; their turn comes later."""
        for run in self.runs:
            for id in tuple(run.ahead):
                run.ahead.discard(id)
                run.begun.discard(id)
                self._jobs.attempts.take_back(self._jobs.live[id])

    def _take_back_next(self, run: GraphRun, id: str) -> None:
        if (ahead := run.next_ahead(id)) is not None:
            run.ahead.discard(ahead)
            run.begun.discard(ahead)
            self._jobs.attempts.take_back(self._jobs.live[ahead])

    def is_ahead(self, uuid: str) -> bool:
        """Return whether a node was launched ahead of its turn, which has not come yet."""
        run = self.runs.of(uuid)
        return run is not None and uuid in run.ahead

    def hands_over(self, uuid: str) -> bool:
        """Return whether Ray has been given the tasks that follow a job."""
        run = self.runs.of(uuid)
        return run is not None and run.next_ahead(uuid) is not None

    def failed(self, uuid: str) -> None:
        """Take back what was launched ahead, after an attempt that has failed."""
        run = self.runs.of(uuid)
        if run is not None:
            self._take_back_next(run, uuid)

    def retake(self, run: GraphRun, id: str) -> None:
        """Let a node go on that had begun before a restart."""
        live = self._jobs.live[id]
        live.feed, live.wants_value = feed_of(run, id), run.is_wanted(id)
        run.begun.add(id)
        if run.start_options(id):
            self._start_times.watch_expiry(run, id)
        if live.record.awaits is None:
            self._jobs.begin(self._jobs.take_up(live))

    def feed_again(self, live: LiveJob, lost: str | None) -> None:
        """Compute a node's params again when it begins, without inputs that are lost."""
        run = self.runs.of(live.record.uuid)
        assert run is not None
        live.feed = None
        self.lost.forget(run, live.record.uuid, lost)

    async def value_lost(self, uuid: str) -> bool:
        """Run a node again whose value Ray has lost; return whether there will be a value."""
        run = self.runs.of(uuid)
        return run is not None and await self.lost.make_again(run, uuid)

    # --- A node has ended --------------------------------------------------------------------------------------------

    def ended(self, live: LiveJob, job: Job) -> None:
        """Record a job's end, just before it is written: what it allows begins without waiting for the disk."""
        # One end may be that of a thousand others that depend on it: one after another, not one inside another.
        self._endings.append((live, job))
        if self._draining:
            return
        self._draining = True
        while self._endings:
            ending = self._endings.popleft()
            try:
                self._take_end(*ending)
            except Exception:
                # The job's own end must be written all the same, and the others have theirs.
                job_logger(_log, ending[1].uuid).exception("what follows its end failed")
        self._draining = False
        self._jobs.turns.pump()

    def _take_end(self, live: LiveJob, job: Job) -> None:
        run = self.runs.of(job.uuid)
        if run is not None:
            self._node_ended(run, live, job)
        if forsaken := self.intake.forsaken(job):
            error = f"The script was run again without this graph: {_CANCELLED}"
            self._jobs.begin(self.cancel(forsaken, error))
        self.intake.forget(job.uuid)

    def _node_ended(self, run: GraphRun, live: LiveJob, job: Job) -> None:
        well = job.state is JobState.SUCCESS
        value = None
        if well and run.is_wanted(job.uuid):
            value = Value(live.value) if live.value is not None else Value(shape=shape_of(job))
        if not well:
            self._take_back_next(run, job.uuid)
        run.end(job.uuid, job.state, value)
        self._line.leave(run, job.uuid)
        if run.reruns[job.uuid]:
            self._take_end_again(run, job)
        else:
            self._let_follow(run, job)
        if well and job.opaque and live.value is not None:
            asyncio.get_running_loop().call_later(_KEEP_AFTER_S, self._keep, run, job)
        if run.over:
            self.end(run)

    def _take_end_again(self, run: GraphRun, job: Job) -> None:
        """Record the end of a job that ran again; other jobs have begun after its first end."""
        self.lost.ended(run, job)
        if job.state is JobState.FAILURE:
            self.end_scope(run, job)
        if job.state is not JobState.SUCCESS and (group := run.group_of.get(job.uuid)):
            self._member_ended(run, group, job)

    def _let_follow(self, run: GraphRun, job: Job) -> None:
        """Begin or end what depends on a job that has ended for the first time."""
        well = job.state is JobState.SUCCESS
        for id in run.dependents(job.uuid):
            if run.nodes[id].on_failure:
                self.turn_on_failure(run, id, job)
            elif well:
                self.turn(run, id)
            elif run.nodes[id].kind != "group" or not run.nodes[id].members:
                self.not_run(run, id, job)
        if job.state is JobState.FAILURE:
            self.end_scope(run, job)
        if group := run.group_of.get(job.uuid):
            self._member_ended(run, group, job)
        self.awaiting.tell(run, job)

    def turn_on_failure(self, run: GraphRun, id: str, cause: Job) -> None:
        """Start an error callback whose task has failed; revoke it when the task ended otherwise, or was not run.

        The body of a chord fails with its header, though it is not run.
        """
        if cause.state is JobState.FAILURE and (cause.attempts or run.follows_group(cause.uuid)):
            self.turn(run, id)
            return
        live = self._jobs.live_node(id)
        if id not in run.states and not live.settling:
            error = not_called(cause.uuid, cause.entrypoint, str(cause.state))
            self._jobs.settle(live, live.job.become(JobState.REVOKED, error=error))

    def _member_ended(self, run: GraphRun, id: str, member: Job) -> None:
        if id in run.states:
            return
        live = self._jobs.live_node(id)
        if live.settling:
            return
        if member.state is not JobState.SUCCESS:
            self.not_run(run, id, member)
            return
        run.left[id] -= 1
        group = live.record
        total = group.total or 0
        self._jobs.change(live, group.with_done(total - run.left[id]))
        if not run.left[id]:
            self._jobs.settle(live, live.record.become(JobState.SUCCESS))

    def not_run(self, run: GraphRun, id: str, cause: Job) -> None:
        """End a node that cannot run, since something that it depends on has not ended well."""
        if id in run.states:
            return
        live = self._jobs.live_node(id)
        if live.settling or live.record.state.terminal:
            return
        cancelled = cause.state is JobState.REVOKED
        error = not_run_text(cause.uuid, cause.entrypoint, cause.error, cancelled=cancelled)
        state = JobState.REVOKED if cancelled else JobState.FAILURE
        live.settling = True
        self._jobs.settle(live, live.job.become(state, error=error))

    def end_scope(self, run: GraphRun, job: Job) -> None:
        """Cancel the rest of a fail_fast composition, of which a task has failed."""
        scope = run.scope(job.uuid)
        if scope is None or scope in run.failed_scopes:
            return
        run.failed_scopes[scope] = job.uuid
        rest = [id for id in run.in_scope(scope) if id not in run.dependents(job.uuid)]
        self._jobs.begin(self.cancel(rest, not_wanted(job.uuid)))

    def end(self, run: GraphRun) -> None:
        """Record that a graph has ended."""
        self._jobs.journal.end_graph(run.graph.uuid)
        self.runs.remove(run)

    def _keep(self, run: GraphRun, job: Job) -> None:
        """Let a value that no record holds be written to the share, if it is still wanted after all this time."""
        value = run.values.get(job.uuid)
        if value is not None and value.reference is not None:
            folder = JobFolder(self._jobs.settings.share_path, job.uuid)
            self._jobs.begin(self._jobs.attempts.launcher.keep(value.reference, folder, len(job.attempts)))

    # --- Cancelling --------------------------------------------------------------------------------------------------

    async def cancel(self, uuids: Iterable[str], error: str = _CANCELLED) -> None:
        """Cancel jobs, the members of groups, and the graphs that they have started."""
        found = dict.fromkeys(uuids)
        pending = deque(found)
        while pending:
            for id in self._taken_along(pending.popleft()):
                if id not in found:
                    found[id] = None
                    pending.append(id)
        # What a job has started first: nothing of that may be left when the job is seen to have ended.
        await self._cancel_nodes(reversed(found), error)

    def _taken_along(self, uuid: str) -> Iterator[str]:
        run = self.runs.of(uuid)
        if run is not None:
            yield from run.with_members(uuid)
        for started in self.runs.started_by(uuid):
            yield from started.open_nodes()

    async def _cancel_nodes(self, ids: Iterable[str], error: str) -> None:
        found = [await self._jobs.find_live(id, insist=True) for id in ids]
        await asyncio.gather(*(self._jobs.cancel(live, error) for live in found if not live.record.state.terminal))

    # --- Asked by jobs -----------------------------------------------------------------------------------------------

    def waiting(self, uuid: str) -> Job | None:
        """Return the job of a node whose turn has not come, or None."""
        return self.runs.waiting(uuid)

    def wait_for(self, live: LiveJob, job: Job) -> None:
        """Let a job last until the one that it awaits has ended."""
        self.awaiting.wait_for(live, job)

    async def members(self, group: Job, insist: bool = False) -> list[Job]:
        """Return the jobs of a group's members; wait for the store however long it is away, if that is insisted on."""
        return await self.lookup.members(group, insist)
