"""Meshes at their places, for formats without a tree; and trees for files that hold one mesh."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import ArrayLike, NDArray

from pixyz_worker.kernel.formats.shared.header_comments import unit_of, up_of
from pixyz_worker.kernel.mesh import FAR, Mesh, make_mesh, moved, settled
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Placed:
    """A mesh in one of the places where a scene shows it."""

    name: str
    """The name of its occurrence, or of its part."""
    mesh: Mesh
    """The mesh, in the frame of its part, in metres."""
    matrix: NDArray[numpy.float64]
    """Where it stands, (4, 4), in the units of the file that is written."""

    def positions(self) -> NDArray[Any]:
        """Its vertices in the file's units, (n, 3): 32-bit numbers, 64-bit ones where it lies too far away for them."""
        linear, shift = self.matrix[:3, :3], self.matrix[:3, 3]
        if numpy.array_equal(self.matrix, numpy.eye(4)):
            return self.mesh.positions
        places: NDArray[Any] = self.mesh.positions @ linear.T + shift
        if not self.is_far():
            return places.astype(numpy.float32)
        size = max(float(numpy.ptp(places, axis=0).max()), 1e-9)
        return numpy.round(places, max(0, 7 - math.floor(math.log10(size))))

    def is_far(self) -> bool:
        """Whether it lies so far from the origin that 32-bit numbers are too coarse for it."""
        low, high = self.mesh.bounds
        corners = numpy.array(
            [(x, y, z, 1) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
        )
        places = (corners @ self.matrix.T)[:, :3]
        return bool(numpy.abs(places).max() > FAR * max(float(numpy.ptp(places, axis=0).max()), 1e-9))

    def normals(self) -> NDArray[numpy.float32] | None:
        """Its unit normals, turned with it, (n, 3)."""
        if self.mesh.normals is None or numpy.array_equal(self.matrix[:3, :3], numpy.eye(3)):
            return self.mesh.normals
        bare = Mesh(positions=self.mesh.positions[:0], triangles=self.mesh.triangles[:0], normals=self.mesh.normals)
        return moved(bare, self.matrix).normals

    def triangles(self) -> NDArray[numpy.uint32]:
        """Its triangles, (m, 3), turned over where its matrix mirrors."""
        return self.fronts(self.mesh.triangles)

    def fronts(self, triangles: NDArray[numpy.uint32]) -> NDArray[numpy.uint32]:
        """Some triangles of it, turned over where its matrix mirrors, so that they keep their front."""
        return triangles[:, ::-1] if numpy.linalg.det(self.matrix[:3, :3]) < 0 else triangles


def placed(scene: Scene, factor: float, *, triangles: bool = False) -> list[Placed]:
    """The meshes of a scene at their places, lengths times a factor.

    Where `triangles` is set, clouds of points are left out. Raises ValueError when nothing is left.
    """
    found, points = list[Placed](), 0
    for occurrence, matrix in _walk(scene.root, factor):
        mesh = occurrence.part.mesh if occurrence.part else None
        if mesh is None or not len(mesh.positions):
            continue
        if triangles and mesh.is_points:
            points += 1
            continue
        name = occurrence.name or (occurrence.part.name if occurrence.part else "")
        found.append(Placed(name=name, mesh=mesh, matrix=matrix))
    if not found and points:
        raise ValueError("the scene has only points, and this format stores triangles")
    if not found:
        raise ValueError("there is no mesh and no point in the scene")
    return found


def single(
    path: Path, said: str, options: ReadOptions, positions: ArrayLike, triangles: Any = None, **attributes: Any
) -> Scene:
    """A scene of a file that holds one mesh, given its comments; other arguments as of make_mesh()."""
    unit_m = unit_of(said, options)
    child = occurrence(path.stem, unit_m, positions, triangles, **attributes)
    return Scene(name=path.stem, root=Occurrence(name=path.stem, children=[child]), unit_m=unit_m, up=up_of(said))


def occurrence(
    name: str, unit_m: float | None, positions: ArrayLike, triangles: Any = None, **attributes: Any
) -> Occurrence:
    """An occurrence with a part of its own; what lies far from the origin stands there by its matrix."""
    points = numpy.asarray(positions)
    if points.dtype != numpy.float32 or unit_m not in (None, 1.0):
        points = numpy.asarray(points, dtype=numpy.float64) * (unit_m or 1.0)
    offset = numpy.zeros(3)
    if points.dtype != numpy.float32:
        points, offset = settled(points)
    mesh = make_mesh(points, triangles, **attributes)
    matrix = None
    if offset.any():
        matrix = numpy.eye(4)
        matrix[:3, 3] = offset
    return Occurrence(name=name, matrix=matrix, part=Part(name=name, mesh=mesh))


def _walk(root: Occurrence, factor: float) -> Iterator[tuple[Occurrence, NDArray[numpy.float64]]]:
    """Every occurrence with its place in the whole, times a factor; parents before their children."""
    pending = [(root, numpy.diag([factor, factor, factor, 1.0]))]
    while pending:
        current, above = pending.pop()
        matrix = above if current.matrix is None else above @ current.matrix
        yield current, matrix
        pending.extend((child, matrix) for child in reversed(current.children))
