"""How much of the light around reaches each pixel: soft shadows in corners and below parts.

A few rays leave the surface below each pixel, another few below its neighbour; a small blur that stays on the surface
makes one estimate of them ("interleaved sampling", Keller and Heidrich, 2001).
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.pictures.frame import Frame
from pixyz_worker.kernel.pictures.rays import Hits, Rays
from pixyz_worker.kernel.pictures.surfaces import Surfaces

Floats = NDArray[numpy.float32]
_EACH = 4
_GRID = 4
_REACH = 0.35
_LIFT = 2e-4
BATCH = 1 << 18
"""Rays that are shot at once."""
_KEPT = 1 << 20
_TAPS = ((-2, 0.5), (-1, 1.0), (1, 1.0), (2, 0.5))


class Crevices:
    """The share of ambient light for each pixel of a picture."""

    def __init__(self, solid: Rays, surfaces: Surfaces, frame: Frame) -> None:
        """Measure it on the triangles that keep light off; the frame has one ray per pixel."""
        height, width = frame.camera.height, frame.camera.width
        light = numpy.zeros((height * width, 1), numpy.float32)
        normals = numpy.zeros((height * width, 3), numpy.float32)
        depths = numpy.full((height * width, 1), numpy.inf, numpy.float32)
        directions = _directions()
        self.seen: list[Hits] = []
        """What the rays of the first pixels met, by batches, as far as it is kept: the picture needs it again."""
        for start in range(0, height * width, BATCH):
            origins, towards = frame.rays(numpy.arange(start, min(height * width, start + BATCH)))
            hits = solid.first(origins, towards, frame.eye, frame.forward)
            if start < _KEPT:
                self.seen.append(hits)
            if not len(hits.rays):
                continue
            pixels = hits.rays + start
            facing = surfaces.facing(hits)
            row, column = numpy.divmod(pixels, width)
            pattern = row % _GRID * _GRID + column % _GRID
            light[pixels, 0] = _open(solid, hits.positions, facing, directions[pattern])
            normals[pixels], depths[pixels, 0] = facing, hits.depths
        shape = (height, width, -1)
        self._light = _blurred(light.reshape(shape), normals.reshape(shape), depths.reshape(shape)).reshape(-1)

    def at(self, pixels: NDArray[Any]) -> Floats:
        """From 0 (none) to 1 (all of it), for pixels counted row by row."""
        light: Floats = self._light[pixels]
        return light


def _open(solid: Rays, positions: Floats, normals: Floats, directions: Floats) -> Floats:
    """The share of the rays that leave surfaces and meet nothing nearby; directions are (n, k, 3), with z outward."""
    right, ahead = _basis(normals)
    starts = positions + normals * numpy.float32(_LIFT)
    free = numpy.zeros(len(positions), numpy.float32)
    for number in range(directions.shape[1]):
        way = directions[:, number]
        towards = right * way[:, 0:1] + ahead * way[:, 1:2] + normals * way[:, 2:3]
        free += ~solid.blocked(starts, towards, _REACH)
    result: Floats = free / numpy.float32(directions.shape[1])
    return result


def _directions() -> Floats:
    """Directions above the plane z = 0, denser towards z by the cosine, for each pixel of the pattern."""
    count = _GRID * _GRID * _EACH
    numbers = numpy.arange(count)
    golden = (math.sqrt(5) - 1) / 2
    radius, angle = numpy.sqrt((numbers + 0.5) / count), 2 * math.pi * numbers * golden
    z = numpy.sqrt(1 - radius**2)
    every = numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle), z], axis=1).astype(numpy.float32)
    # Each pixel gets directions from the whole hemisphere; pixels side by side get different ones.
    order = numpy.argsort((numpy.arange(_GRID * _GRID) * 7) % (_GRID * _GRID))
    return every.reshape(_EACH, _GRID * _GRID, 3)[:, order].transpose(1, 0, 2).copy()


def _basis(normals: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors at right angles to each normal (Duff and others, "Building an Orthonormal Basis", 2017)."""
    x, y, z = normals[:, 0], normals[:, 1], normals[:, 2]
    sign = numpy.copysign(numpy.float32(1), z)
    part = -1 / (sign + z)
    mixed = x * y * part
    one = numpy.stack([1 + sign * x * x * part, sign * mixed, -sign * x], axis=1)
    return one, numpy.stack([mixed, sign + y * y * part, -y], axis=1)


def _blurred(light: Floats, normals: Floats, depths: Floats) -> Floats:
    """Mean of neighbours on the same surface, along rows and then along columns; arrays are (height, width, n)."""
    there = numpy.isfinite(depths)
    for axis in (1, 0):
        total, weight = light * there, there.astype(numpy.float32)
        for offset, share in _TAPS:
            other = [numpy.roll(array, offset, axis=axis) for array in (light, normals, depths, there)]
            alike = numpy.einsum("ijk,ijk->ij", normals, other[1])[..., None] > 0.85
            with numpy.errstate(invalid="ignore"):
                near = numpy.abs(depths - other[2]) < 0.03
            same = other[3] & (~there | (alike & near))
            edge = [slice(None), slice(None)]
            edge[axis] = slice(0, offset) if offset > 0 else slice(offset, None)
            same[tuple(edge)] = False
            total += other[0] * same * numpy.float32(share)
            weight += same * numpy.float32(share)
        light = (total / numpy.maximum(weight, numpy.float32(1e-6))).astype(numpy.float32)
        # A pixel whose middle met nothing may still show the edge of what its neighbours met.
        filled = ~there & (weight > 0)
        there |= filled
        light = numpy.where(there, light, numpy.float32(1))
    return light
