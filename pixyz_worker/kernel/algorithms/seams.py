"""Lines of a mesh that have to stay where they are when it is simplified: open borders, seams, borders of materials."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency

Marks = NDArray[numpy.bool_]

_MOST = 0.75
"""Seams for each triangle above which they are no lines any more: each triangle is an island of its own."""


def lines(
    triangles: NDArray[Any],
    vertex_count: int,
    looks: NDArray[Any] | None,
    materials: NDArray[Any] | None,
    *,
    borders: bool,
) -> NDArray[numpy.int64] | None:
    """The edges (k, 2) that are lines to be kept; None when there are none.

    Args:
        triangles: joined vertices, (m, 3).
        vertex_count: how many of these there are.
        looks: for each corner a number that says what texture coordinates and colours it has, (m, 3), or None.
        materials: number of the material of each triangle, (m,), or None.
        borders: whether open borders are such lines.
    """
    is_open = _open(triangles, vertex_count) if borders else numpy.zeros(vertex_count, bool)
    on_line = is_open.copy()
    if looks is not None:
        on_line |= _mixed(triangles, vertex_count, looks)
    if materials is not None:
        on_line |= _mixed(triangles, vertex_count, numpy.repeat(materials[:, None], 3, axis=1))
    if not on_line.any():
        return None
    # Both ends of a line are marked: only triangles with two such corners matter.
    near = numpy.flatnonzero(on_line[triangles].sum(axis=1) >= 2)
    edges = adjacency.edges(triangles[near])
    kept = edges.boundary & is_open[edges.ends].all(axis=1)
    seams = numpy.zeros(len(kept), bool)
    first, second = edges.pairs()
    both = edges.counts == 2
    if materials is not None:
        seams[both] |= materials[near[first // 3]] != materials[near[second // 3]]
    if looks is not None:
        seams[both] |= _differ(triangles[near], looks[near], first, second)
    if seams.sum() < _MOST * len(triangles):
        kept = kept | seams
    return edges.ends[kept] if kept.any() else None


def _open(triangles: NDArray[Any], vertex_count: int) -> Marks:
    """The vertices of open borders, and perhaps others where neighbours are not turned alike.

    Around a vertex inside a surface each neighbour is the next corner once and the one before once: random numbers
    of the neighbours, added for the one and taken off for the other, leave nothing.
    """
    marks = numpy.random.default_rng(0).integers(1, 1 << 40, vertex_count).astype(numpy.float64)
    first, second, third = (triangles[:, number] for number in range(3))
    own = marks[first], marks[second], marks[third]
    rest = numpy.bincount(first, own[1] - own[2], vertex_count)
    rest += numpy.bincount(second, own[2] - own[0], vertex_count)
    rest += numpy.bincount(third, own[0] - own[1], vertex_count)
    found: Marks = rest != 0
    return found


def _mixed(triangles: NDArray[Any], vertex_count: int, values: NDArray[Any]) -> Marks:
    """The vertices whose corners (m, 3) have different values."""
    last = numpy.zeros(vertex_count, values.dtype)
    last[triangles] = values
    found = numpy.zeros(vertex_count, bool)
    found[triangles[last[triangles] != values]] = True
    return found


def _differ(triangles: NDArray[Any], looks: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> Marks:
    """Whether the two sides of edges, given by their half-edges, look different at one of the ends."""
    start, end = looks.reshape(-1)[first], looks.reshape(-1)[adjacency.next_corners(first)]
    other, other_end = looks.reshape(-1)[second], looks.reshape(-1)[adjacency.next_corners(second)]
    same_way = triangles.reshape(-1)[first] == triangles.reshape(-1)[second]
    opposite = numpy.where(same_way, other, other_end), numpy.where(same_way, other_end, other)
    marks: Marks = (start != opposite[0]) | (end != opposite[1])
    return marks
