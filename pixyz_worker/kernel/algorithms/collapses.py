"""Collapsing edges of triangles by their quadric errors (fast_simplification), and what became of each triangle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import fast_simplification
import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms.adjacency import is_proper
from pixyz_worker.kernel.algorithms.quadrics import thin_out

Floats = NDArray[numpy.float64]
Integers = NDArray[numpy.int32] | NDArray[numpy.int64]

_GROWTH = 3
"""How fast the library allows larger errors from pass to pass; with 3 closed meshes stay closed."""
_ENOUGH = 1.01
"""How far above the target a result may be that is not thrown away for that of quadrics.thin_out()."""

_CAREFUL = 10.0
"""How many times larger the mesh is made where the library shall allow errors of 0.3 % of the size alone."""
_BOLD = 0.1
"""How many times larger it is made where so few triangles are wanted that large errors cannot be helped."""
_NARROW = 0.045
"""Height of a triangle over its longest side below which the library does not touch what is around: 2.6 degrees."""
_FEW = 0.02
"""Share of narrow triangles above which a mesh cannot be left to the library."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Collapsed:
    """What is left of triangles."""

    points: Floats
    """Vertices, (k, 3)."""
    triangles: Integers
    """Their vertices, (l, 3)."""
    sources: Integers | None
    """For each triangle the one that it was, (l,); None where that was not asked for."""
    vertices: Integers | None
    """For each vertex of before the one that it went into, or -1, (n,); None where that was not asked for."""


def collapse(
    points: NDArray[Any],
    triangles: NDArray[Any],
    target: int,
    *,
    walls: NDArray[Any] | None = None,
    follow: bool = False,
    trace: bool = False,
) -> Collapsed:
    """Collapse edges until no more than `target` triangles are left, or no further one can go.

    Args:
        points: vertices, (n, 3); every one of them counts, also if no triangle uses it.
        triangles: their vertices, three different ones each, (m, 3).
        target: triangles wanted.
        walls: edges (w, 2) of lines that have to keep their place; see _fins.
        follow: whether to tell what became of each vertex.
        trace: whether to tell what became of each vertex and triangle, which takes longer.
    """
    low, high = (numpy.array([float(end(points[:, axis])) for axis in range(3)]) for end in (numpy.min, numpy.max))
    centre, size = (low + high) / 2, max(float(numpy.linalg.norm(high - low)), 1e-30)
    scaled = (points - centre) / size
    # The library takes no array that nobody may write into, such as one of a mapped file.
    corners = numpy.require(triangles, numpy.uint32, ["C", "W"]).view(numpy.int32)
    fins = 0 if walls is None else len(walls)
    framed, with_fins = _with_fins(scaled, corners, walls) if walls is not None and fins else (scaled, corners)
    left, faces, pairs = _simplified(framed, with_fins, target)
    if len(faces) > target * _ENOUGH and not _is_narrow(scaled, corners):
        left, faces, pairs = _simplified(framed, with_fins, target, _BOLD)
    if len(faces) > target * _ENOUGH:
        after = _thinned(points, corners, target, walls, framed, with_fins)
        return replace(after, points=after.points * size + centre)
    left = left * size + centre
    if not trace and _all_gone(pairs, len(points), fins):
        vertices = _survivors(pairs, len(framed), len(left)) if follow else None
        if vertices is not None or not follow:
            own = None if vertices is None else vertices[: len(points)]
            return Collapsed(points=left, triangles=faces, sources=None, vertices=own)
    return _traced(left, with_fins, _roots(pairs, len(framed)), fins, points)


def _simplified(points: Floats, triangles: NDArray[Any], target: int, unit: float = 1.0) -> tuple[Any, Any, Any]:
    """What the library makes of a mesh of size 1 that is scaled: points, triangles, and pairs that became one."""
    left, faces, pairs = fast_simplification.simplify(
        points if unit == 1 else points * unit,
        triangles,
        target_count=min(target, len(triangles)),
        agg=_GROWTH,
        return_collapses=True,
    )
    return left / unit if unit != 1 else left, faces, pairs


def _is_narrow(points: Floats, triangles: NDArray[Any]) -> bool:
    """Whether so many triangles are narrow, or have no area, that the library cannot do much."""
    corners = points[triangles]
    sides = corners[:, [1, 2, 0]] - corners
    longest = numpy.einsum("ijk,ijk->ij", sides, sides).max(axis=1)
    heights = numpy.linalg.norm(numpy.cross(sides[:, 0], sides[:, 1]), axis=1)
    return bool((heights <= _NARROW * longest).mean() > _FEW)


def _thinned(
    points: NDArray[Any],
    corners: NDArray[Any],
    target: int,
    walls: NDArray[Any] | None,
    framed: Floats,
    with_fins: NDArray[Any],
) -> Collapsed:
    """What is left when the library takes what costs little, and thin_out() the rest."""
    left, _, pairs = _simplified(framed, with_fins, target, _CAREFUL)
    first = _traced(left, with_fins, _roots(pairs, len(framed)), len(with_fins) - len(corners), points)
    assert first.vertices is not None and first.sources is not None
    lines = None
    if walls is not None:
        lines = first.vertices[walls]
        lines = lines[(lines >= 0).all(axis=1) & (lines[:, 0] != lines[:, 1])]
    roots = thin_out(first.points, first.triangles, target, lines)
    second = _traced(None, first.triangles, roots, 0, first.points)
    assert second.vertices is not None and second.sources is not None
    into = numpy.append(second.vertices, -1)[first.vertices]
    return Collapsed(
        points=second.points, triangles=second.triangles, sources=first.sources[second.sources], vertices=into
    )


def _roots(pairs: NDArray[Any], count: int) -> NDArray[numpy.int32]:
    """For each vertex the one that it went into in the end, itself if it is left."""
    roots = numpy.arange(count, dtype=numpy.int32)
    roots[pairs[:, 1]] = pairs[:, 0]
    while True:
        further = roots[roots]
        if numpy.array_equal(further, roots):
            return roots
        roots = further


def _survivors(pairs: NDArray[Any], count: int, left: int) -> Integers | None:
    """For each vertex its number among those that are left; None if some that went nowhere are not among them."""
    roots = _roots(pairs, count)
    stays = numpy.ones(count, bool)
    stays[pairs[:, 1]] = False
    place = numpy.cumsum(stays, dtype=numpy.int32) - 1
    return place[roots] if place[-1] + 1 == left else None


def _all_gone(pairs: NDArray[Any], first_tip: int, fins: int) -> bool:
    """Whether each fin has lost its tip to one of its other corners, and is gone with it."""
    met = numpy.zeros(first_tip + fins, bool)
    met[pairs] = True
    return bool(met[first_tip:].all())


def _traced(
    left: Floats | None, corners: NDArray[Any], roots: NDArray[Any], fins: int, points: NDArray[Any]
) -> Collapsed:
    """What became of each triangle and vertex, from the vertex that each one went into.

    A triangle is gone when two of its corners went into one; the others keep their order, as do the vertices, whose
    places are `left`, or, when that is None, those that they had.
    """
    faces = roots[corners]
    alive = is_proper(faces)
    used = numpy.zeros(len(roots), bool)
    used[faces[alive]] = True
    place = numpy.cumsum(used) - 1
    left = points[used].astype(float) if left is None else left
    if used.sum() != len(left):
        raise AssertionError("the collapses do not lead to the vertices that are left")
    real = alive.copy()
    real[:fins] = False
    kept, numbers = numpy.unique(place[faces[real]], return_inverse=True)
    final = numpy.full(len(left), -1)
    final[kept] = numpy.arange(len(kept))
    return Collapsed(
        points=left[kept],
        triangles=numbers.reshape(-1, 3).astype(numpy.int64),
        sources=numpy.flatnonzero(real) - fins,
        vertices=numpy.where(used[roots], final[place[roots]], -1)[: len(points)],
    )


def _with_fins(scaled: Floats, corners: NDArray[Any], walls: NDArray[Any]) -> tuple[Floats, NDArray[Any]]:
    """The triangles with a fin on each wall: one that stands upright on the edge, ahead of all others.

    Its plane adds to the errors of both vertices, so that leaving the line costs as much as leaving the surface.
    The library sees an open border there, and lets vertices of borders go along them alone. The fins themselves
    cost nothing to collapse, and are the first to go; their planes stay with the vertices.
    """
    on_wall = numpy.zeros(len(scaled), bool)
    on_wall[walls] = True
    near = corners[on_wall[corners].any(axis=1)]
    faces = numpy.cross(scaled[near[:, 1]] - scaled[near[:, 0]], scaled[near[:, 2]] - scaled[near[:, 0]])
    normals = numpy.stack(
        [numpy.bincount(near.reshape(-1), numpy.repeat(faces[:, axis], 3), len(scaled)) for axis in range(3)], axis=1
    )
    ends = scaled[walls]
    along = ends[:, 1] - ends[:, 0]
    up = normals[walls[:, 0]] + normals[walls[:, 1]]
    length = numpy.linalg.norm(along, axis=1, keepdims=True)
    height = numpy.linalg.norm(up, axis=1, keepdims=True)
    tips = ends.mean(axis=1) + up / numpy.where(height > 0, height, 1) * length
    numbers = len(scaled) + numpy.arange(len(walls))
    fins = numpy.column_stack([walls, numbers]).astype(numpy.int32)
    return numpy.concatenate([scaled, tips]), numpy.concatenate([fins, corners])
