"""The rows of a `.pxz` as a scene again; every number, length and kind is checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, get_args

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.pxz.record import Record
from pixyz_worker.kernel.formats.pxz.rows import Row
from pixyz_worker.kernel.formats.pxz.tree import ARRAYS
from pixyz_worker.kernel.material import AlphaMode, Image, Material, Texture, Wrap
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Axis, Brep, Channel, Occurrence, Part, Scene

MAX_TREE_BYTES = 1 << 30
"""Size of the JSON text; Python needs some ten times as much to read it."""
_WIDTHS = {"positions": 3, "normals": 3, "uvs": 2, "colours": 4}
_MATERIAL_TEXTURES = tuple(field.name for field in fields(Material) if field.name.endswith("_texture"))
_INTERPOLATIONS = ("LINEAR", "STEP", "CUBICSPLINE")


def scene_of(rows: Iterable[Row]) -> Scene:
    """The scene of rows; its arrays are views of theirs. ValueError says what is wrong with them."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    if len(kinds.get("scene", ())) != 1:
        raise ValueError("it has no scene, or several")
    tree = _tree(kinds["scene"][0])
    unit_m, up = tree.length("unit_m"), _axis(tree)
    if glbs := kinds.get("glb"):
        glb = bytes(_data(glbs[0]))
        gltf.check(gltf.split(glb))
        return Scene(name=tree.text("name"), glb=glb, unit_m=unit_m, up=up)
    return _Restorer(tree, kinds).scene(unit_m, up)


def _tree(row: Row) -> Record:
    text = _data(row)
    if len(text) > MAX_TREE_BYTES:
        raise ValueError(f"its tree takes {len(text)} bytes, more than the {MAX_TREE_BYTES} that are allowed")
    try:
        tree = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise ValueError("its tree is not JSON, or nested too deeply") from error
    return Record(tree, "scene")


def _axis(tree: Record) -> Axis | None:
    return None if tree.is_null("up") else tree.choice("up", get_args(Axis), "y")


def _data(row: Row) -> bytes | memoryview:
    if row.data is None:
        raise ValueError(f"its {row.kind} has no data")
    return row.data


class _Restorer:
    """Makes one scene of a tree and the rows that it refers to."""

    def __init__(self, tree: Record, kinds: dict[str, list[Row]]) -> None:
        self._tree = tree
        self._matrices = _matrices(kinds.get("matrices", []))
        self._keys = kinds.get("keys", [])
        images = _paired(tree.records("images"), kinds.get("image", []))
        self._images = [
            Image(name=image.text("name"), data=bytes(_data(row)), mime=image.text("mime", "image/png"))
            for image, row in images
        ]
        self._materials = [self._material(material) for material in tree.records("materials")]
        self._meshes = [self._mesh(mesh, row) for mesh, row in _paired(tree.records("meshes"), kinds.get("mesh", []))]
        self._breps = [_brep(row) for row in kinds.get("brep", [])]
        self._parts = [self._part(part) for part in tree.records("parts")]

    def scene(self, unit_m: float | None, up: Axis | None) -> Scene:
        """The scene."""
        occurrences = self._occurrences()
        return Scene(
            name=self._tree.text("name"),
            root=occurrences[0],
            unit_m=unit_m,
            up=up,
            animations=[self._animation(animation, occurrences) for animation in self._tree.records("animations")],
            variants=self._tree.texts("variants"),
        )

    def _occurrences(self) -> list[Occurrence]:
        made: list[Occurrence] = []
        for record in self._tree.records("occurrences"):
            # A parent stands before its children: whatever the numbers are, this is a tree.
            parent, occurrence = record.index("parent", len(made)), self._occurrence(record)
            if (parent is None) != (not made):
                raise ValueError("its occurrences are not one tree")
            if parent is not None:
                made[parent].add(occurrence)
            made.append(occurrence)
        if not made:
            raise ValueError("its tree has no root")
        return made

    def _occurrence(self, record: Record) -> Occurrence:
        matrix, part = record.index("matrix", len(self._matrices)), record.index("part", len(self._parts))
        return Occurrence(
            name=record.text("name"),
            matrix=None if matrix is None else self._matrices[matrix],
            part=None if part is None else self._parts[part],
            visible=record.flag("visible", True),
            metadata=record.properties("metadata"),
            annotations=tuple(
                AnnotationGroup(name=group.text("name"), annotations=group.texts("annotations"))
                for group in record.records("annotations")
            ),
        )

    def _part(self, record: Record) -> Part:
        mesh, brep = record.index("mesh", len(self._meshes)), record.index("brep", len(self._breps))
        return Part(
            name=record.text("name"),
            mesh=None if mesh is None else self._meshes[mesh],
            brep=None if brep is None else self._breps[brep],
            metadata=record.properties("metadata"),
        )

    def _mesh(self, record: Record, row: Row) -> Mesh:
        materials = self._chosen(record.indices("materials", len(self._materials)))
        variants = tuple(self._variant(variant) for variant in record.records("variants"))
        if not materials or (variants and len(variants) != len(materials)):
            raise ValueError("a mesh has no materials, or not as many as its variants")
        return Mesh(materials=materials, variants=variants, **_arrays(row, len(materials)))

    def _variant(self, record: Record) -> dict[str, Material | None]:
        numbers = [record.index(name, len(self._materials)) for name in record.names]
        return dict(zip(record.names, self._chosen(numbers), strict=True))

    def _chosen(self, numbers: list[int | None]) -> tuple[Material | None, ...]:
        return tuple(None if number is None else self._materials[number] for number in numbers)

    def _material(self, record: Record) -> Material:
        default = Material()
        textures = {name: self._texture(found) for name in _MATERIAL_TEXTURES if (found := record.record(name))}
        red, green, blue, opacity = record.numbers("base_colour", default.base_colour)
        light = record.numbers("emission", default.emission)
        return Material(
            name=record.text("name"),
            base_colour=(red, green, blue, opacity),
            metalness=record.number("metalness", default.metalness),
            roughness=record.number("roughness", default.roughness),
            emission=(light[0], light[1], light[2]),
            alpha_mode=record.choice("alpha_mode", get_args(AlphaMode), default.alpha_mode),
            alpha_cutoff=record.number("alpha_cutoff", default.alpha_cutoff),
            double_sided=record.flag("double_sided", default.double_sided),
            extensions=record.plain("extensions"),
            **textures,
        )

    def _texture(self, record: Record) -> Texture:
        image = record.index("image", len(self._images))
        wrap = record.texts("wrap") or ("repeat", "repeat")
        if image is None or len(wrap) != 2 or not set(wrap) <= set(get_args(Wrap)):
            raise ValueError("a texture has no image, or an edge that makes no sense")
        offset, scale = record.numbers("offset", (0.0, 0.0)), record.numbers("scale", (1.0, 1.0))
        return Texture(
            image=self._images[image],
            wrap=(wrap[0], wrap[1]),  # type: ignore[arg-type]
            offset=(offset[0], offset[1]),
            scale=(scale[0], scale[1]),
            rotation=record.number("rotation", 0.0),
        )

    def _animation(self, record: Record, occurrences: list[Occurrence]) -> Animation:
        channels = [self._channel(channel, occurrences) for channel in record.records("channels")]
        return Animation(name=record.text("name"), channels=channels)

    def _channel(self, record: Record, occurrences: list[Occurrence]) -> Channel:
        target, keys = record.index("target", len(occurrences)), record.index("keys", len(self._keys))
        if target is None or keys is None:
            raise ValueError("an animation moves nothing, or has no keys")
        lists, shape = self._keys[keys].lists, record.counts("shape")
        times, values = lists.get("times"), lists.get("values")
        if times is None or values is None or not shape or not _fits(values, shape):
            raise ValueError("an animation has not as many values as it says")
        interpolation = record.choice("interpolation", _INTERPOLATIONS, "LINEAR")
        if shape[0] != len(times) * (3 if interpolation == "CUBICSPLINE" else 1):
            raise ValueError("an animation has not as many values as times")
        return Channel(
            target=occurrences[target],
            path=record.text("path"),
            times=times,
            values=values.reshape(shape),
            interpolation=interpolation,
        )


def _fits(values: NDArray[Any], shape: tuple[int, ...]) -> bool:
    size = 1
    for count in shape:
        size *= count
    return len(shape) <= 3 and size == len(values)


def _paired(found: Iterator[Record], rows: list[Row]) -> list[tuple[Record, Row]]:
    records = list(found)
    if len(records) != len(rows):
        raise ValueError(f"its tree speaks of {len(records)} of a kind of which {len(rows)} are there")
    return list(zip(records, rows, strict=True))


def _matrices(rows: list[Row]) -> NDArray[numpy.float64]:
    found = rows[0].lists.get("matrices") if rows else numpy.empty(0)
    if found is None or len(found) % 16 or not numpy.isfinite(found).all():
        raise ValueError("some of its matrices are not of 16 finite numbers")
    return found.reshape(-1, 4, 4)


def _brep(row: Row) -> Brep:
    try:
        return OccBrep.from_bytes(_data(row))
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("its exact surfaces are damaged") from error


def _arrays(row: Row, material_count: int) -> dict[str, Any]:
    """The arrays of a mesh in their shapes: all vertices there, all numbers within."""
    found: dict[str, Any] = {name: row.lists.get(name) for name in ARRAYS}
    positions, triangles, numbers = found["positions"], found["triangles"], found["triangle_materials"]
    if positions is None or triangles is None or len(positions) % 3 or len(triangles) % 3:
        raise ValueError("a mesh has no vertices, or not three corners to each triangle")
    count = len(positions) // 3
    # Two numbers tell it without an array of its own: what is not a number stays so in a minimum.
    if count and not (numpy.isfinite(positions.min()) and numpy.isfinite(positions.max())):
        raise ValueError("some of its coordinates are not numbers")
    if len(triangles) and triangles.max() >= count:
        raise ValueError("its triangles refer to vertices that are not there")
    if numbers is not None and (
        len(numbers) != len(triangles) // 3 or (len(numbers) and numbers.max() >= material_count)
    ):
        raise ValueError("its triangles refer to materials that are not there")
    found["triangles"] = triangles.reshape(-1, 3)
    for name, width in _WIDTHS.items():
        array = found[name]
        if array is not None and len(array) != count * width:
            raise ValueError(f"a mesh has not as many {name} as vertices")
        found[name] = None if array is None else array.reshape(count, width)
    return found
