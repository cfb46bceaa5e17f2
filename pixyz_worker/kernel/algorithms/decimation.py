"""Fewer triangles that look the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency, measures, seams, selection, transfer
from pixyz_worker.kernel.algorithms.collapses import Collapsed, collapse
from pixyz_worker.kernel.mesh import Mesh, face_normals, unit
from pixyz_worker.kernel.scene import Occurrence

FEWEST = 12
"""Triangles that no part is asked to go below: those of a box."""
_SAME_SIDE = 0.7
"""Least cosine between a normal that was carried over and the new triangles around it; else theirs is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecimationReport:
    """What decimate() did; triangles are counted with instances."""

    part_count: int
    """Parts that have fewer triangles now."""
    triangles_before: int
    """Triangles before."""
    triangles_after: int
    """Triangles after."""
    target: int
    """Triangles that were asked for."""


def decimate(
    occurrences: Sequence[Occurrence],
    *,
    count: int | None = None,
    ratio: float | None = None,
    protect_boundaries: bool = True,
    each: bool = False,
) -> DecimationReport:
    """Simplify the meshes of the occurrences and all below, down to a number of triangles.

    Each part gives the same share; what a small part cannot give, the larger ones give. Seams of texture
    coordinates, colours and materials stay in place; closed meshes stay closed. Meshes of points stay as they are.

    Args:
        occurrences: where to work.
        count: triangles wanted, instances counted each.
        ratio: the same as a share of those that there are, 0 to 1; one of the two is needed.
        protect_boundaries: whether open borders keep their shape.
        each: whether the count is that of every single part.
    """
    if (count is None) == (ratio is None):
        raise ValueError("a count or a ratio is needed, one of them")
    if (count is not None and count < 0) or (ratio is not None and not 0 <= ratio <= 1):
        raise ValueError("the count must not be negative, and the ratio must lie between 0 and 1")
    sizes = [
        (part, part.mesh, len(shown))
        for part, shown in selection.parts(occurrences).items()
        if part.mesh is not None and not part.mesh.is_points
    ]
    sizes.sort(key=lambda entry: len(entry[1].triangles))
    before = sum(len(mesh.triangles) * shown for _, mesh, shown in sizes)
    whole = _whole_target(count, ratio, before, sum(shown for *_, shown in sizes) if each else 1)
    wanted, left, changed = float(whole), before, 0
    for part, mesh, shown in sizes:
        own = len(mesh.triangles)
        goal = (count if count is not None else (ratio or 0.0) * own) if each else wanted * own / left
        goal = max(round(min(goal, own)), min(own, FEWEST))
        part.mesh = reduced(mesh, goal, protect_boundaries=protect_boundaries)
        wanted, left = max(wanted - len(part.mesh.triangles) * shown, 0.0), left - own * shown
        changed += part.mesh is not mesh
    if changed:
        selection.mark_changed(occurrences)
    after = measures.polygon_count(occurrences)
    return DecimationReport(part_count=changed, triangles_before=before, triangles_after=after, target=whole)


def reduced(mesh: Mesh, target: int, *, protect_boundaries: bool = True) -> Mesh:
    """A mesh with no more than `target` triangles where that is possible; the mesh itself if it has no more."""
    if len(mesh.triangles) <= target or mesh.is_points:
        return mesh
    first, joined = adjacency.distinct(mesh.positions)
    is_joined = len(first) == len(mesh.positions)
    corners = mesh.triangles if is_joined else joined[mesh.triangles]
    proper = adjacency.is_proper(corners)
    numbers = None if proper.all() else numpy.flatnonzero(proper)
    triangles = mesh.triangles if numbers is None else mesh.triangles[numbers]
    corners = corners if numbers is None else corners[numbers]
    if not len(corners):
        return mesh
    materials = _rows(mesh.triangle_materials, numbers)
    looks = None if mesh.uvs is None and mesh.colours is None else _kinds(joined, mesh.uvs, mesh.colours)
    points = mesh.positions if is_joined else mesh.positions[first]
    is_plain = looks is None and materials is None and (mesh.normals is None or is_joined)
    after = collapse(
        points,
        corners,
        target,
        walls=seams.lines(
            corners, len(points), None if looks is None else looks[triangles], materials, borders=protect_boundaries
        ),
        follow=mesh.normals is not None,
        trace=not is_plain,
    )
    if len(after.triangles) in (0, len(mesh.triangles)):
        return mesh
    after = _unfolded(after)
    if is_plain:
        return Mesh(
            positions=after.points.astype(numpy.float32),
            triangles=after.triangles.astype(numpy.uint32),
            normals=None if mesh.normals is None else unit(transfer.blend(points, mesh.normals[first], after)),
            materials=mesh.materials,
            variants=mesh.variants,
        )
    return _dressed(mesh, after, points, corners, triangles, looks, joined, materials)


def _dressed(
    mesh: Mesh,
    after: Collapsed,
    points: NDArray[Any],
    corners: NDArray[Any],
    triangles: NDArray[Any],
    looks: NDArray[Any] | None,
    joined: NDArray[Any],
    materials: NDArray[Any] | None,
) -> Mesh:
    """The simplified mesh with what lay on the one of before."""
    look = None if looks is None else transfer.carry(points, corners, triangles, looks, after)
    bend = (
        None
        if mesh.normals is None
        else transfer.carry(points, corners, triangles, _kinds(joined, mesh.normals), after)
    )
    columns = [after.triangles.reshape(-1), *(found.groups.reshape(-1) for found in (look, bend) if found is not None)]
    sources, numbers = adjacency.distinct(numpy.stack(columns, axis=1))
    result = Mesh(
        positions=after.points[after.triangles.reshape(-1)[sources]].astype(numpy.float32),
        triangles=numbers.reshape(-1, 3).astype(numpy.uint32),
        materials=mesh.materials,
        variants=mesh.variants,
        triangle_materials=None if materials is None or after.sources is None else materials[after.sources],
    )
    if look is not None:
        group = look.groups.reshape(-1)[sources]
        if mesh.uvs is not None:
            result.uvs = look.values(mesh.uvs).astype(numpy.float32)[group]
        if mesh.colours is not None:
            result.colours = numpy.rint(look.values(mesh.colours)).astype(numpy.uint8)[group]
    if bend is not None and mesh.normals is not None:
        result.normals = _normals(result, bend.values(mesh.normals), bend.groups)[bend.groups.reshape(-1)[sources]]
    return result


def _normals(mesh: Mesh, carried: NDArray[Any], groups: NDArray[Any]) -> NDArray[numpy.float32]:
    """Unit normals of groups of corners: those carried over, or those of the triangles where the two disagree."""
    faces = face_normals(mesh)
    own = numpy.stack(
        [numpy.bincount(groups.reshape(-1), numpy.repeat(faces[:, axis], 3), len(carried)) for axis in range(3)], axis=1
    )
    own, carried = unit(own), unit(carried)
    disagrees = numpy.einsum("ij,ij->i", own, carried) < _SAME_SIDE
    return numpy.where(disagrees[:, None] & own.any(axis=1, keepdims=True), own, carried).astype(numpy.float32)


def _unfolded(after: Collapsed) -> Collapsed:
    """Without pairs of triangles that lie back to back: they enclose nothing, and their edges are in others' way."""
    _, numbers = adjacency.distinct(numpy.sort(after.triangles, axis=1))
    counts = numpy.bincount(numbers)
    if (counts < 2).all():
        return after
    order = numpy.argsort(numbers, kind="stable")
    rank = numpy.arange(len(order)) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
    kept = numpy.zeros(len(order), bool)
    kept[order] = rank < counts[numbers[order]] % 2
    if not kept.any():
        return after
    used, triangles = numpy.unique(after.triangles[kept], return_inverse=True)
    place = numpy.full(len(after.points) + 1, -1)  # the last one for vertices that are gone already
    place[used] = numpy.arange(len(used))
    return Collapsed(
        points=after.points[used],
        triangles=triangles.reshape(-1, 3),
        sources=None if after.sources is None else after.sources[kept],
        vertices=None if after.vertices is None else place[after.vertices],
    )


def _whole_target(count: int | None, ratio: float | None, before: int, times: int) -> int:
    return min(count * times, before) if count is not None else round((ratio or 0.0) * before)


def _kinds(joined: NDArray[Any], *values: NDArray[Any] | None) -> NDArray[numpy.int64]:
    """For each vertex a number, the same for those that are equal in place and in these values."""
    return adjacency.distinct(joined, *values)[1]


def _rows(values: NDArray[Any] | None, numbers: NDArray[Any] | None) -> NDArray[Any] | None:
    return values if values is None or numbers is None else values[numbers]
