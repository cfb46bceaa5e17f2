"""What a stage looks like where rays meet it: colours, textures, normals and opacity of many hits at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.material import Material, Texture
from pixyz_worker.kernel.pictures.rays import Hits
from pixyz_worker.kernel.pictures.stage import Stage
from pixyz_worker.kernel.pictures.studio import linear
from pixyz_worker.kernel.pictures.textures import Atlas

Floats = NDArray[numpy.float32]
_TURNED = -0.35
"""A normal that looks away from the camera by more than this cosine was stored the wrong way round."""
_MODES = {"opaque": 0, "mask": 1, "blend": 2}


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Surface:
    """The look of hits."""

    albedo: Floats
    """Linear colours, (n, 3)."""
    opacity: Floats
    """From 0 to 1, (n,)."""
    metalness: Floats
    """From 0 to 1, (n,)."""
    roughness: Floats
    """From 0 to 1, (n,)."""
    normals: Floats
    """Unit normals on the side of the camera, in the frame of the stage, (n, 3)."""
    emission: Floats | None
    """Linear light that is sent out, (n, 3); None when nothing shines."""


class Surfaces:
    """The look of all triangles of a stage."""

    def __init__(self, stage: Stage) -> None:
        """Decode the textures, and put the materials into tables."""
        self._stage = stage
        groups = stage.groups
        materials = [group.material for group in groups]
        counts = [group.triangles.stop - group.triangles.start for group in groups]
        self._group = numpy.repeat(numpy.arange(len(groups), dtype=numpy.int32), counts)
        self._base = _table([material.base_colour for material in materials], 4)
        self._emission = _table([material.emission for material in materials], 3)
        self._metal = _table([(material.metalness, material.roughness) for material in materials], 2)
        self._cutoff = _table([(material.alpha_cutoff,) for material in materials], 1)[:, 0]
        self._mode = numpy.array([_MODES[material.alpha_mode] for material in materials], numpy.int8)
        self._double = numpy.array([material.double_sided for material in materials], numpy.bool_)
        used = [texture for group in groups if group.textured for texture in _drawn(group.material)]
        self._atlas = Atlas(texture for texture in used if texture is not None)
        numbers = [[self._atlas.number(t) for t in _drawn(g.material)] if g.textured else [-1, -1, -1] for g in groups]
        self._textures = numpy.array(numbers, numpy.int64).reshape(-1, 3)

    @property
    def see_through(self) -> bool:
        """Whether a ray may pass a triangle that it meets."""
        return bool((self._mode > 0).any() or not self._double.all())

    @property
    def solid(self) -> NDArray[numpy.bool_] | None:
        """Which triangles throw shadows, (m,); None when all do."""
        blended = self._mode == _MODES["blend"]
        return ~blended[self._group] if blended.any() else None

    def at(self, hits: Hits, footprint: Floats) -> Surface:
        """The look of hits; footprint (n,) is the side of a ray's square there, as a length."""
        groups = self._group[hits.triangles]
        corners = self._stage.triangles[hits.triangles]
        colour = self._base[groups]
        if self._stage.colours is not None:
            own = _mixed(self._stage.colours[corners], hits.weights) * numpy.float32(1 / 255)
            colour[:, :3] *= linear(own[:, :3])
            colour[:, 3] *= own[:, 3]
        metal = self._metal[groups]
        emission = self._emission[groups] if self._emission.any() else None
        if self._stage.uvs is not None and self._textures.max(initial=-1) >= 0:
            self._paint(hits, groups, corners, footprint, colour, metal, emission)
        normals, front = self._normals(hits, corners)
        mode = self._mode[groups]
        opacity = numpy.where(mode == 0, 1, numpy.where(mode == 1, colour[:, 3] >= self._cutoff[groups], colour[:, 3]))
        opacity = numpy.where(front | self._double[groups], opacity, 0)
        return Surface(
            albedo=colour[:, :3],
            opacity=opacity.astype(numpy.float32),
            metalness=metal[:, 0],
            roughness=metal[:, 1],
            normals=normals,
            emission=emission,
        )

    def near_edge(self, hits: Hits, width: Floats) -> Floats:
        """How much of each hit is covered by a line of some width (n,) along the triangles' edges, (n,)."""
        corners = self._stage.positions[self._stage.triangles[hits.triangles]]
        sides = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]  # opposite each corner
        lengths = numpy.sqrt(numpy.einsum("ijk,ijk->ij", sides, sides))
        area = numpy.linalg.norm(numpy.cross(sides[:, 0], sides[:, 1]), axis=1)  # twice the area
        distance = (hits.weights * area[:, None] / numpy.maximum(lengths, numpy.float32(1e-20))).min(axis=1)
        result: Floats = numpy.clip(1.5 - distance / (width * numpy.float32(0.6)), 0, 1).astype(numpy.float32)
        return result

    def facing(self, hits: Hits) -> Floats:
        """Unit normals on the side of the camera, (n, 3)."""
        return self._normals(hits, self._stage.triangles[hits.triangles])[0]

    def _normals(self, hits: Hits, corners: NDArray[numpy.uint32]) -> tuple[Floats, NDArray[numpy.bool_]]:
        """Normals on the side of the camera, and whether the front of the triangles is seen."""
        front = _dot(hits.normals, hits.views) >= 0
        if self._stage.normals is None:
            normals = hits.normals
        else:
            normals = _mixed(self._stage.normals[corners], hits.weights)
            lengths = numpy.sqrt(_dot(normals, normals))
            flat = lengths < 0.05
            normals /= numpy.maximum(lengths, numpy.float32(1e-6))[:, None]
            normals[flat] = hits.normals[flat]
        normals = normals * numpy.where(front, numpy.float32(1), numpy.float32(-1))[:, None]
        turned = _dot(normals, hits.views) < _TURNED
        normals[turned] *= -1
        return normals, front

    def _paint(
        self,
        hits: Hits,
        groups: NDArray[Any],
        corners: NDArray[numpy.uint32],
        footprint: Floats,
        colour: Floats,
        metal: Floats,
        emission: Floats | None,
    ) -> None:
        """Multiply the textures into the tables' values."""
        assert self._stage.uvs is not None
        painted = numpy.flatnonzero((self._textures[groups] >= 0).any(axis=1))
        ends = self._stage.uvs[corners[painted]]
        uvs = _mixed(ends, hits.weights[painted])
        size = footprint[painted] * _density(ends, self._stage.positions[corners[painted]])
        for kind in range(3):
            numbers = self._textures[groups[painted], kind]
            chosen = numpy.flatnonzero(numbers >= 0)
            if not len(chosen):
                continue
            seen = self._atlas.look(numbers[chosen], uvs[chosen], size[chosen], coloured=kind != 1)
            rows = painted[chosen]
            if kind == 0:
                colour[rows] *= seen
            elif kind == 1:
                metal[rows] *= seen[:, [2, 1]]
            elif emission is not None:
                emission[rows] *= seen[:, :3]


def _drawn(material: Material) -> tuple[Texture | None, Texture | None, Texture | None]:
    return material.base_colour_texture, material.metal_rough_texture, material.emission_texture


def _density(uvs: Floats, positions: Floats) -> Floats:
    """Lengths of texture coordinates for a length on the surface, (n,), of triangles given as (n, 3, width)."""
    one, other = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    flat = numpy.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
    across = numpy.cross(positions[:, 1] - positions[:, 0], positions[:, 2] - positions[:, 0])
    result: Floats = numpy.sqrt(flat / numpy.maximum(numpy.sqrt(_dot(across, across)), numpy.float32(1e-12)))
    return result


def _mixed(values: NDArray[Any], weights: Floats) -> Floats:
    """Values at the corners (n, 3, width), mixed by weights (n, 3): (n, width)."""
    result: Floats = values[:, 0] * weights[:, 0:1]
    result += values[:, 1] * weights[:, 1:2]
    result += values[:, 2] * weights[:, 2:3]
    return result


def _table(rows: list[Any], width: int) -> Floats:
    return numpy.array(rows, numpy.float32).reshape(-1, width)


def _dot(one: Floats, other: Floats) -> Floats:
    result: Floats = numpy.einsum("ij,ij->i", one, other)
    return result
