"""Materials and images that are equal become one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import fields, replace

import numpy

from pixyz_worker.kernel.algorithms import selection
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence

_TEXTURES = (
    "base_colour_texture",
    "metal_rough_texture",
    "normal_texture",
    "occlusion_texture",
    "emission_texture",
)


def merge_materials(occurrences: Sequence[Occurrence]) -> int:
    """Make one of the materials that look the same, whatever their names; return how many are gone.

    The first one stays. Images count as the same when their bytes are.
    """
    meshes = _meshes(occurrences)
    first: dict[Hashable, Material] = {}
    instead: dict[Material | None, Material | None] = {None: None}
    for material in _materials(meshes):
        instead[material] = first.setdefault(_look(material), material)
    gone = len(instead) - 1 - len(first)
    if gone:
        for mesh in meshes:
            _exchange(mesh, instead)
        selection.mark_changed(occurrences)
    return gone


def merge_images(occurrences: Sequence[Occurrence]) -> int:
    """Make one of the images that have the same bytes; return how many are gone."""
    first: dict[tuple[str, bytes], Image] = {}
    seen: dict[Image, None] = {}
    for material in _materials(_meshes(occurrences)):
        for slot in _TEXTURES:
            texture: Texture | None = getattr(material, slot)
            if texture is None:
                continue
            seen[texture.image] = None
            image = first.setdefault((texture.image.mime, texture.image.data), texture.image)
            if image is not texture.image:
                setattr(material, slot, replace(texture, image=image))
    gone = len(seen) - len(first)
    if gone:
        selection.mark_changed(occurrences)
    return gone


def _meshes(occurrences: Sequence[Occurrence]) -> list[Mesh]:
    return [part.mesh for part in selection.parts(occurrences) if part.mesh is not None]


def _materials(meshes: Iterable[Mesh]) -> list[Material]:
    """The materials that the meshes use, those of variants too, each once."""
    found: dict[Material | None, None] = {}
    for mesh in meshes:
        found.update(dict.fromkeys(mesh.materials))
        for variants in mesh.variants:
            found.update(dict.fromkeys(variants.values()))
    return [material for material in found if material is not None]


def _look(material: Material) -> Hashable:
    """All that can be seen of a material, to be compared."""
    seen: list[Hashable] = []
    for field in fields(material):
        value = getattr(material, field.name)
        if isinstance(value, Texture):
            seen.append((value.image.mime, value.image.data, value.wrap, value.offset, value.scale, value.rotation))
        elif field.name != "name":
            seen.append(_frozen(value))
    return tuple(seen)


def _frozen(value: object) -> Hashable:
    """A value of JSON as one that can be compared in a dictionary."""
    if isinstance(value, dict):
        return tuple(sorted((str(key), _frozen(each)) for key, each in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(each) for each in value)
    return value if isinstance(value, Hashable) else repr(value)


def _exchange(mesh: Mesh, instead: dict[Material | None, Material | None]) -> None:
    """Give a mesh other materials; triangles whose materials become the same one have the same number then."""
    materials = [instead[material] for material in mesh.materials]
    variants = [{name: instead[other] for name, other in each.items()} for each in mesh.variants]
    looks: dict[Hashable, int] = {}
    numbers: list[int] = []
    kept: list[int] = []
    for place, material in enumerate(materials):
        # Materials that a variant replaces by different ones stay apart.
        key = (material, tuple(variants[place].items()) if variants else ())
        if key not in looks:
            looks[key] = len(kept)
            kept.append(place)
        numbers.append(looks[key])
    mesh.materials = tuple(materials[place] for place in kept)
    mesh.variants = tuple(variants[place] for place in kept) if variants else ()
    if mesh.triangle_materials is not None:
        renumbered = numpy.array(numbers, numpy.uint16)[mesh.triangle_materials]
        mesh.triangle_materials = renumbered if len(kept) > 1 else None
