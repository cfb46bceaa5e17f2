"""Where everything stands in a drawing: boxes inside boxes, and in each a tree that grows downwards.

The innermost boxes are arranged first; each is then one large node of the box around it. Whatever has no link to its
neighbours is put in rows. No recursion: a graph may be as deep as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from pixyz_ray.graph_views.scene import Item, Link, Scene

GAP_X, GAP_Y = 18.0, 34.0
_ROW_GAP = 18.0
_PADDING = 16.0
_ROW = 960.0
"""Rows up to this width are not broken."""
_LONG_ROW = 2.0
"""How much wider than high longer ones are made."""

Size = tuple[float, float]
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rect:
    """Where an item is drawn."""

    x: float
    """Left."""
    y: float
    """Top."""
    width: float
    """To the right."""
    height: float
    """Downwards."""

    @property
    def middle(self) -> float:
        """Where links touch it, above and below."""
        return self.x + self.width / 2


def arrange(scene: Scene, size_of: Callable[[Item], Size]) -> tuple[dict[str, Rect], Size]:
    """Return where everything is drawn, and the size of the whole.

    Args:
        scene: what is drawn.
        size_of: the size of a leaf, and that of the head of a box.
    """
    sizes: dict[str, Size] = {}
    places: dict[str, Point] = {}
    for event, item, _ in scene.walk():
        if event == "leaf":
            sizes[item.key] = size_of(item)
        elif event == "close":
            head_width, head_height = size_of(item)
            content, size = _arrange_box(scene.inside[item.key], scene.links.get(item.key, ()), sizes)
            width = max(head_width, size[0] + 2 * _PADDING)
            left = (width - size[0]) / 2
            places |= {key: (x + left, y + head_height) for key, (x, y) in content.items()}
            sizes[item.key] = (width, size[1] + head_height + _PADDING)
    outermost, size = _arrange_box(scene.inside[None], scene.links.get(None, ()), sizes)
    places |= outermost
    return _absolute(scene, places, sizes), size


def _absolute(scene: Scene, places: Mapping[str, Point], sizes: Mapping[str, Size]) -> dict[str, Rect]:
    rects: dict[str, Rect] = {}
    origins: list[Point] = [(0.0, 0.0)]
    for event, item, _ in scene.walk():
        if event == "close":
            origins.pop()
            continue
        x, y = (origins[-1][axis] + places[item.key][axis] for axis in (0, 1))
        width, height = sizes[item.key]
        rects[item.key] = Rect(x=x, y=y, width=width, height=height)
        if event == "open":
            origins.append((x, y))
    return rects


def _arrange_box(
    items: Sequence[Item], links: Sequence[Link], sizes: Mapping[str, Size]
) -> tuple[dict[str, Point], Size]:
    """Arrange what is in one box, from (0, 0) on; return the places, and the size of all."""
    above = _parents(items, links)
    extents = _extents(items, above, sizes)
    roots = [item.key for item in items if item.key not in above]
    places, size = _rows([(key, extents[key]) for key in roots])
    # Each tree has a range of its own from left to right, which is shared out among its branches.
    lefts = {key: x for key, (x, _) in places.items()}
    tops = {key: y for key, (_, y) in places.items()}
    below: dict[str, list[str]] = {}
    for key, parent in above.items():
        below.setdefault(parent, []).append(key)
    for item in items:
        key = item.key
        branches = below.get(key, ())
        width = sum(extents[each][0] for each in branches) + GAP_X * max(0, len(branches) - 1)
        x = lefts[key] + (extents[key][0] - width) / 2
        for each in branches:
            lefts[each], tops[each] = x, tops[key] + sizes[key][1] + GAP_Y
            x += extents[each][0] + GAP_X
    return {
        item.key: (lefts[item.key] + (extents[item.key][0] - sizes[item.key][0]) / 2, tops[item.key]) for item in items
    }, size


def _parents(items: Sequence[Item], links: Sequence[Link]) -> dict[str, str]:
    """The item that each one stands below: of those that link to it, the one that is furthest down."""
    order = {item.key: place for place, item in enumerate(items)}
    sources: dict[str, list[str]] = {}
    for link in links:
        if order[link.source.key] < order[link.target.key]:
            sources.setdefault(link.target.key, []).append(link.source.key)
    layers: dict[str, int] = {}
    above: dict[str, str] = {}
    for item in items:
        layers[item.key] = 0
        if item.key in sources:
            above[item.key] = max(sources[item.key], key=lambda each: layers[each])
            layers[item.key] = layers[above[item.key]] + 1
    return above


def _extents(items: Sequence[Item], above: Mapping[str, str], sizes: Mapping[str, Size]) -> dict[str, Size]:
    """The size of each item together with all that stands below it."""
    widths: dict[str, float] = {}
    heights: dict[str, float] = {}
    extents: dict[str, Size] = {}
    for item in reversed(items):
        key = item.key
        width, height = sizes[key]
        extents[key] = max(width, widths.get(key, 0.0)), height + heights.get(key, 0.0)
        if key in above:
            parent = above[key]
            widths[parent] = widths[parent] + GAP_X + extents[key][0] if parent in widths else extents[key][0]
            heights[parent] = max(heights.get(parent, 0.0), extents[key][1] + GAP_Y)
    return extents


def _rows(blocks: Sequence[tuple[str, Size]]) -> tuple[dict[str, Point], Size]:
    """Put blocks side by side, in as many rows as make the whole a page wide, or wider than high."""
    area = sum((width + GAP_X) * (height + _ROW_GAP) for _, (width, height) in blocks)
    limit = max([_ROW, sqrt(_LONG_ROW * area), *(width for _, (width, _) in blocks)])
    places: dict[str, Point] = {}
    x = y = row_height = full_width = 0.0
    for key, (width, height) in blocks:
        if x and x + width > limit:
            x, y, row_height = 0.0, y + row_height + _ROW_GAP, 0.0
        places[key] = (x, y)
        x += width + GAP_X
        row_height = max(row_height, height)
        full_width = max(full_width, x - GAP_X)
    return places, (full_width, y + row_height)
