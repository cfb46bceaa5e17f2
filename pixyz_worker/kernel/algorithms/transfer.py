"""What lies on a surface, carried over to a simplified one: normals, texture coordinates, colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency
from pixyz_worker.kernel.algorithms.closest import closest
from pixyz_worker.kernel.algorithms.collapses import Collapsed

Integers = NDArray[numpy.int64]

_NEAR = 1e-9
"""Squared distance, relative to the largest, within which a vertex counts as in place."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Carried:
    """Where the corners of a simplified mesh take their values from."""

    groups: Integers
    """For each corner a number; corners with the same one are one vertex for these values, (l, 3)."""
    sources: Integers
    """For each group three vertices of the mesh of before, (g, 3)."""
    weights: NDArray[numpy.float64]
    """How much each of them counts, (g, 3)."""

    def values(self, before: NDArray[Any]) -> NDArray[numpy.float64]:
        """The values of the groups, from those of the vertices of before, (n, width)."""
        mixed: NDArray[numpy.float64] = numpy.einsum("ij,ijk->ik", self.weights, before[self.sources].astype(float))
        return mixed


def carry(
    points: NDArray[Any], corners: NDArray[Any], triangles: NDArray[Any], kinds: NDArray[Any], after: Collapsed
) -> Carried:
    """Find out where each corner of a simplified mesh takes its values from.

    Vertices of before that look different at one place are different kinds. Kinds that went into one vertex, and
    hang together by edges that were collapsed, become one group: so the two sides of a seam never mix. The values
    of a group are those of the point nearest to its vertex on the triangles around its nearest kind.

    Args:
        points: places of the vertices of before, joined, (p, 3).
        corners: joined vertices of the triangles of before, (m, 3).
        triangles: the same triangles by the vertices of their mesh, (m, 3).
        kinds: for each vertex of the mesh the number of its kind, (n,).
        after: the simplified mesh, made with trace=True.
    """
    if after.vertices is None or after.sources is None:
        raise ValueError("the simplified mesh does not tell what became of its triangles")
    kind_corners = kinds[triangles]
    count = int(kinds.max()) + 1
    into = numpy.full(count, -1)
    into[kind_corners] = after.vertices[corners]
    place = numpy.zeros(count, numpy.int64)
    place[kind_corners] = corners
    start, end = kind_corners.reshape(-1), kind_corners[:, [1, 2, 0]].reshape(-1)
    merged = into[start] == into[end]
    clusters = adjacency.components(count, start[merged], end[merged])
    used, groups = numpy.unique(clusters[kind_corners[after.sources]], return_inverse=True)
    group_of = numpy.full(count, -1)
    group_of[used] = numpy.arange(len(used))
    groups = groups.reshape(-1, 3)
    target = numpy.zeros(len(used), numpy.int64)
    target[groups] = after.triangles
    nearest = _nearest_kinds(group_of[clusters], after.points[target], points[place])
    owner = numpy.full(count, -1)
    owner[nearest] = numpy.arange(len(used))
    chosen = numpy.flatnonzero(owner[start] >= 0)
    wanted, faces = owner[start[chosen]], chosen // 3
    weights, distance = closest(after.points[target[wanted]], points[corners[faces]].astype(float))
    best = _first_of_each(wanted, distance)
    return Carried(groups=groups, sources=triangles[faces[best]].astype(numpy.int64), weights=weights[best])


def blend(points: NDArray[Any], before: NDArray[Any], after: Collapsed) -> NDArray[numpy.float32]:
    """Values of the vertices of a simplified mesh without seams: those that went into one count as they are near it.

    The weights are inverse squared distances (D. Shepard, A two-dimensional interpolation function, 1968).

    Args:
        points: places of the vertices of before, (n, 3).
        before: their values, (n, width).
        after: the simplified mesh, made with follow=True.
    """
    if after.vertices is None:
        raise ValueError("the simplified mesh does not tell what became of its vertices")
    size, into = len(after.points), after.vertices
    if into.min() < 0:
        kept = into >= 0
        points, before, into = points[kept], before[kept], into[kept]
    places = after.points.astype(numpy.float32)
    squares = sum((points[:, axis] - places[into, axis]) ** 2 for axis in range(3))
    weights = 1 / (squares + _NEAR * float(squares.max()))
    whole = numpy.bincount(into, weights, size)
    sums = [numpy.bincount(into, weights * column, size) / whole for column in before.T]
    return numpy.stack(sums, axis=1).astype(numpy.float32)


def _nearest_kinds(group_of: Integers, targets: NDArray[Any], places: NDArray[Any]) -> Integers:
    """For each group the kind in it that is nearest to where its vertex is now."""
    members = numpy.flatnonzero(group_of >= 0)
    gaps = places[members] - targets[group_of[members]]
    return members[_first_of_each(group_of[members], numpy.einsum("ij,ij->i", gaps, gaps))]


def _first_of_each(numbers: Integers, values: NDArray[Any]) -> Integers:
    """For each number, in order, the place of its smallest value."""
    order = numpy.lexsort((values, numbers))
    first: Integers = order[numpy.concatenate([[True], numbers[order][1:] != numbers[order][:-1]])[: len(order)]]
    return first
