"""After a restart: the graphs that had not ended go on where they were; nodes that have ended are not run again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.cluster.graph.feeds import shape_of
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.graph.nodes import NodeJobs
from pixyz_ray.cluster.graph.run import GraphRun, Value
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.stored import NOT_READABLE

_log = logging.getLogger(__name__)
_BAD = frozenset({JobState.FAILURE, JobState.REVOKED})


class Recovery:
    """Takes graphs up again.

    Args:
        jobs: where their nodes live; those that had begun are there already.
        graphs: where they go on.
    """

    def __init__(self, jobs: Lifecycle, graphs: Graphs) -> None:
        self._jobs = jobs
        self._graphs = graphs

    async def recover(self) -> None:
        """Take up every graph that has not ended."""
        for graph in await self._left_open():
            try:
                parent = await self._jobs.find(graph.parent_id, insist=True)
                run = GraphRun(graph, NodeJobs(graph, parent, self._jobs.settings, again=True))
            except NOT_READABLE as error:
                _log.error("graph %s of job %s cannot go on: %s", graph.uuid, graph.parent_id, error)
                continue
            await self._take_up(run, parent)
        self._end_strays()

    async def _take_up(self, run: GraphRun, parent: Job) -> None:
        self._graphs.runs.add(run)
        if len(parent.attempts) > 1:
            # What that run of its script has taken up is forgotten: it may have been this one.
            self._graphs.intake.taken_up_by(parent).add(run.graph.uuid)
        known = await self._jobs.access.insist(self._jobs.store.get_many, [*run.nodes])
        _recall(run, known.values())
        self._jobs.count(None, JobState.PENDING, len(run.nodes) - len(known))
        if run.over:
            self._graphs.end(run)
        elif run.jobs.problem is not None:
            self._give_up(run, run.jobs.problem)
        elif parent.state is JobState.REVOKED:
            self._jobs.begin(self._graphs.cancel(run.open_nodes()))
        else:
            self._go_on(run, known)

    async def _left_open(self) -> list[Graph]:
        """Return the graphs that have not ended, those included whose end was written before that of a node."""
        read, store = self._jobs.access.insist, self._jobs.store
        found = await read(store.live_graphs)
        known = {graph.uuid for graph in found}
        others = {live.record.graph for live in self._jobs.live.values()} - known
        for uuid in others:
            if uuid is not None:
                # One that cannot be read, or is not there, is the trouble of its nodes alone.
                with suppress(UnknownJob):
                    found.append(await read(store.graph, uuid))
        return found

    def _end_strays(self) -> None:
        """End the nodes that had begun of graphs that cannot go on: nobody else would."""
        for live in list(self._jobs.live.values()):
            graph = live.record.graph
            if graph is None or live.settling or self._graphs.runs.of(live.record.uuid) is not None:
                continue
            reason = self._jobs.store.unreadable.get(graph, "the record of the job that started it cannot be read.")
            error = f"The platform was restarted, and the graph of this task cannot go on: {reason}"
            self._jobs.settle(live, live.job.become(JobState.FAILURE, error=error))

    def _give_up(self, run: GraphRun, problem: str) -> None:
        """End a graph that cannot be run any more."""
        error = f"The platform was restarted, and the graph cannot go on: {problem}"
        # From its end: none of them is to be the others' cause.
        for id in reversed(run.open_nodes()):
            live = self._jobs.live_node(id)
            if not live.settling:
                self._jobs.settle(live, live.job.become(JobState.FAILURE, error=error))

    def _go_on(self, run: GraphRun, known: Mapping[str, Job]) -> None:
        failed = [known[id] for id, state in run.states.items() if state is JobState.FAILURE]
        for id in run.open_nodes():
            self._resume(run, id, known)
        for job in failed:
            self._graphs.end_scope(run, job)

    def _resume(self, run: GraphRun, id: str, known: Mapping[str, Job]) -> None:
        """Do for a node what its surroundings say."""
        if id in run.states or id in run.begun:
            # Since one before it has just ended.
            return
        node = run.nodes[id]
        if node.on_failure and node.after in run.states:
            if id in self._jobs.live:
                self._graphs.retake(run, id)
            else:
                self._graphs.turn_on_failure(run, id, known[str(node.after)])
            return
        bad = [other for other in (node.after, *node.members) if run.states.get(other or "") in _BAD]
        if bad:
            self._graphs.not_run(run, id, known[str(bad[0])])
        elif node.after is not None and node.after not in run.states:
            return
        elif id not in self._jobs.live:
            self._graphs.turn(run, id)
        elif node.kind == "group":
            self._resume_group(run, id)
        else:
            self._graphs.retake(run, id)

    def _resume_group(self, run: GraphRun, id: str) -> None:
        live = self._jobs.live[id]
        run.begun.add(id)
        self._jobs.change(live, live.record.with_done((live.record.total or 0) - run.left[id]))
        if not run.left[id]:
            self._jobs.settle(live, live.record.become(JobState.SUCCESS))


def _recall(run: GraphRun, known: Iterable[Job]) -> None:
    """Tell a run which of its nodes have ended."""
    ended = [job for job in known if job.state.terminal]
    for job in sorted(ended, key=lambda job: job.stopped or 0.0):
        run.end(job.uuid, job.state, Value(shape=shape_of(job)) if job.state is JobState.SUCCESS else None)
        if job.stopped is not None:
            run.stopped[job.uuid] = job.stopped
        if (group := run.group_of.get(job.uuid)) and job.state is JobState.SUCCESS:
            run.left[group] -= 1
