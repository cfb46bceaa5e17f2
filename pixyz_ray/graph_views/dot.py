"""A graph in the DOT language of Graphviz: groups are clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pixyz_ray.graph_views.scene import Item, Link, Scene, make_scene

_STYLES = {"data": "solid", "order": "dashed", "starts": "bold", "failure": "dotted"}
_SHAPES = {"job": "oval", "part": "box3d", "group": "box3d", "bundle": "box3d", "run": "box3d"}
_HEAD = (
    '  graph [compound=true, rankdir=TB, fontname="Helvetica", fontsize=11]',
    '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, fontcolor="#1a1a1a"]',
    '  edge [color="#767676", arrowsize=0.7]',
)


def as_dot(view: Mapping[str, Any]) -> str:
    """Return the digraph of a view.

    Args:
        view: the answer of `GET /jobs/{id}/graph`.
    """
    return "\n".join(_lines(make_scene(view))) + "\n"


def _lines(scene: Scene) -> Iterator[str]:
    yield "digraph pixyz {"
    yield from _HEAD
    yield f"  label={quote(scene.title)}"
    for event, item, depth in scene.walk():
        indent = "  " * (depth + 1)
        if event == "close":
            yield f"{indent}}}"
        elif event == "open":
            yield f"{indent}subgraph cluster_{item.key} {{"
            yield f'{indent}  label={_label(item)}; style="rounded"; color="{item.look.ink}"; penwidth=1.5'
        else:
            yield f"{indent}{item.key} [{_attributes(item)}]"
    ends = _ends(scene)
    for link in scene.all_links():
        yield f"  {_edge(link, ends)}"
    for above, below in scene.below():
        yield f"  {above.key} -> {below.key} [style=invis]"
    yield "}"


def quote(*lines: str) -> str:
    """Write lines as one quoted string of DOT, which takes backslashes and entities for its own."""
    texts = (line.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(texts) + '"'


def _label(item: Item) -> str:
    return quote(*item.lines)


def _attributes(item: Item) -> str:
    look = item.look
    tooltip = quote(*item.lines, *item.details)
    return (
        f"label={_label(item)}, tooltip={tooltip}, shape={_SHAPES.get(item.kind, 'box')}, "
        f'fillcolor="{look.tint}", color="{look.ink}"'
    )


def _ends(scene: Scene) -> dict[str, tuple[str, str]]:
    """The first and the last leaf of each box: an edge of DOT ends at nodes only, and is cut at the cluster."""
    ends: dict[str, tuple[str, str]] = {}
    opened: list[str] = []
    for event, item, _ in scene.walk():
        if event == "open":
            opened.append(item.key)
        elif event == "close":
            opened.pop()
        else:
            for box in opened:
                ends[box] = (ends[box][0] if box in ends else item.key, item.key)
    return ends


def _edge(link: Link, ends: Mapping[str, tuple[str, str]]) -> str:
    tail, head = link.source.key, link.target.key
    style = [f"style={_STYLES.get(link.kind, 'solid')}"]
    if tail in ends:
        style.append(f"ltail=cluster_{tail}")
    if head in ends:
        style.append(f"lhead=cluster_{head}")
    begin, end = ends[tail][1] if tail in ends else tail, ends[head][0] if head in ends else head
    return f"{begin} -> {end} [{', '.join(style)}]"
