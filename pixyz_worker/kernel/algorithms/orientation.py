"""Triangles that all show the same side, and vertices that do not hold together what only touches."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency
from pixyz_worker.kernel.algorithms.submesh import with_vertices
from pixyz_worker.kernel.mesh import Mesh, face_normals

Marks = NDArray[numpy.bool_]


def oriented(mesh: Mesh, joined: NDArray[Any]) -> tuple[Mesh, int]:
    """The mesh with the triangles of each connected piece turned alike, and how many of them were turned over.

    Closed pieces are turned outwards, open ones as most of their triangles were. What meets at edges of more than
    two triangles counts as different pieces; a piece with one side only (a Moebius band) stays as it is.

    Args:
        mesh: a mesh of triangles.
        joined: for each vertex a number, the same for those at the same place, (n,).
    """
    turn = _to_turn(mesh, joined[mesh.triangles])
    count = int(turn.sum())
    return (_turned(mesh, turn), count) if count else (mesh, 0)


def cracked(mesh: Mesh, joined: NDArray[Any]) -> tuple[Mesh, int]:
    """The mesh with its vertices split where more than a surface meets, and how many vertices were added.

    Triangles keep a vertex in common when one can go from the one to the other around it, over edges where exactly
    two triangles meet. The new vertices lie at the same place.
    """
    corners = joined[mesh.triangles]
    edges = adjacency.edges(corners)
    first, second = edges.pairs()
    flat = corners.reshape(-1)
    after, other = adjacency.next_corners(first), adjacency.next_corners(second)
    turned = flat[first] != flat[second]
    starts = numpy.where(turned, other, second)
    ends = numpy.where(turned, second, other)
    around = adjacency.components(len(flat), numpy.concatenate([first, after]), numpy.concatenate([starts, ends]))
    pairs = mesh.triangles.reshape(-1).astype(numpy.int64) << 32 | around
    _, sources, numbers = numpy.unique(pairs, return_index=True, return_inverse=True)
    added = len(sources) - len(numpy.unique(mesh.triangles))
    if not added:
        return mesh, 0
    return with_vertices(mesh, mesh.triangles.reshape(-1)[sources], numbers.reshape(-1, 3)), added


def _to_turn(mesh: Mesh, corners: NDArray[Any]) -> Marks:
    """Which triangles have to be turned over.

    Each triangle stands twice in a graph, as it is and turned over; neighbours are linked as they fit together. A
    piece then falls into two parts, one the other's inside out, unless it has one side only.
    """
    count = len(corners)
    edges = adjacency.edges(corners)
    first, second = edges.pairs()
    against = corners.reshape(-1)[first] == corners.reshape(-1)[second]
    one, two = first // 3, second // 3
    sides = adjacency.components(
        2 * count,
        numpy.concatenate([one, one + count]),
        numpy.concatenate([two + count * against, two + count * ~against]),
    )
    own, inside_out = sides[:count], sides[count:]
    piece = adjacency.distinct(numpy.minimum(own, inside_out))[1]
    turn = own > inside_out
    size = numpy.bincount(piece)
    over = numpy.bincount(piece, turn) * 2 > size
    is_open = numpy.zeros(len(size), bool)
    is_open[piece[edges.half_edges[numpy.repeat(edges.counts != 2, edges.counts)] // 3]] = True
    volume = numpy.bincount(piece, _volumes(mesh) * numpy.where(turn, -1, 1))
    over = numpy.where(is_open | (volume == 0), over, volume < 0)
    marks: Marks = (turn ^ over[piece]) & (own != inside_out)
    return marks


def _volumes(mesh: Mesh) -> NDArray[numpy.float64]:
    """Signed volumes of the tetrahedra of the triangles and the mesh's middle; of closed pieces their sum matters."""
    middle = mesh.bounds.mean(axis=0)
    volumes: NDArray[numpy.float64] = numpy.einsum(
        "ij,ij->i", mesh.positions[mesh.triangles[:, 0]] - middle, face_normals(mesh)
    )
    return volumes


def _turned(mesh: Mesh, turn: Marks) -> Mesh:
    """The mesh with some triangles turned over; normals that then point to the wrong side are turned too."""
    triangles = mesh.triangles.copy()
    triangles[turn] = triangles[turn][:, ::-1]
    if mesh.normals is None:
        return with_vertices(mesh, numpy.arange(len(mesh.positions)), triangles)
    # A vertex between a turned triangle and one that stays becomes two.
    pairs = triangles.reshape(-1).astype(numpy.int64) << 1 | numpy.repeat(turn, 3)
    kept, sources, numbers = numpy.unique(pairs, return_index=True, return_inverse=True)
    result = with_vertices(mesh, triangles.reshape(-1)[sources], numbers.reshape(-1, 3))
    assert result.normals is not None
    faces = numpy.repeat(face_normals(result), 3, axis=0)
    agreement = numpy.bincount(
        numbers.reshape(-1), numpy.einsum("ij,ij->i", faces, result.normals[numbers.reshape(-1)])
    )
    wrong = (kept & 1).astype(bool) & (agreement < 0)
    result.normals = numpy.where(wrong[:, None], -result.normals, result.normals)
    return result
