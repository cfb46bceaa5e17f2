"""What is asked of graphs: who is in them, what they have come to, how they look. Graphs that have ended, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pixyz_ray.cluster.graph.runs import GraphRuns
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.graph_views.view import graph_view
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job

_DEEP = 90
"""Links of a chain whose ids, each inside the next, JSON can still hold."""


class GraphLookup:
    """Answers questions about graphs.

    Args:
        jobs: where their nodes live.
        runs: those that have not ended.
    """

    def __init__(self, jobs: Lifecycle, runs: GraphRuns) -> None:
        self._jobs = jobs
        self._runs = runs

    async def members(self, group: Job, insist: bool = False) -> list[Job]:
        """Return the jobs of a group's members.

        Args:
            group: the group.
            insist: whether to wait however long the store is away.
        """
        access = self._jobs.access
        read = access.insist if insist else access.read
        node = (await self._graph_of(group, insist=insist)).nodes[group.uuid]
        stored = await read(access.store.get_many, node.members)
        return [stored.get(id) or await self._jobs.find(id, insist=insist) for id in node.members]

    def reference(self, uuid: str) -> list[Any]:
        """Return Ray's reference of a node's value in a list, empty when it is not held any more."""
        run = self._runs.of(uuid)
        value = run.values.get(uuid) if run is not None else None
        return [] if value is None or value.reference is None else [value.reference]

    def all_waiting(self) -> Iterator[Job]:
        """Yield the jobs of all nodes whose turn has not come."""
        for run in self._runs:
            yield from (run.job(id) for id in run.nodes if id not in run.states and id not in self._jobs.live)

    def waiting_ids(self, before: float) -> Iterator[str]:
        """Yield the ids of all nodes whose turn has not come, of graphs requested before a time."""
        for run in self._runs:
            if run.graph.plain["requested"] < before:
                yield from (id for id in run.nodes if id not in run.states and id not in self._jobs.live)

    async def followers(self, job: Job) -> list[Any]:
        """Return the ids of the tasks after a job in its graph, callbacks included, as `as_tuple()` gives them."""
        return [] if job.graph is None else (await self._graph_of(job)).followers(job.uuid)

    async def started(self, uuid: str) -> list[Any]:
        """Return `as_tuple()` of each graph that a job's script has started; of a long chain, that of its end alone."""
        graphs = await self._jobs.access.read(self._jobs.store.graphs_of, uuid)
        return [
            graph.as_tuple() if len(graph.plain["parents"]) < _DEEP else ((graph.uuid, None), None) for graph in graphs
        ]

    async def children(self, uuid: str) -> list[Any]:
        """Return `as_tuple()` of each graph that a job's script has started; of one too deep for JSON all ids, flat."""
        graphs = await self._jobs.access.read(self._jobs.store.graphs_of, uuid)
        return [graph.as_tuple() if len(graph.plain["parents"]) < _DEEP else [*graph.nodes] for graph in graphs]

    async def view(self, job: Job) -> dict[str, Any]:
        """Return the graphs that a job has started; of a node that has started none, the graph that it is in."""
        graphs = await self._below(job)
        top = job
        if not graphs and job.graph is not None:
            graphs = [await self._graph_of(job)]
            top = await self._jobs.find(graphs[0].parent_id)
        ids = [id for graph in graphs for id in graph.nodes]
        known = await self._jobs.access.read(self._jobs.store.get_many, ids)
        known.update((id, self._jobs.live[id].job) for id in ids if id in self._jobs.live)
        for id in ids:
            if id not in known:
                known[id] = await self._jobs.find(id)
        return graph_view(top, graphs, known)

    async def _below(self, job: Job) -> list[Graph]:
        """Return the graphs that a job started, and those that their nodes started."""
        inside = {job.uuid}
        found = []
        for graph in await self._jobs.access.read(self._jobs.store.graphs_under, job.home or job.uuid):
            if graph.parent_id in inside:
                found.append(graph)
                inside.update(graph.nodes)
        return found

    async def _graph_of(self, job: Job, *, insist: bool = False) -> Graph:
        run = self._runs.of(job.uuid)
        if run is not None:
            return run.graph
        assert job.graph is not None
        access = self._jobs.access
        read = access.insist if insist else access.read
        return await read(access.store.graph, job.graph)
