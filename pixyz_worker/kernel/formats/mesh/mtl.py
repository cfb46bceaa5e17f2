"""Materials of OBJ files (.mtl): colours, opacity, textures, and the keys that Clara.io's extension added for PBR.

Kd, Ke and Ks are taken as sRGB. The exponent Ns and the roughness go into each other as in Blender:
Ns = 1000 (1 - roughness)^2.
"""

from __future__ import annotations

import io
import logging
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import PIL.Image

from pixyz_worker.file_names import is_remote
from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside, ImageWriter
from pixyz_worker.kernel.material import Image, Material, Texture, Wrap, from_srgb, to_srgb

_MOST_BYTES = 1 << 26
_OPTIONS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}
_log = logging.getLogger(__name__)


def read_materials(path: Path, libraries: list[str]) -> dict[str, Material]:
    """The materials of an OBJ file, by name, from those of its libraries that are in its folder or below."""
    materials, images = dict[str, Material](), ImagesBeside(path)
    for file in dict.fromkeys(file for name in libraries for file in _files(path.parent, name)):
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"its materials in {file.name} take more than {_MOST_BYTES >> 20} MiB")
        entry = None
        for line in file.read_bytes().decode("utf-8", "replace").splitlines():
            word, _, rest = line.strip().replace("\t", " ").partition(" ")
            if word == "newmtl":
                _finish(entry, materials, images)
                entry = _Entry(name=rest.strip())
            elif entry is not None and word and word[0] != "#":
                entry.values.setdefault(word.lower(), rest.strip())
        _finish(entry, materials, images)
    return materials


@dataclass(kw_only=True, slots=True, eq=False)
class _Entry:
    """The lines of one material."""

    name: str
    values: dict[str, str] = field(default_factory=dict)

    def numbers(self, key: str) -> list[float]:
        """The numbers of a line, as many as there are; none when it is missing or says something else."""
        try:
            found = [float(word) for word in self.values.get(key, "").split()]
        except ValueError:
            return []
        return found if all(map(math.isfinite, found)) else []

    def number(self, key: str) -> float | None:
        """The last number of a line."""
        found = self.numbers(key)
        return found[-1] if found else None


def _files(folder: Path, name: str) -> list[Path]:
    """The files that a line names: one whose name has blanks, or several."""
    whole = _inside(folder, name)
    found = [whole] if whole else [_inside(folder, word) for word in name.split()]
    if not any(found):
        _log.warning("There is no file %r beside the OBJ file: its materials have no colours.", name[:200])
    return [path for path in found if path is not None]


def _inside(folder: Path, name: str) -> Path | None:
    """A file in a folder or below; of a path from elsewhere the last part is looked for."""
    text, base = name.strip().strip('"').replace("\\", "/"), folder.resolve()
    if not text or "\0" in text or len(text) > 4096:
        return None
    try:
        last = PurePosixPath(text).name
        tries = [(base / candidate).resolve() for candidate in ((last,) if is_remote(text) else (text, last))]
        return next((file for file in tries if file.is_relative_to(base) and file.is_file()), None)
    except OSError:
        return None


def _finish(entry: _Entry | None, materials: dict[str, Material], images: ImagesBeside) -> None:
    """Turn the lines of a material into one."""
    if entry is None or entry.name in materials:
        return
    colour = _three(entry.numbers("kd")) or (1.0, 1.0, 1.0)
    dissolve, opaque = entry.number("d"), entry.number("tr")
    opacity = dissolve if dissolve is not None else 1 - opaque if opaque is not None else 1.0
    base, exponent = _texture(entry, "map_kd", images), entry.number("ns")
    roughness = entry.number("pr")
    if roughness is None:
        roughness = 0.9 if exponent is None else 1 - math.sqrt(min(max(exponent, 0.0), 1000.0) / 1000)
    clear = opacity < 1 or ("map_d" in entry.values and base is not None)
    metal_rough = _packed(_texture(entry, "map_pr", images), _texture(entry, "map_pm", images))
    materials[entry.name] = Material(
        name=entry.name,
        base_colour=from_srgb(*(colour if base is None or any(colour) else (1.0, 1.0, 1.0)), opacity),
        metalness=min(max(entry.number("pm") or 0.0, 0.0), 1.0),
        roughness=min(max(roughness, 0.0), 1.0),
        emission=from_srgb(*(_three(entry.numbers("ke")) or (0.0, 0.0, 0.0)))[:3],
        base_colour_texture=base,
        metal_rough_texture=metal_rough,
        normal_texture=_texture(entry, "norm", images),
        emission_texture=_texture(entry, "map_ke", images),
        alpha_mode="blend" if clear else "opaque",
    )


def _three(numbers: list[float]) -> tuple[float, float, float] | None:
    if len(numbers) == 1:
        numbers = numbers * 3
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) >= 3 else None


def _texture(entry: _Entry, key: str, images: ImagesBeside) -> Texture | None:
    """The texture of a line, with its options -o, -s and -clamp; None when its picture is not there."""
    line = entry.values.get(key, "")
    words, wrap, offset, scale = line.split(), "repeat", (0.0, 0.0), (1.0, 1.0)
    while len(words) > 1 and words[0].startswith("-"):
        option, most = words[0], _OPTIONS.get(words[0], 1)
        values = list[float]()
        while (
            len(values) < most and len(words) > 2 and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", words[1 + len(values)])
        ):
            values.append(float(words[1 + len(values)]))
            if len(words) <= 2 + len(values):
                break
        if option == "-clamp":
            wrap = "clamp" if words[1] == "on" else "repeat"
        if option == "-o" and values:
            offset = (values[0], values[1] if len(values) > 1 else 0.0)
        if option == "-s" and values:
            scale = (values[0], values[1] if len(values) > 1 else 1.0)
        words = words[1 + (len(values) or 1) :]
    if not words:
        return None
    # A name with several blanks in a row is taken from the line as it stands.
    image = images.find(line[line.index(words[0]) :] if line.split() == words else " ".join(words))
    if image is None:
        _log.warning("There is no picture %r beside the OBJ file.", " ".join(words)[:200])
        return None
    # Theirs is (u, v) * scale + offset with v upwards, ours the same with v downwards.
    ours = (offset[0], 1 - scale[1] - offset[1])
    kind: Wrap = "clamp" if wrap == "clamp" else "repeat"
    return Texture(image=image, wrap=(kind, kind), offset=ours, scale=scale)


def _packed(rough: Texture | None, metal: Texture | None) -> Texture | None:
    """One texture of two grey ones: roughness in green, metalness in blue."""
    some = rough or metal
    if some is None:
        return None
    size = max(_grey(texture).size for texture in (rough, metal) if texture)
    white = PIL.Image.new("L", size, 255)
    bands = [_grey(texture).resize(size) if texture else white for texture in (rough, metal)]
    name = f"{Path(some.image.name).stem}_packed.png"
    return replace(some, image=_image(PIL.Image.merge("RGB", [white, *bands]), name))


def _grey(texture: Texture, band: str | None = None) -> Any:
    with PIL.Image.open(io.BytesIO(texture.image.data)) as picture:
        return picture.convert("RGB").getchannel(band) if band else picture.convert("L")


def _image(picture: Any, name: str) -> Image:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return Image(name=name, data=out.getvalue())


class MaterialWriter:
    """Writes the materials that an OBJ file uses into <stem>.mtl, and their pictures beside it."""

    def __init__(self, path: Path) -> None:
        """Write them beside such an OBJ file."""
        self._path = path
        self._names: dict[Material | None, str] = {}
        self._taken: set[str] = set()
        self._pictures = ImageWriter(path)
        self._bands: dict[tuple[Image, str], Image] = {}

    def name(self, material: Material | None) -> str:
        """What faces call a material."""
        if material not in self._names:
            wanted = re.sub(r"\s+|[\x00-\x1f\x7f]", "_", material.name if material else "").strip("_") or "material"
            name, number = wanted, 1
            while name in self._taken:
                number += 1
                name = f"{wanted}_{number}"
            self._taken.add(name)
            self._names[material] = name
        return self._names[material]

    @property
    def used(self) -> bool:
        """Whether some faces have a material."""
        return bool(self._names)

    def finish(self) -> None:
        """Write the file, if there was any material."""
        if self.used:
            lines = [
                line for material, name in self._names.items() for line in self._lines(material or Material(), name)
            ]
            self._path.with_suffix(".mtl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _lines(self, material: Material, name: str) -> list[str]:
        colour = [to_srgb(min(max(part, 0.0), 1.0)) for part in material.base_colour[:3]]
        glow = [to_srgb(min(max(part, 0.0), 1.0)) for part in material.emission]
        smooth = 1 - min(max(material.roughness, 0.0), 1.0)
        lines = [
            f"newmtl {name}",
            f"Kd {_three_words(colour)}",
            f"Ns {1000 * smooth**2:.6g}",
            f"d {material.base_colour[3]:.6g}",
            f"Pr {material.roughness:.6g}",
            f"Pm {material.metalness:.6g}",
            *([f"Ke {_three_words(glow)}"] if any(glow) else []),
        ]
        maps: list[tuple[str, Texture | None, str]] = [
            ("map_Kd", material.base_colour_texture, ""),
            ("map_d", material.base_colour_texture if material.alpha_mode != "opaque" else None, ""),
            ("map_Pr", material.metal_rough_texture, "G"),
            ("map_Pm", material.metal_rough_texture, "B"),
            ("norm", material.normal_texture, ""),
            ("map_Ke", material.emission_texture, ""),
        ]
        return [*lines, *(f"{key} {self._picture(texture, band)}" for key, texture, band in maps if texture), ""]

    def _picture(self, texture: Texture, band: str) -> str:
        """The options and the name of a texture's picture."""
        image = texture.image
        if band:
            if (image, band) not in self._bands:
                self._bands[image, band] = _image(_grey(texture, band), f"{Path(image.name).stem}_{band}.png")
            image = self._bands[image, band]
        return ("-clamp on " if texture.wrap[0] == "clamp" else "") + self._pictures.put(image)


def _three_words(values: list[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
