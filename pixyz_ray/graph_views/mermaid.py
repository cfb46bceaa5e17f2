"""A graph as a Mermaid flowchart, for Markdown pages: groups are subgraphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pixyz_ray.graph_views.looks import LOOKS, look_of
from pixyz_ray.graph_views.scene import Item, make_scene

_ARROWS = {"data": "-->", "order": "-.->", "starts": "==>", "failure": "-. fails .->"}
_SHAPES = {
    "job": ("([", "])"),
    "part": ("[[", "]]"),
    "group": ("[[", "]]"),
    "bundle": ("[[", "]]"),
    "run": ("[[", "]]"),
}
_INIT = '%%{init: {"flowchart": {"subGraphTitleMargin": {"top": 4, "bottom": 24}}}}%%'
"""Room for a second line in the titles of subgraphs."""
_PLAIN = frozenset([*" .,-_…·", *(look.symbol for look in LOOKS.values())])


def as_mermaid(view: Mapping[str, Any]) -> str:
    """Return the flowchart of a view.

    Args:
        view: the answer of `GET /jobs/{id}/graph`.
    """
    return "\n".join(_lines(view)) + "\n"


def _lines(view: Mapping[str, Any]) -> Iterator[str]:
    scene = make_scene(view)
    yield _INIT
    yield "flowchart TB"
    yield f"  accTitle: {escape(scene.title)}"
    used: dict[str, None] = {}
    boxes: list[Item] = []
    for event, item, depth in scene.walk():
        indent = "  " * (depth + 1)
        if event == "close":
            yield f"{indent}end"
        elif event == "open":
            boxes.append(item)
            yield f"{indent}subgraph {item.key}[{_label(item)}]"
            yield f"{indent}  direction TB"
        else:
            used[item.look.name] = None
            begin, end = _SHAPES.get(item.kind, ("[", "]"))
            yield f"{indent}{item.key}{begin}{_label(item)}{end}:::{item.look.name}"
    for link in scene.all_links():
        yield f"  {link.source.key} {_ARROWS.get(link.kind, '-->')} {link.target.key}"
    for above, below in scene.below():
        yield f"  {above.key} ~~~ {below.key}"
    for box in boxes:
        yield f"  style {box.key} fill:#808080,fill-opacity:0.08,stroke:{box.look.ink}"
    for look in (*LOOKS.values(), look_of("")):
        if look.name in used:
            yield f"  classDef {look.name} fill:{look.tint},stroke:{look.ink},color:#1a1a1a"


def escape(text: str) -> str:
    """Write text so that Mermaid shows it and reads nothing else in it: only letters, digits and blanks stay."""
    return "".join(each if each.isalnum() or each in _PLAIN else f"#{ord(each)};" for each in text)


def _label(item: Item) -> str:
    return '"' + "<br/>".join(escape(line) for line in item.lines) + '"'
