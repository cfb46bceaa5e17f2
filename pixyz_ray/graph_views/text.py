"""A graph as a tree of lines, for terminals.

What a script started stands below it, the members of a group below the group. `─→` goes on with the result of what
stands above it, `─⇢` only comes after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pixyz_ray.graph_views.scene import Item, Scene, make_scene

_BRANCHES = {"data": "─→ ", "order": "─⇢ ", "failure": "─✗ "}
_PLAIN_BRANCH = "── "


def as_text(view: Mapping[str, Any]) -> str:
    """Return the tree of a view, without a line break at the end.

    Args:
        view: the answer of `GET /jobs/{id}/graph`.
    """
    scene = make_scene(view)
    return "\n".join(_lines(scene)) or "nothing"


def _lines(scene: Scene) -> Iterator[str]:
    children, kinds = _tree(scene)
    # Item, and what stands before its first line and before all below it.
    stack = [(item, "", "") for item in reversed(children.get(None, []))]
    while stack:
        item, lead, indent = stack.pop()
        yield lead + _line(item)
        below = children.get(item.key, [])
        if item.error:
            yield f"{indent}{'│ ' if below else '  '}  {item.error}"
        for place, child in reversed(list(enumerate(below))):
            last = place == len(below) - 1
            branch = _BRANCHES.get(kinds.get(child.key, ""), _PLAIN_BRANCH)
            stack.append((child, f"{indent}{'└' if last else '├'}{branch}", f"{indent}{'    ' if last else '│   '}"))


def _tree(scene: Scene) -> tuple[dict[str | None, list[Item]], dict[str, str]]:
    """What stands below each item, and by what kind of link each item follows another."""
    above: dict[str, str | None] = {}
    kinds: dict[str, str] = {}
    children: dict[str | None, list[Item]] = {}
    for box, items in scene.inside.items():
        sources: dict[str, list[tuple[str, str]]] = {}
        for link in scene.links.get(box, ()):
            sources.setdefault(link.target.key, []).append((link.source.key, link.kind))
        for item in items:
            place = box
            for source, kind in sources.get(item.key, ()):
                place = source if kind == "starts" else above.get(source, box)
                kinds[item.key] = kind
            above[item.key] = place
            children.setdefault(place, []).append(item)
    return children, kinds


def _line(item: Item) -> str:
    words = [f"{item.look.symbol} {item.state}", item.title, *item.facts]
    if item.progress is not None:
        words.append(f"{item.progress:.0f} %")
    if item.id and (item.kind == "job" or item.state == "FAILURE"):
        words.append(item.id)
    return "  ".join(words)
