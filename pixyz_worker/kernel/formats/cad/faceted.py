"""Triangles of OpenCASCADE's faces as arrays, and back.

Python has no quick way to the nodes of a Poly_Triangulation, but OpenCASCADE writes them all at once: faces that
have triangles and no surface are written as binary BRep, whose section of triangulations is read here as arrays
(BinTools_ShapeSet::WriteTriangulation, version 4).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.formats.cad import occ
from pixyz_worker.kernel.material import Material, from_srgb
from pixyz_worker.kernel.mesh import Mesh, unit

_SECTION = b"\nTriangulations "
_MAX_COLOURS = 256
"""A mesh with more colours at its vertices is written with 8 shades of each of red, green and blue."""
_HEAD = struct.Struct("<ii??d")  # nodes, triangles, whether parameters and normals follow, deflection


def is_faceted(shape: Any) -> bool:
    """Whether a shape has faces, and all of them are triangles without a surface."""
    every = occ.faces(shape)
    nowhere = occ.TopLoc.TopLoc_Location()
    return bool(every) and all(occ.BRep.BRep_Tool.Surface_s(face, nowhere) is None for face in every)


def mesh_of(brep: OccBrep, *, normals: bool = True) -> Mesh | None:
    """The triangles that the faces of a shape have now, in metres; None when there is none.

    Triangles without an area are left out: with them, closed bodies would not be watertight once equal positions
    are joined.
    """
    pieces = _Pieces(normals=normals)
    for number, face in enumerate(occ.faces(brep.shape)):
        pieces.add(number, face)
    return pieces.mesh(brep)


class _Pieces:
    """The triangulated faces of a shape, on their way into one mesh."""

    def __init__(self, *, normals: bool) -> None:
        self._normals = normals
        self._builder = occ.BRep.BRep_Builder()
        self._compound = occ.TopoDS.TopoDS_Compound()
        self._builder.MakeCompound(self._compound)
        self._faces: list[_Face] = []
        self._places: dict[Any, int] = {}

    def add(self, number: int, face: Any) -> None:
        """Take the triangles of a face, the shape's number-th, with its orientation and place."""
        location = occ.TopLoc.TopLoc_Location()
        triangles = occ.BRep.BRep_Tool.Triangulation_s(face, location)
        if triangles is None or not triangles.NbTriangles():
            return
        # Without a surface OpenCASCADE takes the mean of all triangles at a corner: boxes would look round.
        if self._normals and not triangles.HasNormals() and _has_surface(face):
            occ.BRepLib.BRepLib_ToolTriangulatedShape.ComputeNormals_s(face, triangles)
        # Faces at several places may share their triangles, which are written once.
        place = self._places.setdefault(triangles, len(self._places))
        if place == len(self._places) - 1:
            bare = occ.TopoDS.TopoDS_Face()
            self._builder.MakeFace(bare, triangles)
            self._builder.Add(self._compound, bare)
        turned = face.Orientation() == occ.TopAbs.TopAbs_Orientation.TopAbs_REVERSED
        placement = None if location.IsIdentity() else _placement(location)
        self._faces.append(_Face(number=number, triangles=place, turned=turned, placement=placement))

    def mesh(self, brep: OccBrep) -> Mesh | None:
        if not self._faces:
            return None
        stream = io.BytesIO()
        version = occ.BinTools.BinTools_FormatVersion.BinTools_FormatVersion_VERSION_4
        occ.BinTools.BinTools.Write_s(self._compound, stream, True, True, version)
        positions, normals, triangles, counts = self._arrays(stream.getbuffer())
        corners = numpy.concatenate(triangles)
        points = (numpy.concatenate(positions) * MILLIMETRE).astype(numpy.float32)
        numbers = None
        if brep.face_materials is not None:
            faces = numpy.array([face.number for face in self._faces])
            numbers = numpy.repeat(brep.face_materials[faces], counts)
        kept = _proper(points, corners)
        if not kept.all():
            corners, numbers = corners[kept], None if numbers is None else numbers[kept]
        if not len(corners):
            return None
        upright = None
        if all(rows is not None for rows in normals):
            upright = unit(numpy.concatenate(normals)).astype(numpy.float32)
        return Mesh(
            positions=points,
            triangles=corners,
            normals=upright,
            materials=brep.materials,
            triangle_materials=numbers,
        )

    def _arrays(self, data: memoryview) -> tuple[list[Any], list[Any], list[Any], list[int]]:
        written = _triangulations(data)
        if len(written) != len(self._places):
            raise ValueError("OpenCASCADE wrote its triangles in a layout that is not known here")
        positions, normals, triangles, counts, start = list[Any](), list[Any](), list[Any](), list[int](), 0
        for face in self._faces:
            nodes, across, corners = written[face.triangles]
            mirrors = False
            if face.placement is not None:
                nodes, across, mirrors = _placed(nodes, across, face.placement)
            positions.append(nodes)
            normals.append(None if across is None or not self._normals else (-across if face.turned else across))
            triangles.append((corners[:, ::-1] if face.turned != mirrors else corners) + numpy.uint32(start))
            counts.append(len(corners))
            start += len(nodes)
        return positions, normals, triangles, counts


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Face:
    """One face with triangles."""

    number: int
    """Its place among the faces of the shape."""
    triangles: int
    """Its place among the triangulations."""
    turned: bool
    """Whether it is seen from the side that its surface calls the back."""
    placement: NDArray[numpy.float64] | None
    """Where it lies, (3, 4) in millimetres; None for where its triangles are."""


def _triangulations(data: memoryview) -> list[tuple[Any, Any, Any]]:
    """Nodes, normals or None, and triangles of each triangulation, in the order in which they were written."""
    head = bytes(data[:4096])
    begin = head.find(_SECTION)
    if begin < 0:
        raise ValueError("OpenCASCADE wrote its triangles in a layout that is not known here")
    end = head.index(b"\n", begin + 1)
    found, at = list[tuple[Any, Any, Any]](), end + 1
    for _ in range(int(head[begin + len(_SECTION) : end])):
        nodes, triangles, has_parameters, has_normals, _ = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        points = numpy.frombuffer(data, "<f8", 3 * nodes, at).reshape(-1, 3)
        at += (40 if has_parameters else 24) * nodes
        corners = numpy.frombuffer(data, "<i4", 3 * triangles, at).reshape(-1, 3)
        at += 12 * triangles
        across = numpy.frombuffer(data, "<f4", 3 * nodes, at).reshape(-1, 3) if has_normals else None
        at += 12 * nodes if has_normals else 0
        found.append((points, across, (corners - 1).astype(numpy.uint32)))
    return found


def _placement(location: Any) -> NDArray[numpy.float64]:
    trsf = location.Transformation()
    return numpy.array([[trsf.Value(row, column) for column in range(1, 5)] for row in range(1, 4)])


def _has_surface(face: Any) -> bool:
    return occ.BRep.BRep_Tool.Surface_s(face, occ.TopLoc.TopLoc_Location()) is not None


def _placed(nodes: Any, normals: Any, placement: NDArray[numpy.float64]) -> tuple[Any, Any, bool]:
    """Nodes and normals at the place of their face, and whether that mirrors them."""
    linear = placement[:, :3]
    volume = float(numpy.linalg.det(linear))
    # A location turns, mirrors, and scales alike in all directions: normals turn and mirror with it.
    across = None if normals is None else normals @ (linear / abs(volume) ** (1 / 3)).T
    return nodes @ linear.T + placement[:, 3], across, volume < 0


def _proper(points: NDArray[numpy.float32], corners: NDArray[numpy.uint32]) -> NDArray[numpy.bool_]:
    """For each triangle whether its corners lie at three places."""
    first, second, third = (points[corners[:, column]] for column in range(3))
    same = (first == second).all(axis=1) | (second == third).all(axis=1) | (third == first).all(axis=1)
    proper: NDArray[numpy.bool_] = ~same
    return proper


def shape_of(mesh: Mesh) -> tuple[Any, list[Any], list[Material | None]]:
    """A shape of triangles alone, in millimetres; its shells, one for each material; their materials.

    Colours are kept by shells: OpenCASCADE's STEP writer drops those of single faces without a surface.
    """
    pieces = list(_coloured(mesh).pieces())
    builder, template = occ.BRep.BRep_Builder(), occ.TopoDS.TopoDS_Compound()
    builder.MakeCompound(template)
    for _ in pieces:
        face, shell = occ.TopoDS.TopoDS_Face(), occ.TopoDS.TopoDS_Shell()
        builder.MakeFace(face, occ.Poly.Poly_Triangulation(3, 1, False))
        builder.MakeShell(shell)
        builder.Add(shell, face)
        builder.Add(template, shell)
    stream = io.BytesIO()
    version = occ.BinTools.BinTools_FormatVersion.BinTools_FormatVersion_VERSION_4
    occ.BinTools.BinTools.Write_s(template, stream, True, True, version)
    data = stream.getvalue()
    begin, end = _triangulations_range(data)
    written = b"".join([data[:begin], *(_written(piece) for _, piece in pieces), data[end:]])
    shape = occ.TopoDS.TopoDS_Shape()
    occ.BinTools.BinTools.Read_s(shape, io.BytesIO(written))
    shells = _below(shape)
    return shells[0] if len(shells) == 1 else shape, shells, [material for material, _ in pieces]


def _coloured(mesh: Mesh) -> Mesh:
    """A mesh with materials in place of the colours of its vertices, where it has these alone."""
    if mesh.colours is None or any(material is not None for material in mesh.materials):
        return mesh
    colours = mesh.colours[mesh.triangles].astype(numpy.float64).mean(axis=1).round().astype(numpy.uint8)
    found, numbers = numpy.unique(colours, axis=0, return_inverse=True)
    if len(found) > _MAX_COLOURS:
        found, numbers = numpy.unique(colours & 0xE0 | 0x10, axis=0, return_inverse=True)
    materials = tuple(Material(base_colour=from_srgb(*(colour / 255))) for colour in found)
    return replace(
        mesh,
        materials=materials,
        triangle_materials=numbers.reshape(-1).astype(numpy.uint16) if len(materials) > 1 else None,
    )


def _below(shape: Any) -> list[Any]:
    """The shapes that a shape directly consists of."""
    found, iterator = list[Any](), occ.TopoDS.TopoDS_Iterator(shape)
    while iterator.More():
        found.append(iterator.Value())
        iterator.Next()
    return found


def _triangulations_range(data: bytes) -> tuple[int, int]:
    """Where the triangulations of a shape begin and end, each of which has 3 nodes and 1 triangle."""
    begin = data.index(b"\n", data.index(_SECTION) + 1) + 1
    count = int(data[data.index(_SECTION) + len(_SECTION) : begin])
    return begin, begin + count * (_HEAD.size + 3 * 24 + 12)


def _written(mesh: Mesh) -> bytes:
    """A mesh as BinTools_ShapeSet::ReadTriangulation reads it."""
    nodes = mesh.positions.astype("<f8") / MILLIMETRE
    parts = [_HEAD.pack(len(nodes), len(mesh.triangles), False, mesh.normals is not None, 0.0), nodes.tobytes()]
    parts.append((mesh.triangles.astype("<i4") + 1).tobytes())
    if mesh.normals is not None:
        parts.append(mesh.normals.astype("<f4").tobytes())
    return b"".join(parts)
