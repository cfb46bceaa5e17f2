"""Primitives of a COLLADA geometry as one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared.corners import unite
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import Mesh, make_mesh, merged

_KEPT = ("VERTEX", "NORMAL", "TEXCOORD", "COLOR")


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Corners:
    """The corners of the triangles of one primitive."""

    sources: tuple[Any, ...]
    """The arrays of positions, normals, texture coordinates and colours; None for those that it does not have."""
    numbers: NDArray[Any]
    """For each corner of each triangle a number in each of these arrays, (3 m, 4); 0 where there is none."""
    material: Material | None


def mesh_of(primitives: Sequence[Any], materials: Sequence[Material | None], unit_m: float) -> Mesh | None:
    """One mesh of all primitives with triangles or polygons, None when there are none.

    Primitives that use the same arrays share their vertices. ValueError when numbers point beyond their arrays.
    """
    groups: dict[tuple[int, ...], list[_Corners]] = {}
    for primitive, material in zip(primitives, materials, strict=True):
        corners = _corners(primitive, material)
        if len(corners.numbers):
            groups.setdefault(tuple(map(id, corners.sources)), []).append(corners)
    pieces = [_mesh(group, unit_m) for group in groups.values()]
    return merged(pieces) if len(pieces) > 1 else pieces[0] if pieces else None


def _corners(primitive: Any, material: Material | None) -> _Corners:
    inputs = [primitive.sources[name][0] if primitive.sources.get(name) else None for name in _KEPT]
    index = numpy.asarray(primitive.index)
    sources = tuple(None if entry is None else entry[4].data for entry in inputs)
    if not len(index):
        return _Corners(sources=sources, numbers=numpy.empty((0, len(_KEPT)), numpy.int64), material=material)
    rows = index.reshape(-1, index.shape[-1])
    numbers = numpy.zeros((len(rows), len(_KEPT)), numpy.int64)
    for column, entry in enumerate(inputs):
        if entry is not None:
            numbers[:, column] = rows[:, entry[0]]
            if numbers[:, column].min() < 0 or numbers[:, column].max() >= len(entry[4].data):
                raise ValueError(f"its triangles refer to values of {entry[1]} that are not there")
    counts = getattr(primitive, "vcounts", None)
    if counts is not None:
        if (counts < 0).any() or int(counts.sum(dtype=numpy.int64)) != len(numbers):
            raise ValueError("its polygons have more or fewer corners than they announce")
        places, _ = triangulate(numpy.asarray(sources[0]), numbers[:, 0], counts)
        numbers = numbers[places.reshape(-1)]
    return _Corners(sources=sources, numbers=numbers, material=material)


def _mesh(group: list[_Corners], unit_m: float) -> Mesh:
    """A mesh of primitives that use the same arrays."""
    positions, normals, uvs, colours = group[0].sources
    numbers = numpy.concatenate([corners.numbers for corners in group]) if len(group) > 1 else group[0].numbers
    first, vertices = unite([numbers[:, column] for column, array in enumerate(group[0].sources) if array is not None])
    rows = numbers[first]
    looks = list(dict.fromkeys(corners.material for corners in group))
    each = [numpy.full(len(corners.numbers) // 3, looks.index(corners.material)) for corners in group]
    return make_mesh(
        positions[rows[:, 0], :3].astype(numpy.float64) * unit_m,
        vertices.reshape(-1, 3),
        normals=None if normals is None else normals[rows[:, 1], :3],
        uvs=None if uvs is None else uvs[rows[:, 2], :2] * (1, -1) + (0, 1),
        colours=None if colours is None else _levels(colours[rows[:, 3]]),
        materials=tuple(looks),
        triangle_materials=numpy.concatenate(each) if len(looks) > 1 else None,
    )


def _levels(colours: NDArray[Any]) -> NDArray[numpy.uint8]:
    """Colours from 0 to 1, with or without opacity, as 8-bit ones with it."""
    levels = numpy.full((len(colours), 4), 255, numpy.uint8)
    width = min(colours.shape[1], 4)
    levels[:, :width] = numpy.rint(numpy.clip(colours[:, :width], 0, 1) * 255)
    return levels
