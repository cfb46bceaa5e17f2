"""Lost values: a task whose value was lost with the machine that held it runs again, and then the task that wants it.

Only a value that no record has can be lost: it is not JSON, too large to travel with Ray's messages, and not yet
written to the share, which is done after two seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from pixyz_ray.cluster.graph.feeds import shape_of
from pixyz_ray.cluster.graph.run import GraphRun, Value
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.objects import has_no_place, is_gone
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.logs import job_logger
from pixyz_ray.storage import JobFolder

_log = logging.getLogger(__name__)
MAX_RERUNS = 3
"""How often a task runs again for its value."""

NotRun = Callable[[GraphRun, str, Job], None]
"""Ends a task since another one has not ended well."""


class LostValues:
    """Provides the inputs of tasks, also those that Ray has lost.

    Args:
        jobs: where the tasks live.
        line_up: lets a task wait for its turn.
        not_run: ends a task that can never get its inputs.
    """

    def __init__(self, jobs: Lifecycle, line_up: Callable[[GraphRun, str], None], not_run: NotRun) -> None:
        self._jobs = jobs
        self._line_up = line_up
        self._not_run = not_run

    def forget(self, run: GraphRun, id: str, object_id: str | None) -> None:
        """Discard the inputs of a task that are lost, before it begins again.

        Args:
            run: its graph.
            id: the task.
            object_id: Ray's id of one that is lost, empty if it is not known: those that no machine holds are discarded
                then, else all. None if perhaps none is lost.
        """
        after = run.nodes[id].after
        assert after is not None
        held = {source: run.values[source] for source in run.sources(after) if source in run.values}
        lost = [source for source, value in held.items() if self._is_lost(value, object_id)]
        if object_id is not None and not lost:
            lost = [one for one, value in held.items() if value.reference is not None and has_no_place(value.reference)]
        for source in held if object_id is not None and not lost else lost:
            del run.values[source]
        run.starved.add(id)

    def _is_lost(self, value: Value, object_id: str | None) -> bool:
        if value.reference is None:
            return False
        return value.reference.hex() == object_id or is_gone(value.reference, self._jobs.attempts.machines.node_ids)

    # --- Before a task begins ----------------------------------------------------------------------------------------

    async def prepare(self, run: GraphRun, id: str) -> bool:
        """Get the inputs of a task that Ray does not hold, however long the store is away.

        Returns:
            Whether it can start now. If not, it has ended, or waits until others have run again.
        """
        while missing := run.missing(id):
            bad = next((one for one in missing if run.states.get(one, JobState.SUCCESS) is not JobState.SUCCESS), None)
            if bad is not None:
                self._jobs.turns.release(id)
                self._not_run(run, id, await self._jobs.find(bad, insist=True))
                return False
            if again := [one for one in missing if one not in run.states]:
                self._hold(run, id, again)
                return False
            if not await self._fetch(run, id, missing):
                return False
        return not self._has_ended(run, id)

    async def _fetch(self, run: GraphRun, id: str, missing: list[str]) -> bool:
        """Fetch inputs from the store, and run tasks again whose values are gone. Return whether to go on."""
        access = self._jobs.access
        for uuid in missing:
            await self._jobs.journal.settled(uuid)
        found = await access.insist(access.store.get_many, missing)
        gone = await share_threads().wait_for(partial(self._not_kept, found.values()))
        if self._has_ended(run, id):
            return False
        if unknown := next((one for one in missing if one not in found), None):
            return self._fail(id, f"The result of task {unknown} is not in the job store any more.")
        for uuid, job in found.items():
            if uuid not in run.states or uuid in run.values:
                # Another task has wanted it meanwhile.
                continue
            if uuid not in gone:
                run.values[uuid] = Value(shape=shape_of(job))
            elif run.reruns[uuid] >= MAX_RERUNS:
                times = MAX_RERUNS + 1
                return self._fail(
                    id,
                    f"The value of task {uuid} ({job.entrypoint}) was lost {times} times with the machine that held "
                    "it. Submit the job again, or let the task write the value to a file.",
                )
            else:
                self._run_again(run, job)
        return True

    def _not_kept(self, jobs: Iterable[Job]) -> set[str]:
        """Return the tasks whose values only Ray had; runs in any thread."""
        share = self._jobs.settings.share_path
        return {job.uuid for job in jobs if job.opaque and not JobFolder(share, job.uuid).has_kept_value()}

    def _has_ended(self, run: GraphRun, id: str) -> bool:
        """Return whether a task was cancelled meanwhile."""
        live = self._jobs.live_node(id) if id not in run.states else None
        return live is None or live.settling or live.record.state.terminal

    def _fail(self, id: str, error: str) -> bool:
        live = self._jobs.live_node(id)
        self._jobs.turns.release(id)
        self._jobs.settle(live, live.job.become(JobState.FAILURE, error=error))
        return False

    def _hold(self, run: GraphRun, id: str, sources: Iterable[str]) -> None:
        self._jobs.turns.release(id)
        run.begun.discard(id)
        run.held[id] = set(sources)
        self._jobs.turns.pump()

    def _run_again(self, run: GraphRun, job: Job) -> None:
        machine = job.attempts[-1].node if job.attempts else None
        job_logger(_log, job.uuid).warning("its value was lost with machine %s; it runs again", machine)
        run.reopen(job.uuid)
        self._jobs.run_again(
            job, f"Its value was lost with machine {machine}, before the next task had it. It runs again."
        )

    async def make_again(self, run: GraphRun, id: str) -> bool:
        """Run a task again whose value a script could not get; return whether there will be a value."""
        if id not in run.states:
            return True
        job = await self._jobs.find(id, insist=True)
        is_kept = not await share_threads().wait_for(partial(self._not_kept, [job]))
        if id not in run.states:
            return True
        run.values.pop(id, None)
        if is_kept or run.reruns[id] >= MAX_RERUNS:
            return is_kept
        self._run_again(run, job)
        return True

    # --- A task that has run again -----------------------------------------------------------------------------------

    def ended(self, run: GraphRun, job: Job) -> None:
        """Resume the tasks that waited for one which has run again."""
        for id, sources in [*run.held.items()]:
            if job.uuid not in sources:
                continue
            sources.discard(job.uuid)
            if job.state is not JobState.SUCCESS:
                del run.held[id]
                self._not_run(run, id, job)
            elif not sources:
                del run.held[id]
                self._line_up(run, id)
