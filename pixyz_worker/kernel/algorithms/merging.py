"""Fewer occurrences, materials and images that show the same; and parts taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency, selection
from pixyz_worker.kernel.algorithms.likeness import merge_images, merge_materials
from pixyz_worker.kernel.algorithms.normals import with_normals
from pixyz_worker.kernel.algorithms.submesh import submesh
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import FAR, Mesh, merged
from pixyz_worker.kernel.scene import Occurrence, Part

__all__ = ["explode_parts", "merge_images", "merge_materials", "merge_parts", "merge_parts_by_materials"]

Hidden = Literal["destroy", "show", "separate"]
Matrix = NDArray[numpy.float64]

NO_MATERIAL = "no material"
"""Name of what has no material."""
POINTS = "points"
"""Name of points without a material."""


def merge_parts(occurrences: Sequence[Occurrence]) -> Occurrence:
    """Make one part of all meshes of the occurrences and all below, in their places, and return what shows it.

    It stands below the common ancestor. What showed the parts before, and groups that are empty then, are gone.
    Points are merged only where there are no triangles; parts without a mesh stay. ValueError if there is no mesh.
    """
    ancestor = selection.common_ancestor(occurrences)
    found = [(occurrence, mesh, matrix) for occurrence, mesh, matrix, _ in _shown(occurrences, ancestor)]
    solid = [entry for entry in found if not entry[1].is_points] or found
    if not solid:
        raise ValueError("there is no mesh to merge")
    selection.mark_changed(occurrences)
    result = _placed([(mesh, matrix) for _, mesh, matrix in solid], ancestor.name or "merged")
    _replace([occurrence for occurrence, *_ in solid], ancestor, [result])
    return result


def merge_parts_by_materials(occurrences: Sequence[Occurrence], *, hidden: Hidden = "destroy") -> list[Occurrence]:
    """Make one part for each material of the occurrences and all below, named after it, and return what shows them.

    They stand below the common ancestor. What showed the parts before, and groups that are empty then, are gone.
    Points are kept apart from triangles; parts without a mesh stay.

    Args:
        occurrences: where to work.
        hidden: whether hidden parts are destroyed, shown with the others, or merged into hidden ones of their own.
    """
    ancestor = selection.common_ancestor(occurrences)
    found = _shown(occurrences, ancestor)
    if not found:
        return []
    if hidden not in ("destroy", "show", "separate"):
        raise ValueError(f"hidden parts can be destroyed, shown or kept separate, not {hidden!r}")
    selection.mark_changed(occurrences)
    groups: dict[tuple[Material | None, bool, bool], list[tuple[Mesh, Matrix]]] = {}
    pieces: dict[Mesh, list[tuple[Material | None, Mesh]]] = {}
    for _, mesh, matrix, visible in found:
        if not visible and hidden == "destroy":
            continue
        if mesh not in pieces:
            pieces[mesh] = _by_material(mesh)
        for material, piece in pieces[mesh]:
            key = (material, piece.is_points, visible or hidden == "show")
            groups.setdefault(key, []).append((piece, matrix))
    results = []
    for (material, is_points, visible), entries in groups.items():
        result = _placed(entries, _name(material, is_points=is_points))
        result.visible = visible
        results.append(result)
    _replace([occurrence for occurrence, *_ in found], ancestor, results)
    return results


def explode_parts(occurrences: Sequence[Occurrence], by: Literal["material", "connected"]) -> list[Occurrence]:
    """Take parts apart: what showed one becomes a group of occurrences that show its pieces, which are returned.

    Instances share the pieces. Parts of one piece, and points, stay as they are.

    Args:
        occurrences: where to work; all below them.
        by: one piece for each material, or for each set of triangles that hang together by joined vertices.
    """
    if by not in ("material", "connected"):
        raise ValueError(f"parts can be taken apart by material or connected pieces, not {by!r}")
    made: list[Occurrence] = []
    for part, shown in selection.parts(occurrences).items():
        if part.mesh is None or part.mesh.is_points:
            continue
        pieces = _exploded(part, part.mesh, by)
        if len(pieces) < 2:
            continue
        for occurrence in shown:
            occurrence.part = None
            made += [occurrence.add(Occurrence(name=piece.name, part=piece)) for piece in pieces]
    if made:
        selection.mark_changed(occurrences)
    return made


def _shown(occurrences: Sequence[Occurrence], ancestor: Occurrence) -> list[tuple[Occurrence, Mesh, Matrix, bool]]:
    """What shows a mesh, with its place below the ancestor and whether all below that is visible."""
    inverse = numpy.linalg.inv(ancestor.world())
    found = []
    for occurrence, matrix in selection.placed(occurrences):
        if occurrence.part is not None and occurrence.part.mesh is not None:
            found.append((occurrence, occurrence.part.mesh, inverse @ matrix, _visible(occurrence, ancestor)))
    return found


def _visible(occurrence: Occurrence, ancestor: Occurrence) -> bool:
    above: Occurrence | None = occurrence
    while above is not None and above is not ancestor and above.visible:
        above = above.parent
    return above is None or above is ancestor


def _placed(entries: list[tuple[Mesh, Matrix]], name: str) -> Occurrence:
    """An occurrence that shows all of the meshes, moved by their matrices; far from the origin it is moved itself."""
    meshes = _alike([mesh for mesh, _ in entries])
    matrices = [matrix for _, matrix in entries]
    boxes = numpy.array(
        [mesh.bounds @ matrix[:3, :3].T + matrix[:3, 3] for mesh, matrix in zip(meshes, matrices, strict=True)]
    ).reshape(-1, 3)
    low, high = boxes.min(axis=0), boxes.max(axis=0)
    shift = numpy.eye(4)
    if numpy.abs([low, high]).max() > FAR * max(float((high - low).max()), 1e-12):
        shift[:3, 3] = (low + high) / 2
    back = numpy.linalg.inv(shift)
    mesh = merged(meshes, [back @ matrix for matrix in matrices])
    return Occurrence(
        name=name, part=Part(name=name, mesh=mesh), matrix=None if (shift == numpy.eye(4)).all() else shift
    )


def _alike(meshes: list[Mesh]) -> list[Mesh]:
    """The meshes with normals all, sharp edges split, where one of them has some."""
    if all(mesh.normals is None for mesh in meshes):
        return meshes
    return [mesh if mesh.normals is not None or mesh.is_points else with_normals(mesh) for mesh in meshes]


def _by_material(mesh: Mesh) -> list[tuple[Material | None, Mesh]]:
    if mesh.triangle_materials is None:
        return [(mesh.materials[0], mesh)]
    used = numpy.unique(mesh.triangle_materials)
    return [(mesh.materials[number], submesh(mesh, mesh.triangle_materials == number)) for number in used]


def _exploded(part: Part, mesh: Mesh, by: str) -> list[Part]:
    if by == "material":
        return [
            Part(name=_name(material, is_points=False), mesh=piece, metadata=dict(part.metadata))
            for material, piece in _by_material(mesh)
        ]
    joined = adjacency.distinct(mesh.positions)[1]
    numbers = adjacency.pieces(joined[mesh.triangles], len(mesh.positions))
    if not numbers.any():
        return []
    order = numpy.argsort(numbers, kind="stable")
    parted = numpy.split(order, numpy.flatnonzero(numpy.diff(numbers[order])) + 1)
    return [
        Part(name=f"{part.name} {place}".strip(), mesh=submesh(mesh, chosen), metadata=dict(part.metadata))
        for place, chosen in enumerate(parted, 1)
    ]


def _replace(shown: Sequence[Occurrence], ancestor: Occurrence, results: Sequence[Any]) -> None:
    for occurrence in shown:
        occurrence.part = None
    for result in results:
        ancestor.add(result)
    selection.clear_out(shown, keep=ancestor)


def _name(material: Material | None, *, is_points: bool) -> str:
    if material is None:
        return POINTS if is_points else NO_MATERIAL
    return material.name or "material"
