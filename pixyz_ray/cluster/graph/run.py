"""A graph while it runs: which nodes may begin, whose values are still wanted, what a failure takes along. No Ray."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pixyz_ray.cluster.graph.nodes import NodeJobs
from pixyz_ray.graphs import Graph, Node
from pixyz_ray.jobs import Job, JobState


@dataclass(frozen=True, slots=True)
class Value:
    """What a node that has ended hands on: a reference, or the shape of a Feed that needs none."""

    reference: Any = None
    """Ray's object reference."""
    shape: Any = None
    """Where it is, when Ray does not hold it."""


class GraphRun:
    """One graph that has not ended.

    Args:
        graph: the graph.
        jobs: makes the jobs of its nodes.
    """

    def __init__(self, graph: Graph, jobs: NodeJobs) -> None:
        self.graph = graph
        self.jobs = jobs
        self.nodes = graph.nodes
        self.states: dict[str, JobState] = {}
        """States of the nodes that have ended."""
        self.begun: set[str] = set()
        """Nodes whose job was started, and which have not ended."""
        self.ahead: set[str] = set()
        """Those of them that were launched ahead of their turn: what they depend on has not ended yet."""
        self.ready: dict[str, deque[str]] = {}
        """Tasks that may begin, in order, by queue."""
        self.in_line: dict[str, set[str]] = {}
        """Those that wait for their turn among others, by queue."""
        self.values: dict[str, Value] = {}
        """Results that somebody will still want."""
        self.starved: set[str] = set()
        """Nodes that are run again, whose params are worked out again without Ray's references."""
        self.reruns: Counter[str] = Counter()
        """How often a task was run again since its value was lost."""
        self.held: dict[str, set[str]] = {}
        """Tasks that wait until others have run again, and those others."""
        self.stopped: dict[str, float] = {}
        """When the nodes ended, in seconds since the epoch, that had before a restart."""
        self.group_of = graph.group_of()
        self.left = {node.id: len(node.members) for node in self.nodes.values() if node.kind == "group"}
        """Members of each group that have not ended well."""
        self.failed_scopes: dict[Any, str] = {}
        """Number of a fail_fast composition -> the node that failed in it."""
        self._dependents: dict[str, list[str]] = {}
        self._consumers: dict[str, int] = {}
        for node in self.nodes.values():
            if node.after is not None:
                self._dependents.setdefault(node.after, []).append(node.id)
                if node.fed and not node.on_failure:
                    self._consumers[node.after] = self._consumers.get(node.after, 0) + 1
        self._wanted: set[str] = set()
        for source in self._consumers:
            self._wanted.update(self.sources(source))

    @property
    def over(self) -> bool:
        """Whether all nodes have ended."""
        return len(self.states) == len(self.nodes)

    @property
    def parent_id(self) -> str:
        """Job whose script started it."""
        return self.graph.parent_id

    def job(self, id: str) -> Job:
        """Return the job of a node before its first attempt."""
        return self.jobs.job(self.nodes[id])

    def asks_for(self, id: str) -> Job:
        """Return a job that asks for what a task's job will ask for; to make that one takes longer."""
        return self.jobs.template(self.nodes[id])

    def start_options(self, id: str) -> Mapping[str, float]:
        """Return when a task may start and is given up: countdown, eta, expires and expires_at, if they are set."""
        calls = self.nodes[id].calls
        options: Mapping[str, float] = self.jobs.start_options[calls[0][0]] if calls else {}
        return options

    def follows_group(self, id: str) -> bool:
        """Return whether a node gets the results of a group: the body of a chord."""
        after = self.nodes[id].after
        return after is not None and self.nodes[after].kind == "group"

    def first(self) -> list[str]:
        """Return the nodes that depend on no other."""
        return [node.id for node in self.nodes.values() if node.after is None]

    def dependents(self, id: str) -> list[str]:
        """Return the nodes that wait for this one; a group that has members stands and falls with them."""
        return self._dependents.get(id, [])

    def is_wanted(self, id: str) -> bool:
        """Return whether another node gets what this one returns."""
        return id in self._wanted

    def next_of(self, id: str) -> Node | None:
        """Return the one task that follows this one at once; None when there are several, or none."""
        after = self._dependents.get(id, ())
        node = self.nodes[after[0]] if len(after) == 1 else None
        if node is None or node.kind == "group" or node.on_failure or self.start_options(node.id):
            return None
        return node

    def next_ahead(self, id: str) -> str | None:
        """Return the task that comes after this one when it was launched ahead of its turn."""
        node = self.next_of(id)
        return node.id if node is not None and node.id in self.ahead else None

    def scope(self, id: str) -> Any:
        """Return the number of the fail_fast composition that a task belongs to, or None."""
        calls = self.nodes[id].calls
        return self.jobs.scopes[calls[0][0]] if calls else None

    def in_scope(self, scope: Any) -> Iterator[str]:
        """Yield the tasks of a fail_fast composition that have not ended."""
        return (id for id in self.nodes if id not in self.states and self.scope(id) == scope)

    def open_nodes(self) -> list[str]:
        """Return the nodes that have not ended."""
        return [id for id in self.nodes if id not in self.states]

    def with_members(self, id: str) -> list[str]:
        """Return a node and, of a group, its members with theirs, and all that comes before them inside the group."""
        if self.nodes[id].kind != "group":
            return [id]
        found: list[str] = []
        pending = [id]
        outside = self.nodes[id].after
        while pending:
            node = self.nodes[pending.pop()]
            found.append(node.id)
            pending.extend(node.members)
            if node.after is not None and node.after != outside and node.id != id:
                pending.append(node.after)
        return found

    def end(self, id: str, state: JobState, value: Value | None = None) -> None:
        """Record that a node has ended, and forget the values that nobody wants any more."""
        node = self.nodes[id]
        self.states[id] = state
        self.begun.discard(id)
        self.ahead.discard(id)
        self.starved.discard(id)
        if value is not None and id in self._wanted:
            self.values[id] = value
        if node.fed and node.after is not None and not node.on_failure:
            self._consumers[node.after] -= 1
            if not self._consumers[node.after]:
                for source in self.sources(node.after):
                    self.values.pop(source, None)

    def reopen(self, id: str) -> None:
        """Take back the end of a task that runs again since its value was lost."""
        node = self.nodes[id]
        del self.states[id]
        self.values.pop(id, None)
        self.stopped.pop(id, None)
        self.reruns[id] += 1
        if node.fed and node.after is not None and not node.on_failure:
            # It takes its own inputs again.
            self._consumers[node.after] += 1

    def missing(self, id: str) -> list[str]:
        """Return the tasks whose results a node gets and which are not at hand: only the store has them."""
        node = self.nodes[id]
        if not node.fed or node.after is None or node.on_failure:
            return []
        return [source for source in self.sources(node.after) if source not in self.values]

    def shape(self, id: str, references: list[Any]) -> Any:
        """Return the shape of a Feed that gives a node's result, and collect the references that it takes.

        Args:
            id: the node, of whose results none is missing.
            references: where they are added.
        """
        node = self.nodes[id]
        if node.kind == "group":
            return ["list", [self.shape(member, references) for member in node.members]]
        value = self.values[id]
        if value.reference is None:
            return value.shape
        references.append(value.reference)
        return ["ref", len(references) - 1]

    def sources(self, id: str) -> Iterator[str]:
        """Yield the tasks whose results make a node's."""
        pending = [id]
        while pending:
            node = self.nodes[pending.pop()]
            if node.kind == "group":
                pending.extend(node.members)
            else:
                yield node.id
