"""The graphs that have not ended, found by their end, by any of their nodes, and by the job that started them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pixyz_ray.cluster.graph.run import GraphRun
from pixyz_ray.jobs import Job
from pixyz_worker.exception import InvalidBackendParameter

TAKEN = "There is a job {} already; a task_id can be used once."


class GraphRuns:
    """All graphs that have not ended."""

    def __init__(self) -> None:
        self._by_id: dict[str, GraphRun] = {}
        self._by_node: dict[str, GraphRun] = {}
        self._by_parent: dict[str, list[GraphRun]] = {}
        self._coming: set[str] = set()

    def __iter__(self) -> Iterator[GraphRun]:
        return iter(self._by_id.values())

    def add(self, run: GraphRun) -> None:
        """Take a graph in."""
        self._by_id[run.graph.uuid] = run
        self._by_node.update((id, run) for id in run.nodes)
        self._by_parent.setdefault(run.parent_id, []).append(run)

    def remove(self, run: GraphRun) -> None:
        """Forget a graph that has ended."""
        del self._by_id[run.graph.uuid]
        for id in run.nodes:
            del self._by_node[id]
        left = self._by_parent[run.parent_id]
        left.remove(run)
        if not left:
            del self._by_parent[run.parent_id]

    def get(self, uuid: str) -> GraphRun | None:
        """Return a graph by its id."""
        return self._by_id.get(uuid)

    def of(self, node: str) -> GraphRun | None:
        """Return the graph that a job is a node of."""
        return self._by_node.get(node)

    def started_by(self, parent: str) -> list[GraphRun]:
        """Return the graphs that a job's script has started."""
        return [*self._by_parent.get(parent, ())]

    def waiting(self, uuid: str) -> Job | None:
        """Return the job of a node that has not ended and has no record yet, as it was made; None for any other job."""
        run = self._by_node.get(uuid)
        return None if run is None or uuid in run.states else run.job(uuid)

    @contextmanager
    def coming_in(self, run: GraphRun) -> Iterator[None]:
        """Keep other graphs from the ids of this one until it is in: its nodes have no records yet."""
        taken = next((id for id in run.nodes if id in self._by_node or id in self._coming), None)
        if taken is not None:
            raise InvalidBackendParameter(TAKEN.format(taken))
        self._coming.update(run.nodes)
        try:
            yield
        finally:
            self._coming.difference_update(run.nodes)
