"""NodeLine: lets the nodes of a graph that may begin wait for their turn, a few at a time."""

from __future__ import annotations

import time
from collections import deque

from pixyz_ray.cluster.graph.run import GraphRun
from pixyz_ray.cluster.turns import Turns

_IN_LINE = 16
"""Nodes of one graph that wait in line at each queue. With all of them in line, other graphs would have to wait."""


class NodeLine:
    """Nodes of graphs that wait for their turn.

    Args:
        turns: the queue above Ray.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def add(self, run: GraphRun, id: str) -> None:
        """Let a node wait for its turn, once those before it in its graph have left the line."""
        queue = run.asks_for(id).queue
        run.ready.setdefault(queue, deque()).append(id)
        self._fill(run, queue)

    def leave(self, run: GraphRun, id: str) -> None:
        """Let the next node take the place of one whose turn has come, or that has ended."""
        for queue, in_line in run.in_line.items():
            if id in in_line:
                in_line.discard(id)
                self._fill(run, queue)

    def _fill(self, run: GraphRun, queue: str) -> None:
        ready, in_line = run.ready.get(queue), run.in_line.setdefault(queue, set())
        while ready and len(in_line) < _IN_LINE:
            id = ready.popleft()
            if id not in run.states and id not in run.begun:
                in_line.add(id)
                self._turns.wait(id, run.asks_for(id), since=time.time())
