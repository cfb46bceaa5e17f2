"""Graphs: starts each node when its turn has come, hands results on by reference, takes along what a failure blocks.

    submit -> journal -> first nodes -> a node has ended -> the next ones -> ... -> the graph has ended

A graph belongs to the tracker, not to the script that started it. It is written down whole before anything of it
runs; what its nodes have come to is in their own records.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pixyz_ray.cluster.graph_run import GraphRun, Value
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import Feed, LiveJob
from pixyz_ray.cluster.nodes import NodeJobs
from pixyz_ray.graph_views.view import graph_view
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.storage import JobFolder
from pixyz_worker.cause import not_run, not_wanted
from pixyz_worker.exception import InvalidBackendParameter

_log = logging.getLogger(__name__)
_CANCELLED = "The job was cancelled."
_TAKEN = "There is a job {} already; a task_id can be used once."
_KEEP_AFTER_S = 2.0
_DEEP = 90
"""Links of a chain whose ids, each inside the next, JSON can still hold."""


class Graphs:
    """All graphs that have not ended, on the tracker's event loop.

    Args:
        jobs: where their nodes live.
    """

    def __init__(self, jobs: Lifecycle) -> None:
        self._jobs = jobs
        self._runs: dict[str, GraphRun] = {}
        self._run_of: dict[str, GraphRun] = {}
        self._by_parent: dict[str, list[GraphRun]] = {}
        self._coming: set[str] = set()
        self._taken_up: dict[str, tuple[int, set[str]]] = {}
        self._rotation: deque[GraphRun] = deque()
        self._in_flight: set[str] = set()
        self._pumping = False
        self._endings: deque[tuple[LiveJob, Job]] = deque()
        self._draining = False

    # --- Beginning ---------------------------------------------------------------------------------------------------

    async def submit(self, parent_id: str, text: str, number: int) -> list[str]:
        """Start a graph for a running script; return the ids of its nodes, which are others if it is there already.

        Args:
            parent_id: job whose script it is.
            text: the plan, as JSON.
            number: how many graphs this run of the script has started before.

        Raises:
            InvalidBackendParameter, InvalidScript: it cannot be run; nothing of it is.
        """
        # From now on it may wait for others, and must not stand in their way.
        self._in_flight.discard(parent_id)
        parent = self._jobs.find(parent_id)
        if (known := await self._known(parent, text, number)) is not None:
            self._pump_soon()
            return known
        extra = {"number": number, "attempt": len(parent.attempts), "requested": time.time()}
        run = await asyncio.to_thread(self._prepared, text, extra, parent)
        with self._coming_in(run):
            await self._jobs.journal.add(None, run.graph)
        self._begin(run)
        if self._jobs.find(parent_id).state is JobState.REVOKED:
            # Meanwhile: whoever cancelled it did not know of this graph.
            await self.cancel(run.nodes)
        return [*run.nodes]

    async def submit_alone(self, job: Job, text: str) -> dict[str, Any]:
        """Accept a graph that comes from outside, with the job that stands for it."""
        extra = {"number": 0, "attempt": 0, "requested": time.time()}
        run = await asyncio.to_thread(self._prepared, text, extra, job)
        if job.uuid in self._jobs.live:
            # Sent again while it is being accepted.
            return self._jobs.find(job.uuid).as_state()

        def begin(live: LiveJob) -> None:
            self._begin(run)
            self._jobs.watch_awaited(live)

        with self._coming_in(run):
            job = job.become(JobState.RUNNING, started=time.time(), awaits=run.graph.uuid)
            return await self._jobs.accept(job, run.graph, begin)

    def _prepared(self, text: str, extra: dict[str, Any], parent: Job) -> GraphRun:
        plain = json.loads(text)
        if not isinstance(plain, dict):
            raise InvalidBackendParameter("The graph is no JSON object.")
        graph = Graph.checked({**plain, **extra}, parent.uuid, parent.home or parent.uuid)
        if taken := self._jobs.store.known([*graph.nodes]):
            raise InvalidBackendParameter(_TAKEN.format(taken[0]))
        assert graph.text
        return GraphRun(graph, NodeJobs(graph, parent, self._jobs.settings))

    @contextmanager
    def _coming_in(self, run: GraphRun) -> Iterator[None]:
        """Keep other graphs from the ids of this one until it has begun: its nodes have no records yet."""
        taken = next((id for id in run.nodes if id in self._run_of or id in self._coming), None)
        if taken is not None:
            raise InvalidBackendParameter(_TAKEN.format(taken))
        self._coming.update(run.nodes)
        try:
            yield
        finally:
            self._coming.difference_update(run.nodes)

    async def _known(self, parent: Job, text: str, number: int) -> list[str] | None:
        """Return the nodes of the graph that an earlier run of the script has started in this place, if it is the same.

        A script that was cut short is run again from its beginning; what it had started has gone on.
        """
        if len(parent.attempts) < 2:
            return None
        earlier = [graph for graph in self._jobs.store.graphs_of(parent.uuid) if graph.number == number]
        if not earlier:
            return None
        asked = Graph.of(json.loads(text), "", parent.uuid, "")
        taken_up = self._taken_up_by(parent)
        if earlier[-1].digest == asked.digest:
            taken_up.add(earlier[-1].uuid)
            return [*earlier[-1].nodes]
        error = f"The script was run again and started another graph: {_CANCELLED}"
        await self._forsake(parent.uuid, error, number, taken_up)
        return None

    def _taken_up_by(self, parent: Job) -> set[str]:
        """Return the graphs of earlier runs that this run of a script has taken up."""
        attempt, taken_up = self._taken_up.get(parent.uuid, (0, set()))
        if attempt != len(parent.attempts):
            attempt, taken_up = self._taken_up[parent.uuid] = len(parent.attempts), set()
        return taken_up

    def _begin(self, run: GraphRun) -> None:
        self._add(run)
        self._jobs.count(None, JobState.PENDING, len(run.nodes))
        for id in run.first():
            self._turn(run, id)
        self._pump()

    def _add(self, run: GraphRun) -> None:
        self._runs[run.graph.uuid] = run
        self._run_of.update((id, run) for id in run.nodes)
        self._by_parent.setdefault(run.parent_id, []).append(run)

    # --- A node's turn -----------------------------------------------------------------------------------------------

    def _turn(self, run: GraphRun, id: str) -> None:
        """Let a node begin, all that it depends on having ended well; it may have been cancelled before."""
        if id in run.states:
            return
        if run.nodes[id].kind != "group":
            if not run.ready:
                self._rotation.append(run)
            run.ready.append(id)
            return
        live = self._jobs.find_live(id)
        run.begun.add(id)
        done = len(run.nodes[id].members) - run.left[id]
        self._jobs.change(live, live.job.become(JobState.RUNNING, started=time.time(), done=done))
        self._jobs.journal.change_soon(live.record)
        if not run.left[id]:
            self._jobs.settle(live, live.job.become(JobState.SUCCESS, result=None))

    def _pump(self) -> None:
        """Give Ray as many tasks as keep it busy, of all graphs in turn; thousands would only lie there."""
        while self._rotation and len(self._in_flight) < self._jobs.launcher.window:
            run = self._rotation.popleft()
            id = run.ready.popleft()
            if run.ready:
                self._rotation.append(run)
            if id in run.states or id in run.begun:
                continue
            self._in_flight.add(id)
            run.begun.add(id)
            live = self._jobs.live.get(id)
            job = live.record if live is not None else run.job(id)
            self._jobs.start(job, self._feed(run, id), wants_value=run.is_wanted(id))

    def _feed(self, run: GraphRun, id: str) -> Feed | None:
        node = run.nodes[id]
        if not node.fed or node.after is None:
            return None
        value = run.values.get(node.after)
        if value is not None and value.near and run.has_one_consumer(node.after):
            # Ray is not told to wait for it: it is there in a moment, and most likely in the very worker that runs this.
            return Feed(["near", node.after], [[value.reference]])
        references: list[Any] = []
        return Feed(run.shape(node.after, references, self._stored), references)

    def _stored(self, id: str) -> list[Any]:
        """Return the shape of a value that only the store, or the share, still has."""
        return _shape_of(self._jobs.find(id))

    def feed_again(self, uuid: str) -> Feed | None:
        """Return what a node's params are made of, without Ray's references: what they point to may be lost."""
        run = self._run_of[uuid]
        after = run.nodes[uuid].after
        assert after is not None
        for source in run.sources(after):
            run.values.pop(source, None)
        return self._feed(run, uuid)

    def _pump_soon(self) -> None:
        """Pump once for all that ends in this turn of the event loop."""
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._pumping = False
        self._pump()

    # --- A node has ended --------------------------------------------------------------------------------------------

    def ended(self, live: LiveJob, job: Job) -> None:
        """Take note of a job's end, just before it is written: what it allows begins without waiting for the disk."""
        # One end may be that of a thousand others that depend on it: one after another, not one inside another.
        self._endings.append((live, job))
        if self._draining:
            return
        self._draining = True
        try:
            while self._endings:
                self._take_end(*self._endings.popleft())
            self._pump()
        except Exception:
            # The job's own end must be written all the same.
            _log.exception("what follows the end of job %s failed", job.uuid)
        finally:
            self._draining = False

    def _take_end(self, live: LiveJob, job: Job) -> None:
        run = self._run_of.get(job.uuid)
        if run is not None:
            self._node_ended(run, live, job)
        if job.uuid in self._by_parent and len(job.attempts) > 1:
            error = f"The script was run again without this graph: {_CANCELLED}"
            self._jobs.begin(self._forsake(job.uuid, error, 0, self._taken_up_by(job)))
        self._taken_up.pop(job.uuid, None)

    def _node_ended(self, run: GraphRun, live: LiveJob, job: Job) -> None:
        well = job.state is JobState.SUCCESS
        value = None
        if well and run.is_wanted(job.uuid):
            value = Value(live.value, near=live.near) if live.value is not None else Value(shape=_shape_of(job))
        run.end(job.uuid, job.state, value)
        self._in_flight.discard(job.uuid)
        for id in run.dependents(job.uuid):
            if well:
                self._turn(run, id)
            elif run.nodes[id].kind != "group" or not run.nodes[id].members:
                self._not_run(run, id, job)
        if job.state is JobState.FAILURE:
            self._end_scope(run, job)
        if group := run.group_of.get(job.uuid):
            self._member_ended(run, group, job)
        if well and job.opaque and live.value is not None:
            asyncio.get_running_loop().call_later(_KEEP_AFTER_S, self._keep, run, job.uuid)
        self._tell_parent(run, job)
        if run.over:
            self._graph_ended(run)

    def _member_ended(self, run: GraphRun, id: str, member: Job) -> None:
        if id in run.states:
            return
        live = self._jobs.find_live(id)
        if live.settling:
            return
        if member.state is not JobState.SUCCESS:
            self._not_run(run, id, member)
            return
        run.left[id] -= 1
        group = live.record
        total = group.total or 0
        self._jobs.change(live, group.with_done(total - run.left[id]))
        if not run.left[id]:
            self._jobs.settle(live, live.record.become(JobState.SUCCESS))

    def _not_run(self, run: GraphRun, id: str, cause: Job) -> None:
        """End a node that cannot run, since something that it depends on has not ended well."""
        if id in run.states:
            return
        live = self._jobs.find_live(id)
        if live.settling or live.record.state.terminal:
            return
        cancelled = cause.state is JobState.REVOKED
        error = not_run(cause.uuid, cause.entrypoint, cause.error, cancelled=cancelled)
        state = JobState.REVOKED if cancelled else JobState.FAILURE
        live.settling = True
        self._jobs.settle(live, live.job.become(state, error=error))

    def _end_scope(self, run: GraphRun, job: Job) -> None:
        """Cancel the rest of a fail_fast composition, of which a task has failed."""
        scope = run.scope(job.uuid)
        if scope is None or scope in run.failed_scopes:
            return
        run.failed_scopes[scope] = job.uuid
        rest = [id for id in run.in_scope(scope) if id not in run.dependents(job.uuid)]
        self._jobs.begin(self.cancel(rest, not_wanted(job.uuid)))

    def _tell_parent(self, run: GraphRun, job: Job) -> None:
        """Show the end of a task as a step of the job that waits for the graph."""
        parent = self._jobs.live.get(run.parent_id)
        if parent is None or parent.record.awaits != run.graph.uuid or job.kind == "group":
            return
        _show_step(parent, job.uuid, job.state)

    def awaited(self, live: LiveJob) -> bool:
        """Show how far the graph is that a job has begun to wait for; tell whether it goes on."""
        run = self._runs.get(live.record.awaits or "")
        if run is not None:
            _show_steps(live, run.graph, run.states)
        return run is not None

    def awaited_in_vain(self, live: LiveJob) -> None:
        """Show the tasks of a graph that had ended before a job began to wait for it."""
        assert live.record.awaits is not None
        graph = self._jobs.store.graph(live.record.awaits)
        _show_steps(live, graph, {id: self._jobs.find(id).state for id in graph.nodes})

    def _graph_ended(self, run: GraphRun) -> None:
        self._jobs.journal.end_graph(run.graph.uuid)
        del self._runs[run.graph.uuid]
        for id in run.nodes:
            del self._run_of[id]
        left = self._by_parent[run.parent_id]
        left.remove(run)
        if not left:
            del self._by_parent[run.parent_id]

    def _keep(self, run: GraphRun, id: str) -> None:
        """Let a value that no record holds be written to the share, if it is still wanted after all this time."""
        if id in run.values:
            folder = JobFolder(self._jobs.settings.share_path, id)
            self._jobs.begin(self._jobs.launcher.keep(run.values[id].reference, folder))

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
        run = self._run_of.get(uuid)
        if run is not None:
            yield from run.with_members(uuid)
        for started in self._by_parent.get(uuid, ()):
            yield from started.open_nodes()

    async def _cancel_nodes(self, ids: Iterable[str], error: str) -> None:
        open_jobs = (self._jobs.find_live(id) for id in ids if not self._jobs.find(id).state.terminal)
        await asyncio.gather(*(self._jobs.cancel(live, error) for live in [*open_jobs]))

    async def _forsake(self, parent_id: str, error: str, number: int, taken_up: set[str]) -> None:
        """Cancel the graphs from that number on that an earlier run of a script started, and this one has not."""
        attempt = len(self._jobs.find(parent_id).attempts)
        for run in list(self._by_parent.get(parent_id, ())):
            graph = run.graph
            if graph.plain["attempt"] < attempt and graph.number >= number and graph.uuid not in taken_up:
                await self.cancel(run.open_nodes(), error)

    # --- Asking ------------------------------------------------------------------------------------------------------

    def waiting(self, uuid: str) -> Job | None:
        """Return the job of a node whose turn has not come, or None."""
        run = self._run_of.get(uuid)
        return None if run is None or uuid in run.states else run.job(uuid)

    def members(self, group: Job) -> list[Job]:
        """Return the jobs of a group's members."""
        node = self._graph_of(group).nodes[group.uuid]
        stored = self._jobs.store.get_many(node.members)
        return [stored.get(id) or self._jobs.find(id) for id in node.members]

    def reference(self, uuid: str) -> list[Any]:
        """Return Ray's reference of a node's value in a list, empty when it is not held any more."""
        run = self._run_of.get(uuid)
        value = run.values.get(uuid) if run is not None else None
        return [] if value is None or value.reference is None else [value.reference]

    def all_waiting(self) -> Iterator[Job]:
        """Yield the jobs of all nodes whose turn has not come."""
        for run in self._runs.values():
            yield from (run.job(id) for id in run.nodes if id not in run.states and id not in self._jobs.live)

    def children(self, uuid: str) -> list[Any]:
        """Return `as_tuple()` of each graph that a job's script has started; of one too deep for JSON all ids, flat."""
        graphs = self._jobs.store.graphs_of(uuid)
        return [graph.as_tuple() if len(graph.plain["parents"]) < _DEEP else [*graph.nodes] for graph in graphs]

    def view(self, job: Job) -> dict[str, Any]:
        """Return the graphs that a job has started; of a node that has started none, the graph that it is in."""
        graphs = self._below(job)
        top = job
        if not graphs and job.graph is not None:
            graphs = [self._graph_of(job)]
            top = self._jobs.find(graphs[0].parent_id)
        ids = [id for graph in graphs for id in graph.nodes]
        known = self._jobs.store.get_many(ids)
        known.update((id, self._jobs.live[id].job) for id in ids if id in self._jobs.live)
        known.update((id, self._jobs.find(id)) for id in ids if id not in known)
        return graph_view(top, graphs, known)

    def _below(self, job: Job) -> list[Graph]:
        """Return the graphs that a job started, and those that their nodes started."""
        under = self._jobs.store.graphs_under(job.home or job.uuid)
        inside = {job.uuid}
        found = []
        for graph in under:
            if graph.parent_id in inside:
                found.append(graph)
                inside.update(graph.nodes)
        return found

    def _graph_of(self, job: Job) -> Graph:
        run = self._run_of.get(job.uuid)
        if run is not None:
            return run.graph
        assert job.graph is not None
        return self._jobs.store.graph(job.graph)

    # --- After a restart ---------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Take up every graph that has not ended; nodes that have are not run again."""
        for graph in self._left_open():
            parent = self._jobs.find(graph.parent_id)
            run = GraphRun(graph, NodeJobs(graph, parent, self._jobs.settings, again=True))
            self._add(run)
            if len(parent.attempts) > 1:
                # What that run of its script has taken up is forgotten: it may have been this one.
                self._taken_up_by(parent).add(graph.uuid)
            known = self._jobs.store.get_many([*run.nodes])
            self._recall(run, known.values())
            self._jobs.count(None, JobState.PENDING, len(run.nodes) - len(known))
            if run.over:
                self._graph_ended(run)
            elif run.jobs.problem is not None:
                self._give_up(run, run.jobs.problem)
            elif parent.state is JobState.REVOKED:
                self._jobs.begin(self.cancel(run.open_nodes()))
            else:
                self._go_on(run, known)
        self._pump()

    def _left_open(self) -> list[Graph]:
        """Return the graphs that have not ended, those included whose end was written before that of a node."""
        found = self._jobs.store.live_graphs()
        known = {graph.uuid for graph in found}
        others = {live.record.graph for live in self._jobs.live.values()} - known
        return found + [self._jobs.store.graph(uuid) for uuid in others if uuid is not None]

    def _recall(self, run: GraphRun, known: Iterable[Job]) -> None:
        ended = [job for job in known if job.state.terminal]
        for job in sorted(ended, key=lambda job: job.stopped or 0.0):
            run.end(job.uuid, job.state)
            if (group := run.group_of.get(job.uuid)) and job.state is JobState.SUCCESS:
                run.left[group] -= 1

    def _give_up(self, run: GraphRun, problem: str) -> None:
        """End a graph that cannot be run any more."""
        error = f"The platform was restarted, and the graph cannot go on: {problem}"
        # From its end: none of them is to be the others' cause.
        for id in reversed(run.open_nodes()):
            live = self._jobs.find_live(id)
            if not live.settling:
                self._jobs.settle(live, live.job.become(JobState.FAILURE, error=error))

    def _go_on(self, run: GraphRun, known: dict[str, Job]) -> None:
        failed = [known[id] for id, state in run.states.items() if state is JobState.FAILURE]
        for id in run.open_nodes():
            self._resume(run, id, known)
        for job in failed:
            self._end_scope(run, job)

    def _resume(self, run: GraphRun, id: str, known: dict[str, Job]) -> None:
        """Do for a node what its surroundings say."""
        if id in run.states or id in run.begun:
            # Since one before it has just ended.
            return
        node = run.nodes[id]
        bad = [other for other in (node.after, *node.members) if run.states.get(other or "") in _BAD]
        if bad:
            self._not_run(run, id, known[str(bad[0])])
        elif node.after is not None and node.after not in run.states:
            return
        elif node.kind == "group" and id not in self._jobs.live:
            self._turn(run, id)
        elif node.kind == "group":
            live = self._jobs.find_live(id)
            run.begun.add(id)
            self._jobs.change(live, live.record.with_done((live.record.total or 0) - run.left[id]))
            if not run.left[id]:
                self._jobs.settle(live, live.record.become(JobState.SUCCESS))
        elif id in self._jobs.live:
            live = self._jobs.live[id]
            live.feed, live.wants_value = self._feed(run, id), run.is_wanted(id)
            run.begun.add(id)
            if live.record.awaits is None:
                self._in_flight.add(id)
                self._jobs.begin(self._jobs.take_up(live))
        else:
            self._turn(run, id)


def _shape_of(job: Job) -> list[Any]:
    """Return the shape of a value that the record, or the share, has."""
    return ["kept", job.uuid] if job.opaque else ["value", job.value]


def _show_steps(parent: LiveJob, graph: Graph, states: Mapping[str, JobState]) -> None:
    parent.take_event({"kind": "total", "total": graph.tasks})
    for id, state in states.items():
        if graph.nodes[id].kind != "group" and state.terminal:
            _show_step(parent, id, state)


def _show_step(parent: LiveJob, id: str, state: JobState) -> None:
    parent.take_event({"kind": "step", "time": time.time(), "info": f"Task {id}: {state}"})


_BAD = frozenset({JobState.FAILURE, JobState.REVOKED})
