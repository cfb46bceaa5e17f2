"""Graphs of tasks as pure data: what a script, or a client, has composed, checked and ready to be run.

A graph arrives as the plain values that `pixyz_worker.wire` makes of a plan. Each of its nodes is a job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pixyz_ray.storage import is_uuid
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.plan import FAIL_FAST, linked
from pixyz_worker.result import ResultHandle
from pixyz_worker.task_options import PLAIN_START_OPTIONS
from pixyz_worker.wire import VERSION

MAX_NODES = 200_000
"""Nodes that one graph may have."""
_MOMENTS = frozenset({"eta", "expires_at"})
_LAST_MOMENT = 253_402_300_800.0
"""End of the year 9999, in seconds since the epoch."""
MAX_NESTING = 100
"""Groups in one another that it may have: their results are lists in lists."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph."""

    id: str
    """Id of the job that it is."""
    kind: str
    """`task`, `part` or `group`, as in Job."""
    calls: tuple[tuple[Any, ...], ...] = ()
    """(number in the table of calls, params) of each of its calls; several for a part. With a third item, true, the
    params are a pickle as text."""
    after: str | None = None
    """Node that must have ended well before; a group's stands with its members."""
    fed: bool = False
    """Whether the result of `after` becomes the params."""
    members: tuple[str, ...] = ()
    """Nodes whose results make the list that is a group's."""
    on_failure: bool = False
    """Whether it runs when `after` has failed; fed, it gets the id of `after`. An error callback."""


@dataclass(frozen=True)
class Graph:
    """A graph that a job has started."""

    uuid: str
    """Identity: that of its end node."""
    parent_id: str
    """Job whose script started it."""
    root_id: str
    """Job at the top, which nothing of a graph has started; its folder has the script and the input."""
    plain: Mapping[str, Any]
    """What it was made of, as it is kept: `calls`, `nodes`, `end`, `parents`, and `number`."""

    @staticmethod
    def checked(plain: Any, parent_id: str, root_id: str) -> Graph:
        """Return the graph that somebody sent.

        Raises:
            InvalidBackendParameter: it is none; the sentence says why.
        """
        try:
            graph = Graph(plain["end"], parent_id, root_id, plain)
            _check(graph)
        except ValueError as error:
            raise InvalidBackendParameter(f"The graph cannot be read: {error}.") from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InvalidBackendParameter(f"The graph cannot be read: {type(error).__name__}: {error}.") from error
        return graph

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Its nodes by id, each after those that it depends on."""
        nodes = map(_node, self.plain["nodes"])
        return {node.id: node for node in nodes}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Table of calls: `script` (file name), `context` and `options` of each."""
        calls: list[dict[str, Any]] = self.plain["calls"]
        return calls

    @property
    def number(self) -> int:
        """Which of the graphs of its parent it is, from 0."""
        return int(self.plain.get("number", 0))

    @cached_property
    def text(self) -> str:
        """`plain` as JSON, which is how it is kept."""
        return json.dumps(self.plain)

    @cached_property
    def digest(self) -> str:
        """What it is made of, whatever its ids: a script that is run again makes the same graph with other ids."""
        places = {node["id"]: place for place, node in enumerate(self.plain["nodes"])}
        nodes = [
            [
                places.get(node["after"]),
                [places[member] for member in node.get("members", ())],
                *(node.get(key) for key in ("calls", "fed", "part")),
                *([True] if node.get("on_failure") else ()),
            ]
            for node in self.plain["nodes"]
        ]
        return hashlib.sha256(json.dumps([[*map(_timeless, self.calls)], nodes]).encode()).hexdigest()

    @property
    def tasks(self) -> int:
        """Number of its tasks: groups run nothing."""
        return sum(node.kind != "group" for node in self.nodes.values())

    def as_tuple(self) -> Any:
        """Return the ids of the graph as its handle gives them."""
        return self._handles()[self.uuid].as_tuple()

    def followers(self, id: str) -> list[Any]:
        """Return the ids of the nodes after a node, callbacks included, as `as_tuple()` gives them without a parent."""
        following = [child for child, above in self.plain["parents"].items() if above == id]
        handles = self._handles() if following else {}
        tuples = (handles[child].as_tuple() for child in following)
        return [((child, None), members) for (child, _), members in tuples]

    def _handles(self) -> dict[str, ResultHandle]:
        members = ((node.id, node.members if node.kind == "group" else None) for node in self.nodes.values())
        return linked(members, self.plain["parents"])

    def group_of(self) -> dict[str, str]:
        """Return the group that a node is a member of, for those that are."""
        return {member: node.id for node in self.nodes.values() for member in node.members}

    def edges(self) -> Iterable[tuple[str | None, str, str]]:
        """Yield (source, target, `starts`, `data`, `order` or `failure`); source None: the job that started it all."""
        for node in self.nodes.values():
            if node.kind == "group" and node.members:
                continue
            if node.after is None:
                yield None, node.id, "starts"
            elif node.on_failure:
                yield node.after, node.id, "failure"
            else:
                yield node.after, node.id, "data" if node.fed else "order"


def _timeless(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a call without its absolute times: a script that is run again computes new ones."""
    options = call["options"]
    if options.keys().isdisjoint(_MOMENTS):
        return call
    return {**call, "options": {key: value for key, value in options.items() if key not in _MOMENTS}}


def _node(plain: Mapping[str, Any]) -> Node:
    if "members" in plain:
        return Node(plain["id"], "group", (), plain["after"], False, tuple(plain["members"]))
    calls = tuple(map(tuple, plain["calls"]))
    if plain.get("part"):
        return Node(plain["id"], "part", calls, plain["after"])
    fed, on_failure = bool(plain["fed"]), bool(plain.get("on_failure"))
    return Node(plain["id"], "task", calls, plain["after"], fed, on_failure=on_failure)


def _check(graph: Graph) -> None:
    """Raise ValueError with the reason when a graph makes no sense."""
    if graph.plain["version"] != VERSION:
        raise ValueError(f"it is of version {graph.plain['version']!r}, this platform knows {VERSION}")
    if not 0 < len(graph.plain["nodes"]) <= MAX_NODES:
        raise ValueError(f"it has {len(graph.plain['nodes'])} nodes; 1 to {MAX_NODES} are taken")
    _check_nodes(graph)
    order = {id: place for place, id in enumerate(graph.nodes)}
    if graph.uuid not in order:
        raise ValueError("its end is not one of its nodes")
    for id, parent in graph.plain["parents"].items():
        if order[parent] >= order[id]:
            raise ValueError(f"node {id} leads back to one that does not come before it")
    for call in graph.calls:
        if not (isinstance(call["script"], str) and isinstance(call["context"], dict)):
            raise ValueError("a call names no script or has no context")
        if not isinstance(call["options"], dict):
            raise ValueError("the options of a call are not an object")
        for name in PLAIN_START_OPTIONS & call["options"].keys():
            value = call["options"][name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_MOMENT:
                raise ValueError(f"{name} of a call is not a number of seconds")
        if not _is_texts(call.get("packed", {})):
            raise ValueError("the pickled values of a call are not an object of texts")
        if not isinstance(call["options"].get(FAIL_FAST), int | None):
            raise ValueError(f"{FAIL_FAST} of a call is no number")


def _is_texts(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _check_nodes(graph: Graph) -> None:
    seen: set[str] = set()
    in_group: set[str] = set()
    nesting: dict[str, int] = {}
    for node in map(_node, graph.plain["nodes"]):
        if not (isinstance(node.id, str) and is_uuid(node.id)) or node.id in seen:
            raise ValueError(f"the id {str(node.id)[:80]!r} of a task is no fresh UUID")
        if not seen.issuperset(node.members) or (node.after is not None and node.after not in seen):
            raise ValueError(f"node {node.id} depends on one that does not come before it")
        if len(set(node.members)) < len(node.members) or not in_group.isdisjoint(node.members):
            raise ValueError(f"a member of group {node.id} is in a group already")
        if node.kind == "group":
            nesting[node.id] = 1 + max((nesting.get(member, 0) for member in node.members), default=0)
            if nesting[node.id] > MAX_NESTING:
                raise ValueError(f"its groups are nested more than {MAX_NESTING} deep")
        elif not node.calls or (node.kind == "task" and len(node.calls) > 1):
            raise ValueError(f"node {node.id} has {len(node.calls)} calls")
        if not all(2 <= len(call) <= 3 for call in node.calls):
            raise ValueError(f"a call of node {node.id} is no list of a number and params")
        if not all(call[2] is True and isinstance(call[1], str) for call in node.calls if len(call) > 2):
            raise ValueError(f"a call of node {node.id} has params that are neither JSON nor a pickle as text")
        if not all(type(number) is int and 0 <= number < len(graph.calls) for number, *_ in node.calls):
            raise ValueError(f"node {node.id} makes a call that is not in the table")
        if node.on_failure and node.after is None:
            raise ValueError(f"node {node.id} is an error callback, but follows no other node")
        in_group.update(node.members)
        seen.add(node.id)
