"""Meshes made whole: vertices joined, triangles that are none taken out, all of them turned alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pixyz_worker.kernel.algorithms import adjacency, selection
from pixyz_worker.kernel.algorithms.orientation import cracked, oriented
from pixyz_worker.kernel.algorithms.submesh import only_used_materials, with_vertices
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence

Integers = NDArray[numpy.int64]

_MANY = 40
"""Neighbours within the tolerance, on average, above which vertices are first thinned out on a grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairReport:
    """What repair_mesh() did; counts of all parts together, each once."""

    part_count: int = 0
    """Parts that were looked at."""
    changed_count: int = 0
    """Parts that are different now."""
    vertices_before: int = 0
    """Vertices before."""
    vertices_after: int = 0
    """Vertices after."""
    triangles_before: int = 0
    """Triangles before."""
    triangles_after: int = 0
    """Triangles after."""
    welded: int = 0
    """Places of vertices that were moved onto others."""
    degenerate: int = 0
    """Triangles taken out since two of their corners were at one place."""
    duplicate: int = 0
    """Triangles taken out since there was another one with the same corners and the same front."""
    cracked: int = 0
    """Vertices added where more than a surface met."""
    turned: int = 0
    """Triangles turned over."""


def repair_mesh(
    occurrences: Sequence[Occurrence], tolerance_m: float, *, crack_non_manifold: bool = False, orient: bool = False
) -> RepairReport:
    """Repair the meshes of the occurrences and all below. Meshes of points stay as they are.

    Args:
        occurrences: where to work. Those whose part has no triangle left afterwards show nothing any more.
        tolerance_m: how far apart vertices may be that become one place, in metres; 0 for equal ones only.
        crack_non_manifold: whether vertices are split where more than a surface meets.
        orient: whether triangles are turned so that neighbours show the same side, closed pieces outwards.
    """
    if not 0 <= tolerance_m < float("inf"):
        raise ValueError("the tolerance must be a number, 0 or more")
    total = RepairReport()
    emptied: list[Occurrence] = []
    for part, shown in selection.parts(occurrences).items():
        if part.mesh is None or part.mesh.is_points:
            continue
        mesh, report = repaired(part.mesh, tolerance_m, crack_non_manifold=crack_non_manifold, orient=orient)
        total = RepairReport(
            **{field.name: getattr(total, field.name) + getattr(report, field.name) for field in fields(total)}
        )
        part.mesh = mesh
        emptied += [] if mesh is not None else shown
    if total.changed_count:
        selection.mark_changed(occurrences)
    for occurrence in emptied:
        occurrence.part = None
    selection.clear_out(emptied)
    return total


def repaired(
    mesh: Mesh, tolerance_m: float, *, crack_non_manifold: bool = False, orient: bool = False
) -> tuple[Mesh | None, RepairReport]:
    """A repaired mesh, None if no triangle is left, and what was done."""
    before = mesh
    joined, welded, places = _welded(mesh.positions, tolerance_m)
    mesh = replace(mesh, positions=places[joined]) if welded else mesh
    corners = joined[mesh.triangles]
    proper = adjacency.is_proper(corners)
    kept = numpy.flatnonzero(proper)
    kept = kept[numpy.sort(_firsts(corners[kept]))]
    mesh, joined = _joined(mesh, joined, kept)
    cracks = turned = 0
    if len(kept) and crack_non_manifold:
        mesh, cracks = cracked(mesh, joined)
        joined = adjacency.distinct(mesh.positions)[1]
    if len(kept) and orient:
        mesh, turned = oriented(mesh, joined)
    degenerate = int((~proper).sum())
    is_same = (len(mesh.positions), len(kept)) == (len(before.positions), len(before.triangles)) and not (
        welded or turned
    )
    report = RepairReport(
        part_count=1,
        changed_count=int(not is_same),
        vertices_before=len(before.positions),
        vertices_after=len(mesh.positions),
        triangles_before=len(before.triangles),
        triangles_after=len(kept),
        welded=welded,
        degenerate=degenerate,
        duplicate=len(before.triangles) - degenerate - len(kept),
        cracked=cracks,
        turned=turned,
    )
    return (None if not len(kept) else before if is_same else mesh), report


def _joined(mesh: Mesh, joined: Integers, kept: Integers) -> tuple[Mesh, Integers]:
    """The mesh of the triangles that are kept, with equal vertices as one; and the joined number of each vertex."""
    first, numbers = adjacency.distinct(joined, mesh.normals, mesh.uvs, mesh.colours)
    used, triangles = numpy.unique(numbers[mesh.triangles[kept]], return_inverse=True)
    sources = first[used]
    result = with_vertices(mesh, sources, triangles.reshape(-1, 3))
    if mesh.triangle_materials is not None:
        result = only_used_materials(result, mesh.triangle_materials[kept])
    return result, joined[sources]


def _firsts(corners: Integers) -> Integers:
    """The first of all triangles with the same corners in the same sense of rotation."""
    lowest = corners.argmin(axis=1)
    turned = numpy.take_along_axis(corners, (lowest[:, None] + numpy.arange(3)) % 3, axis=1)
    return adjacency.distinct(turned)[0] if len(corners) else numpy.zeros(0, numpy.int64)


def _welded(positions: NDArray[numpy.float32], tolerance: float) -> tuple[Integers, int, NDArray[numpy.float32]]:
    """For each vertex the number of its place, how many places went onto others, and the places, (p, 3).

    Places that stay are further apart than the tolerance, and each other one goes to the nearest of those, so that
    nothing moves by more than the tolerance (twice that where very many lie within it), and welding again changes
    nothing.
    """
    first, numbers = adjacency.distinct(positions)
    places = positions[first]
    if tolerance <= 0 or len(places) < 2:
        return numbers, 0, places
    points = places.astype(float)
    tree = _tree(points)
    thin = _thinned(tree, points, tolerance)
    stays = thin[_spread(tree if len(thin) == len(points) else _tree(points[thin]), tolerance)]
    if len(stays) == len(places):
        return numbers, 0, places
    nearest = _tree(points[stays]).query(points)[1].astype(numpy.int64)
    return nearest[numbers], len(places) - len(stays), places[stays]


def _tree(points: NDArray[numpy.float64]) -> cKDTree:
    """A tree to find neighbours, built the quick way."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def _thinned(tree: cKDTree, points: NDArray[numpy.float64], tolerance: float) -> Integers:
    """All points, or one for each cell of a grid where so many lie within the tolerance that pairs are too many."""
    if tree.count_neighbors(tree, tolerance) <= _MANY * len(points):
        return numpy.arange(len(points))
    cells = numpy.floor((points - points.min(axis=0)) / (tolerance / 2)).astype(numpy.int64)
    return adjacency.distinct(cells)[0]


def _spread(tree: cKDTree, tolerance: float) -> Integers:
    """A choice of points further apart than the tolerance, such that each other one is that near to a chosen one.

    In each round the points with the lowest number among the undecided ones around them are chosen, and those around
    them are not (Luby, A simple parallel algorithm for the maximal independent set problem, 1986).
    """
    pairs, count = tree.query_pairs(tolerance, output_type="ndarray"), tree.n
    number = numpy.random.default_rng(0).permutation(count)
    chosen = numpy.ones(count, bool)
    undecided = numpy.zeros(count, bool)
    undecided[pairs] = True
    while len(pairs):
        ends, others = numpy.concatenate([pairs, pairs[:, ::-1]]).T
        lowest = undecided.copy()
        lowest[ends[number[others] < number[ends]]] = False
        covered = numpy.zeros(count, bool)
        covered[others[lowest[ends]]] = True
        chosen[covered] = False
        undecided &= ~(lowest | covered)
        pairs = pairs[undecided[pairs].all(axis=1)]
    return numpy.flatnonzero(chosen)
