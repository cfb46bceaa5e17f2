"""Materials of a COLLADA file, as pycollada reads them from its effects."""

from __future__ import annotations

from typing import Any

from collada.common import DaeError
from collada.material import OPAQUE_MODE, CImage, Effect, Map
from collada.material import Material as Bound

from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside
from pixyz_worker.kernel.material import Material, Texture, Wrap, from_srgb

# What pycollada raises over effects that are not as it expects: their materials then look plain.
_DAMAGED = (DaeError, ValueError, TypeError, AttributeError, LookupError)
_WRAPS: dict[str | None, Wrap] = {"MIRROR": "mirror", "CLAMP": "clamp", "BORDER": "clamp", "NONE": "clamp"}


class Looks:
    """The materials of one document, by their ids."""

    def __init__(self, library: Any, xml: Any, images: ImagesBeside) -> None:
        self._library = library
        self._tag = library.tag
        self._images = images
        self._made: dict[str, Material] = {}
        self._load("image", CImage, library.images, xml)
        self._load("effect", Effect, library.effects, xml)
        self._load("material", Bound, library.materials, xml)
        self._names = {each.get("id"): each.get("name") or each.get("id") for each in xml.iter(self._tag("material"))}

    def _load(self, name: str, kind: Any, into: Any, xml: Any) -> None:
        for library in xml.iter(self._tag(f"library_{name}s")):
            for element in library.iterfind(self._tag(name)):
                try:
                    into.append(kind.load(self._library, {}, element))
                except _DAMAGED:
                    continue

    def find(self, key: str | None) -> Material | None:
        """The material of an id, None when there is none."""
        if not key or key not in self._names:
            return None
        if key not in self._made:
            bound = self._library.materials.get(key)
            name = str(self._names[key])
            try:
                self._made[key] = Material(name=name) if bound is None else self._material(name, bound.effect)
            except _DAMAGED:
                self._made[key] = Material(name=name)
        return self._made[key]

    def _material(self, name: str, effect: Any) -> Material:
        texture = self._texture(effect.diffuse) or self._texture(effect.emission)
        colour = (1.0, 1.0, 1.0) if texture else _colour(effect.diffuse, 0.8)
        opacity = _opacity(effect)
        glow = from_srgb(*_colour(effect.emission, 0.0))[:3]
        sided = effect.xmlnode.find(f".//{self._tag('double_sided')}")
        return Material(
            name=name,
            base_colour=from_srgb(*colour, opacity),
            emission=glow,
            base_colour_texture=texture,
            normal_texture=self._texture(effect.bumpmap),
            alpha_mode="blend" if opacity < 1 or isinstance(effect.transparent, Map) else "opaque",
            double_sided=sided is None or (sided.text or "").strip() != "0",
        )

    def _texture(self, value: Any) -> Texture | None:
        if not isinstance(value, Map):
            return None
        image = value.sampler.surface.image
        nested = image.xmlnode.find(f"{self._tag('init_from')}/{self._tag('ref')}")
        picture = self._images.find((nested.text if nested is not None else image.path) or "")
        if picture is None:
            return None
        ways = [value.sampler.xmlnode.find(f".//{self._tag(f'wrap_{side}')}") for side in "st"]
        u, v = ((way.text or "").strip() if way is not None else None for way in ways)
        return Texture(image=picture, wrap=(_WRAPS.get(u, "repeat"), _WRAPS.get(v, "repeat")))


def _colour(value: Any, default: float) -> tuple[float, float, float]:
    if isinstance(value, (tuple, list)) and len(value) >= 3:
        return (float(value[0]), float(value[1]), float(value[2]))
    return (default, default, default)


def _opacity(effect: Any) -> float:
    """How opaque an effect is, from 0 to 1 (COLLADA 1.4.1, chapter 7, "Determining Transparency")."""
    part = float(effect.transparency) if isinstance(effect.transparency, (int, float)) else 1.0
    colour = effect.transparent if isinstance(effect.transparent, (tuple, list)) else None
    if effect.opaque_mode == OPAQUE_MODE.RGB_ZERO:
        opacity = 1.0 - part * (sum(_colour(colour, 0.0)) / 3)
    else:
        opacity = part * (float(colour[3]) if colour is not None and len(colour) > 3 else 1.0)
    # Some programs write 0 for what is not transparent at all; nobody models what cannot be seen.
    return min(opacity, 1.0) if opacity > 0 else 1.0
