"""Materials written as UsdPreviewSurface, with pictures beside the file or in its package."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from pxr import Gf, Sdf

from pixyz_worker.kernel.formats.shared.side_images import ImageWriter
from pixyz_worker.kernel.formats.usd.specs import TYPES, Names, add, add_prim, connect
from pixyz_worker.kernel.material import Image, Material, Texture

_IN_USD = ("image/png", "image/jpeg")


class MaterialWriter:
    """Puts materials into the scope Looks of a layer, each once."""

    def __init__(self, root: Any, names: Names, path: Path) -> None:
        """Looks becomes a child of `root`; pictures go beside `path`, named after it."""
        self._root = root
        self._names = names
        self._scope: Any = None
        self._pictures = ImageWriter(path)
        self._converted: dict[Image, Image] = {}
        self._written: dict[tuple[Material | None, bool], Any] = {}

    def path(self, material: Material | None, *, coloured: bool = False) -> Any:
        """Where a material stands, which is written when it is first asked for.

        The one for meshes with colours at their vertices shows these in place of its base colour.
        """
        if (material, coloured) not in self._written:
            if self._scope is None:
                self._scope = add_prim(self._root, self._names.new(self._root, "Looks"), "Scope")
            self._written[material, coloured] = self._write(material or Material(name="colours"), coloured)
        return self._written[material, coloured]

    def _write(self, material: Material, coloured: bool) -> Any:
        name = self._names.new(self._scope, material.name or "material")
        prim = add_prim(self._scope, name, "Material", material.name)
        surface = _shader(prim, "Surface", "UsdPreviewSurface")
        add(surface, "outputs:surface", TYPES.Token, None)
        connect(prim, "outputs:surface", TYPES.Token, f"{surface.path}.outputs:surface")
        self._base(prim, surface, material, coloured)
        self._metal(prim, surface, material)
        self._emission(prim, surface, material)
        if material.normal_texture:
            normal = self._texture(prim, "Normal", material.normal_texture, colours=False)
            add(normal, "inputs:scale", TYPES.Float4, Gf.Vec4f(2, 2, 2, 1))
            add(normal, "inputs:bias", TYPES.Float4, Gf.Vec4f(-1, -1, -1, 0))
            _give(normal, "rgb", TYPES.Float3, surface, "normal", TYPES.Normal3f)
        if material.occlusion_texture:
            occlusion = self._texture(prim, "Occlusion", material.occlusion_texture, colours=False)
            _give(occlusion, "r", TYPES.Float, surface, "occlusion", TYPES.Float)
        return prim.path

    def _base(self, prim: Any, surface: Any, material: Material, coloured: bool) -> None:
        red, green, blue, opacity = material.base_colour
        clear = material.alpha_mode != "opaque"
        if material.alpha_mode == "mask":
            add(surface, "inputs:opacityThreshold", TYPES.Float, max(material.alpha_cutoff, 1e-6))
        if material.base_colour_texture:
            texture = self._texture(prim, "BaseColour", material.base_colour_texture, colours=True)
            add(texture, "inputs:scale", TYPES.Float4, Gf.Vec4f(red, green, blue, opacity))
            _give(texture, "rgb", TYPES.Float3, surface, "diffuseColor", TYPES.Color3f)
            if clear:
                _give(texture, "a", TYPES.Float, surface, "opacity", TYPES.Float)
            return
        if coloured:
            reader = _shader(prim, "Colours", "UsdPrimvarReader_float3")
            add(reader, "inputs:varname", TYPES.String, "displayColor")
            add(reader, "inputs:fallback", TYPES.Float3, Gf.Vec3f(red, green, blue))
            _give(reader, "result", TYPES.Float3, surface, "diffuseColor", TYPES.Color3f)
        else:
            add(surface, "inputs:diffuseColor", TYPES.Color3f, Gf.Vec3f(red, green, blue))
        if clear:
            add(surface, "inputs:opacity", TYPES.Float, opacity)

    def _metal(self, prim: Any, surface: Any, material: Material) -> None:
        if material.metal_rough_texture:
            texture = self._texture(prim, "MetalRough", material.metal_rough_texture, colours=False)
            add(texture, "inputs:scale", TYPES.Float4, Gf.Vec4f(1, material.roughness, material.metalness, 1))
            _give(texture, "g", TYPES.Float, surface, "roughness", TYPES.Float)
            _give(texture, "b", TYPES.Float, surface, "metallic", TYPES.Float)
            return
        add(surface, "inputs:roughness", TYPES.Float, material.roughness)
        add(surface, "inputs:metallic", TYPES.Float, material.metalness)

    def _emission(self, prim: Any, surface: Any, material: Material) -> None:
        if material.emission_texture:
            texture = self._texture(prim, "Emission", material.emission_texture, colours=True)
            add(texture, "inputs:scale", TYPES.Float4, Gf.Vec4f(*material.emission, 1))
            _give(texture, "rgb", TYPES.Float3, surface, "emissiveColor", TYPES.Color3f)
        elif any(material.emission):
            add(surface, "inputs:emissiveColor", TYPES.Color3f, Gf.Vec3f(*material.emission))

    def _texture(self, prim: Any, name: str, texture: Texture, *, colours: bool) -> Any:
        """A UsdUVTexture with what reads the texture coordinates for it."""
        reader = _shader(prim, f"{name}Place", "UsdPrimvarReader_float2")
        add(reader, "inputs:varname", TYPES.String, "st")
        source = reader
        if (texture.offset, texture.scale, texture.rotation) != ((0.0, 0.0), (1.0, 1.0), 0.0):
            source = _shader(prim, f"{name}Transform", "UsdTransform2d")
            _give(reader, "result", TYPES.Float2, source, "in", TYPES.Float2)
            _fill_transform(source, texture)
        shader = _shader(prim, name, "UsdUVTexture")
        _give(source, "result", TYPES.Float2, shader, "st", TYPES.Float2)
        add(shader, "inputs:file", TYPES.Asset, Sdf.AssetPath(f"./{self._pictures.put(self._fit(texture.image))}"))
        add(shader, "inputs:wrapS", TYPES.Token, texture.wrap[0])
        add(shader, "inputs:wrapT", TYPES.Token, texture.wrap[1])
        add(shader, "inputs:sourceColorSpace", TYPES.Token, "sRGB" if colours else "raw")
        return shader

    def _fit(self, image: Image) -> Image:
        """A picture of a kind that USD has: others become PNG."""
        if image.mime in _IN_USD:
            return image
        if image not in self._converted:
            import PIL.Image

            packed = io.BytesIO()
            with PIL.Image.open(io.BytesIO(image.data)) as picture:
                picture.save(packed, "PNG")
            self._converted[image] = Image(name=image.name, data=packed.getvalue())
        return self._converted[image]


def _shader(prim: Any, name: str, kind: str) -> Any:
    shader = add_prim(prim, name, "Shader")
    add(shader, "info:id", TYPES.Token, kind, uniform=True)
    return shader


def _give(source: Any, output: str, given: Any, target: Any, name: str, wanted: Any) -> None:
    """Connect an output of one shader, which is made if it is not there, with a new input of another."""
    if f"outputs:{output}" not in source.attributes:
        add(source, f"outputs:{output}", given, None)
    connect(target, f"inputs:{name}", wanted, f"{source.path}.outputs:{output}")


def _fill_transform(shader: Any, texture: Texture) -> None:
    """The transform of a texture for coordinates whose v points up; the inverse of what usd_looks computes."""
    sine, cosine = math.sin(texture.rotation), math.cos(texture.rotation)
    across, up = texture.scale
    right = texture.offset[0] + sine * up
    rise = 1 - texture.offset[1] - cosine * up
    add(shader, "inputs:scale", TYPES.Float2, Gf.Vec2f(across, up))
    add(shader, "inputs:rotation", TYPES.Float, math.degrees(texture.rotation))
    add(shader, "inputs:translation", TYPES.Float2, Gf.Vec2f(right, rise))
