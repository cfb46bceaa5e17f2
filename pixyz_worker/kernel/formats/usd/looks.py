"""Materials of USD, read: UsdPreviewSurface with its textures, and the plain values of other surfaces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxr import Ar, Sdf, UsdShade

from pixyz_worker.kernel.formats.shared.side_images import decoded
from pixyz_worker.kernel.formats.usd.stage import inside
from pixyz_worker.kernel.material import Colour, Image, Material, Texture, Wrap

_MAX_BYTES = 1 << 30
_NAMES = {
    # For each input of UsdPreviewSurface its names in MaterialX, OpenPBR and MDL's OmniPBR.
    "diffuseColor": ("base_color", "diffuse_color_constant", "diffuse_reflection_color"),
    "metallic": ("metalness", "base_metalness", "metallic_constant"),
    "roughness": ("specular_roughness", "reflection_roughness_constant"),
    "emissiveColor": ("emission_color",),
    "opacity": ("geometry_opacity", "opacity_constant"),
}
_WRAPS: dict[str, Wrap] = {"repeat": "repeat", "mirror": "mirror", "clamp": "clamp", "black": "clamp"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What gives the value of a shader's input: a value, or an output of a texture."""

    value: Any = None
    """The value, if it is none of a texture."""
    shader: Any = None
    """The UsdUVTexture, if there is one."""
    output: str = ""
    """Its output: rgb, r, g, b or a."""


class Looks:
    """The materials of a stage, each made once, though it be referred to from many places."""

    def __init__(self, folder: Path, when: Any) -> None:
        """Pictures are read from that folder alone, and values at that time."""
        self._folder = folder
        self._when = when
        self._made: dict[Any, Material] = {}
        self._plain: dict[Colour, Material] = {}
        self._images: dict[str, Image | None] = {}
        self._uv_names: dict[Material | None, str] = {}
        self._of_colours: set[Material] = set()

    def material(self, bound: Any) -> Material:
        """The Material of a UsdShade.Material."""
        prim = bound.GetPrim()
        key = tuple((spec.layer.identifier, str(spec.path)) for spec in prim.GetPrimStack())
        if key not in self._made:
            self._made[key] = self._read(bound)
        return self._made[key]

    def plain(self, colour: Colour) -> Material:
        """A material of one colour, for what has a colour and no material."""
        if colour not in self._plain:
            mode: Any = "blend" if colour[3] < 1 else "opaque"
            self._plain[colour] = Material(base_colour=colour, alpha_mode=mode)
        return self._plain[colour]

    def uv_name(self, material: Material | None) -> str:
        """The primvar by which a material's textures lie on a mesh."""
        return self._uv_names.get(material, "st")

    def shows_colours(self, material: Material) -> bool:
        """Whether a material shows the displayColor of the mesh that it is on."""
        return material in self._of_colours

    def _read(self, bound: Any) -> Material:
        prim = bound.GetPrim()
        made = Material(
            name=prim.GetDisplayName() or prim.GetName(), base_colour=(0.18, 0.18, 0.18, 1.0), roughness=0.5
        )
        found = (bound.ComputeSurfaceSource(context)[0] for context in ("", "mtlx", "mdl"))
        shader = next((shader for shader in found if shader), None)
        if shader is None:
            return made
        inputs = {name: self._source(shader, name) for name in (*_NAMES, "normal", "occlusion")}
        self._fill_base(made, inputs["diffuseColor"])
        self._fill_opacity(made, inputs, shader)
        self._fill_metal(made, inputs)
        emissive = inputs["emissiveColor"]
        made.emission_texture = self._texture(emissive, made)
        # A surface of MaterialX has a colour of emission that counts only with a weight.
        if made.emission_texture or shader.GetInput("emissiveColor"):
            made.emission = (
                self._factor(emissive)[:3] if made.emission_texture else _colour(emissive.value, (0, 0, 0))[:3]
            )
        made.normal_texture = self._texture(inputs["normal"], made)
        made.occlusion_texture = self._texture(inputs["occlusion"], made)
        return made

    def _fill_base(self, made: Material, base: Source) -> None:
        made.base_colour_texture = self._texture(base, made)
        if made.base_colour_texture:
            made.base_colour = self._factor(base)
        elif base.shader:  # a primvar with colours, or a picture that is not there
            fallback = base.shader.GetInput("fallback")
            reads_colours = _id(base.shader).startswith("UsdPrimvarReader")
            value = None if reads_colours or not fallback else fallback.Get(self._when)
            made.base_colour = _colour(value, (1, 1, 1) if reads_colours else (0.5, 0.5, 0.5))
            if reads_colours and str(self._source(base.shader, "varname").value) == "displayColor":
                self._of_colours.add(made)
        else:
            made.base_colour = _colour(base.value, (0.18, 0.18, 0.18))

    def _fill_opacity(self, made: Material, inputs: dict[str, Source], shader: Any) -> None:
        opacity = inputs["opacity"]
        red, green, blue, factor = made.base_colour
        threshold = shader.GetInput("opacityThreshold")
        cutoff = _number(threshold.Get(self._when) if threshold else None, 0.0)
        if opacity.shader is None:
            factor = _number(opacity.value, 1.0)
        elif not made.base_colour_texture or _id(opacity.shader) != "UsdUVTexture":
            factor = 1.0
        made.base_colour = (red, green, blue, min(max(factor, 0.0), 1.0))
        if opacity.shader is not None or factor < 1:
            made.alpha_mode = "mask" if cutoff > 0 else "blend"
            made.alpha_cutoff = cutoff if cutoff > 0 else 0.5

    def _fill_metal(self, made: Material, inputs: dict[str, Source]) -> None:
        metal, rough = inputs["metallic"], inputs["roughness"]
        made.metalness, made.roughness = _number(metal.value, 0.0), _number(rough.value, 0.5)
        if rough.shader is None:
            return
        made.roughness = 1.0
        same = metal.shader is not None and metal.shader.GetPath() == rough.shader.GetPath()
        # Green has the roughness and blue the metalness; a picture for roughness alone may do where nothing is metal.
        if (same and (rough.output, metal.output) == ("g", "b")) or (metal.shader is None and made.metalness == 0):
            made.metal_rough_texture = self._texture(rough, made)
            factors = self._factor(rough)
            made.roughness, made.metalness = factors[1], factors[2] if same else 0.0

    def _source(self, shader: Any, name: str) -> Source:
        """What gives the value of an input, under whatever name the surface has it."""
        for candidate in (name, *_NAMES.get(name, ())):
            if not (given := shader.GetInput(candidate)):
                continue
            attributes = given.GetValueProducingAttributes()
            if not attributes:
                continue
            attribute = attributes[0]
            base, kind = UsdShade.Utils.GetBaseNameAndType(attribute.GetName())
            if kind != UsdShade.AttributeType.Output:
                return Source(value=attribute.Get(self._when))
            return Source(shader=UsdShade.Shader(attribute.GetPrim()), output=str(base))
        return Source()

    def _factor(self, source: Source) -> Colour:
        """What the texels are multiplied with."""
        scale = source.shader.GetInput("scale")
        value = scale.Get(self._when) if scale else None
        red, green, blue, opacity = (min(max(float(part), 0.0), 1.0) for part in (value or (1, 1, 1, 1)))
        return (red, green, blue, opacity)

    def _texture(self, source: Source, made: Material) -> Texture | None:
        if source.shader is None or _id(source.shader) != "UsdUVTexture":
            return None
        image = self._image(self._source(source.shader, "file").value)
        if image is None:
            return None
        coordinates = self._source(source.shader, "st")
        offset, scale, rotation = (0.0, 0.0), (1.0, 1.0), 0.0
        if coordinates.shader is not None and _id(coordinates.shader) == "UsdTransform2d":
            offset, scale, rotation = self._transform(coordinates.shader)
            coordinates = self._source(coordinates.shader, "in")
        if coordinates.shader is not None and (name := self._source(coordinates.shader, "varname").value):
            self._uv_names.setdefault(made, str(name))
        wraps = [str(self._source(source.shader, name).value) for name in ("wrapS", "wrapT")]
        wrap = (_WRAPS.get(wraps[0], "repeat"), _WRAPS.get(wraps[1], "repeat"))
        return Texture(image=image, wrap=wrap, offset=offset, scale=scale, rotation=rotation)

    def _transform(self, shader: Any) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Offset, scale and rotation of a UsdTransform2d, for texture coordinates whose v points down."""
        given = {name: self._source(shader, name).value for name in ("translation", "scale", "rotation")}
        angle = math.radians(_number(given["rotation"], 0.0))
        across, up = (float(part) for part in given["scale"] or (1, 1))
        right, rise = (float(part) for part in given["translation"] or (0, 0))
        # (0, 1) of USD is the origin here: it goes where scale, rotation and translation bring it.
        offset = (right - math.sin(angle) * up, 1 - rise - math.cos(angle) * up)
        return offset, (across, up), angle

    def _image(self, asset: Any) -> Image | None:
        """The picture of an asset in the file's own folder or package; None if it is not there, or no picture."""
        if not isinstance(asset, Sdf.AssetPath) or not asset.path:
            return None
        where = str(asset.resolvedPath)
        if not where or not inside(where, self._folder):
            beside = self._folder / Path(asset.path.replace("\\", "/")).name
            where = str(beside) if beside.is_file() and inside(str(beside), self._folder) else ""
        if where not in self._images:
            self._images[where] = _load(where, Path(asset.path).name) if where else None
        return self._images[where]


def _load(where: str, name: str) -> Image | None:
    opened = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(where))
    if not opened or not 0 < opened.GetSize() <= _MAX_BYTES:
        return None
    return decoded(bytes(opened.GetBuffer()), name)


def _id(shader: Any) -> str:
    return str(shader.GetIdAttr().Get() or "")


def _colour(value: Any, otherwise: tuple[float, float, float]) -> Colour:
    try:
        red, green, blue = (min(max(float(part), 0.0), 1.0) for part in list(value)[:3])
    except (TypeError, ValueError):
        red, green, blue = otherwise
    return (red, green, blue, 1.0)


def _number(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return number if math.isfinite(number) else otherwise
