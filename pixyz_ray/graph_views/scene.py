"""What is drawn of a graph, with the words that stand in it: the same for every language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, Literal

from pixyz_ray.graph_views.folding import Folded, fold
from pixyz_ray.graph_views.looks import TERMINAL, Look, clean, counted, look_of, seconds
from pixyz_ray.graph_views.nesting import nest

_NAME_CHARS, _ERROR_CHARS = 60, 160
_GRID_FROM = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A node, a group, or what stands for several of them."""

    key: str
    """Name in the drawing: a letter and a number."""
    kind: str
    """job, task, part, group; bundle (graphs of one script), run (steps that are folded away)."""
    id: str | None
    """Id of its job; None for what is no job."""
    title: str
    """Its name, clean and short."""
    state: str
    """Status word, clean."""
    facts: tuple[str, ...]
    """Queue, duration, counts and the like."""
    error: str | None
    """Last line of the error, clean."""
    progress: float | None
    """0 to 100 while it runs and that is known."""
    counts: Mapping[str, int] | None
    """Tasks by state of what holds several."""
    details: tuple[str, ...]
    """Lines that are shown on demand."""

    @property
    def look(self) -> Look:
        """How its state looks."""
        return look_of(self.state)

    @property
    def headline(self) -> str:
        """Symbol and name."""
        return f"{self.look.symbol} {self.title}"

    @property
    def subline(self) -> str:
        """State and facts."""
        return " · ".join((self.state, *self.facts) if self.kind != "run" else self.facts)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of its label."""
        return (self.headline, self.subline, *((self.error,) if self.error else ()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """An arrow between two neighbours of one box."""

    source: Item
    """Where it begins."""
    target: Item
    """Where it leads."""
    kind: str
    """data, order or starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """All that is drawn."""

    title: str
    """What it shows, in a sentence."""
    inside: Mapping[str | None, tuple[Item, ...]]
    """Key of a box -> what is in it, each after what it depends on; None for the outermost."""
    links: Mapping[str | None, tuple[Link, ...]]
    """Key of a box -> the links between what is in it."""

    def walk(self) -> Iterator[tuple[Literal["open", "leaf", "close"], Item, int]]:
        """Go through everything: a box is opened, then comes what is in it, then it is closed. With the depth."""
        trail = [iter(self.inside[None])]
        opened: list[Item] = []
        while trail:
            item = next(trail[-1], None)
            if item is None:
                trail.pop()
                if opened:
                    yield "close", opened.pop(), len(opened)
            elif self.inside.get(item.key):
                yield "open", item, len(opened)
                opened.append(item)
                trail.append(iter(self.inside[item.key]))
            else:
                yield "leaf", item, len(opened)

    def all_links(self) -> Iterator[Link]:
        """All links, those of outer boxes first."""
        for links in self.links.values():
            yield from links

    def below(self) -> Iterator[tuple[Item, Item]]:
        """Pairs of unrelated neighbours of which the second is better drawn below the first than beside it."""
        for key, links in self.links.items():
            tied = {end.key for link in links for end in (link.source, link.target)}
            free = [item for item in self.inside[key] if item.key not in tied and not self.inside.get(item.key)]
            if len(free) >= _GRID_FROM:
                columns = ceil(sqrt(len(free)))
                yield from zip(free, free[columns:], strict=False)


def make_scene(view: Mapping[str, Any]) -> Scene:
    """Decide what is drawn of a view, and what is written on it."""
    folded = fold(nest(view))
    items: dict[str, Item] = {}
    for ids in folded.contents.values():
        for id in ids:
            items[id] = _item(folded, id, f"n{len(items)}")
    keys: dict[str | None, str | None] = {None: None, **{id: item.key for id, item in items.items()}}
    first = next(iter(folded.nesting.nodes.values()), {})
    name = clean(first.get("name") or "", _NAME_CHARS) or "no job"
    state = clean(view.get("state") or first.get("state") or "", 20)
    counts = folded.tallies[None].counts
    return Scene(
        title=f"Graph of {name}, {state}, {counted(counts)}",
        inside={keys[box]: tuple(items[id] for id in ids) for box, ids in folded.contents.items()},
        links={
            keys[box]: tuple(
                Link(source=items[source], target=items[target], kind=kind) for source, target, kind in links
            )
            for box, links in folded.links.items()
            if box in folded.contents
        },
    )


def _item(folded: Folded, id: str, key: str) -> Item:
    if id in folded.runs:
        return _run(folded, id, key)
    if id in folded.nesting.bundles:
        return _bundle(folded, id, key)
    return _node(folded, id, key)


def _run(folded: Folded, id: str, key: str) -> Item:
    counts = folded.runs[id]
    (state, _), *_ = counts.most_common()
    shares = counted(counts).partition(": ")[2]
    return Item(
        key=key,
        kind="run",
        id=None,
        title=f"… {shares} …",
        state=clean(state, 20),
        facts=(f"{sum(counts.values()):,} steps that follow each other",),
        error=None,
        progress=None,
        counts=counts,
        details=(),
    )


def _bundle(folded: Folded, id: str, key: str) -> Item:
    counts = folded.tallies[id].counts
    ended = all(state in TERMINAL for state in counts)
    worst = next((each for each in ("FAILURE", "REVOKED") if counts[each]), "SUCCESS")
    return Item(
        key=key,
        kind="bundle",
        id=None,
        title="started one by one",
        state=worst if ended else "RUNNING",
        facts=(counted(counts),),
        error=None,
        progress=None,
        counts=counts,
        details=(),
    )


def _node(folded: Folded, id: str, key: str) -> Item:
    node = folded.nesting.nodes[id]
    kind = str(node.get("kind"))
    counts = None
    if kind == "group":
        counts = folded.tallies[id].counts if id in folded.tallies else {}
    state = clean(node.get("state") or "?", 20)
    error = node.get("error")
    last = str(error).strip().splitlines()[-1:] if error else []
    progress = node.get("progress")
    return Item(
        key=key,
        kind=kind,
        id=clean(id, 64),
        title=clean(node.get("name") or kind, _NAME_CHARS),
        state=state,
        facts=tuple(_facts(node, counts)),
        error=clean(last[0], _ERROR_CHARS) if last else None,
        progress=min(100.0, max(0.0, float(progress))) if progress is not None and state == "RUNNING" else None,
        counts=counts,
        details=tuple(_details(node)),
    )


def _facts(node: Mapping[str, Any], counts: Mapping[str, int] | None) -> Iterator[str]:
    if counts is not None:
        yield counted(counts)
    elif node.get("queue"):
        yield clean(node["queue"], 20)
    if node.get("duration") is not None:
        yield seconds(float(node["duration"]))
    if node.get("retry"):
        yield f"retry {int(node['retry'])}"


def _details(node: Mapping[str, Any]) -> Iterator[str]:
    for label in ("id", "entrypoint", "started", "stopped"):
        if node.get(label):
            yield f"{label}: {clean(node[label], _NAME_CHARS)}"
