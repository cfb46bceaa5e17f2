"""Colours of materials and textures at the vertices, for formats that know no materials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy
import PIL.Image
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared.placing import Placed
from pixyz_worker.kernel.material import Material, Texture, Wrap, from_srgb
from pixyz_worker.kernel.mesh import Mesh, merged

_MOST_MATERIALS = 256


def painted(instances: Iterable[Placed]) -> list[Placed]:
    """The instances with coloured() meshes; those that share a mesh share its colours too."""
    known = dict[Mesh, Mesh]()
    result = []
    for instance in instances:
        if instance.mesh not in known:
            known[instance.mesh] = coloured(instance.mesh)
        result.append(replace(instance, mesh=known[instance.mesh]))
    return result


def coloured(mesh: Mesh) -> Mesh:
    """A mesh that shows its materials by the colours of its vertices; itself when there is nothing to show.

    Colours that its vertices have already stay. Vertices at which materials of different colours meet are doubled.
    """
    if mesh.colours is not None or not any(_shows(material) for material in mesh.materials):
        return mesh
    if mesh.triangle_materials is None:
        return replace(mesh, colours=levels(mesh.materials[0], mesh))
    pieces = [replace(piece, colours=levels(material, piece)) for material, piece in mesh.pieces()]
    return merged(pieces)


def levels(material: Material | None, mesh: Mesh) -> NDArray[numpy.uint8]:
    """The 8-bit sRGB colours and opacities of a mesh's vertices by one material, (n, 4); white without one."""
    count = len(mesh.positions)
    if material is None:
        return numpy.full((count, 4), 255, numpy.uint8)
    if material.base_colour_texture is None or mesh.uvs is None:
        return numpy.tile(numpy.array(material.srgb, numpy.uint8), (count, 1))
    texels = _sample(material.base_colour_texture, mesh.uvs)
    if material.base_colour != (1.0, 1.0, 1.0, 1.0):
        light = _to_linear(texels[:, :3] / 255.0) * numpy.array(material.base_colour[:3])
        opacity = texels[:, 3:] * material.base_colour[3]
        texels = numpy.round(numpy.hstack([_to_srgb(light) * 255.0, opacity])).clip(0, 255)
    result: NDArray[numpy.uint8] = texels.astype(numpy.uint8)
    if material.alpha_mode == "opaque":
        result[:, 3] = 255
    return result


def of_faces(faces: NDArray[numpy.uint8], triangles: NDArray[Any]) -> dict[str, Any]:
    """What make_mesh() needs for colours of faces, (m, 4): materials, or colours of vertices when these are too many.

    In the second case the entry "split" says that each triangle needs vertices of its own.
    """
    packed = numpy.ascontiguousarray(faces).view(numpy.uint32).reshape(-1)
    found, numbers = numpy.unique(packed, return_inverse=True)
    if len(found) > _MOST_MATERIALS:
        return {"split": True, "colours": numpy.repeat(faces, 3, axis=0)}
    colours = found.view(numpy.uint8).reshape(-1, 4)
    return {"materials": tuple(plain(colour) for colour in colours), "triangle_materials": numbers}


def plain(colour: NDArray[numpy.uint8]) -> Material:
    """A material of one 8-bit sRGB colour with opacity."""
    red, green, blue, opacity = (int(level) / 255 for level in colour)
    mode: Any = "blend" if opacity < 1 else "opaque"
    return Material(base_colour=from_srgb(red, green, blue, opacity), alpha_mode=mode)


def spread(texture: Texture, uvs: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """Texture coordinates after a texture's own scale, rotation and offset (KHR_texture_transform)."""
    if (texture.offset, texture.scale, texture.rotation) == ((0.0, 0.0), (1.0, 1.0), 0.0):
        return uvs
    cosine, sine = numpy.cos(texture.rotation), numpy.sin(texture.rotation)
    u, v = (uvs * numpy.array(texture.scale)).T
    turned = numpy.stack([cosine * u + sine * v, cosine * v - sine * u], axis=1)
    result: NDArray[numpy.float32] = (turned + numpy.array(texture.offset)).astype(numpy.float32)
    return result


def _shows(material: Material | None) -> bool:
    if material is None:
        return False
    return material.base_colour_texture is not None or material.srgb != (255, 255, 255, 255)


def _sample(texture: Texture, uvs: NDArray[numpy.float32]) -> NDArray[Any]:
    with PIL.Image.open(BytesIO(texture.image.data)) as picture:
        pixels = numpy.asarray(picture.convert("RGBA"))
    places = spread(texture, uvs)
    columns = _place(places[:, 0], pixels.shape[1], texture.wrap[0])
    rows = _place(places[:, 1], pixels.shape[0], texture.wrap[1])
    texels: NDArray[Any] = pixels[rows, columns]
    return texels


def _place(values: NDArray[Any], size: int, wrap: Wrap) -> NDArray[numpy.int64]:
    """The pixel in which a texture coordinate lies."""
    known = numpy.nan_to_num(values.astype(numpy.float64), posinf=0.0, neginf=0.0)
    if wrap == "repeat":
        known = known - numpy.floor(known) if ((known < 0) | (known > 1)).any() else known
    elif wrap == "mirror":
        known = 1 - numpy.abs(known - 2 * numpy.floor(known / 2) - 1)
    return numpy.clip(numpy.floor(known * size), 0, size - 1).astype(numpy.int64)


def _to_linear(values: NDArray[Any]) -> NDArray[Any]:
    light: NDArray[Any] = numpy.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light


def _to_srgb(values: NDArray[Any]) -> NDArray[Any]:
    clipped = numpy.clip(values, 0, 1)
    levels: NDArray[Any] = numpy.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return levels
