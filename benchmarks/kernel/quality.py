"""What simplifying and repairing does to known shapes: how far the surfaces are apart, and whether they stay closed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pixyz_worker.kernel.algorithms import adjacency
from pixyz_worker.kernel.algorithms.closest import closest
from pixyz_worker.kernel.algorithms.decimation import reduced
from pixyz_worker.kernel.algorithms.mesh_repair import repaired
from pixyz_worker.kernel.mesh import Mesh, make_mesh

SAMPLES = 10_000
"""Points on each surface from which the distance to the other one is taken."""
RATIOS = (0.5, 0.1, 0.02)
"""Shares of the triangles that are left."""
_DENSITY = 10
"""Samples on the other surface for each point, to find its nearest triangles."""
_CANDIDATES = 12
"""Nearest samples, and nearest middles of triangles, whose triangles are looked at for each point."""
_WELD_M = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """How far two surfaces are from each other, taken both ways, as shares of the diagonal of the first one's box."""

    rms: float
    """Root of the mean square, of the worse way."""
    maximum: float
    """The largest one found (a sampled Hausdorff distance)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What became of one shape."""

    name: str
    """The shape, and what was done to it."""
    before: int
    """Triangles before."""
    wanted: int | None
    """Triangles asked for; None for a repair."""
    after: int
    """Triangles after."""
    distance: Distance
    """How far the surfaces are from each other."""
    closed_before: bool
    """Whether each edge had two triangles, after equal positions were joined."""
    closed_after: bool
    """Whether it has now."""


def decimations(sample: Path) -> list[Quality]:
    """The known shapes, and the parts of the STEP sample welded, simplified to several shares of their triangles."""
    shapes = known()
    for number, mesh in enumerate(bracket(sample), 1):
        welded, _ = repaired(mesh, _WELD_M)
        if welded is not None:
            shapes[f"bracket assembly, part {number}"] = welded
    return [_decimated(name, mesh, ratio) for name, mesh in shapes.items() for ratio in RATIOS]


def repairs(sample: Path) -> list[Quality]:
    """The known shapes, taken apart to single triangles with errors in them, and the STEP sample's parts, repaired."""
    return [
        *(_repaired(f"{name}, as triangles of their own", spoilt(mesh)) for name, mesh in known().items()),
        *(_repaired(f"bracket assembly, part {number}", mesh) for number, mesh in enumerate(bracket(sample), 1)),
    ]


def known() -> dict[str, Mesh]:
    """Closed shapes by name."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=6)
    ring = trimesh.creation.torus(1.0, 0.3, major_sections=400, minor_sections=120)
    return {"ball": make_mesh(ball.vertices, ball.faces), "ring": make_mesh(ring.vertices, ring.faces)}


def bracket(sample: Path) -> list[Mesh]:
    """The different meshes of a STEP file, as cascadio tessellates it."""
    import cascadio
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(cascadio.load(sample.read_bytes(), file_type="step")), file_type="glb")
    different = {mesh.identifier_hash: mesh for mesh in scene.geometry.values()}
    return [make_mesh(mesh.vertices, mesh.faces) for mesh in different.values()]


def spoilt(mesh: Mesh) -> Mesh:
    """The same surface with nothing joined, vertices a little off their places, and some triangles twice."""
    random = numpy.random.default_rng(0)
    triangles = numpy.concatenate([mesh.triangles, mesh.triangles[::50]])
    points = mesh.positions[triangles.reshape(-1)]
    points = points + random.uniform(-_WELD_M / 8, _WELD_M / 8, points.shape)
    return make_mesh(points, numpy.arange(len(points)).reshape(-1, 3))


def distance(first: Mesh, second: Mesh, samples: int = SAMPLES) -> Distance:
    """Distance of two surfaces: points on each one, evenly by area, to the nearest point of the other.

    It is never too small, and on meshes of long narrow triangles up to 5e-4 of the diagonal too large.
    """
    ways = [_to(second, _points_on(first, samples)[0], samples), _to(first, _points_on(second, samples)[0], samples)]
    low, high = first.bounds
    size = float(numpy.linalg.norm(high - low))
    return Distance(
        rms=max(float(numpy.sqrt((way**2).mean())) for way in ways) / size,
        maximum=max(float(way.max()) for way in ways) / size,
    )


def is_closed(mesh: Mesh) -> bool:
    """Whether exactly two triangles meet at each edge, after equal positions were joined."""
    counts = adjacency.edge_counts(adjacency.distinct(mesh.positions)[1][mesh.triangles])[1]
    return bool((counts == 2).all())


def _decimated(name: str, mesh: Mesh, ratio: float) -> Quality:
    wanted = round(len(mesh.triangles) * ratio)
    after = reduced(mesh, wanted)
    return _quality(f"{name}, {ratio:.0%} of its triangles", mesh, after, wanted)


def _repaired(name: str, mesh: Mesh) -> Quality:
    after, _ = repaired(mesh, _WELD_M, orient=True)
    assert after is not None
    return _quality(name, mesh, after, None)


def _quality(name: str, before: Mesh, after: Mesh, wanted: int | None) -> Quality:
    return Quality(
        name=name,
        before=len(before.triangles),
        wanted=wanted,
        after=len(after.triangles),
        distance=distance(before, after),
        closed_before=is_closed(before),
        closed_after=is_closed(after),
    )


def _points_on(
    mesh: Mesh, samples: int, *, by_length: bool = False
) -> tuple[NDArray[numpy.float64], NDArray[numpy.int64]]:
    """Points on a surface, evenly by area, or by the length of triangles' sides, and the triangle of each."""
    random = numpy.random.default_rng(0)
    corners = mesh.positions[mesh.triangles].astype(float)
    sides = corners[:, [1, 2, 0]] - corners
    weight = numpy.linalg.norm(numpy.cross(sides[:, 0], sides[:, 1]), axis=1)
    if by_length:
        weight = numpy.linalg.norm(sides, axis=2).sum(axis=1)
    chosen = random.choice(len(weight), samples, p=weight / weight.sum())
    return numpy.einsum("ij,ijk->ik", random.dirichlet((1.0, 1.0, 1.0), samples), corners[chosen]), chosen


def _to(mesh: Mesh, points: NDArray[numpy.float64], samples: int) -> NDArray[numpy.float64]:
    """How far points are from a surface: exact for the triangles that are looked at.

    Those are the triangles of the nearest samples by area, which find large ones, and by length, which find narrow
    ones, and with the nearest middles, which find small ones.
    """
    corners = mesh.positions[mesh.triangles].astype(float)
    areas, lengths = (_points_on(mesh, samples * _DENSITY, by_length=by_length) for by_length in (False, True))
    near = [owners[cKDTree(places).query(points, k=_CANDIDATES)[1]].T for places, owners in (areas, lengths)]
    middles = cKDTree(corners.mean(axis=1)).query(points, k=min(_CANDIDATES, len(corners)))[1].reshape(len(points), -1)
    best = numpy.full(len(points), numpy.inf)
    for column in (*near[0], *near[1], *middles.T):
        best = numpy.minimum(best, closest(points, corners[column])[1])
    distances: NDArray[numpy.float64] = numpy.sqrt(best)
    return distances
