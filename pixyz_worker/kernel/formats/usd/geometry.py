"""Meshes, points and simple bodies of USD as arrays (the schemas of UsdGeom)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray
from pxr import UsdGeom

from pixyz_worker.kernel.formats.shared.corners import unite, weld
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.material import Colour
from pixyz_worker.kernel.mesh import unit

BODIES = ("Cube", "Sphere", "Cylinder", "Cylinder_1", "Cone", "Capsule", "Capsule_1", "Plane")
KINDS = ("Mesh", "Points", *BODIES)
"""Types of prims that have a shape here."""
_AXES = {
    "X": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "Y": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "Z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
"""Turns (without mirroring) of a body that stands on z."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Shape:
    """The arrays of a prim, in its own units; texture coordinates have (0, 0) at the upper left."""

    positions: NDArray[Any]
    """Vertices, (n, 3)."""
    triangles: NDArray[Any]
    """Numbers of vertices, (m, 3)."""
    faces: NDArray[numpy.int64]
    """The face that each triangle is a piece of, (m,)."""
    normals: NDArray[Any] | None = None
    """Normals of the vertices, (n, 3)."""
    uvs: NDArray[Any] | None = None
    """Texture coordinates of the vertices, (n, 2)."""
    colours: NDArray[numpy.uint8] | None = None
    """Colours of the vertices, (n, 4), sRGB."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Values:
    """A primvar: values for the faces, points or corners of a mesh."""

    rows: NDArray[Any]
    """The different values, (n, width) or (n,)."""
    indices: NDArray[Any] | None = None
    """For each place the number of its value; None when the values stand in order."""
    interpolation: str = "vertex"
    """constant, uniform (faces), varying or vertex (points), or faceVarying (corners)."""

    def numbers(self, corners: NDArray[Any], faces: NDArray[Any], count: int) -> NDArray[Any] | None:
        """For each corner of the mesh (whose point and face are given) the row of its value; None if they do not fit.

        count is the number of points.
        """
        place, wanted = {
            "constant": (numpy.zeros(len(corners), numpy.int64), 1),
            "uniform": (faces, int(faces.max(initial=-1)) + 1),
            "faceVarying": (numpy.arange(len(corners)), len(corners)),
        }.get(self.interpolation, (corners, count))
        given = self.rows if self.indices is None else self.indices
        if len(given) < wanted or not len(self.rows):
            return None
        numbers = place if self.indices is None else self.indices[place]
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.rows):
            return None
        return numbers


def shape_of(prim: Any, when: Any, uv_name: str, colours: bool) -> Shape | None:
    """The shape of a prim whose type is one of KINDS; None if it is empty; ValueError when it makes no sense.

    uv_name is the primvar with its texture coordinates; colours says whether displayColor counts.
    """
    kind = prim.GetTypeName()
    if kind == "Mesh":
        return _mesh(prim, when, uv_name, colours)
    return _points(prim, when, colours) if kind == "Points" else _body(prim, kind, when)


def values_of(prim: Any, name: str, when: Any) -> Values | None:
    """A primvar of a prim, or one that it inherits."""
    primvar = UsdGeom.PrimvarsAPI(prim).FindPrimvarWithInheritance(name)
    found = primvar.Get(when) if primvar else None
    if found is None:
        return None
    indices = primvar.GetIndices(when) if primvar.IsIndexed() else None
    rows = numpy.asarray(found)
    return Values(
        rows=rows.reshape(1, -1) if primvar.GetTypeName().isScalar else rows,
        indices=None if indices is None else numpy.asarray(indices),
        interpolation="constant" if primvar.GetTypeName().isScalar else str(primvar.GetInterpolation()),
    )


def constant_colour(prim: Any, when: Any) -> Colour | None:
    """The one displayColor (linear) with displayOpacity of a whole prim; None if it has none, or several."""
    colour, opacity = values_of(prim, "displayColor", when), values_of(prim, "displayOpacity", when)
    if colour is None or len(colour.rows) != 1 or colour.rows.shape != (1, 3):
        return None
    if opacity is not None and len(opacity.rows) > 1:
        return None
    red, green, blue = (min(max(float(part), 0.0), 1.0) for part in colour.rows[0])
    clear = 1.0 if opacity is None or not opacity.rows.size else min(max(float(opacity.rows.flat[0]), 0.0), 1.0)
    return (red, green, blue, clear)


def _mesh(prim: Any, when: Any, uv_name: str, colours: bool) -> Shape | None:
    mesh = UsdGeom.Mesh(prim)
    points, counts, corners = (
        _array(mesh.GetPointsAttr(), when, 3),
        _array(mesh.GetFaceVertexCountsAttr(), when),
        _array(mesh.GetFaceVertexIndicesAttr(), when),
    )
    if not len(points) or not len(corners):
        return None
    if len(counts) == 0 or counts.min() < 0 or int(counts.sum(dtype=numpy.int64)) != len(corners):
        raise ValueError(f"the faces of {prim.GetName()} have other numbers of corners than they say")
    if not 0 <= corners.min() <= corners.max() < len(points):
        raise ValueError(f"the faces of {prim.GetName()} refer to points that are not there")
    triangles, faces = triangulate(points, corners, counts)
    if len(holes := _array(mesh.GetHoleIndicesAttr(), when)):
        kept = ~numpy.isin(faces, holes)
        triangles, faces = triangles[kept], faces[kept]
    if not len(triangles):
        return None
    if mesh.GetOrientationAttr().Get(when) == "leftHanded":
        triangles = triangles[:, ::-1]
    given = {"normals": _normals(mesh, when), "uvs": _uvs(prim, uv_name, when)}
    if colours:
        given |= _colours(prim, when)
    columns = _columns(given, corners, counts, len(points))
    return _split(points, corners, triangles, faces, columns)


def _columns(given: dict[str, Values | None], corners: Any, counts: Any, count: int) -> dict[str, Any]:
    """Of the primvars that fit the mesh: the values, and for each corner its row."""
    face_of_corner = numpy.repeat(numpy.arange(len(counts)), counts)
    found = {}
    for name, values in given.items():
        numbers = None if values is None else values.numbers(corners, face_of_corner, count)
        if values is not None and numbers is not None:
            found[name] = (values, numbers)
    return found


def _split(points: Any, corners: Any, triangles: Any, faces: Any, columns: dict[str, Any]) -> Shape:
    """Vertices for the corners: the points as they are if all values belong to points, else one for each difference."""
    if all(values.interpolation in ("vertex", "varying", "constant") for values, _ in columns.values()):
        used, first = numpy.unique(corners, return_index=True)
        rows = {
            name: _by_point(values.rows, numbers, used, first, len(points))
            for name, (values, numbers) in columns.items()
        }
        return _shape(points, corners[triangles], faces, rows)
    first, vertices = unite([corners, *(_equals(values.rows)[numbers] for values, numbers in columns.values())])
    rows = {name: values.rows[numbers[first]] for name, (values, numbers) in columns.items()}
    return _shape(points[corners[first]], vertices[triangles], faces, rows)


def _equals(rows: Any) -> NDArray[Any]:
    """For each row of floats, (n,), (n, 2) or (n, 3), a number that rows with the same values share."""
    plain = numpy.ascontiguousarray(rows, numpy.float32)
    if plain.ndim == 2 and plain.shape[1] == 3:
        return weld(plain)[1]
    bits = plain.view(numpy.int64 if plain.ndim == 2 else numpy.int32).reshape(-1)
    return unite([bits])[1]


def _by_point(rows: Any, numbers: Any, used: Any, first: Any, count: int) -> Any:
    place = numpy.zeros(count, numpy.int64)
    place[used] = numbers[first]
    return rows[place]


def _shape(positions: Any, triangles: Any, faces: Any, rows: dict[str, Any]) -> Shape:
    uvs = rows.get("uvs")
    if uvs is not None:
        uvs = numpy.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=1)
    return Shape(
        positions=positions,
        triangles=triangles,
        faces=faces,
        normals=_unit(rows.get("normals")),
        uvs=uvs,
        colours=_levels(rows.get("colours"), rows.get("opacities")),
    )


def _points(prim: Any, when: Any, colours: bool) -> Shape | None:
    positions = _array(UsdGeom.Points(prim).GetPointsAttr(), when, 3)
    if not len(positions):
        return None
    each = numpy.arange(len(positions))
    columns = _columns(_colours(prim, when) if colours else {}, each, numpy.ones(len(each), numpy.int64), len(each))
    rows = {name: values.rows[numbers] for name, (values, numbers) in columns.items()}
    return _shape(positions, numpy.empty((0, 3), numpy.uint32), numpy.empty(0, numpy.int64), rows)


def _body(prim: Any, kind: str, when: Any) -> Shape:
    """A mesh of a cube, sphere, cylinder, cone, capsule or plane."""

    def size(name: str) -> float:
        value = float(prim.GetAttribute(name).Get(when))
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} of {prim.GetName()} is {value}")
        return value

    import trimesh.creation  # takes as long to import as all of USD, and few files need it

    if kind == "Cube":
        made = trimesh.creation.box((size("size"),) * 3)
    elif kind == "Sphere":
        made = trimesh.creation.icosphere(subdivisions=3, radius=size("radius"))
    elif kind == "Plane":
        made = trimesh.Trimesh(_corners(size("width"), size("length")), [[0, 1, 2], [0, 2, 3]], process=False)
    elif kind == "Cone":
        made = trimesh.creation.cone(size("radius"), size("height"), sections=48)
        made.apply_translation((0, 0, -size("height") / 2))
    elif kind.startswith("Cylinder"):
        made = trimesh.creation.cylinder(
            size("radius" if kind == "Cylinder" else "radiusTop"), size("height"), sections=48
        )
    else:
        made = trimesh.creation.capsule(size("height"), size("radius" if kind == "Capsule" else "radiusTop"))
        made.apply_translation((0, 0, -made.bounds.mean(axis=0)[2]))
    axis = prim.GetAttribute("axis")
    turn = numpy.array(_AXES[str(axis.Get(when))] if axis else _AXES["Z"], float)
    triangles = numpy.asarray(made.faces)
    return Shape(positions=made.vertices @ turn.T, triangles=triangles, faces=numpy.arange(len(triangles)))


def _corners(width: float, length: float) -> Any:
    return numpy.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)]) * (width / 2, length / 2, 0)


def _normals(mesh: Any, when: Any) -> Values | None:
    if (values := values_of(mesh.GetPrim(), "normals", when)) is not None and values.rows.shape[1:] == (3,):
        return values
    rows = _array(mesh.GetNormalsAttr(), when, 3)
    return Values(rows=rows, interpolation=str(mesh.GetNormalsInterpolation())) if len(rows) else None


def _uvs(prim: Any, name: str, when: Any) -> Values | None:
    """The texture coordinates of that name, or the first that there are."""
    names = [name, *(primvar.GetPrimvarName() for primvar in UsdGeom.PrimvarsAPI(prim).GetPrimvarsWithAuthoredValues())]
    for candidate in names:
        values = values_of(prim, candidate, when)
        if values is not None and values.rows.shape[1:] == (2,) and values.rows.dtype.kind == "f":
            return values
    return None


def _colours(prim: Any, when: Any) -> dict[str, Values | None]:
    colours = values_of(prim, "displayColor", when)
    if colours is None or colours.rows.shape[1:] != (3,):
        return {}
    return {"colours": colours, "opacities": values_of(prim, "displayOpacity", when)}


def _levels(colours: Any, opacities: Any) -> NDArray[numpy.uint8] | None:
    """8-bit sRGB of linear colours, with opacity."""
    if colours is None:
        return None
    linear = numpy.nan_to_num(numpy.clip(colours.astype(numpy.float64), 0, 1))
    levels = numpy.full((len(linear), 4), 255, numpy.uint8)
    encoded = numpy.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels[:, :3] = numpy.round(encoded * 255)
    if opacities is not None:
        levels[:, 3] = numpy.round(numpy.clip(numpy.nan_to_num(opacities.reshape(len(levels))), 0, 1) * 255)
    return levels


def _unit(normals: Any) -> Any:
    """Normals of length one; None if there are none, or some of them are not numbers."""
    if normals is None or not numpy.isfinite(normals).all():
        return None
    return unit(normals.astype(numpy.float64))


def _array(attribute: Any, when: Any, width: int = 0) -> NDArray[Any]:
    value = attribute.Get(when) if attribute else None
    empty = numpy.empty((0, width) if width else 0, numpy.float32 if width else numpy.int64)
    return empty if value is None or not len(value) else numpy.asarray(value)
