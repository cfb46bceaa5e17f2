"""Figures of meshes: bounds, and how many triangles, edges, vertices and boundaries there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency, selection
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence, Part

Bounds = NDArray[numpy.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeshInfos:
    """Counts over meshes: those named total_ count a part once for each occurrence that shows it, the others once.

    Edges and boundaries are counted after vertices at equal positions were joined.
    """

    part_count: int = 0
    """Parts with a mesh."""
    total_part_count: int = 0
    """Occurrences that show them."""
    vertex_count: int = 0
    """Vertices as the meshes hold them: one at a seam of normals or texture coordinates counts for each side."""
    total_vertex_count: int = 0
    """The same with instances."""
    edge_count: int = 0
    """Edges."""
    total_edge_count: int = 0
    """The same with instances."""
    polygon_count: int = 0
    """Triangles."""
    total_polygon_count: int = 0
    """The same with instances."""
    patch_count: int = 0
    """Groups of triangles of one part that have the same material."""
    total_patch_count: int = 0
    """The same with instances."""
    boundary_count: int = 0
    """Loops of boundary edges; loops that touch each other count as one."""
    boundary_edge_count: int = 0
    """Edges of one triangle."""
    non_manifold_edge_count: int = 0
    """Edges of more than two triangles."""


def bounds(occurrences: Sequence[Occurrence]) -> Bounds | None:
    """Lowest and highest corner in metres along the world's axes, (2, 3), of all that is below; None of nothing.

    The box is that of the turned vertices, not of turned boxes. A part without a mesh counts with its exact surfaces.
    """
    boxes = [
        box
        for occurrence, matrix in selection.placed(occurrences)
        if (box := box_of(occurrence.part, matrix)) is not None
    ]
    if not boxes:
        return None
    return numpy.array([numpy.min([box[0] for box in boxes], axis=0), numpy.max([box[1] for box in boxes], axis=0)])


def box_of(part: Part | None, matrix: NDArray[Any]) -> Bounds | None:
    """Lowest and highest corner (2, 3) of a part under a (4, 4) matrix; None if it shows nothing."""
    if part is None:
        return None
    if part.mesh is not None and len(part.mesh.positions):
        return _box(_corners(part.mesh.bounds) if _keeps_axes(matrix) else part.mesh.positions, matrix)
    if part.brep is not None:
        box: Bounds | None = part.brep.bounds()
        return None if box is None else _box(_corners(box), matrix)
    return None


def diagonal(box: Bounds | None) -> float:
    """Length of the diagonal of a box (2, 3), 0 of none."""
    return 0.0 if box is None else float(numpy.linalg.norm(box[1] - box[0]))


def polygon_count(occurrences: Sequence[Occurrence]) -> int:
    """How many triangles the occurrences and all below show, instances counted each."""
    meshes = (found.part.mesh for found in selection.instances(occurrences) if found.part is not None)
    return sum(len(mesh.triangles) for mesh in meshes if mesh is not None)


def mesh_infos(occurrences: Sequence[Occurrence]) -> MeshInfos:
    """Counts over the meshes of the occurrences and all below."""
    sums: dict[str, int] = {}
    for part, shown in selection.parts(occurrences).items():
        if part.mesh is None:
            continue
        for name, value in _counts(part.mesh).items():
            sums[name] = sums.get(name, 0) + value
            if (total := f"total_{name}") in MeshInfos.__dataclass_fields__:
                sums[total] = sums.get(total, 0) + value * len(shown)
    return MeshInfos(**sums)


def _counts(mesh: Mesh) -> dict[str, int]:
    numbers = mesh.triangle_materials
    counts = {
        "part_count": 1,
        "vertex_count": len(mesh.positions),
        "polygon_count": len(mesh.triangles),
        "patch_count": 0 if mesh.is_points else 1 if numbers is None else len(numpy.unique(numbers)),
    }
    if mesh.is_points:
        return counts
    triangles = adjacency.distinct(mesh.positions)[1][mesh.triangles]
    ends, triangle_counts = adjacency.edge_counts(triangles)
    boundary = ends[triangle_counts == 1]
    return counts | {
        "edge_count": len(ends),
        "boundary_count": adjacency.loops(boundary),
        "boundary_edge_count": len(boundary),
        "non_manifold_edge_count": int((triangle_counts > 2).sum()),
    }


def _keeps_axes(matrix: NDArray[Any]) -> bool:
    """Whether boxes stay boxes: each axis goes to one axis."""
    return bool(((matrix[:3, :3] != 0).sum(axis=1) <= 1).all())


def _corners(box: Bounds) -> Bounds:
    choice = numpy.array([[number >> axis & 1 for axis in range(3)] for number in range(8)])
    corners: Bounds = box[choice, numpy.arange(3)]
    return corners


def _box(points: NDArray[Any], matrix: NDArray[Any]) -> Bounds:
    turned = points @ matrix[:3, :3].T + matrix[:3, 3]
    return numpy.array([turned.min(axis=0), turned.max(axis=0)])
