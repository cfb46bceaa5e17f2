"""The geometry nodes of X3D as meshes: sets of faces, triangles and points, and simple solids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
import trimesh
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import xml_tree
from pixyz_worker.kernel.formats.shared.corners import unite
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.formats.shared.strips import fans_to_triangles, strips_to_triangles
from pixyz_worker.kernel.mesh import Mesh, make_mesh

_SECTIONS = 32
_LOST = "its triangles refer to vertices that are not there"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Source:
    """A geometry node, and how to come at its children."""

    geometry: Any
    """The element."""
    child: Callable[..., Any]
    """Gives its first child of some kinds, as it is defined; None when there is none."""
    unit_m: float
    """Metres in a unit of the file."""

    def flag(self, name: str, default: str = "true") -> bool:
        """An attribute that is true or false."""
        return (self.geometry.get(name) or default).strip().lower() == "true"

    def numbers(self, name: str) -> NDArray[numpy.int64]:
        """An attribute with whole numbers, (n,)."""
        return xml_tree.numbers(self.geometry.get(name), 1, numpy.int64)[:, 0]

    def points(self) -> NDArray[numpy.float64]:
        """The coordinates of the node in metres, (n, 3); ValueError when it has none."""
        node = self.child("Coordinate", "CoordinateDouble")
        points = xml_tree.numbers(None if node is None else node.get("point"), 3) * self.unit_m
        if not len(points):
            raise ValueError("one of its shapes has no coordinates")
        return points

    def lengths(self, **defaults: float) -> list[float]:
        """Attributes that are one length each, in metres; ValueError unless they are more than zero."""
        found = []
        for name, default in defaults.items():
            text = self.geometry.get(name)
            value = default if text is None else float(xml_tree.numbers(text, 1)[0, 0])
            if not 0 < value < 1e12:
                raise ValueError(f"the {name} of one of its shapes makes no sense")
            found.append(value * self.unit_m)
        return found


@dataclass(kw_only=True, slots=True, eq=False)
class _Rows:
    """Attributes of corners as the file has them, beside the coordinates."""

    normals: NDArray[Any] | None
    uvs: NDArray[Any] | None
    colours: NDArray[numpy.uint8] | None


def _rows(source: Source) -> _Rows:
    """The normals, texture coordinates and colours of a node."""
    normal, texture = source.child("Normal"), source.child("TextureCoordinate")
    colour = source.child("Color", "ColorRGBA")
    uvs = None
    if texture is not None and len(values := xml_tree.numbers(texture.get("point"), 2)):
        uvs = numpy.stack([values[:, 0], 1 - values[:, 1]], axis=1)
    colours = None
    if colour is not None:
        width = 4 if xml_tree.name_of(colour) == "ColorRGBA" else 3
        values = numpy.nan_to_num(xml_tree.numbers(colour.get("color"), width))
        colours = numpy.full((len(values), 4), 255, numpy.uint8)
        colours[:, :width] = numpy.round(values.clip(0, 1) * 255)
    normals = None if normal is None else xml_tree.numbers(normal.get("vector"), 3)
    return _Rows(normals=normals, uvs=uvs, colours=colours if colours is not None and len(colours) else None)


def _faces(source: Source) -> Mesh:
    """IndexedFaceSet: polygons whose corners number coordinates, normals, colours and texture coordinates apart."""
    points, rows = source.points(), _rows(source)
    numbers = source.numbers("coordIndex")
    ends = numbers == -1
    face = numpy.cumsum(ends)[~ends]
    corners = numbers[~ends]
    if not len(corners):
        raise ValueError("one of its shapes has no faces")
    if not 0 <= corners.min() <= corners.max() < len(points):
        raise ValueError(_LOST)
    faces, counts = numpy.unique(face, return_counts=True)
    places, owner = triangulate(points, corners, counts)
    flat, of_face = places.reshape(-1), faces[numpy.repeat(owner, 3)]
    columns, kept = [corners[flat]], dict[str, NDArray[Any]]()
    for name, key, per_vertex in (
        ("normals", "normalIndex", source.flag("normalPerVertex")),
        ("colours", "colorIndex", source.flag("colorPerVertex")),
        ("uvs", "texCoordIndex", True),
    ):
        values = getattr(rows, name)
        if values is None:
            continue
        index = source.numbers(key)
        if per_vertex:
            own = index[index != -1] if len(index) else corners
            place = own[flat] if len(own) == len(corners) else None
        else:
            place = index[of_face] if len(index) > faces[-1] else of_face if not len(index) else None
        if place is None or not 0 <= place.min() <= place.max() < len(values):
            raise ValueError(f"the {key} of one of its shapes leads nowhere")
        columns.append(place)
        kept[name] = place
    return _united(points, columns, {name: getattr(rows, name)[place] for name, place in kept.items()}, source)


def _united(points: NDArray[Any], columns: list[NDArray[Any]], corners: dict[str, Any], source: Source) -> Mesh:
    """A mesh of triangles whose corners have values of their own."""
    first, vertices = unite(columns)
    triangles = _fronts(vertices.reshape(-1, 3), source)
    attributes: dict[str, Any] = {name: rows[first] for name, rows in corners.items()}
    return make_mesh(points[columns[0][first]], triangles, **attributes)


def _fronts(triangles: NDArray[Any], source: Source) -> NDArray[Any]:
    return triangles if source.flag("ccw") else triangles[:, ::-1]


def _triangles(numbers: Callable[[Source, int], NDArray[numpy.int64]]) -> Callable[[Source], Mesh]:
    """A maker of meshes whose corners number everything alike, given what makes the triangles of a node."""

    def make(source: Source) -> Mesh:
        points, rows = source.points(), _rows(source)
        triangles = numbers(source, len(points))
        if not len(triangles):
            raise ValueError("one of its shapes has no triangles")
        return make_mesh(points, _fronts(triangles, source), normals=rows.normals, uvs=rows.uvs, colours=rows.colours)

    return make


def _by_threes(values: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
    return values[: len(values) // 3 * 3].reshape(-1, 3)


def _parted(source: Source) -> list[NDArray[numpy.int64]]:
    """The lists in the attribute index, which are parted by -1."""
    values = source.numbers("index")
    return [part[part != -1] for part in numpy.split(values, numpy.flatnonzero(values == -1))]


def _counted(source: Source, name: str, count: int) -> list[NDArray[numpy.int64]]:
    """Vertices one after the other, in lists as long as an attribute says."""
    sizes = source.numbers(name)
    if (sizes < 0).any() or sizes.sum() > count:
        raise ValueError(_LOST)
    return numpy.split(numpy.arange(int(sizes.sum())), numpy.cumsum(sizes)[:-1])


def _points(source: Source) -> Mesh:
    return make_mesh(source.points(), colours=_rows(source).colours)


def _solid(made: Any, *, upright: bool = False) -> Mesh:
    """A mesh of one that stands on the z axis, or of one that has no axis, with normals of its faces."""
    corners = made.vertices[made.faces].reshape(-1, 3)
    normals = numpy.repeat(made.face_normals, 3, axis=0)
    if upright:
        corners, normals = corners[:, [0, 2, 1]] * (1, 1, -1), normals[:, [0, 2, 1]] * (1, 1, -1)
    return make_mesh(corners, numpy.arange(len(corners)).reshape(-1, 3), normals=normals)


def _box(source: Source) -> Mesh:
    size = xml_tree.numbers(source.geometry.get("size", "2 2 2"), 3)
    if len(size) != 1 or not ((size > 0) & (size < 1e12)).all():
        raise ValueError("the size of one of its boxes makes no sense")
    return _solid(trimesh.creation.box(size[0] * source.unit_m))


def _sphere(source: Source) -> Mesh:
    (radius,) = source.lengths(radius=1.0)
    made = trimesh.creation.uv_sphere(radius=radius, count=(_SECTIONS // 2, _SECTIONS))
    return make_mesh(made.vertices, made.faces, normals=made.vertices / radius)


def _cylinder(source: Source) -> Mesh:
    radius, height = source.lengths(radius=1.0, height=2.0)
    return _solid(trimesh.creation.cylinder(radius=radius, height=height, sections=_SECTIONS), upright=True)


def _cone(source: Source) -> Mesh:
    radius, height = source.lengths(bottomRadius=1.0, height=2.0)
    made = trimesh.creation.cone(radius=radius, height=height, sections=_SECTIONS)
    made.apply_translation((0, 0, -height / 2))
    return _solid(made, upright=True)


KINDS: dict[str, Callable[[Source], Mesh]] = {
    "IndexedFaceSet": _faces,
    "IndexedTriangleSet": _triangles(lambda source, _: _by_threes(source.numbers("index"))),
    "IndexedTriangleStripSet": _triangles(lambda source, _: strips_to_triangles(_parted(source))),
    "IndexedTriangleFanSet": _triangles(lambda source, _: fans_to_triangles(_parted(source))),
    "TriangleSet": _triangles(lambda _, count: _by_threes(numpy.arange(count))),
    "TriangleStripSet": _triangles(lambda s, count: strips_to_triangles(_counted(s, "stripCount", count))),
    "TriangleFanSet": _triangles(lambda s, count: fans_to_triangles(_counted(s, "fanCount", count))),
    "PointSet": _points,
    "Box": _box,
    "Sphere": _sphere,
    "Cylinder": _cylinder,
    "Cone": _cone,
}
"""What makes a mesh of each kind of geometry."""
