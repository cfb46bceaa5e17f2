"""Which box each node is drawn in, and the links between neighbours of one box.

A node is in the box of its group. A step of a chain that is a member of a group is in that group's box, and so is what
a member started itself. Many graphs that one script started are put in a box of their own, which is no group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MANY_STARTED = 6
"""More graphs of one script than this get a box."""

_STRENGTH = {"data": 2, "order": 1, "failure": 1, "starts": 0}

Edges = list[tuple[str, str, str]]
Links = dict[tuple[str, str], str]
Boxes = dict[str, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Nesting:
    """A view with its boxes."""

    nodes: Mapping[str, Mapping[str, Any]]
    """Id -> node of the view."""
    boxes: Boxes
    """Id -> id of the box around it; None for the outermost. Bundles are keys too."""
    bundles: frozenset[str]
    """Boxes that are no group: what one script started."""
    links: Links
    """(source, target) -> kind, between neighbours of one box; the strongest where there were several."""


def nest(view: Mapping[str, Any]) -> Nesting:
    """Find the boxes of a view. What refers to a node that is not there is left out."""
    nodes = {str(node["id"]): node for node in view.get("nodes") or ()}
    edges: Edges = [
        (edge["source"], edge["target"], edge["kind"])
        for edge in view.get("edges") or ()
        if edge["source"] in nodes and edge["target"] in nodes
    ]
    boxes = _boxes(nodes, _homes(nodes, edges))
    bundles = _bundle(boxes, _lift(edges, boxes))
    return Nesting(nodes=nodes, boxes=boxes, bundles=frozenset(bundles), links=_lift(edges, boxes))


def in_order(ids: Iterable[str], links: Iterable[tuple[str, str]]) -> list[str]:
    """Sort so that each comes after those that link to it, and soon after; what goes in a circle comes last."""
    waiting = dict.fromkeys(ids, 0)
    targets: dict[str, list[str]] = defaultdict(list)
    for source, target in links:
        targets[source].append(target)
        waiting[target] += 1
    stack = [each for each in reversed(waiting) if not waiting[each]]
    done: dict[str, None] = {}
    while stack:
        here = stack.pop()
        done[here] = None
        for target in reversed(targets[here]):
            waiting[target] -= 1
            if not waiting[target]:
                stack.append(target)
    return [*done, *(each for each in waiting if each not in done)]


def _homes(nodes: Mapping[str, Mapping[str, Any]], edges: Edges) -> Boxes:
    """The group that each node belongs to; a chain's earlier steps belong where its last one does."""
    homes: Boxes = {}
    for id, node in nodes.items():
        group = node.get("group")
        homes[id] = group if group in nodes and group != id else None
    members = Counter(home for home in homes.values() if home)
    follows: dict[str, list[str]] = defaultdict(list)
    steps = [(source, target) for source, target, kind in edges if kind != "starts"]
    for source, target in steps:
        follows[source].append(target)
    for id in reversed(in_order(nodes, steps)):
        if homes[id] is None and follows[id]:
            homes[id] = _home_of_followers(follows[id], homes, members)
    return homes


def _home_of_followers(followers: list[str], homes: Boxes, members: Mapping[str, int]) -> str | None:
    """The group of which a step that leads to these is a part; None if it leads to a whole group from outside."""
    unit: str | None = followers[0]
    if len(set(followers)) > 1:
        # A step feeds all first nodes of the group that follows it: that group is what it leads to.
        chains = [_chain(follower, homes) for follower in followers]
        unit = next((box for box in chains[0][1:] if all(box in chain for chain in chains)), None)
    for _ in homes:
        home = homes[unit] if unit else None
        if home is None or members[home] > 1:
            return home
        unit = home  # the only member: whoever leads to it leads to the group
    return None


def _chain(id: str, homes: Boxes) -> list[str]:
    chain: dict[str, None] = {}
    here: str | None = id
    while here is not None and here not in chain:
        chain[here] = None
        here = homes[here]
    return list(chain)


def _boxes(nodes: Mapping[str, Mapping[str, Any]], homes: Boxes) -> Boxes:
    """The box of each node: its home, else the box of whoever started it."""
    boxes: Boxes = {}
    for id in nodes:
        trail: dict[str, None] = {}
        here: str | None = id
        while here and here in nodes and here not in boxes and here not in trail and homes[here] is None:
            trail[here] = None
            here = nodes[here].get("parent_id")
        box = boxes.get(here, homes.get(here)) if here else None
        boxes |= dict.fromkeys(trail, box)
        boxes.setdefault(id, box)
    return boxes


def _depths(boxes: Boxes) -> dict[str, int]:
    """How many boxes are around each; a box that is inside itself is taken out."""
    depths: dict[str, int] = {}
    for id in boxes:
        trail: dict[str, None] = {}
        here: str | None = id
        while here is not None and here not in depths and here not in trail:
            trail[here] = None
            here = boxes[here]
        if here in trail:
            boxes[next(reversed(trail))] = here = None
        depth = -1 if here is None else depths[here]
        for each in reversed(trail):
            depth += 1
            depths[each] = depth
    return depths


def _lift(edges: Edges, boxes: Boxes) -> Links:
    """Make each edge a link between two neighbours: the nodes themselves, or the boxes that they are in."""
    depths = _depths(boxes)
    links: Links = {}
    for source, target, kind in edges:
        one, other = source, target
        while depths[one] > depths[other]:
            one = boxes[one] or one
        while depths[other] > depths[one]:
            other = boxes[other] or other
        while boxes[one] != boxes[other]:
            one, other = boxes[one] or one, boxes[other] or other
        if one != other and _STRENGTH.get(kind, 0) >= _STRENGTH.get(links.get((one, other), ""), -1):
            links[one, other] = kind
    return links


def _bundle(boxes: Boxes, links: Links) -> list[str]:
    """Put what one script started one by one into a box, where it is much; return the new boxes."""
    bundles: list[str] = []
    targets: dict[str, list[str]] = defaultdict(list)
    for source, target in links:
        targets[source].append(target)
    for starter in in_order(boxes, links):
        started = [each for each in targets[starter] if links[starter, each] == "starts"]
        if len(started) <= _MANY_STARTED:
            continue
        bundle, around = f"\0started by {starter}", boxes[starter]
        bundles.append(bundle)
        stack = started
        while stack:
            here = stack.pop()
            if boxes[here] == around and here != starter:
                boxes[here] = bundle
                stack.extend(targets[here])
        boxes[bundle] = around
    return bundles
