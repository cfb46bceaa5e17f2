"""Images on surfaces: decoding, and looking up their colours for many points at once."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.material import Image, Texture, Wrap
from pixyz_worker.kernel.pictures.studio import linear

Floats = NDArray[numpy.float32]
_WRAPS: dict[Wrap, int] = {"repeat": 0, "mirror": 1, "clamp": 2}
_SIDES = ((12, 2048), (48, 1024))
_SMALLEST = 512
_LINEAR = linear((numpy.arange(256) / 255).astype(numpy.float32))


def side_for(count: int) -> int:
    """The longest side in pixels that images are kept at when there are so many: memory stays bounded."""
    return next((side for most, side in _SIDES if count <= most), _SMALLEST)


def decode(image: Image, side: int) -> NDArray[numpy.uint8] | None:
    """Its pixels, (height, width, 4) sRGB and opacity, made smaller so that no side is longer than `side`.

    None, and a line in the log, when it is not a picture or has more pixels than MAX_IMAGE_PIXELS.
    """
    import PIL.Image

    most = Limits.from_environment().max_image_pixels
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures by a limit of its own; ours is checked below, before anything is decoded.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            picture = PIL.Image.open(io.BytesIO(image.data))
        if most and picture.width * picture.height > most:
            raise ValueError(f"it has {picture.width} x {picture.height} pixels, more than MAX_IMAGE_PIXELS allows")
        picture.draft("RGB", (side, side))
        pixels = picture.convert("RGBA")
        if max(pixels.size) > side:
            pixels.thumbnail((side, side), PIL.Image.Resampling.BOX)
        return numpy.asarray(pixels)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        logging.getLogger(__name__).warning("The image %r is not drawn: %s", image.name, error)
        return None


def transformed(texture: Texture, uvs: Floats) -> Floats:
    """Texture coordinates after the texture's own transform (KHR_texture_transform), (n, 2)."""
    if texture.scale == (1.0, 1.0) and texture.offset == (0.0, 0.0) and not texture.rotation:
        return uvs
    cosine, sine = math.cos(texture.rotation), math.sin(texture.rotation)
    matrix = numpy.array([[cosine, -sine], [sine, cosine]]) * numpy.array(texture.scale)[:, None]
    placed: Floats = (uvs @ matrix + numpy.array(texture.offset)).astype(numpy.float32)
    return placed


class Atlas:
    """All images of a stage in one array, each with its smaller versions, so that one look-up serves all hits."""

    def __init__(self, textures: Iterable[Texture]) -> None:
        """Decode what the textures show; each image once."""
        chosen = list(dict.fromkeys(textures))
        images = list(dict.fromkeys(texture.image for texture in chosen))
        side = side_for(len(images))
        self._texels: list[Any] = []
        self._levels: list[tuple[int, int, int]] = []
        self._used = 0
        starts = {image: self._add(decode(image, side)) for image in images}
        self._numbers: dict[Texture, int] = {}
        rows: list[tuple[int, int, int, int]] = []
        for texture in chosen:
            if (place := starts[texture.image]) is not None:
                self._numbers[texture] = len(rows)
                rows.append((*place, _WRAPS[texture.wrap[0]], _WRAPS[texture.wrap[1]]))
        self._rows = numpy.array(rows, numpy.int64).reshape(-1, 4)
        self._textures = list(self._numbers)
        scales = [math.sqrt(abs(texture.scale[0] * texture.scale[1])) for texture in self._textures]
        self._density = numpy.array(scales, numpy.float32)
        self._level = numpy.array(self._levels, numpy.int64).reshape(-1, 3)
        self._all = numpy.concatenate(self._texels) if self._texels else numpy.empty((0, 4), numpy.uint8)
        self._texels.clear()

    def number(self, texture: Texture | None) -> int:
        """The number under which look() knows a texture; -1 for none, or one whose image cannot be decoded."""
        return -1 if texture is None else self._numbers.get(texture, -1)

    def _add(self, pixels: NDArray[numpy.uint8] | None) -> tuple[int, int] | None:
        """Keep an image and its smaller versions; the number of its first level and how many there are."""
        if pixels is None:
            return None
        import PIL.Image

        first, picture = len(self._levels), PIL.Image.fromarray(pixels)
        while True:
            self._levels.append((self._used, picture.width, picture.height))
            self._texels.append(numpy.asarray(picture).reshape(-1, 4))
            self._used += picture.width * picture.height
            if max(picture.size) == 1:
                return first, len(self._levels) - first
            picture = picture.reduce((min(2, picture.width), min(2, picture.height)))

    def look(self, numbers: NDArray[Any], uvs: Floats, footprint: Floats, *, coloured: bool) -> Floats:
        """Values from 0 to 1, (n, 4), between texels bilinear; the first three linear light of sRGB when coloured.

        numbers (n,) are those of the textures, uvs (n, 2) the coordinates before the textures' transforms, and
        footprint (n,) the size of a pixel of the picture in texture coordinates.
        """
        places = uvs.copy()
        for number in numpy.unique(numbers):
            chosen = numbers == number
            places[chosen] = transformed(self._textures[number], uvs[chosen])
        first, count, wrap_u, wrap_v = self._rows[numbers].T
        longest = numpy.maximum(self._level[first, 1], self._level[first, 2])
        step = numpy.log2(numpy.maximum(footprint * self._density[numbers] * longest, 1e-6))
        level = first + numpy.clip(numpy.rint(step - 0.25).astype(numpy.int64), 0, count - 1)
        start, width, height = self._level[level].T
        left, right, across = _between(places[:, 0], width, wrap_u)
        top, bottom, down = _between(places[:, 1], height, wrap_v)
        upper = self._fetch(start + top * width + left, coloured) * (1 - across)
        upper += self._fetch(start + top * width + right, coloured) * across
        lower = self._fetch(start + bottom * width + left, coloured) * (1 - across)
        lower += self._fetch(start + bottom * width + right, coloured) * across
        result: Floats = upper * (1 - down) + lower * down
        return result

    def _fetch(self, texels: NDArray[Any], coloured: bool) -> Floats:
        values = self._all[texels]
        shown: Floats = values * numpy.float32(1 / 255)
        if coloured:
            shown[:, :3] = _LINEAR[values[:, :3]]
        return shown


def _between(values: Floats, size: NDArray[Any], wrap: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Floats]:
    """The texels on both sides of coordinates along one axis, and how far the place is towards the second, (n, 1)."""
    values = numpy.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    values = numpy.where(wrap == 2, numpy.clip(values, 0, 1), values - 2 * numpy.floor(values / 2))  # 0 to 2
    place = values * size - 0.5
    lower = numpy.floor(place)
    share = (place - lower).astype(numpy.float32)[:, None]
    one = lower.astype(numpy.int64)
    return _wrapped(one, size, wrap), _wrapped(one + 1, size, wrap), share


def _wrapped(texels: NDArray[Any], size: NDArray[Any], wrap: NDArray[Any]) -> NDArray[Any]:
    turned = texels % (2 * size)
    mirrored = numpy.minimum(turned, 2 * size - 1 - turned)
    result: NDArray[Any] = numpy.where(
        wrap == 0, texels % size, numpy.where(wrap == 1, mirrored, numpy.clip(texels, 0, size - 1))
    )
    return result
