"""Awaiting: a job whose script has returned a handle lasts until what the handle stands for has ended.

The script's process is over by then. The tracker waits for it, which costs nothing and outlives a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.cluster.graph.run import GraphRun
from pixyz_ray.cluster.graph.runs import GraphRuns
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.failure import FailureClass
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState


class Awaiting:
    """Jobs that wait for others.

    Args:
        jobs: where they live.
        runs: the graphs that have not ended.
    """

    def __init__(self, jobs: Lifecycle, runs: GraphRuns) -> None:
        self._jobs = jobs
        self._runs = runs

    def wait_for(self, live: LiveJob, job: Job) -> None:
        """Write down that a job awaits another, then wait."""
        live.settling = True
        live.reference = live.value = None
        if job.state is not JobState.RUNNING:
            job = job.become(JobState.RUNNING)

        def wait(written: Job) -> None:
            if self._jobs.refused(live, written):
                return
            self._jobs.change(live, job)
            live.settling = False
            self.watch(live)

        self._jobs.journal.change(job, wait)

    def watch(self, live: LiveJob) -> None:
        """Hear of the end of the job that this one awaits, or of the end of its patience."""
        job = live.record
        assert job.awaits is not None
        if job.wait_timeout is not None:
            left = (job.attempts[-1].stopped or time.time()) + job.wait_timeout - time.time()
            left = min(max(0.0, left), job.wait_timeout)
            live.overdue = asyncio.get_running_loop().call_later(left, self._waited_too_long, live)
        run = self._runs.get(job.awaits)
        if run is not None:
            _show_steps(live, run.graph, run.states)

        self._jobs.begin(self._hear(live, job.awaits, is_past=run is None))

    async def _hear(self, live: LiveJob, awaits: str, *, is_past: bool) -> None:
        def ended(awaited: Job) -> None:
            self._jobs.begin(self._ended(live, awaited, is_past=is_past))

        try:
            await self._jobs.on_end(awaits, ended)
        except UnknownJob:
            self._fail(live, f"The awaited job {awaits} is not known any more.", FailureClass.INTERNAL)

    def tell(self, run: GraphRun, job: Job) -> None:
        """Show the end of a task as a step of the job that waits for its graph."""
        parent = self._jobs.live.get(run.parent_id)
        if parent is not None and parent.record.awaits == run.graph.uuid and job.kind != "group":
            _show_step(parent, job.uuid, job.state)

    async def _show_past(self, live: LiveJob, awaits: str) -> None:
        """Show the tasks of a graph that had ended before the job began to wait for it."""
        access, store = self._jobs.access, self._jobs.store
        try:
            graph = await access.insist(store.graph, awaits)
        except UnknownJob:
            # Its steps cannot be shown; what came out of it still can.
            return
        # From the store: the end that was waited for is there, and with it all that came before it.
        known = await access.insist(store.get_many, [*graph.nodes])
        _show_steps(live, graph, {id: known[id].state for id in graph.nodes if id in known})

    async def _ended(self, live: LiveJob, awaited: Job, *, is_past: bool) -> None:
        if is_past:
            await self._show_past(live, awaited.uuid)
        opaque = result = None
        if awaited.state is JobState.SUCCESS and (opaque := await self._first_opaque(awaited)) is None:
            result = await self._jobs.result_of(awaited, insist=True)
        if live.settling or live.record.state.terminal:
            return
        if awaited.state is not JobState.SUCCESS:
            error = f"Task {awaited.uuid} ({awaited.name}) ended with {awaited.state}.\n{awaited.error or ''}".rstrip()
            self._fail(live, error, FailureClass.DEPENDENCY_FAILED)
        elif opaque is not None:
            kind = (opaque.result or {}).get("type")
            sentence = f"The result is not JSON: that of task {opaque.uuid} is of type {kind}."
            self._fail(live, sentence, FailureClass.USER_ERROR)
        else:
            self._jobs.settle(live, live.with_ended_steps().become(JobState.SUCCESS, error=None, result=result))

    async def _first_opaque(self, job: Job) -> Job | None:
        """Return the first job whose result makes this one's and is not JSON."""
        if job.kind != "group":
            return job if job.opaque else None
        for member in await self._jobs.followers.members(job, insist=True):
            if (found := await self._first_opaque(member)) is not None:
                return found
        return None

    def _waited_too_long(self, live: LiveJob) -> None:
        seconds = live.record.wait_timeout
        text = f"The graph did not end within the {seconds:g} s that @pixyz_schedule(timeout=...) gives it."
        self._fail(live, f"PixyzTimeout: {text}", FailureClass.TIMEOUT)

    def _fail(self, live: LiveJob, error: str, failure: FailureClass) -> None:
        if not (live.settling or live.record.state.terminal):
            job = live.job
            if job.attempts:
                job = job.with_attempt({"failure": failure, "error": error})
            self._jobs.settle(live, job.become(JobState.FAILURE, error=error))


def _show_steps(parent: LiveJob, graph: Graph, states: Mapping[str, JobState]) -> None:
    parent.take_event({"kind": "total", "total": graph.tasks})
    for id, state in states.items():
        if graph.nodes[id].kind != "group" and state.terminal:
            _show_step(parent, id, state)


def _show_step(parent: LiveJob, id: str, state: JobState) -> None:
    parent.take_event({"kind": "step", "time": time.time(), "info": f"Task {id}: {state}"})
