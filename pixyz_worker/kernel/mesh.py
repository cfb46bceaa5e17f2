"""Triangles (or points) of a part, as arrays.

The arrays of a Mesh may be views of a file that is mapped into memory: nobody writes into them; whoever changes
a mesh gives it new arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import ArrayLike, NDArray

from pixyz_worker.kernel.material import Material

FAR = 1e4
"""Coordinates further from the origin than this many times the size of a mesh lose too much as 32-bit numbers."""


@dataclass(eq=False, kw_only=True, slots=True)
class Mesh:
    """Triangles with shared vertices; without triangles, a cloud of points.

    Lengths are metres, in the frame of the part. Triangles are seen from the front when their corners run
    counter-clockwise.
    """

    positions: NDArray[numpy.float32]
    """Vertices, (n, 3)."""
    triangles: NDArray[numpy.uint32]
    """Numbers of the vertices of each triangle, (m, 3); (0, 3) for points."""
    normals: NDArray[numpy.float32] | None = None
    """Unit normals of the vertices, (n, 3)."""
    uvs: NDArray[numpy.float32] | None = None
    """Texture coordinates of the vertices, (n, 2); (0, 0) is the upper left corner of an image, as in glTF."""
    colours: NDArray[numpy.uint8] | None = None
    """Colours of the vertices, (n, 4): sRGB and opacity."""
    materials: tuple[Material | None, ...] = (None,)
    """The materials that it uses, at least one entry; None is no material."""
    triangle_materials: NDArray[numpy.uint16] | None = None
    """For each triangle its place in `materials`, (m,); None when all triangles use the first."""
    variants: tuple[dict[str, Material | None], ...] = ()
    """For each entry of `materials`, what replaces it in a variant of the scene, by the variant's name; or ()."""

    @property
    def is_points(self) -> bool:
        """Whether it is a cloud of points."""
        return len(self.triangles) == 0

    @property
    def bounds(self) -> NDArray[numpy.float64]:
        """Lowest and highest corner, (2, 3)."""
        low, high = self.positions.min(axis=0), self.positions.max(axis=0)
        return numpy.array([low, high], dtype=numpy.float64)

    def by_material(self) -> Iterator[tuple[Material | None, NDArray[numpy.uint32]]]:
        """Each material with its triangles, in the order of `materials`; those without triangles are passed over."""
        if self.triangle_materials is None:
            yield self.materials[0], self.triangles
            return
        for number, material in enumerate(self.materials):
            chosen = self.triangles[self.triangle_materials == number]
            if len(chosen):
                yield material, chosen

    def pieces(self) -> Iterator[tuple[Material | None, Mesh]]:
        """One mesh for each material, with the vertices that it uses and no others; the mesh itself if it has one."""
        if self.triangle_materials is None:
            yield self.materials[0], self
            return
        for material, triangles in self.by_material():
            yield material, self.only(triangles, material)

    def only(self, triangles: NDArray[numpy.uint32], material: Material | None) -> Mesh:
        """A mesh of some of the triangles, all of one material, with the vertices that they use."""
        used, numbers = numpy.unique(triangles, return_inverse=True)
        return Mesh(
            positions=self.positions[used],
            triangles=numbers.reshape(-1, 3).astype(numpy.uint32),
            normals=None if self.normals is None else self.normals[used],
            uvs=None if self.uvs is None else self.uvs[used],
            colours=None if self.colours is None else self.colours[used],
            materials=(material,),
        )


def make_mesh(
    positions: ArrayLike,
    triangles: ArrayLike | None = None,
    *,
    normals: Any = None,
    uvs: Any = None,
    colours: Any = None,
    materials: tuple[Material | None, ...] = (None,),
    triangle_materials: Any = None,
) -> Mesh:
    """A Mesh of whatever arrays a file gave, checked; ValueError says what is wrong with them.

    Arrays that are right already are used without a copy. Normals, texture coordinates and colours whose number is
    not that of the vertices are left out.
    """
    points = numpy.ascontiguousarray(positions, dtype=numpy.float32).reshape(-1, 3)
    if not len(points):
        raise ValueError("there is no mesh and no point in it")
    if not numpy.isfinite(points).all():
        raise ValueError("some of its coordinates are not numbers")
    corners = numpy.asarray(numpy.empty((0, 3), numpy.uint32) if triangles is None else triangles).reshape(-1, 3)
    if len(corners) and not 0 <= corners.min() <= corners.max() < len(points):
        raise ValueError("its triangles refer to vertices that are not there")
    numbers = None
    if triangle_materials is not None:
        numbers = numpy.ascontiguousarray(triangle_materials, dtype=numpy.uint16).reshape(-1)
        if len(numbers) != len(corners) or (len(numbers) and numbers.max() >= len(materials)):
            raise ValueError("its triangles refer to materials that are not there")
    return Mesh(
        positions=points,
        triangles=numpy.ascontiguousarray(corners, dtype=numpy.uint32),
        normals=_rows(normals, numpy.float32, len(points), 3),
        uvs=_rows(uvs, numpy.float32, len(points), 2),
        colours=_rows(colours, numpy.uint8, len(points), 4),
        materials=materials,
        triangle_materials=numbers if len(materials) > 1 else None,
    )


def settled(positions: ArrayLike) -> tuple[NDArray[numpy.float32], NDArray[numpy.float64]]:
    """Coordinates as 32-bit numbers and the offset that was taken off them: (0, 0, 0) unless they lie far away.

    What lies kilometres from the origin (buildings, scans) would lose millimetres as 32-bit numbers. A reader puts
    the offset into the occurrence's matrix.
    """
    points = numpy.asarray(positions, dtype=numpy.float64).reshape(-1, 3)
    offset = numpy.zeros(3)
    if len(points) and numpy.isfinite(points).all():
        low, high = points.min(axis=0), points.max(axis=0)
        if max(numpy.abs(low).max(), numpy.abs(high).max()) > FAR * max(float((high - low).max()), 1e-12):
            offset = (low + high) / 2
    return (points - offset).astype(numpy.float32), offset


def merged(meshes: list[Mesh], matrices: list[NDArray[numpy.float64]] | None = None) -> Mesh:
    """One mesh of several, each moved by its (4, 4) matrix where matrices are given.

    What one of them has, the whole has: missing normals are made, missing texture coordinates are 0, missing colours
    white. What variants put in place of a material is what the first mesh that uses it says.
    """
    placed = meshes if matrices is None else [moved(mesh, m) for mesh, m in zip(meshes, matrices, strict=True)]
    starts = numpy.cumsum([0, *(len(mesh.positions) for mesh in placed[:-1])])
    materials = list(dict.fromkeys(material for mesh in placed for material in mesh.materials))
    place = {material: number for number, material in enumerate(materials)}
    numbers = [_numbers(mesh, place) for mesh in placed]
    triangles = [mesh.triangles + numpy.uint32(start) for mesh, start in zip(placed, starts, strict=True)]
    return Mesh(
        variants=_joined_variants(placed, materials),
        positions=numpy.concatenate([mesh.positions for mesh in placed]),
        triangles=numpy.concatenate(triangles),
        normals=_joined(placed, "normals", smooth_normals),
        uvs=_joined(placed, "uvs", lambda mesh: numpy.zeros((len(mesh.positions), 2), numpy.float32)),
        colours=_joined(placed, "colours", lambda mesh: numpy.full((len(mesh.positions), 4), 255, numpy.uint8)),
        materials=tuple(materials),
        triangle_materials=numpy.concatenate(numbers) if len(materials) > 1 else None,
    )


def moved(mesh: Mesh, matrix: NDArray[numpy.float64]) -> Mesh:
    """A mesh under a (4, 4) matrix; one that mirrors turns the triangles over, so that they keep their front."""
    linear, shift = matrix[:3, :3], matrix[:3, 3]
    mirrors = numpy.linalg.det(linear) < 0
    normals = mesh.normals
    if normals is not None:
        normals = unit(normals @ _normal_matrix(linear).T).astype(numpy.float32)
    return Mesh(
        positions=(mesh.positions @ linear.T + shift).astype(numpy.float32),
        triangles=numpy.ascontiguousarray(mesh.triangles[:, ::-1]) if mirrors else mesh.triangles,
        normals=normals,
        uvs=mesh.uvs,
        colours=mesh.colours,
        materials=mesh.materials,
        triangle_materials=mesh.triangle_materials,
        variants=mesh.variants,
    )


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """Vectors of length 1, (n, k); those without a length stay as they are."""
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    result: NDArray[Any] = vectors / numpy.where(lengths > 0, lengths, 1)
    return result


def face_normals(mesh: Mesh) -> NDArray[numpy.float64]:
    """Normals of the triangles, twice as long as their areas are large, (m, 3)."""
    first, second, third = (mesh.positions[mesh.triangles[:, number]].astype(float) for number in range(3))
    return numpy.cross(second - first, third - first)


def smooth_normals(mesh: Mesh) -> NDArray[numpy.float32]:
    """For each vertex the mean normal of the triangles around it, weighted by area, (n, 3); z where there is none."""
    faces = face_normals(mesh)
    owners, count = mesh.triangles.ravel(), len(mesh.positions)
    sums = numpy.stack([numpy.bincount(owners, numpy.repeat(faces[:, axis], 3), count) for axis in range(3)], axis=1)
    lengths = numpy.linalg.norm(sums, axis=1, keepdims=True)
    means = numpy.where(lengths > 0, sums / numpy.where(lengths > 0, lengths, 1), (0.0, 0.0, 1.0))
    return means.astype(numpy.float32)


def _normal_matrix(linear: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """What normals are multiplied with, up to their length: the inverse transpose, or cofactors where there is none."""
    rows = [numpy.cross(linear[(row + 1) % 3], linear[(row + 2) % 3]) for row in range(3)]
    sign = -1.0 if numpy.linalg.det(linear) < 0 else 1.0
    return numpy.array(rows, dtype=numpy.float64) * sign


def _numbers(mesh: Mesh, place: dict[Material | None, int]) -> NDArray[numpy.uint16]:
    own = numpy.array([place[material] for material in mesh.materials], dtype=numpy.uint16)
    if mesh.triangle_materials is None:
        return numpy.full(len(mesh.triangles), own[0], dtype=numpy.uint16)
    return own[mesh.triangle_materials]


def _joined(meshes: list[Mesh], name: str, make: Callable[[Mesh], NDArray[Any]]) -> Any:
    arrays = [getattr(mesh, name) for mesh in meshes]
    if all(array is None for array in arrays):
        return None
    whole = [make(mesh) if array is None else array for mesh, array in zip(meshes, arrays, strict=True)]
    return numpy.concatenate(whole)


def _joined_variants(meshes: list[Mesh], materials: list[Material | None]) -> tuple[dict[str, Material | None], ...]:
    found: dict[Material | None, dict[str, Material | None]] = {}
    for mesh in meshes:
        for material, variants in zip(mesh.materials, mesh.variants, strict=False):
            found.setdefault(material, variants)
    return tuple(found.get(material, {}) for material in materials) if any(found.values()) else ()


def _rows(values: Any, kind: Any, count: int, width: int) -> Any:
    if values is None or len(values) != count:
        return None
    return numpy.ascontiguousarray(values, dtype=kind).reshape(count, width)
