"""Triangles with no edge longer than asked: long edges are halved, again and again, on both sides alike."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.mesh import Mesh, unit

_ROUNDS = 40
# For each pattern of halved edges (bit k: the edge from corner k to corner k + 1) the triangles that come of it;
# 0, 1, 2 are corners, 3, 4, 5 the midpoints of the edges 0, 1, 2.
_PATTERNS: dict[int, tuple[tuple[int, int, int], ...]] = {
    0b001: ((0, 3, 2), (3, 1, 2)),
    0b010: ((0, 1, 4), (0, 4, 2)),
    0b100: ((0, 1, 5), (5, 1, 2)),
    0b011: ((3, 1, 4), (0, 3, 4), (0, 4, 2)),
    0b110: ((4, 2, 5), (0, 1, 4), (0, 4, 5)),
    0b101: ((0, 3, 5), (3, 1, 2), (3, 2, 5)),
    0b111: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
}


def shorten(mesh: Mesh, length_m: float) -> Mesh:
    """A mesh of the same surface whose edges are at most so long, in metres.

    An edge is halved wherever it occurs, at the same point, so what was watertight stays so. Raises InvalidFile
    when that would take more triangles than the limits allow.
    """
    most = Limits.from_environment().max_triangles
    for _ in range(_ROUNDS):
        long = _long_edges(mesh, length_m)
        if not long.any():
            break
        if most and len(mesh.triangles) + int(long.sum()) > most:
            raise InvalidFile(f"Edges that short need more than the {most} triangles allowed (MAX_TRIANGLES).")
        mesh = _halved(mesh, long)
    return mesh


def _long_edges(mesh: Mesh, length_m: float) -> NDArray[numpy.bool_]:
    """For each triangle and edge (0-1, 1-2, 2-0) whether it is too long, (m, 3)."""
    corners = mesh.positions[mesh.triangles].astype(numpy.float64)
    along = numpy.roll(corners, -1, axis=1) - corners
    # Squares of a difference do not depend on its sign: both triangles at an edge see the same length.
    long: NDArray[numpy.bool_] = numpy.einsum("mec,mec->me", along, along) > length_m**2
    return long


def _halved(mesh: Mesh, long: NDArray[numpy.bool_]) -> Mesh:
    edges = numpy.stack([mesh.triangles, numpy.roll(mesh.triangles, -1, axis=1)], axis=2)
    pairs, inverse = numpy.unique(numpy.sort(edges[long], axis=1), axis=0, return_inverse=True)
    middles = numpy.zeros(long.shape, dtype=numpy.uint32)
    middles[long] = inverse.reshape(-1) + len(mesh.positions)
    points = numpy.concatenate([mesh.triangles, middles], axis=1)
    code = long @ numpy.array([1, 2, 4])
    kept = code == 0
    triangles, source = [mesh.triangles[kept]], [numpy.flatnonzero(kept)]
    for pattern, pieces in _PATTERNS.items():
        rows = numpy.flatnonzero(code == pattern)
        for piece in pieces:
            triangles.append(points[rows][:, piece])
            source.append(rows)
    numbers = None if mesh.triangle_materials is None else mesh.triangle_materials[numpy.concatenate(source)]
    return Mesh(
        positions=_middle(mesh.positions, pairs),
        triangles=numpy.concatenate(triangles),
        normals=None if mesh.normals is None else unit(_middle(mesh.normals, pairs)).astype(numpy.float32),
        uvs=None if mesh.uvs is None else _middle(mesh.uvs, pairs),
        colours=None if mesh.colours is None else _middle(mesh.colours, pairs),
        materials=mesh.materials,
        triangle_materials=numbers,
        variants=mesh.variants,
    )


def _middle(values: Any, pairs: NDArray[numpy.uint32]) -> Any:
    """Values of vertices, followed by those halfway between pairs of them."""
    halfway = (values[pairs[:, 0]].astype(numpy.float64) + values[pairs[:, 1]]) / 2
    return numpy.concatenate([values, halfway.astype(values.dtype)])
