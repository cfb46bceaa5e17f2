"""Mesh formats through trimesh: what is read becomes a scene in metres, what is written is made from one.

Each reader takes a path and gives a Scene, each writer takes a Scene and a path: the format table names
them. They raise ValueError (or whatever the library raises); pixyz_worker.io turns that into a sentence
with the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import trimesh as _trimesh

from pixyz_worker.kernel import colours, gltf
from pixyz_worker.kernel.scene import Scene

trimesh: Any = _trimesh  # typed in parts only

_GREY = (102, 102, 102, 255)
_MILLIMETRES_IN_METRE = 1000.0
_MAX_COLOURS = 256


def decode_glb(glb: bytes) -> Any:
    """A GLB as a trimesh scene with sRGB colours."""
    document = gltf.split(glb)
    tree = colours.convert_materials(document.tree, colours.to_srgb)
    glb = gltf.join(gltf.Document(tree=tree, binary=document.binary))
    scene = trimesh.load_scene(BytesIO(glb), file_type="glb")
    for geometry in scene.geometry.values():
        if isinstance(geometry, trimesh.PointCloud):
            if len(geometry.colors) == len(geometry.vertices):
                geometry.colors = colours.convert_levels(geometry.colors, colours.to_srgb)
        elif geometry.visual.kind == "vertex":
            geometry.visual.vertex_colors = colours.convert_levels(geometry.visual.vertex_colors, colours.to_srgb)
    return scene


def encode_glb(scene: Any) -> bytes:
    """A trimesh scene with sRGB colours as a GLB."""
    return colours.linearise(trimesh.exchange.gltf.export_glb(scene))


def append(scenes: Iterable[Any]) -> Any:
    """One trimesh scene that holds several."""
    return trimesh.scene.scene.append_scenes(list(scenes))


# --- reading


def read_obj(path: Path) -> Scene:
    """Wavefront OBJ with the materials and textures beside it; each object is a part."""
    return _read(path, "obj", split_objects=True, group_material=False)


def read_ply(path: Path) -> Scene:
    """Stanford PLY: one mesh or one cloud of points."""
    with path.open("rb") as file:
        header = file.read(1 << 16).partition(b"end_header")[0]
    announced = sum(int(count) for count in re.findall(rb"^element\s+\S+\s+(\d+)", header, re.MULTILINE))
    if announced > path.stat().st_size:
        raise ValueError(f"it announces {announced} elements, more than it has bytes")
    return _read(path, "ply", single=True)


def read_stl(path: Path) -> Scene:
    """STL, text or binary: one mesh."""
    return _read(path, "stl", single=True)


def read_off(path: Path) -> Scene:
    """OFF: one mesh."""
    return _read(path, "off", single=True)


def read_xyz(path: Path) -> Scene:
    """Lines of coordinates, with or without colours: one cloud of points."""
    return _read(path, "xyz", single=True)


def read_dae(path: Path) -> Scene:
    """COLLADA: its parts at their places, without its tree."""
    if b"<!DOCTYPE" in path.read_bytes()[:4096]:
        raise ValueError("it declares a document type of its own, which no COLLADA file needs")
    return _read(path, "dae")


def read_3mf(path: Path) -> Scene:
    """3MF core: its objects and instances."""
    return _read(path, "3mf")


def _read(path: Path, kind: str, *, single: bool = False, **options: Any) -> Scene:
    resolver = trimesh.resolvers.FilePathResolver(str(path))
    with path.open("rb") as file:
        loaded = trimesh.load_scene(file, file_type=kind, resolver=resolver, **options)
    shapes = {name: shape for name, shape in loaded.geometry.items() if _is_shape(shape)}
    if not shapes:
        raise ValueError("there is no mesh and no point in it")
    for shape in shapes.values():
        _check_shape(shape)
        _spread_face_colours(shape)
    unit = trimesh.units.unit_conversion(loaded.units, "meters") if loaded.units else None
    if single:
        alone = trimesh.Scene()
        alone.add_geometry(next(iter(shapes.values())), node_name=path.stem, geom_name=path.stem)
        loaded = alone
    if unit is not None and unit != 1.0:
        loaded = scaled(loaded, unit)
    loaded.units = "meters"
    return Scene(name=path.stem, unit_m=unit, parsed=loaded)


def _is_shape(geometry: Any) -> bool:
    if isinstance(geometry, trimesh.PointCloud):
        return len(geometry.vertices) > 0
    return isinstance(geometry, trimesh.Trimesh) and len(geometry.faces) > 0


def _check_shape(shape: Any) -> None:
    if not numpy.isfinite(shape.vertices).all():
        raise ValueError("some of its coordinates are not numbers")
    if isinstance(shape, trimesh.Trimesh) and not 0 <= shape.faces.min() <= shape.faces.max() < len(shape.vertices):
        raise ValueError("its triangles refer to vertices that are not there")


def _spread_face_colours(shape: Any) -> None:
    """Turn a colour for each face into one for each vertex, giving every face its own vertices."""
    if not isinstance(shape, trimesh.Trimesh) or shape.visual.kind != "face":
        return
    levels = numpy.repeat(shape.visual.face_colors, 3, axis=0)
    vertices = shape.vertices[shape.faces].reshape(-1, 3)
    shape.visual = trimesh.visual.ColorVisuals()
    shape.vertices, shape.faces = vertices, numpy.arange(len(vertices)).reshape(-1, 3)
    shape.visual.vertex_colors = levels


def scaled(scene: Any, factor: float) -> Any:
    """A copy of a scene with all lengths times a factor; tree and instances stay."""
    result = scene.copy()
    for geometry in result.geometry.values():
        geometry.vertices = geometry.vertices * factor
    for (parent, child), data in list(result.graph.transforms.edge_data.items()):
        matrix = numpy.array(data.get("matrix", numpy.eye(4)), dtype=float)
        matrix[:3, 3] *= factor
        result.graph.update(frame_from=parent, frame_to=child, matrix=matrix)
    return result


# --- writing


def write_obj(scene: Scene, path: Path) -> None:
    """Wavefront OBJ with <stem>.mtl and textures beside it; one object for each instance."""
    flat = _Flat()
    flat.shapes = _triangles(scene, _numbers(scene))
    text = trimesh.exchange.obj.export_obj(
        flat,
        include_normals=all(map(_has_normals, flat.shapes)),
        resolver=trimesh.resolvers.FilePathResolver(str(path)),
        mtl_name=f"{path.stem}.mtl",
        header="Pixyz on Ray",
    )
    path.write_text(text, encoding="utf-8")


def write_ply(scene: Scene, path: Path) -> None:
    """Binary PLY: all instances in one mesh, or in one cloud of points, with their colours."""
    shapes = _placed(scene, _numbers(scene))
    meshes = [shape for shape in shapes if isinstance(shape, trimesh.Trimesh)]
    merged = _merged(meshes) if meshes else _cloud(shapes)
    path.write_bytes(trimesh.exchange.ply.export_ply(merged, vertex_normal=False, include_attributes=False))


def write_stl(scene: Scene, path: Path) -> None:
    """Binary STL: all instances in one mesh."""
    path.write_bytes(trimesh.exchange.stl.export_stl(_merged(_triangles(scene, _numbers(scene)))))


def write_off(scene: Scene, path: Path) -> None:
    """OFF: all instances in one mesh."""
    path.write_text(trimesh.exchange.off.export_off(_merged(_triangles(scene, _numbers(scene)))), encoding="utf-8")


def write_xyz(scene: Scene, path: Path) -> None:
    """Lines of coordinates and colours: all points, or all vertices of all instances."""
    cloud = _cloud(_placed(scene, _numbers(scene)))
    path.write_text(trimesh.exchange.xyz.export_xyz(cloud), encoding="utf-8")


def write_3mf(scene: Scene, path: Path) -> None:
    """3MF in millimetres: parts, names and instances. Numbers without a unit become millimetres."""
    _triangles(scene, 1.0)
    view = scene.view() if scene.unit_m is None else scaled(scene.view(), _MILLIMETRES_IN_METRE)
    path.write_bytes(trimesh.exchange.threemf.export_3MF(view))


def write_dae(scene: Scene, path: Path) -> None:
    """COLLADA in metres: one mesh for each colour of each instance."""
    pieces = [piece for shape in _triangles(scene, 1.0) for piece in _by_colour(shape)]
    path.write_bytes(trimesh.exchange.dae.export_collada(pieces))


def _by_colour(shape: Any) -> list[Any]:
    """A mesh as pieces that have one material each; too many colours become their mean one."""
    normals, levels = _normals(shape), _levels(shape)
    if levels is None:
        levels = numpy.tile(numpy.array(_GREY, dtype=numpy.uint8), (len(shape.vertices), 1))
    found, number = numpy.unique(levels[shape.faces[:, 0]], axis=0, return_inverse=True)
    if len(found) > _MAX_COLOURS:
        found, number = levels.mean(axis=0, keepdims=True), numpy.zeros(len(shape.faces), dtype=int)
    pieces = []
    for index, colour in enumerate(found):
        used, faces = numpy.unique(shape.faces[number == index], return_inverse=True)
        material = trimesh.visual.material.PBRMaterial(baseColorFactor=colour.astype(numpy.uint8))
        piece = trimesh.Trimesh(
            vertices=shape.vertices[used],
            faces=faces.reshape(-1, 3),
            vertex_normals=normals[used],
            visual=trimesh.visual.TextureVisuals(material=material),
            process=False,
        )
        pieces.append(piece)
    return pieces


def _numbers(scene: Scene) -> float:
    """The factor for a format without units, by which the numbers of the scene's own file come back."""
    return 1.0 / (scene.unit_m or 1.0)


class _Flat(_trimesh.Scene):
    """A scene whose instances are at their places already: trimesh would copy them and lose their normals."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[Any] = []

    def dump(self, concatenate: bool = False) -> list[Any]:
        """The instances."""
        return self.shapes


def _placed(scene: Scene, factor: float) -> list[Any]:
    """A copy of each instance at its place, its name in its metadata; lengths times a factor."""
    view, placed = scene.view(), list[Any]()
    scale = numpy.diag((factor, factor, factor, 1.0))
    for node in view.graph.nodes_geometry:
        matrix, geometry = view.graph[node]
        shape = view.geometry[geometry]
        if not _is_shape(shape):
            continue
        is_cloud = isinstance(shape, trimesh.PointCloud)
        shape = shape.copy() if is_cloud else shape.copy(include_cache=True)
        shape.apply_transform(scale @ matrix)
        shape.metadata["name"] = str(node)
        placed.append(shape)
    if not placed:
        raise ValueError("there is no mesh and no point in the scene")
    return placed


def _triangles(scene: Scene, factor: float) -> list[Any]:
    shapes = [shape for shape in _placed(scene, factor) if isinstance(shape, trimesh.Trimesh)]
    if not shapes:
        raise ValueError("the scene has only points, and this format stores triangles")
    return shapes


def _merged(shapes: Sequence[Any]) -> Any:
    """Several meshes as one; it has vertex colours where one of them has a colour."""
    levels = [_levels(shape) for shape in shapes]
    starts = numpy.cumsum([0, *(len(shape.vertices) for shape in shapes[:-1])])
    return trimesh.Trimesh(
        vertices=numpy.vstack([shape.vertices for shape in shapes]),
        faces=numpy.vstack([shape.faces + start for shape, start in zip(shapes, starts, strict=True)]),
        vertex_colors=_stacked(shapes, levels),
        process=False,
    )


def _cloud(shapes: Sequence[Any]) -> Any:
    levels = [_levels(shape) for shape in shapes]
    points = numpy.vstack([shape.vertices for shape in shapes])
    return trimesh.PointCloud(points, colors=_stacked(shapes, levels))


def _stacked(shapes: Sequence[Any], levels: Sequence[Any]) -> Any:
    if all(level is None for level in levels):
        return None
    rows = [
        numpy.tile(numpy.array(_GREY, dtype=numpy.uint8), (len(shape.vertices), 1)) if level is None else level
        for shape, level in zip(shapes, levels, strict=True)
    ]
    return numpy.vstack(rows)


def _levels(shape: Any) -> Any:
    """The 8-bit RGBA of each vertex: its own colour, its texture's, or its material's; None without any."""
    if isinstance(shape, trimesh.PointCloud):
        return shape.colors if len(shape.colors) == len(shape.vertices) else None
    visual = shape.visual
    if visual.kind in ("vertex", "face"):
        return visual.vertex_colors
    if visual.kind != "texture":
        return None
    material = visual.material
    textured = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if textured is not None and visual.uv is not None:
        return visual.to_color().vertex_colors
    return numpy.tile(numpy.asarray(material.main_color, dtype=numpy.uint8), (len(shape.vertices), 1))


def _has_normals(shape: Any) -> bool:
    return isinstance(shape, trimesh.Trimesh) and "vertex_normals" in shape._cache.cache


def _normals(shape: Any) -> Any:
    """The file's normals, or for each vertex the mean of the faces around it, weighted by area."""
    if _has_normals(shape):
        return shape.vertex_normals
    corners = shape.vertices[shape.faces]
    faces = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = numpy.zeros((len(shape.vertices), 3))
    for corner in range(3):
        numpy.add.at(sums, shape.faces[:, corner], faces)
    lengths = numpy.linalg.norm(sums, axis=1, keepdims=True)
    return numpy.divide(sums, lengths, out=numpy.tile([0.0, 0.0, 1.0], (len(sums), 1)), where=lengths > 0)
