"""Rays against triangles, with Embree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.embree import EmbreeScene, TriangleMesh

Floats = NDArray[numpy.float32]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Hits:
    """Where rays meet triangles."""

    rays: NDArray[numpy.intp]
    """The numbers of the rays that hit, (n,)."""
    triangles: NDArray[numpy.int32]
    """The triangles that they hit, (n,)."""
    weights: Floats
    """Barycentric weights of the triangles' corners, (n, 3)."""
    positions: Floats
    """Where, in the frame of the stage, (n, 3)."""
    normals: Floats
    """Unit normals of the triangles as their corners run, (n, 3)."""
    views: Floats
    """Unit directions back along the rays, (n, 3)."""
    depths: Floats
    """Distance along the direction of the camera, (n,)."""

    def only(self, chosen: NDArray[Any]) -> Hits:
        """Some of them."""
        return Hits(
            rays=self.rays[chosen],
            triangles=self.triangles[chosen],
            weights=self.weights[chosen],
            positions=self.positions[chosen],
            normals=self.normals[chosen],
            views=self.views[chosen],
            depths=self.depths[chosen],
        )


class Rays:
    """Triangles to shoot at."""

    def __init__(
        self, positions: Floats, triangles: NDArray[numpy.uint32], chosen: NDArray[numpy.bool_] | None = None
    ) -> None:
        """Build Embree's tree over triangles, (m, 3), of vertices, (n, 3); over some of them when chosen, (m,), says.

        Hits name the numbers that the triangles have among all.
        """
        self._scene: Any = None
        self._numbers: NDArray[numpy.int32] | None = None
        if chosen is not None:
            self._numbers = numpy.flatnonzero(chosen).astype(numpy.int32)
            triangles = triangles[chosen]
        if len(triangles):
            self._scene = EmbreeScene()
            TriangleMesh(self._scene, positions, triangles.astype(numpy.int32, copy=False))

    def first(self, origins: Floats, directions: Floats, eye: Floats, forward: Floats) -> Hits:
        """What rays with unit directions meet first; eye and forward are the camera's, to measure depth."""
        if self._scene is None:
            nothing = numpy.empty((0, 3), numpy.float32)
            none, depths = numpy.empty(0, numpy.intp), numpy.empty(0, numpy.float32)
            return Hits(
                rays=none,
                triangles=none.astype(numpy.int32),
                weights=nothing,
                positions=nothing,
                normals=nothing,
                views=nothing,
                depths=depths,
            )
        found = self._scene.run(origins, directions, output=True)
        rays = numpy.flatnonzero(found["primID"] >= 0)
        u, v = found["u"][rays], found["v"][rays]
        along = directions[rays]
        positions = origins[rays] + along * found["tfar"][rays, None]
        normals = found["Ng"][rays]
        # Triangles may be so small that the square of their area is no number any more.
        normals = normals / numpy.maximum(numpy.abs(normals).max(axis=1, keepdims=True), numpy.float32(1e-37))
        normals /= numpy.maximum(numpy.sqrt(numpy.einsum("ij,ij->i", normals, normals)), numpy.float32(1e-12))[:, None]
        return Hits(
            rays=rays,
            triangles=found["primID"][rays] if self._numbers is None else self._numbers[found["primID"][rays]],
            weights=numpy.stack([1 - u - v, u, v], axis=1),
            positions=positions,
            normals=normals,
            views=-along,
            depths=(positions - eye) @ forward,
        )

    def blocked(self, origins: Floats, directions: Floats, reach: float) -> NDArray[numpy.bool_]:
        """Whether something lies on rays within a distance, (n,)."""
        if self._scene is None:
            return numpy.zeros(len(origins), numpy.bool_)
        limits = numpy.full(len(origins), reach, numpy.float32)
        found: NDArray[Any] = self._scene.run(origins, directions, dists=limits, query="OCCLUDED")
        return found >= 0
