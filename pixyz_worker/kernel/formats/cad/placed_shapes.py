"""Parts as shapes of OpenCASCADE at their places, in millimetres.

OpenCASCADE places shapes by turns and shifts alone; whatever else a matrix does is done to the shape itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel import mesh as meshes
from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.formats.cad import faceted, occ
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.scene import Part

_RIGID = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class PartShape:
    """A part as a shape."""

    shape: Any
    """The TopoDS_Shape, in millimetres."""
    pieces: list[Any]
    """The sub-shapes that have a look of their own: its faces, or its shells where it has triangles alone."""
    materials: list[Material | None]
    """The material of each of them."""


class PlacedShapes:
    """The shapes of parts, each made once."""

    def __init__(self, *, normals: bool = False) -> None:
        """With normals, triangles that have none get some, with which edges stay sharp."""
        self._normals = normals
        self._known: dict[tuple[Part, bytes], PartShape | None] = {}

    def location(self, matrix: NDArray[numpy.float64]) -> tuple[Any, NDArray[numpy.float64]]:
        """The location of a (4, 4) matrix in metres, and what is left to be done to the shape or to what is below.

        That is the identity for a matrix that turns and shifts; else the location is none, and all is left.
        """
        linear = matrix[:3, :3]
        rigid = numpy.allclose(linear @ linear.T, numpy.eye(3), atol=_RIGID) and numpy.linalg.det(linear) > 0
        if not rigid:
            return occ.TopLoc.TopLoc_Location(), matrix
        if numpy.array_equal(matrix, numpy.eye(4)):
            return occ.TopLoc.TopLoc_Location(), matrix
        return occ.TopLoc.TopLoc_Location(_trsf(matrix)), numpy.eye(4)

    def shape(self, part: Part, rest: NDArray[numpy.float64]) -> PartShape | None:
        """A part under what location() left over; None when it has neither exact surfaces nor triangles."""
        key = (part, rest.tobytes())
        if key not in self._known:
            self._known[key] = _made(part, rest, self._normals)
        return self._known[key]


def _made(part: Part, rest: NDArray[numpy.float64], normals: bool) -> PartShape | None:
    moves = not numpy.array_equal(rest, numpy.eye(4))
    if isinstance(part.brep, OccBrep):
        brep = part.brep
        shape = _moved(brep.shape, rest) if moves else brep.shape
        faces = occ.faces(shape)
        numbers = [0] * len(faces) if brep.face_materials is None else brep.face_materials.tolist()
        return PartShape(shape=shape, pieces=faces, materials=[brep.materials[number] for number in numbers])
    if part.mesh is None or part.mesh.is_points:
        return None
    mesh = meshes.moved(part.mesh, rest) if moves else part.mesh
    if normals and mesh.normals is None:
        from pixyz_worker.kernel.algorithms.normals import with_normals

        mesh = with_normals(mesh)
    shape, shells, materials = faceted.shape_of(mesh)
    return PartShape(shape=shape, pieces=shells, materials=materials)


def _trsf(matrix: NDArray[numpy.float64]) -> Any:
    rows = matrix[:3].copy()
    rows[:, 3] /= MILLIMETRE
    made = occ.gp.gp_Trsf()
    made.SetValues(*(float(value) for value in rows.ravel()))
    return made


def _moved(shape: Any, matrix: NDArray[numpy.float64]) -> Any:
    """A shape under any matrix: surfaces become splines where it scales unevenly."""
    linear = matrix[:3, :3]
    scale = abs(float(numpy.linalg.det(linear))) ** (1 / 3)
    if scale > 0 and numpy.allclose(linear @ linear.T, scale**2 * numpy.eye(3), atol=_RIGID * scale**2):
        return occ.BRepBuilderAPI.BRepBuilderAPI_Transform(shape, _trsf(matrix), True).Shape()
    made = occ.gp.gp_GTrsf()
    for row in range(3):
        for column in range(4):
            made.SetValue(row + 1, column + 1, float(matrix[row, column]) / (MILLIMETRE if column == 3 else 1.0))
    return occ.BRepBuilderAPI.BRepBuilderAPI_GTransform(shape, made, True).Shape()
