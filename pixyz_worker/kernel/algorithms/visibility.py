"""Which surfaces are seen from outside, by rays (Embree)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.embree import EmbreeScene, TriangleMesh

Floats = NDArray[numpy.float64]
Integers = NDArray[numpy.int64]
Marks = NDArray[numpy.bool_]

_RAYS = 1 << 18
"""Rays that are cast at once: bounds the memory."""
_LIFT = 1e-5
"""How far above a surface a ray starts, relative to the size of the scene; gaps narrower than this are open."""
_SAMPLES = numpy.array([[1, 1, 1], [8, 1, 1], [1, 8, 1], [1, 1, 8]]) / numpy.array([[3], [10], [10], [10]])
"""Weights of the corners that give the points of a triangle which are looked at: its middle, and near each corner."""
_MISS = -1
"""What Embree says of a ray that hits nothing."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Surfaces:
    """Triangles in the world, and what they belong to."""

    points: Floats
    """Vertices, (n, 3)."""
    triangles: Integers
    """Their numbers, (m, 3)."""
    things: Integers
    """For each triangle the number of the thing that is seen when it is, (m,)."""
    opaque: Marks
    """Which triangles hide what is behind, (m,)."""


def seen_from_outside(surfaces: Surfaces, *, views: int, resolution: int) -> Marks:
    """Which things are seen from outside, from one of `views` directions.

    First each triangle looks out: a ray goes from its middle, and from near its corners, towards each view, until one
    meets nothing. However small, what can be seen is found so. Then, for larger triangles that are still unseen and
    may peep out in between, one looks in: parallel rays from each view, `resolution` across the whole scene.

    Returns:
        A mark for each thing, (highest number + 1,).
    """
    low, high = surfaces.points.min(axis=0), surfaces.points.max(axis=0)
    size = max(float(numpy.linalg.norm(high - low)), 1e-30)
    corners = ((surfaces.points - (low + high) / 2) / size).astype(numpy.float32)[surfaces.triangles]
    seen = numpy.zeros(int(surfaces.things.max()) + 1, bool)
    opaque = numpy.flatnonzero(surfaces.opaque)
    if not len(opaque):
        return numpy.ones(len(seen), bool)
    scene = _scene(corners[opaque])
    looks = directions(views)
    _look_out(scene, corners, surfaces.things, looks, seen)
    clear = numpy.flatnonzero(~surfaces.opaque)
    panes = _scene(corners[clear]) if len(clear) else None
    for look in looks:
        inwards = -look[None].astype(numpy.float32)
        for origins in _window(corners[~seen[surfaces.things]], look, 1 / resolution):
            hit = scene.run(origins, inwards)
            seen[surfaces.things[opaque[numpy.unique(hit[hit != _MISS])]]] = True
            if panes is not None:
                # What is transparent is seen where it lies before the first that is not.
                hit = panes.run(origins, inwards, scene.run(origins, inwards, query="DISTANCE"))
                seen[surfaces.things[clear[numpy.unique(hit[hit != _MISS])]]] = True
    return seen


def directions(count: int) -> Floats:
    """Unit vectors towards the views, (count, 3): along axes, diagonals of the cube and of its faces, then others.

    From the 27th on they lie on a Fibonacci spiral (R. Swinbank and R. J. Purser, Fibonacci grids, 2006).
    """
    grid = numpy.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], float)
    number_of_axes = numpy.abs(grid).sum(axis=1)
    cube = numpy.concatenate([grid[number_of_axes == axes] for axes in (1, 3, 2)])
    further = numpy.arange(max(count - len(cube), 0)) + 0.5
    height = 1 - 2 * further / max(len(further), 1)
    turn = further * numpy.pi * (3 - 5**0.5)
    radius = numpy.sqrt(1 - height**2)
    spiral = numpy.stack([radius * numpy.cos(turn), radius * numpy.sin(turn), height], axis=1)
    every = numpy.concatenate([cube / numpy.linalg.norm(cube, axis=1, keepdims=True), spiral])
    return every[:count]


def _scene(corners: NDArray[Any]) -> Any:
    """Triangles (m, 3, 3) for Embree, such that no ray slips through between two of them."""
    scene = EmbreeScene(robust=True)
    TriangleMesh(scene, corners)
    return scene


def _look_out(scene: Any, corners: NDArray[Any], things: Integers, looks: Floats, seen: Marks) -> None:
    """Mark the things of which a point of a triangle has nothing between itself and a view."""
    for weights in _SAMPLES:
        for look in looks:
            hidden = numpy.flatnonzero(~seen[things])
            for start in range(0, len(hidden), _RAYS):
                chosen = hidden[start : start + _RAYS]
                origins = numpy.einsum("i,jik->jk", weights, corners[chosen]) + look * _LIFT
                met = scene.run(origins.astype(numpy.float32), look[None].astype(numpy.float32), query="OCCLUDED")
                seen[things[chosen[met == _MISS]]] = True


def _window(corners: NDArray[Any], look: Floats, step: float) -> Iterator[NDArray[numpy.float32]]:
    """Where parallel rays begin that come from a view and cover those triangles larger than a step, in tiles."""
    across = numpy.cross(look, [0.0, 0, 1] if abs(look[2]) < 0.9 else [1.0, 0, 0])
    across /= numpy.linalg.norm(across)
    upwards = numpy.cross(across, look)
    flat = corners @ numpy.stack([across, upwards]).T.astype(numpy.float32)
    flat = flat[(numpy.ptp(flat, axis=1) > step).any(axis=1)].reshape(-1, 2)
    if not len(flat):
        return
    first, last = numpy.floor(flat.min(axis=0) / step).astype(int), numpy.ceil(flat.max(axis=0) / step).astype(int)
    columns = (numpy.arange(first[0], last[0]) + 0.5) * step
    lines = (numpy.arange(first[1], last[1]) + 0.5) * step
    height = max(_RAYS // max(len(columns), 1), 1)
    for start in range(0, len(lines), height):
        x, y = numpy.meshgrid(columns, lines[start : start + height])
        origins = x.reshape(-1, 1) * across + y.reshape(-1, 1) * upwards + look
        yield origins.astype(numpy.float32)
