"""Normals of vertices, smooth but for sharp edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency, selection
from pixyz_worker.kernel.algorithms.submesh import with_vertices
from pixyz_worker.kernel.mesh import Mesh, face_normals, unit
from pixyz_worker.kernel.scene import Occurrence

Floats = NDArray[numpy.float64]
Integers = NDArray[numpy.int64]


def create_normals(occurrences: Sequence[Occurrence], *, sharp_deg: float = 45.0, again: bool = False) -> int:
    """Give the meshes of the occurrences and all below normals; return how many parts got some.

    Args:
        occurrences: where to work.
        sharp_deg: edges whose triangles meet at a larger angle than this, in degrees, stay sharp.
        again: whether meshes that have normals get new ones.
    """
    done = 0
    for part in selection.parts(occurrences):
        if part.mesh is not None and not part.mesh.is_points and (again or part.mesh.normals is None):
            part.mesh = with_normals(part.mesh, sharp_deg=sharp_deg)
            done += 1
    if done:
        selection.mark_changed(occurrences)
    return done


def with_normals(mesh: Mesh, *, sharp_deg: float = 45.0) -> Mesh:
    """The mesh with new normals: those of the triangles around each vertex, weighted by their angles there.

    A vertex on a sharp edge is split, one for each side; those that are equal in all but their old normals are joined.
    """
    joined = adjacency.distinct(mesh.positions)[1]
    corners = joined[mesh.triangles]
    faces = face_normals(mesh)
    groups = _groups(corners, unit(faces), int(joined.max()) + 1, sharp_deg)
    normals = _mean(groups, unit(faces), _angles(mesh))
    looks = adjacency.distinct(joined, mesh.uvs, mesh.colours)[1]
    pairs = looks[mesh.triangles].reshape(-1) << 32 | groups.reshape(-1)
    _, first, numbers = numpy.unique(pairs, return_index=True, return_inverse=True)
    result = with_vertices(mesh, mesh.triangles.reshape(-1)[first], numbers.reshape(-1, 3))
    result.normals = normals.astype(numpy.float32)[groups.reshape(-1)[first]]
    return result


def _groups(corners: Integers, faces: Floats, vertex_count: int, sharp_deg: float) -> Integers:
    """For each corner a number, the same for those that share a vertex and are smooth with each other, (m, 3)."""
    edges = adjacency.edges(corners)
    first, second = edges.pairs()
    flat = corners.reshape(-1)
    turned = flat[first] != flat[second]
    bent = numpy.einsum("ij,ij->i", faces[first // 3], faces[second // 3]) < numpy.cos(numpy.radians(sharp_deg))
    smooth = turned & ~bent
    split = numpy.zeros(vertex_count, bool)
    split[edges.ends[edges.non_manifold]] = True
    split[edges.ends[edges.counts == 2][~smooth]] = True
    if not split.any():
        return corners
    # Only corners at sharp edges have to be followed around their vertex.
    chosen = numpy.flatnonzero(split[flat])
    place = numpy.full(len(flat), -1)
    place[chosen] = numpy.arange(len(chosen))
    first, second = first[smooth], second[smooth]
    ends = numpy.concatenate([first, adjacency.next_corners(first)])
    others = numpy.concatenate([adjacency.next_corners(second), second])
    linked = place[ends] >= 0
    around = adjacency.components(len(chosen), place[ends[linked]], place[others[linked]])
    groups = flat.copy()
    groups[chosen] = vertex_count + around
    return adjacency.distinct(groups)[1].reshape(-1, 3)


def _angles(mesh: Mesh) -> Floats:
    """The angles of the triangles at their corners, in radians, (m, 3)."""
    points = mesh.positions[mesh.triangles].astype(float)
    sides = unit((points[:, [1, 2, 0]] - points).reshape(-1, 3)).reshape(-1, 3, 3)
    cosines = -numpy.einsum("ijk,ijk->ij", sides, sides[:, [2, 0, 1]])
    angles: Floats = numpy.arccos(numpy.clip(cosines, -1, 1))
    return angles


def _mean(groups: Integers, faces: Floats, weights: NDArray[Any]) -> Floats:
    """The unit normals of groups of corners; upwards where their triangles have no area."""
    numbers = groups.reshape(-1)
    sums = [numpy.bincount(numbers, (faces[:, axis : axis + 1] * weights).reshape(-1)) for axis in range(3)]
    means = unit(numpy.stack(sums, axis=1))
    means[~means.any(axis=1)] = (0, 0, 1)
    return means
