"""A mesh of some of the triangles of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.mesh import Mesh


def submesh(mesh: Mesh, chosen: NDArray[Any]) -> Mesh:
    """A mesh of the chosen triangles (marks or numbers), with the vertices and materials that they use alone."""
    used, numbers = numpy.unique(mesh.triangles[chosen], return_inverse=True)
    part = with_vertices(mesh, used, numbers.reshape(-1, 3))
    return only_used_materials(part, None if mesh.triangle_materials is None else mesh.triangle_materials[chosen])


def with_vertices(mesh: Mesh, sources: NDArray[Any], triangles: NDArray[Any]) -> Mesh:
    """The mesh with its vertices taken from the numbered ones, in that order, and with other triangles."""
    return replace(
        mesh,
        positions=mesh.positions[sources],
        triangles=numpy.ascontiguousarray(triangles, dtype=numpy.uint32),
        normals=None if mesh.normals is None else mesh.normals[sources],
        uvs=None if mesh.uvs is None else mesh.uvs[sources],
        colours=None if mesh.colours is None else mesh.colours[sources],
    )


def only_used_materials(mesh: Mesh, numbers: NDArray[Any] | None) -> Mesh:
    """The mesh with those of its materials alone that its triangles, numbered so, use."""
    if numbers is None:
        return mesh
    used, places = numpy.unique(numbers, return_inverse=True)
    if not len(used):
        used = numpy.zeros(1, numpy.int64)
    return replace(
        mesh,
        materials=tuple(mesh.materials[number] for number in used),
        variants=tuple(mesh.variants[number] for number in used) if mesh.variants else (),
        triangle_materials=places.reshape(-1).astype(numpy.uint16) if len(used) > 1 else None,
    )
