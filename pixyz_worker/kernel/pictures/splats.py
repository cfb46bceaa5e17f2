"""Points of clouds as small discs, drawn into a buffer of depths before the rays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.pictures.frame import Frame
from pixyz_worker.kernel.pictures.rays import Hits

Floats = NDArray[numpy.float32]
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Strip:
    """The discs of some pixels of a picture."""

    depths: Floats
    """Distance along the direction of the camera for each ray, (n,); infinite where there is no point."""
    points: NDArray[numpy.int32]
    """The point for each ray, (n,)."""
    colours: NDArray[numpy.uint8]
    """The colours of all points, (k, 4)."""

    def before(self, hits: Hits, alive: NDArray[numpy.intp]) -> Hits:
        """The hits that no point hides; the rays of the hits count within `alive`."""
        return hits.only(hits.depths <= self.depths[alive[hits.rays]])

    def rest(self, result: Floats, left: Floats) -> None:
        """Add the points to the rays that have opacity left."""
        chosen = numpy.flatnonzero(numpy.isfinite(self.depths) & (left > 0))
        share = left[chosen, None]
        result[chosen, :3] += self.colours[self.points[chosen], :3] * (share / numpy.float32(255))
        result[chosen, 3:] += share
        left[chosen] = 0


class Splats:
    """The discs of all points of a picture, nearest first."""

    def __init__(self, points: Floats, colours: NDArray[numpy.uint8], frame: Frame, diameter: float) -> None:
        """Draw points (k, 3) with a diameter in rays."""
        self._frame, self._colours = frame, colours
        self._height, self._width = frame.camera.height * frame.samples, frame.camera.width * frame.samples
        self._depths = numpy.full(self._height * self._width, numpy.inf, numpy.float32)
        self._points = numpy.zeros(self._height * self._width, numpy.int32)
        for start in range(0, len(points), _CHUNK):
            self._draw(points[start : start + _CHUNK], start, diameter)

    @property
    def pixels(self) -> NDArray[numpy.bool_]:
        """Which pixels, counted row by row, show some of a disc."""
        camera, fine = self._frame.camera, self._frame.samples
        there = numpy.isfinite(self._depths).reshape(camera.height, fine, camera.width, fine)
        result: NDArray[numpy.bool_] = there.any(axis=(1, 3)).reshape(-1)
        return result

    def strip(self, pixels: NDArray[Any]) -> Strip:
        """The discs of some pixels."""
        rows, columns = self._frame.places(pixels)
        here = rows * self._width + columns
        return Strip(depths=self._depths[here], points=self._points[here], colours=self._colours)

    def _draw(self, points: Floats, first: int, diameter: float) -> None:
        placed = self._frame.camera.project(points)
        seen = numpy.flatnonzero(placed[:, 2] > 0)
        # From far to near: where several points fall on one ray, numpy keeps the last.
        seen = seen[numpy.argsort(-placed[seen, 2])]
        scale = self._frame.samples
        place = numpy.clip(placed[seen, :2] * scale, -1e6, 1e6)
        depth = placed[seen, 2].astype(numpy.float32)
        reach = math.ceil(diameter / 2)
        corner = numpy.floor(place).astype(numpy.int64)
        inside = place - corner - 0.5
        for down in range(-reach, reach + 1):
            for across in range(-reach, reach + 1):
                if math.hypot(max(abs(down) - 0.5, 0), max(abs(across) - 0.5, 0)) > diameter / 2:
                    continue
                away = (across - inside[:, 0]) ** 2 + (down - inside[:, 1]) ** 2
                x, y = corner[:, 0] + across, corner[:, 1] + down
                fits = (away <= diameter**2 / 4) & (x >= 0) & (x < self._width) & (y >= 0) & (y < self._height)
                rays = (y * self._width + x)[fits]
                closer = depth[fits] < self._depths[rays]
                rays = rays[closer]
                self._depths[rays] = depth[fits][closer]
                self._points[rays] = (seen[fits][closer] + first).astype(numpy.int32)
