"""Colours between glTF, which stores linear light, and all other formats, which store sRGB.

A scene's GLB holds linear colours, as glTF demands; its trimesh form holds sRGB, as OBJ, PLY and their kind
do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pixyz_worker.kernel import gltf


def to_linear(value: float) -> float:
    """Linear light of an sRGB value, both from 0 to 1."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def to_srgb(value: float) -> float:
    """The sRGB value of linear light, both from 0 to 1."""
    return value * 12.92 if value <= 0.0031308 else float(1.055 * value ** (1 / 2.4) - 0.055)


def convert_materials(tree: dict[str, Any], convert: Callable[[float], float]) -> dict[str, Any]:
    """A glTF tree whose materials' base colours went through a conversion; opacity is left alone."""
    materials = []
    for material in tree.get("materials", []):
        metal = material.get("pbrMetallicRoughness", {})
        if "baseColorFactor" in metal:
            factor = [min(max(float(part), 0.0), 1.0) for part in metal["baseColorFactor"]]
            factor[:3] = [round(convert(part), 6) for part in factor[:3]]
            material = {**material, "pbrMetallicRoughness": {**metal, "baseColorFactor": factor}}
        materials.append(material)
    return {**tree, "materials": materials} if materials else tree


def convert_levels(colours: Any, convert: Callable[[float], float]) -> Any:
    """A copy of an array of 8-bit RGB or RGBA rows whose RGB went through a conversion."""
    import numpy

    levels = numpy.array([round(convert(level / 255.0) * 255.0) for level in range(256)], dtype=numpy.uint8)
    converted = numpy.array(colours, dtype=numpy.uint8)
    converted[:, :3] = levels[converted[:, :3]]
    return converted


def linearise(glb: bytes) -> bytes:
    """Turn the colours of a GLB that trimesh wrote from sRGB values into linear ones."""
    document = gltf.split(glb)
    tree, binary = convert_materials(document.tree, to_linear), bytearray(document.binary)
    coloured = {
        primitive["attributes"]["COLOR_0"]
        for mesh in tree.get("meshes", [])
        for primitive in mesh["primitives"]
        if "COLOR_0" in primitive["attributes"]
    }
    if coloured:
        import numpy

        for index in coloured:
            accessor = tree["accessors"][index]
            start = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0) + accessor.get("byteOffset", 0)
            rows = numpy.frombuffer(binary, numpy.uint8, accessor["count"] * 4, start).reshape(-1, 4)
            rows[:] = convert_levels(rows, to_linear)
    return gltf.join(gltf.Document(tree=tree, binary=bytes(binary)))
