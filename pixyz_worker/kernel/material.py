"""What surfaces look like: materials of the metallic-roughness model, their textures and images.

The model is that of glTF 2.0 (section 3.9 of its specification). Colours of materials are linear light; every
format that stores sRGB converts at its own border with to_linear() and to_srgb().
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, each from 0 to 1, linear."""
Wrap = Literal["repeat", "mirror", "clamp"]
AlphaMode = Literal["opaque", "mask", "blend"]

GREY: Colour = (0.8, 0.8, 0.8, 1.0)
"""What is shown where nothing says a colour."""


def to_linear(value: float) -> float:
    """Linear light of an sRGB value, both from 0 to 1 (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def to_srgb(value: float) -> float:
    """The sRGB value of linear light, both from 0 to 1 (IEC 61966-2-1)."""
    return value * 12.92 if value <= 0.0031308 else float(1.055 * value ** (1 / 2.4) - 0.055)


@dataclass(eq=False, kw_only=True, slots=True)
class Image:
    """A picture as a file holds it; materials that show the same picture share one Image."""

    name: str = ""
    """Its name, without a folder; need not be unique."""
    data: bytes
    """Its bytes, encoded as `mime` says."""
    mime: str = "image/png"
    """image/png, image/jpeg or image/webp."""

    @property
    def extension(self) -> str:
        """The usual ending of a file with such bytes, without the dot."""
        return {"image/jpeg": "jpg", "image/webp": "webp"}.get(self.mime, "png")


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Texture:
    """How an image lies on a surface: by the mesh's texture coordinates."""

    image: Image
    """The picture."""
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    """What lies beyond its edges, along u and along v."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Added to the texture coordinates, after scale and rotation (KHR_texture_transform)."""
    scale: tuple[float, float] = (1.0, 1.0)
    """What the texture coordinates are multiplied with."""
    rotation: float = 0.0
    """Turn of the texture coordinates around their origin, in radians, as KHR_texture_transform has it."""


@dataclass(eq=False, kw_only=True, slots=True)
class Material:
    """The look of a surface. Two materials are the same one only if they are the same object."""

    name: str = ""
    """Its name; need not be unique."""
    base_colour: Colour = (1.0, 1.0, 1.0, 1.0)
    """Colour of the light that it gives back, linear; multiplied with its texture."""
    metalness: float = 0.0
    """From 0 (plastic, wood) to 1 (bare metal)."""
    roughness: float = 0.9
    """From 0 (mirror) to 1 (chalk)."""
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Light that it sends out by itself, linear."""
    base_colour_texture: Texture | None = None
    """Colours in sRGB and opacity, over the surface."""
    metal_rough_texture: Texture | None = None
    """Roughness in green, metalness in blue."""
    normal_texture: Texture | None = None
    """Bumps, as normals in tangent space."""
    occlusion_texture: Texture | None = None
    """Ambient light that reaches the surface, in red."""
    emission_texture: Texture | None = None
    """Colours in sRGB of the light that it sends out."""
    alpha_mode: AlphaMode = "opaque"
    """Whether opacity is ignored, cut at alpha_cutoff, or blended."""
    alpha_cutoff: float = 0.5
    """Opacity below which a surface in alpha_mode 'mask' is not there."""
    double_sided: bool = True
    """Whether its back is seen too."""
    extensions: dict[str, Any] = field(default_factory=dict)
    """Extensions of a glTF material without textures (KHR_materials_clearcoat, ...), kept for glTF alone."""

    @property
    def textures(self) -> tuple[Texture, ...]:
        """The textures that it uses."""
        every = (
            self.base_colour_texture,
            self.metal_rough_texture,
            self.normal_texture,
            self.occlusion_texture,
            self.emission_texture,
        )
        return tuple(texture for texture in every if texture is not None)

    @property
    def srgb(self) -> tuple[int, int, int, int]:
        """Its base colour as 8-bit sRGB and opacity, for formats that store that."""
        red, green, blue = (_level(to_srgb(min(max(part, 0.0), 1.0))) for part in self.base_colour[:3])
        return (red, green, blue, _level(self.base_colour[3]))

    @property
    def hex(self) -> str:
        """Its base colour as people write it, such as '#7D8A96': the name of materials that have none."""
        return "#{:02X}{:02X}{:02X}".format(*self.srgb)


def from_srgb(red: float, green: float, blue: float, opacity: float = 1.0) -> Colour:
    """A linear colour of sRGB values from 0 to 1."""
    linear = [to_linear(min(max(float(part), 0.0), 1.0)) for part in (red, green, blue)]
    return (linear[0], linear[1], linear[2], min(max(float(opacity), 0.0), 1.0))


def _level(value: float) -> int:
    return round(min(max(value, 0.0), 1.0) * 255)
