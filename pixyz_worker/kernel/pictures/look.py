"""How a picture is drawn, beside where it is taken from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.pictures.camera import Camera

Levels = tuple[int, int, int, int]
_COVERED = 0.3
"""Share of a picture that points may cover, if they do not lie behind one another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a picture shows beside the surfaces."""

    background: Levels | None = None
    """sRGB and opacity, 0 to 255, behind everything; None for a transparent picture."""
    edges: bool = False
    """Whether the edges of the triangles are drawn."""
    edge_colour: tuple[int, int, int] = (38, 42, 48)
    """sRGB of these edges, 0 to 255."""
    samples: int = 2
    """Samples along each side of a pixel: 1 (rough) to 4 (slow)."""
    point_size: float | None = None
    """Diameter of a point in pixels; None for one that suits the picture and the number of points."""
    crevices: bool = True
    """Whether the ray caster darkens what little light reaches."""

    def diameter(self, camera: Camera, count: int) -> float:
        """The diameter of each of some points in pixels: without a wish the larger, the fewer there are."""
        side = min(camera.width, camera.height)
        lowest, highest = max(1.5, side / 160), max(1.5, side / 40)
        return self.point_size or min(max(side * math.sqrt(_COVERED / max(count, 1)), lowest), highest)


class Renderer(Protocol):
    """What draws a stage: one that is set up once and gives many pictures."""

    def draw(self, camera: Camera, look: Look) -> NDArray[numpy.uint8]:
        """A picture, (height, width, 4): sRGB and straight (not multiplied) opacity."""
        ...

    def close(self) -> None:
        """Give back what it holds; nothing is drawn afterwards."""
        ...


def finished(mean: NDArray[numpy.float32], look: Look) -> NDArray[numpy.uint8]:
    """The picture of averaged pixels, (height, width, 4), over the background."""
    if look.background is not None:
        behind = numpy.array(look.background, numpy.float32) / 255
        behind[:3] *= behind[3]
        mean = (mean + behind * (1 - mean[..., 3:])).astype(numpy.float32)
    opacity = mean[..., 3:]
    colour = mean[..., :3] / numpy.maximum(opacity, numpy.float32(1e-6))
    whole = numpy.concatenate([colour, opacity], axis=-1)
    levels: NDArray[numpy.uint8] = (numpy.clip(whole, 0, 1) * 255 + numpy.float32(0.5)).astype(numpy.uint8)
    return levels
