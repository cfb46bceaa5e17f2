"""Intake: checks a graph that was sent, and knows again what an earlier run of the same script has started.

A script that was cut short is run again from its beginning, while what it had started goes on. As long as it starts the
same graphs in the same order, it takes them up; those that it does not start again are forsaken.
"""

from __future__ import annotations

import json
import time

from pixyz_ray.cluster.graph.nodes import NodeJobs
from pixyz_ray.cluster.graph.run import GraphRun
from pixyz_ray.cluster.graph.runs import TAKEN, GraphRuns
from pixyz_ray.cluster.inspection import inspector
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job
from pixyz_ray.settings import Settings
from pixyz_worker.exception import InvalidBackendParameter


class Intake:
    """Takes graphs in.

    Args:
        access: the store, where graphs and jobs are written down.
        runs: the graphs that have not ended.
        settings: folders, queues and limits.
    """

    def __init__(self, access: StoreAccess, runs: GraphRuns, settings: Settings) -> None:
        self._access = access
        self._runs = runs
        self._settings = settings
        # The child process is ready when the first graph comes.
        inspector().start()
        self._taken_up: dict[str, tuple[int, set[str]]] = {}

    def prepared(self, text: str, parent: Job, number: int) -> GraphRun:
        """Return a graph ready to be run. May be called from another thread.

        Args:
            text: the plan, as JSON.
            parent: job that starts it.
            number: how many graphs this run of its script has started before.

        Raises:
            InvalidBackendParameter, InvalidScript: it cannot be run.
        """
        plain = json.loads(text)
        if not isinstance(plain, dict):
            raise InvalidBackendParameter("The graph is no JSON object.")
        extra = {"number": number, "attempt": len(parent.attempts), "requested": time.time()}
        graph = Graph.checked({**plain, **extra}, parent.uuid, parent.home or parent.uuid)
        assert graph.text
        return GraphRun(graph, NodeJobs(graph, parent, self._settings))

    async def check_new(self, graph: Graph, *, insist: bool) -> None:
        """Check that none of a graph's ids is that of a job.

        Args:
            graph: the graph.
            insist: whether to wait however long the store is away.

        Raises:
            InvalidBackendParameter: one is.
            StoreUnusable: that cannot be told now.
        """
        read = self._access.insist if insist else self._access.read
        if taken := await read(self._access.store.known, [*graph.nodes]):
            raise InvalidBackendParameter(TAKEN.format(taken[0]))

    async def known(self, text: str, parent: Job, number: int) -> list[str] | None:
        """Return the nodes of the graph that an earlier run of the script started in this place, if it is the same."""
        if len(parent.attempts) < 2:
            return None
        started = await self._access.insist(self._access.store.graphs_of, parent.uuid)
        earlier = [graph for graph in started if graph.number == number]
        if not earlier or earlier[-1].digest != Graph("", parent.uuid, "", json.loads(text)).digest:
            return None
        self.taken_up_by(parent).add(earlier[-1].uuid)
        return [*earlier[-1].nodes]

    def taken_up_by(self, parent: Job) -> set[str]:
        """Return the graphs of earlier runs that this run of a script has taken up."""
        attempt, taken_up = self._taken_up.get(parent.uuid, (0, set()))
        if attempt != len(parent.attempts):
            attempt, taken_up = self._taken_up[parent.uuid] = len(parent.attempts), set()
        return taken_up

    def forsaken(self, parent: Job, number: int = 0) -> list[str]:
        """Return the open nodes of the graphs from that number on that earlier runs started, and this one has not."""
        if len(parent.attempts) < 2:
            return []
        taken_up = self.taken_up_by(parent)
        return [
            id
            for run in self._runs.started_by(parent.uuid)
            if run.graph.plain["attempt"] < len(parent.attempts)
            and run.graph.number >= number
            and run.graph.uuid not in taken_up
            for id in run.open_nodes()
        ]

    def forget(self, parent: str) -> None:
        """Forget what was taken up by a job that has ended."""
        self._taken_up.pop(parent, None)
