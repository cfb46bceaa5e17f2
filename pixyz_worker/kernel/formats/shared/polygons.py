"""Polygons as triangles: fans where they are convex, ears cut off (Meisters, 1975) where they are not."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import ArrayLike, NDArray

_MOST_CORNERS = 1000
"""A concave polygon with more corners becomes a fan: cutting its ears would take too long."""
_MOST_CUT = 200_000
"""After so many corners of concave polygons the others become fans, for the same reason."""


def triangulate(
    points: NDArray[Any], corners: NDArray[Any], counts: ArrayLike
) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Triangles of polygons, whose corners stand one after the other.

    points are the positions, (n, 3); corners the numbers of the positions, all polygons' one after the other; counts
    how many each polygon has; those with fewer than three are left out. Gives the triangles as places in `corners`,
    (t, 3), and the polygon of each, (t,), both in the order of the polygons.
    """
    sizes = numpy.asarray(counts, dtype=numpy.int64)
    if len(sizes) and (sizes == 3).all():
        return numpy.arange(3 * len(sizes)).reshape(-1, 3), numpy.arange(len(sizes))
    starts = numpy.cumsum(sizes) - sizes
    triangles, owners = [numpy.empty((0, 3), numpy.int64)], [numpy.empty(0, numpy.int64)]
    budget = _MOST_CUT
    for size in numpy.unique(sizes[sizes >= 3]).tolist():
        chosen = numpy.flatnonzero(sizes == size)
        places = starts[chosen, None] + numpy.arange(size)
        local, cut = _of_one_size(points, corners[places], budget)
        budget -= cut
        triangles.append((starts[chosen, None, None] + local).reshape(-1, 3))
        owners.append(numpy.repeat(chosen, size - 2))
    owner = numpy.concatenate(owners)
    order = numpy.argsort(owner, kind="stable")
    return numpy.concatenate(triangles)[order], owner[order]


def _of_one_size(points: NDArray[Any], numbers: NDArray[Any], budget: int) -> tuple[NDArray[numpy.int64], int]:
    """Triangles of polygons with k corners each, (p, k - 2, 3), and how many corners were cut one by one."""
    size = numbers.shape[1]
    fan = numpy.stack([numpy.zeros(size - 2, int), numpy.arange(1, size - 1), numpy.arange(2, size)], axis=1)
    result = numpy.repeat(fan[None], len(numbers), axis=0)
    if size == 3:
        return result, 0
    places = points[numbers].astype(numpy.float64)
    ahead = numpy.roll(places, -1, axis=1) - places
    turns = numpy.cross(numpy.roll(ahead, 1, axis=1), ahead)
    middle = places - places.mean(axis=1, keepdims=True)
    normals = numpy.cross(middle, numpy.roll(middle, -1, axis=1)).sum(axis=1)  # Newell's
    scale = numpy.einsum("pc,pc->p", normals, normals)
    concave = (numpy.einsum("pkc,pc->pk", turns, normals) < -1e-9 * scale[:, None]).any(axis=1)
    cut = 0
    for row in numpy.flatnonzero(concave).tolist():
        if size > _MOST_CORNERS or cut >= budget:
            break
        cut += size
        result[row] = _cut_ears(_flat(places[row], normals[row]))
    return result, cut


def _flat(places: NDArray[Any], normal: NDArray[Any]) -> NDArray[Any]:
    """A polygon in the plane in which it is largest, counter-clockwise, (k, 2)."""
    axis = int(numpy.argmax(numpy.abs(normal)))
    kept = [(axis + 1) % 3, (axis + 2) % 3]
    return places[:, kept if normal[axis] >= 0 else kept[::-1]]


def _cut_ears(flat: NDArray[Any]) -> NDArray[numpy.int64]:
    left, found = list(range(len(flat))), []
    place = failures = 0
    while len(left) > 3:
        place %= len(left)
        ear = (left[place - 1], left[place], left[(place + 1) % len(left)])
        # What crosses itself has no ears after a while: then the next corner is as good as any.
        if failures >= len(left) or _is_ear(flat, ear, left):
            found.append(ear)
            del left[place]
            place, failures = max(place - 1, 0), 0
        else:
            place, failures = place + 1, failures + 1
    found.append((left[0], left[1], left[2]))
    return numpy.array(found, dtype=numpy.int64)


def _is_ear(flat: NDArray[Any], ear: tuple[int, int, int], left: list[int]) -> bool:
    a, b, c = flat[list(ear)]
    if _side(a, b, c) <= 0:
        return False
    others = flat[[corner for corner in left if corner not in ear]]
    inside = (_side(a, b, others) >= 0) & (_side(b, c, others) >= 0) & (_side(c, a, others) >= 0)
    # A corner on the same place as one of the ear's is where a hole is tied to its outline.
    touching = [(others == corner).all(axis=-1) for corner in (a, b, c)]
    return not bool((inside & ~numpy.logical_or.reduce(touching)).any())


def _side(a: NDArray[Any], b: NDArray[Any], point: NDArray[Any]) -> Any:
    """Twice the area of a triangle, more than zero when its third point is on the left; works on rows of points."""
    return (b[0] - a[0]) * (point[..., 1] - a[1]) - (b[1] - a[1]) * (point[..., 0] - a[0])
