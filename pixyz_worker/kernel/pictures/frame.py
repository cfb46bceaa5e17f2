"""The rays of a camera: some for each pixel, whose samples lie side by side."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.pictures.camera import Camera

Floats = NDArray[numpy.float32]


class Frame:
    """A picture as rays: samples x samples of them for each pixel; pixels are counted row by row."""

    def __init__(self, camera: Camera, samples: int) -> None:
        """Measure the picture; the camera is one of the stage's frame."""
        self.camera, self.samples = camera, samples
        self.axes = camera.axes.astype(numpy.float32)
        self.eye = numpy.array(camera.position, numpy.float32)
        self.forward = -self.axes[2]
        wide, high = camera.slopes
        columns, rows = camera.width * samples, camera.height * samples
        self._x = (((numpy.arange(columns) + 0.5) / columns * 2 - 1) * wide).astype(numpy.float32)
        self._y = ((1 - (numpy.arange(rows) + 0.5) / rows * 2) * high).astype(numpy.float32)

    def coarse(self) -> Frame:
        """The same picture with one ray for each pixel."""
        return Frame(self.camera, 1)

    def places(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Row and column of the rays of some pixels among all rays of the picture, both (n,)."""
        row, column = numpy.divmod(pixels, self.camera.width)
        if self.samples == 1:
            return row, column
        inner = numpy.arange(self.samples)
        shape = (len(pixels), self.samples, self.samples)
        rows = numpy.broadcast_to((row * self.samples)[:, None, None] + inner[:, None], shape)
        columns = numpy.broadcast_to((column * self.samples)[:, None, None] + inner, shape)
        return rows.reshape(-1), columns.reshape(-1)

    def rays(self, pixels: NDArray[Any]) -> tuple[Floats, Floats]:
        """Origins and unit directions of the rays of some pixels, both (n, 3)."""
        rows, columns = self.places(pixels)
        x, y = self._x[columns][:, None], self._y[rows][:, None]
        grid = x * self.axes[0]
        grid += y * self.axes[1]
        if self.camera.kind == "perspective":
            grid += self.forward
            grid /= numpy.sqrt(x * x + y * y + 1)
            return numpy.tile(self.eye, (len(grid), 1)), grid
        grid += self.eye
        return grid, numpy.tile(self.forward, (len(grid), 1))

    def averaged(self, samples: Floats) -> Floats:
        """Each pixel as the mean of its samples; these are (n, channels)."""
        if self.samples == 1:
            return samples
        each = samples.reshape(-1, self.samples**2, samples.shape[1])
        total = each[:, 0].copy()
        for number in range(1, self.samples**2):
            total += each[:, number]
        return total / numpy.float32(self.samples**2)

    def footprint(self, depths: Floats) -> Floats:
        """The side of a ray's square at some depths, as a length."""
        size = numpy.float32(2 * self.camera.slopes[1] / (self.camera.height * self.samples))
        return depths * size if self.camera.kind == "perspective" else numpy.full_like(depths, size)
