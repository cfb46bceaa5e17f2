"""What is too much to show: a large box becomes its counts, a long run of steps its ends.

Nothing is lost to the reader who looks for trouble: failing nodes stay visible, up to a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pixyz_ray.graph_views.nesting import Nesting, in_order

MOST_MEMBERS = 40
"""A box with more members than this is folded."""
_MOST_VISIBLE = 160
"""So is one with more than this visible inside, in all its boxes together."""
_MOST_FAILING = 10
"""Failing nodes that a folded box shows."""
_LONG_RUN = 60
"""A run of steps that is longer than this is folded."""
_RUN_ENDS = 3
"""Steps that a folded run shows at either end."""
_MOST_MARKED = 20
"""Steps in its middle that a folded run shows because of their states."""
_MARKED = frozenset({"RUNNING", "STARTED", "RETRY", "FAILURE", "REVOKED"})
_STEPS = frozenset({"task", "part"})

Contents = dict[str | None, list[str]]


@dataclass(kw_only=True, slots=True)
class Tally:
    """What is in a box, at any depth."""

    counts: Counter[str] = field(default_factory=Counter)
    """Tasks by state."""
    failing: list[str] = field(default_factory=list)
    """Ids of the first tasks that failed."""
    visible: int = 0
    """Nodes that are drawn."""

    def add(self, other: Tally) -> None:
        """Add what is in an inner box."""
        self.counts.update(other.counts)
        self.failing = (self.failing + other.failing)[:_MOST_FAILING]
        self.visible += other.visible


@dataclass(frozen=True, kw_only=True, slots=True)
class Folded:
    """A view without what is too much."""

    nesting: Nesting
    """Where it comes from."""
    contents: Contents
    """Box -> ids of what is drawn in it, in order; None for the outermost. A run is in it by an id of its own."""
    tallies: Mapping[str | None, Tally]
    """What is in each box, folded away or not."""
    folded: frozenset[str]
    """Boxes of which the members are not drawn, but for failing ones."""
    runs: Mapping[str, Counter[str]]
    """Id of a folded run -> its tasks by state."""
    links: Mapping[str | None, list[tuple[str, str, str]]]
    """Box -> (source, target, kind) between what is drawn in it."""


def fold(nesting: Nesting) -> Folded:
    """Decide what is drawn."""
    links: dict[str | None, list[tuple[str, str, str]]] = {}
    for (source, target), kind in nesting.links.items():
        links.setdefault(nesting.boxes[source], []).append((source, target, kind))
    contents: Contents = {None: []}
    for id, box in nesting.boxes.items():
        contents.setdefault(box, []).append(id)
    for box, ids in contents.items():
        contents[box] = in_order(ids, [(source, target) for source, target, _ in links.get(box, ())])
    tallies, folded = _fold_boxes(nesting, contents, links)
    runs: dict[str, Counter[str]] = {}
    drawn: Contents = {}
    stack: list[str | None] = [None]
    while stack:
        box = stack.pop()
        drawn[box] = contents[box]
        if box not in folded:
            drawn[box], links[box] = _fold_runs(nesting, contents, box, links.get(box, []), runs)
            stack.extend(each for each in drawn[box] if contents.get(each))
    return Folded(nesting=nesting, contents=drawn, tallies=tallies, folded=frozenset(folded), runs=runs, links=links)


def _inner_first(contents: Contents) -> list[str | None]:
    order: list[str | None] = []
    stack: list[str | None] = [None]
    while stack:
        box = stack.pop()
        order.append(box)
        stack.extend(each for each in contents[box] if each in contents)
    return order[::-1]


def _fold_boxes(
    nesting: Nesting, contents: Contents, links: dict[str | None, list[tuple[str, str, str]]]
) -> tuple[dict[str | None, Tally], set[str]]:
    """Count what is in each box; where that is too much, leave only what fails in it."""
    tallies: dict[str | None, Tally] = {}
    folded: set[str] = set()
    for box in _inner_first(contents):
        tally = Tally(visible=1)
        for each in contents[box]:
            if each in tallies:
                tally.add(tallies[each])
            else:
                tally.add(_tally_of(nesting.nodes[each], each))
        tallies[box] = tally
        if box is not None and (len(contents[box]) > MOST_MEMBERS or tally.visible > _MOST_VISIBLE):
            folded.add(box)
            contents[box], links[box] = tally.failing, []
            tally.visible = 1 + len(tally.failing)
    return tallies, folded


def _tally_of(node: Mapping[str, Any], id: str) -> Tally:
    if node.get("kind") == "group":
        return Tally(visible=1)
    state = str(node.get("state"))
    return Tally(counts=Counter([state]), failing=[id] if state == "FAILURE" else [], visible=1)


def _fold_runs(
    nesting: Nesting,
    contents: Contents,
    box: str | None,
    links: list[tuple[str, str, str]],
    runs: dict[str, Counter[str]],
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Fold the long runs of steps in one box; return what is drawn in it, and its links."""
    into = Counter(target for _, target, _ in links)
    out = Counter(source for source, _, _ in links)
    step = {source: target for source, target, _ in links if out[source] == 1 and into[target] == 1}
    plain = {
        each for each in contents[box] if nesting.nodes.get(each, {}).get("kind") in _STEPS and each not in contents
    }
    hidden: dict[str, str] = {}
    drawn: list[str] = []
    ids = contents[box]
    begin = 0
    while begin < len(ids):
        end = begin + 1
        while end < len(ids) and {ids[end - 1], ids[end]} <= plain and step.get(ids[end - 1]) == ids[end]:
            end += 1
        drawn += _folded_run(nesting, ids[begin:end], hidden, runs)
        begin = end
    kept: dict[tuple[str, str], str] = {}
    for source, target, kind in links:
        ends = hidden.get(source, source), hidden.get(target, target)
        if ends[0] != ends[1]:
            kept[ends] = kind
    return drawn, [(*ends, kind) for ends, kind in kept.items()]


def _folded_run(nesting: Nesting, run: list[str], hidden: dict[str, str], runs: dict[str, Counter[str]]) -> list[str]:
    """What is drawn of a run; `hidden` learns which steps are behind which of its new ids."""
    if len(run) <= _LONG_RUN:
        return run
    middle = range(_RUN_ENDS, len(run) - _RUN_ENDS)
    marked = [place for place in middle if nesting.nodes[run[place]].get("state") in _MARKED][:_MOST_MARKED]
    stops = [*marked, len(run) - _RUN_ENDS]
    drawn = run[:_RUN_ENDS]
    begin = _RUN_ENDS
    for stop in stops:
        behind = run[begin:stop]
        if len(behind) > 1:
            name = f"\0run from {behind[0]}"
            runs[name] = Counter(str(nesting.nodes[each].get("state")) for each in behind)
            hidden.update(dict.fromkeys(behind, name))
            drawn.append(name)
        else:
            drawn += behind
        drawn += run[stop : stop + 1] if stop in marked else []
        begin = stop + 1
    return drawn + run[-_RUN_ENDS:]
