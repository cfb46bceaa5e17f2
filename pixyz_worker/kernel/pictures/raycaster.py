"""The renderer that needs no graphics library: rays against triangles with Embree, light with numpy.

All triangles of the stage are one Embree mesh, which is built once and serves any number of cameras. Each pixel is
first seen by one ray; where it differs from its neighbours, more rays make its edge smooth. Rays are shot in batches
of about a quarter of a million, so that memory does not grow with the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.pictures import studio
from pixyz_worker.kernel.pictures.camera import Camera
from pixyz_worker.kernel.pictures.crevices import BATCH, Crevices
from pixyz_worker.kernel.pictures.frame import Frame
from pixyz_worker.kernel.pictures.look import Look, finished
from pixyz_worker.kernel.pictures.rays import Hits, Rays
from pixyz_worker.kernel.pictures.splats import Splats, Strip
from pixyz_worker.kernel.pictures.stage import Stage
from pixyz_worker.kernel.pictures.surfaces import Surfaces

Floats = NDArray[numpy.float32]
_LAYERS = 12
_STEP = 2e-5
_FAINT = 0.02
_CONTRAST = 6 / 255


class RayCaster:
    """Draws one stage from any number of cameras."""

    def __init__(self, stage: Stage) -> None:
        """Build what all pictures share."""
        self._stage = stage
        self._surfaces = Surfaces(stage)
        self._rays = Rays(stage.positions, stage.triangles)
        self._dense = self._surfaces.solid
        self._solid = self._rays if self._dense is None else Rays(stage.positions, stage.triangles, self._dense)

    def close(self) -> None:
        """Nothing is held beyond memory."""

    def draw(self, camera: Camera, look: Look) -> NDArray[numpy.uint8]:
        """A picture, (height, width, 4): sRGB and straight opacity; the camera is one of the world."""
        fine = Frame(camera.moved(self._stage.scale, self._stage.shift), look.samples)
        coarse = fine.coarse()
        crevices = Crevices(self._solid, self._surfaces, coarse) if look.crevices else None
        splats = None
        if len(self._stage.points):
            size = look.diameter(camera, len(self._stage.points)) * look.samples
            splats = Splats(self._stage.points, self._stage.point_colours, fine, size)
        picture = numpy.empty((camera.height * camera.width, 4), numpy.float32)
        seen = crevices.seen if crevices is not None and self._solid is self._rays else []
        for pixels in _batches(numpy.arange(len(picture)), BATCH):
            known = seen.pop(0) if seen else None
            strip = splats.strip(pixels) if splats is not None and look.samples == 1 else None
            picture[pixels] = self._samples(coarse, look, pixels, crevices, strip, known)
        if look.samples > 1:
            again = _uneven(picture.reshape(camera.height, camera.width, 4))
            if splats is not None:
                again |= splats.pixels
            for pixels in _batches(numpy.flatnonzero(again), BATCH // look.samples**2):
                strip = None if splats is None else splats.strip(pixels)
                picture[pixels] = fine.averaged(self._samples(fine, look, pixels, crevices, strip))
        return finished(picture.reshape(camera.height, camera.width, 4), look)

    def _samples(
        self,
        frame: Frame,
        look: Look,
        pixels: NDArray[Any],
        crevices: Crevices | None,
        strip: Strip | None,
        known: Hits | None = None,
    ) -> Floats:
        """The samples of some pixels: sRGB multiplied with opacity, and opacity, (n, 4).

        strip is what points show there; known is what the rays meet first, where that was asked before.
        """
        origins, directions = frame.rays(pixels)
        shadow = None if crevices is None else numpy.repeat(crevices.at(pixels), frame.samples**2)
        result = numpy.zeros((len(origins), 4), numpy.float32)
        left = numpy.ones(len(origins), numpy.float32)  # of the light that has passed all layers so far
        alive = numpy.arange(len(origins))
        for _ in range(_LAYERS):
            hits = known or self._rays.first(origins[alive], directions[alive], frame.eye, frame.forward)
            known = None
            if strip is not None:
                hits = strip.before(hits, alive)
            where = alive[hits.rays]
            colours = self._coloured(hits, frame, look, None if shadow is None else shadow[where])
            share = colours[:, 3] * left[where]
            result[where, :3] += colours[:, :3] * share[:, None]
            result[where, 3] += share
            left[where] -= share
            if not self._surfaces.see_through:
                break
            going = left[where] > _FAINT
            alive = where[going]
            if not len(alive):
                break
            origins[alive] = hits.positions[going] + directions[alive] * numpy.float32(_STEP)
        if strip is not None:
            strip.rest(result, left)
        return result

    def _coloured(self, hits: Hits, frame: Frame, look: Look, shadow: Floats | None) -> Floats:
        """sRGB and opacity of hits, (n, 4)."""
        footprint = frame.footprint(hits.depths)
        if shadow is not None and self._dense is not None:  # crevices are those of what lies behind the glass
            shadow = numpy.where(self._dense[hits.triangles], shadow, numpy.float32(1))
        surface = self._surfaces.at(hits, footprint)
        light = studio.shade(
            albedo=surface.albedo,
            metalness=surface.metalness,
            roughness=surface.roughness,
            normals=surface.normals @ frame.axes.T,
            views=hits.views @ frame.axes.T,
            shadow=shadow,
            emission=surface.emission,
        )
        colours = numpy.empty((len(hits.rays), 4), numpy.float32)
        colours[:, :3] = studio.encode(light)
        colours[:, 3] = surface.opacity
        if look.edges:
            on_edge = self._surfaces.near_edge(hits, footprint * frame.samples)
            edge = numpy.array(look.edge_colour, numpy.float32) / 255
            colours += (numpy.array([*edge, 1], numpy.float32) - colours) * on_edge[:, None]
        return colours


def _batches(pixels: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    for start in range(0, len(pixels), size):
        yield pixels[start : start + size]


def _uneven(picture: Floats) -> NDArray[numpy.bool_]:
    """Which pixels, counted row by row, look different from one of their eight neighbours."""
    least, most = picture, picture
    for axis in (0, 1):
        ahead, behind = (_beside(least, axis, way) for way in (1, -1))
        higher, lower = (_beside(most, axis, way) for way in (1, -1))
        least = numpy.minimum(numpy.minimum(least, ahead), behind)
        most = numpy.maximum(numpy.maximum(most, higher), lower)
    different: NDArray[numpy.bool_] = (most - least).max(axis=2) > _CONTRAST
    return different.reshape(-1)


def _beside(array: Floats, axis: int, way: int) -> Floats:
    """The array shifted by one along an axis; the border stays."""
    size = array.shape[axis]
    places = numpy.clip(numpy.arange(size) + way, 0, size - 1)
    return array.take(places, axis=axis)
