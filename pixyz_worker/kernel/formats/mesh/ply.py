"""Stanford PLY: meshes and clouds of points, with normals, texture coordinates and colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.mesh.ply_elements import Element, Header, read_elements, read_header
from pixyz_worker.kernel.formats.shared import header_comments
from pixyz_worker.kernel.formats.shared.corners import unite
from pixyz_worker.kernel.formats.shared.placing import Placed, placed, single
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside
from pixyz_worker.kernel.formats.shared.vertex_colours import of_faces, painted
from pixyz_worker.kernel.material import Material, Texture
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_UVS = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
_COLOURS = ("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b")
_AT_A_TIME = 1 << 18


@dataclass(kw_only=True, eq=False, slots=True)
class _Faces:
    """Triangles, and what their faces and corners have of their own."""

    corners: NDArray[Any]
    """Numbers of the vertices, (m, 3)."""
    uvs: NDArray[numpy.float32] | None = None
    """Texture coordinates of the corners, (3 m, 2)."""
    colours: NDArray[numpy.uint8] | None = None
    """Colours of the triangles, (m, 4)."""
    pictures: NDArray[Any] | None = None
    """Number of the picture of each triangle, (m,)."""


def read(path: Path, options: ReadOptions) -> Scene:
    """PLY as one part: text or binary. Polygons become triangles; pictures are those beside the file."""
    with path.open("rb") as file:
        header = read_header(file)
    elements = read_elements(path, header)
    if "vertex" not in elements:
        raise ValueError("there is no mesh and no point in it")
    vertices = elements["vertex"]
    positions = vertices.columns(("x", "y", "z"))
    if positions is None:
        raise ValueError("its vertices have no coordinates")
    attributes: dict[str, Any] = {
        "normals": _finite(vertices.columns(("nx", "ny", "nz"))),
        "uvs": next((_up(found) for names in _UVS if (found := vertices.columns(names)) is not None), None),
        "colours": _levels(vertices),
    }
    faces = _faces(elements["face"], positions) if elements.get("face") else None
    if faces is None and "tristrips" in elements:
        raise ValueError("its triangles are stored as strips, which are not read here")
    if faces is not None:
        positions, attributes = _shown(path, header, faces, positions, attributes)
    return single(path, "\n".join(header.comments), options, positions, **attributes)


def write(scene: Scene, path: Path) -> None:
    """Binary PLY: all instances in one mesh, or in one cloud of points; the colours of materials at the vertices."""
    instances = painted(placed(scene, 1 / (scene.unit_m or 1.0)))
    kind = _vertex_kind(instances)
    triangles = sum(len(instance.mesh.triangles) for instance in instances)
    vertices = sum(len(instance.mesh.positions) for instance in instances)
    if vertices >= 1 << 31:
        raise ValueError(f"it has {vertices} vertices, and this format counts to {(1 << 31) - 1}")
    with path.open("wb") as file:
        file.write(_header(kind, vertices, triangles, header_comments.comments(scene.unit_m, scene.up)))
        for instance in instances:
            _write_vertices(file, instance, kind)
        start = 0
        for instance in instances:
            _write_triangles(file, instance.triangles(), start)
            start += len(instance.mesh.positions)


# --- reading


def _finite(values: NDArray[Any] | None) -> NDArray[Any] | None:
    return values if values is not None and numpy.isfinite(values).all() else None


def _up(uvs: NDArray[Any]) -> NDArray[numpy.float32] | None:
    """Texture coordinates whose v points up as ours, or ours as such."""
    turned = uvs.astype(numpy.float32)
    turned[:, 1] = 1 - turned[:, 1]
    return turned if numpy.isfinite(turned).all() else None


def _levels(element: Element) -> NDArray[numpy.uint8] | None:
    for names in _COLOURS:
        values = element.columns(names)
        if values is None:
            continue
        levels = numpy.full((len(values), 4), 255, numpy.uint8)
        levels[:, :3] = _to_bytes(values, element.kinds[names[0]])
        opacity = names[0].replace("red", "alpha") if names[0] != "r" else "a"
        if opacity in element.kinds:
            levels[:, 3] = _to_bytes(element.column(opacity), element.kinds[opacity])
        return levels
    return None


def _to_bytes(values: NDArray[Any], kind: numpy.dtype[Any]) -> NDArray[numpy.uint8]:
    """Colours of any type as 8-bit levels: numbers with a point go to 1, others as far as their type."""
    if kind == numpy.uint8:
        return values.astype(numpy.uint8)
    most = 1.0 if kind.kind == "f" else float(numpy.iinfo(kind).max) if kind.itemsize == 2 else 255.0
    known = numpy.nan_to_num(values.astype(numpy.float64), posinf=most, neginf=0.0)
    result: NDArray[numpy.uint8] = numpy.round(known.clip(0, most) * (255 / most)).astype(numpy.uint8)
    return result


def _faces(element: Element, positions: NDArray[Any]) -> _Faces | None:
    """The triangles of the element with the faces; None when it has none."""
    found = element.lists.get("vertex_indices") or element.lists.get("vertex_index")
    if found is None or not len(found.counts):
        return None
    numbers = found.values
    if numbers.dtype.kind == "f":
        if not numpy.isfinite(numbers).all():
            raise ValueError("its triangles refer to vertices that are not there")
        numbers = numbers.astype(numpy.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(positions):
        raise ValueError("its triangles refer to vertices that are not there")
    places, owner = triangulate(positions, numbers, found.counts)
    faces = _Faces(corners=numbers.reshape(-1, 3) if (found.counts == 3).all() else numbers[places])
    wedges = element.lists.get("texcoord")
    if wedges is not None and numpy.array_equal(wedges.counts, 2 * found.counts):
        uvs = _up(wedges.values.reshape(-1, 2))
        faces.uvs = None if uvs is None else uvs[places.reshape(-1)]
    colours = _levels(element)
    faces.colours = None if colours is None else colours[owner]
    if "texnumber" in element.kinds:
        faces.pictures = element.column("texnumber")[owner]
    return faces


def _shown(
    path: Path, header: Header, faces: _Faces, positions: NDArray[Any], attributes: dict[str, Any]
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Positions and arguments of make_mesh(), when faces and corners have colours and pictures of their own."""
    result = {**attributes, "triangles": faces.corners, **_materials(path, header, faces)}
    split = result.pop("split", False)
    if faces.uvs is None and not split:
        return positions, result
    corners = faces.corners.reshape(-1)
    if split:
        first, vertices = numpy.arange(len(corners)), numpy.arange(len(corners), dtype=numpy.uint32)
    else:
        assert faces.uvs is not None
        bits = numpy.ascontiguousarray(faces.uvs).view(numpy.int32)
        first, vertices = unite([corners, bits[:, 0], bits[:, 1]])
    for name in ("normals", "uvs", *(() if split else ("colours",))):
        if result[name] is not None:
            result[name] = result[name][corners[first]]
    if faces.uvs is not None:
        result["uvs"] = faces.uvs[first]
    result["triangles"] = vertices.reshape(-1, 3)
    return positions[corners[first]], result


def _materials(path: Path, header: Header, faces: _Faces) -> dict[str, Any]:
    """The materials of the pictures that the comments name, else those of the colours of faces."""
    names = [comment[len("TextureFile") :].strip() for comment in header.comments if comment.startswith("TextureFile")]
    beside = ImagesBeside(path)
    images = [beside.find(name) for name in names]
    if any(images):
        materials = [
            Material(name=Path(name).stem, base_colour_texture=Texture(image=image) if image else None)
            for name, image in zip(names, images, strict=True)
        ]
        numbers = numpy.zeros(len(faces.corners)) if faces.pictures is None else faces.pictures
        clipped = numpy.clip(numpy.nan_to_num(numbers), 0, len(materials) - 1)
        return {"materials": tuple(materials), "triangle_materials": clipped}
    return of_faces(faces.colours, faces.corners) if faces.colours is not None else {}


# --- writing


def _vertex_kind(instances: list[Placed]) -> numpy.dtype[Any]:
    """What is stored of each vertex."""
    wide = any(instance.is_far() for instance in instances)
    fields = [(name, "<f8" if wide else "<f4") for name in "xyz"]
    if all(instance.mesh.normals is not None for instance in instances):
        fields += [(name, "<f4") for name in ("nx", "ny", "nz")]
    if all(instance.mesh.uvs is not None for instance in instances):
        fields += [(name, "<f4") for name in ("s", "t")]
    if any(instance.mesh.colours is not None for instance in instances):
        fields += [(name, "u1") for name in ("red", "green", "blue", "alpha")]
    return numpy.dtype(fields)


def _header(kind: numpy.dtype[Any], vertices: int, triangles: int, said: list[str]) -> bytes:
    words = {"<f4": "float", "<f8": "double", "|u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in said)]
    lines.append(f"element vertex {vertices}")
    lines += [f"property {words[kind[name].str]} {name}" for name in kind.names or ()]
    if triangles:
        lines += [f"element face {triangles}", "property list uchar int vertex_indices"]
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def _write_vertices(file: Any, instance: Placed, kind: numpy.dtype[Any]) -> None:
    names, mesh = kind.names or (), instance.mesh
    groups: list[tuple[tuple[str, ...], NDArray[Any] | None]] = [(("x", "y", "z"), instance.positions())]
    if "nx" in names:
        groups.append((("nx", "ny", "nz"), instance.normals()))
    if "s" in names and mesh.uvs is not None:
        groups += [(("s",), mesh.uvs[:, :1]), (("t",), 1 - mesh.uvs[:, 1:])]
    if "red" in names and mesh.colours is not None:
        groups.append((("red", "green", "blue", "alpha"), mesh.colours))
    for start in range(0, len(mesh.positions), _AT_A_TIME):
        count = min(_AT_A_TIME, len(mesh.positions) - start)
        records = numpy.empty(count, kind)
        for name in ("red", "green", "blue", "alpha"):
            if name in names:
                records[name] = 255
        for fields, values in groups:
            assert values is not None
            for column, name in enumerate(fields):
                records[name] = values[start : start + count, column]
        records.tofile(file)


def _write_triangles(file: Any, triangles: NDArray[numpy.uint32], first: int) -> None:
    kind = numpy.dtype([("count", "u1"), ("corners", "<i4", 3)])
    for start in range(0, len(triangles), _AT_A_TIME):
        block = triangles[start : start + _AT_A_TIME]
        records = numpy.empty(len(block), kind)
        records["count"] = 3
        records["corners"] = block.astype(numpy.int64) + first
        records.tofile(file)
