"""A scene as the rows of a `.pxz`: arrays and bytes as they are, all else as one JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Generic, TypeVar

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.pxz.rows import Row
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Animation, Brep, Channel, Occurrence, Part, Scene

_T = TypeVar("_T")
ARRAYS = ("positions", "triangles", "normals", "uvs", "colours", "triangle_materials")
"""The arrays of a mesh, each a column."""


def rows_of(scene: Scene) -> list[Row]:
    """All rows of a scene, the tree first; of one that is an untouched GLB, that GLB and no tree.

    The arrays in them are those of the scene, not copies.
    """
    head = {"name": scene.name, "unit_m": scene.unit_m, "up": scene.up}
    if scene.source is not None:
        return [_scene_row(head), Row(kind="glb", name=scene.name, data=scene.source)]
    writer = _Writer()
    tree = {**head, **writer.describe(scene)}
    return [_scene_row(tree), *writer.rows()]


def _scene_row(tree: dict[str, Any]) -> Row:
    try:
        text = json.dumps(tree, separators=(",", ":"), default=_plain)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"its tree cannot be stored as JSON: {error}") from error
    return Row(kind="scene", name=str(tree["name"]), data=text.encode())


def _plain(value: Any) -> Any:
    """What a numpy number is in Python."""
    if isinstance(value, numpy.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a value of metadata")


class _Places(Generic[_T]):
    """Things that are referred to by number, each once, in the order in which they are met."""

    def __init__(self) -> None:
        self.items: list[_T] = []
        self._places: dict[int, int] = {}

    def place(self, item: _T) -> int:
        """The number of a thing, which is noted when it is new."""
        found = self._places.get(id(item))
        if found is None:
            found = self._places[id(item)] = len(self.items)
            self.items.append(item)
        return found


class _Writer:
    """Describes one scene, and collects what its tree refers to by number."""

    def __init__(self) -> None:
        self._parts: _Places[Part] = _Places()
        self._meshes: _Places[Mesh] = _Places()
        self._breps: _Places[Brep] = _Places()
        self._materials: _Places[Material] = _Places()
        self._images: _Places[Image] = _Places()
        self._keys: list[Channel] = []
        self._matrices: list[NDArray[Any]] = []

    def describe(self, scene: Scene) -> dict[str, Any]:
        """The scene as JSON."""
        places = {id(occurrence): number for number, occurrence in enumerate(scene.root.walk())}
        tree: dict[str, Any] = {
            "occurrences": [self._occurrence(occurrence, places) for occurrence in scene.root.walk()],
            "animations": [self._animation(animation, places) for animation in scene.animations],
            "variants": list(scene.variants),
        }
        # In this order: parts lead to meshes, meshes to materials, materials to images.
        tree["parts"] = [self._part(part) for part in self._parts.items]
        tree["meshes"] = [self._mesh(mesh) for mesh in self._meshes.items]
        tree["materials"] = [self._material(material) for material in self._materials.items]
        tree["images"] = [{"name": image.name, "mime": image.mime} for image in self._images.items]
        return tree

    def rows(self) -> Iterable[Row]:
        """What the scene that was described refers to."""
        if self._matrices:
            yield Row(kind="matrices", lists={"matrices": numpy.array(self._matrices, numpy.float64)})
        names = {id(part.mesh): part.name for part in reversed(self._parts.items)}
        for mesh in self._meshes.items:
            arrays = {name: array for name in ARRAYS if (array := getattr(mesh, name)) is not None}
            yield Row(kind="mesh", name=names.get(id(mesh), ""), lists=arrays)
        for brep in self._breps.items:
            yield Row(kind="brep", data=brep.to_bytes())
        for image in self._images.items:
            yield Row(kind="image", name=image.name, data=image.data)
        for channel in self._keys:
            yield Row(kind="keys", name=channel.path, lists={"times": channel.times, "values": channel.values})

    def _occurrence(self, occurrence: Occurrence, places: dict[int, int]) -> dict[str, Any]:
        found: dict[str, Any] = {"name": occurrence.name}
        if occurrence.parent is not None and id(occurrence.parent) in places:
            found["parent"] = places[id(occurrence.parent)]
        if occurrence.matrix is not None:
            found["matrix"] = len(self._matrices)
            self._matrices.append(numpy.asarray(occurrence.matrix, numpy.float64).reshape(16))
        if occurrence.part is not None:
            found["part"] = self._parts.place(occurrence.part)
        if not occurrence.visible:
            found["visible"] = False
        if occurrence.metadata:
            found["metadata"] = occurrence.metadata
        if occurrence.annotations:
            groups = occurrence.annotations
            found["annotations"] = [{"name": group.name, "annotations": list(group.annotations)} for group in groups]
        return found

    def _part(self, part: Part) -> dict[str, Any]:
        found: dict[str, Any] = {"name": part.name}
        if part.mesh is not None:
            found["mesh"] = self._meshes.place(part.mesh)
        if part.brep is not None:
            found["brep"] = self._breps.place(part.brep)
        if part.metadata:
            found["metadata"] = part.metadata
        return found

    def _mesh(self, mesh: Mesh) -> dict[str, Any]:
        found: dict[str, Any] = {"materials": [self._reference(material) for material in mesh.materials]}
        if mesh.variants:
            found["variants"] = [
                {name: self._reference(material) for name, material in variant.items()} for variant in mesh.variants
            ]
        return found

    def _reference(self, material: Material | None) -> int | None:
        return None if material is None else self._materials.place(material)

    def _material(self, material: Material) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in fields(material):
            value = getattr(material, field.name)
            if isinstance(value, Texture):
                found[field.name] = self._texture(value)
            elif value is not None:
                found[field.name] = list(value) if isinstance(value, tuple) else value
        return found

    def _texture(self, texture: Texture) -> dict[str, Any]:
        found = {field.name: getattr(texture, field.name) for field in fields(texture)}
        return {**found, "image": self._images.place(texture.image)}

    def _animation(self, animation: Animation, places: dict[int, int]) -> dict[str, Any]:
        channels = []
        for channel in animation.channels:
            target = places.get(id(channel.target))
            if target is None:  # what it moved was taken out of the tree
                continue
            channels.append(
                {
                    "target": target,
                    "path": channel.path,
                    "keys": len(self._keys),
                    "shape": list(numpy.shape(channel.values)),
                    "interpolation": channel.interpolation,
                }
            )
            self._keys.append(channel)
        return {"name": animation.name, "channels": channels}
