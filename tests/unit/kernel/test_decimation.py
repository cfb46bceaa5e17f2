"""Simplified shapes: as many triangles as asked for, still in shape, and looking the same."""

from __future__ import annotations

import numpy
import pytest

from benchmarks.kernel import quality
from pixyz_worker.kernel.algorithms.decimation import FEWEST, decimate, reduced
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Part
from tests.unit.kernel import known_shapes as shapes


def _close(count: int, wanted: int) -> bool:
    return 0.98 * wanted - 2 <= count <= wanted * 1.02


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("size", [0.001, 1.0, 5000.0])
def test_a_ball_stays_a_ball(ratio: float, size: float) -> None:
    """Given a ball of any size, when simplified, then it is closed, of nearly the same volume, and on target."""
    mesh = shapes.ball(radius=size, detail=5)

    after = reduced(mesh, round(len(mesh.triangles) * ratio))

    assert _close(len(after.triangles), round(20480 * ratio))
    assert shapes.is_closed(after)
    assert shapes.volume(after) == pytest.approx(shapes.volume(mesh), rel=0.04)
    assert quality.distance(mesh, after, 2000).rms < 0.002


def test_single_triangles_stay_closed() -> None:
    """Given a closed ball of single triangles, when simplified, then it has no cracks."""
    after = reduced(shapes.soup(shapes.ball(detail=4)), 800)

    assert _close(len(after.triangles), 800)
    assert shapes.is_closed(after)


def test_a_textured_ball_looks_the_same() -> None:
    """Given a globe with a seam and poles, when simplified, then each place shows the same part of the map."""
    mesh = shapes.globe(60)

    after = reduced(mesh, 1400)

    assert after.uvs is not None
    assert after.normals is not None
    assert _close(len(after.triangles), 1400)
    assert shapes.is_closed(after)
    middle = after.positions[after.triangles].mean(axis=1)
    along = numpy.arctan2(middle[:, 1], middle[:, 0]) / (2 * numpy.pi) % 1
    down = numpy.arccos(numpy.clip(middle[:, 2] / numpy.linalg.norm(middle, axis=1), -1, 1)) / numpy.pi
    shown = after.uvs[after.triangles]
    away = numpy.abs(middle[:, 2]) < 0.9  # at the poles longitude has no meaning
    assert numpy.ptp(shown[away], axis=1).max() < 0.2
    assert numpy.abs(shown.mean(axis=1)[away] - numpy.stack([along, down], axis=1)[away]).max() < 0.02
    assert (numpy.einsum("ij,ij->i", after.normals, after.positions) > 0.95).all()


def test_a_flat_texture_stays_where_it_is() -> None:
    """Given a bumpy textured square, when simplified, then texture coordinates still follow the place exactly."""
    mesh = shapes.square(60, height=0.02)

    after = reduced(mesh, 700)

    assert after.uvs is not None
    assert _close(len(after.triangles), 700)
    assert numpy.abs(after.uvs - numpy.stack([after.positions[:, 0], 1 - after.positions[:, 1]], axis=1)).max() < 0.005
    low, high = after.bounds[:, :2]
    assert low == pytest.approx([0, 0], abs=1e-6)
    assert high == pytest.approx([1, 1], abs=1e-6)


def test_material_borders_stay() -> None:
    """Given a square half red and half blue, when simplified, then each half has its own material and area."""
    after = reduced(shapes.two_coloured(40), 100)

    areas = {material.name: shapes.area(piece) for material, piece in after.pieces() if material}
    assert len(after.triangles) <= 100
    assert areas == pytest.approx({"red": 0.5, "blue": 0.5}, abs=1e-4)


def test_colours_are_carried() -> None:
    """Given a square whose colour follows x, when simplified, then it still does."""
    mesh = shapes.square(40, height=0.02)
    level = numpy.rint(mesh.positions[:, 0] * 255).astype(numpy.uint8)
    colours = numpy.stack([level, level, level, numpy.full_like(level, 255)], axis=1)

    after = reduced(make_mesh(mesh.positions, mesh.triangles, colours=colours), 500)

    assert after.colours is not None
    assert numpy.abs(after.colours[:, 0] - after.positions[:, 0] * 255).max() < 4
    assert (after.colours[:, 3] == 255).all()


@pytest.mark.parametrize("protect", [True, False])
def test_open_borders(protect: bool) -> None:
    """Given a wavy-edged flat sheet, when borders are protected, then its area stays; else it may shrink."""
    mesh = shapes.square(40)
    points = mesh.positions.copy()
    points[:, 1] *= 1 + 0.2 * numpy.sin(12 * points[:, 0])

    after = reduced(make_mesh(points, mesh.triangles), 200, protect_boundaries=protect)

    assert _close(len(after.triangles), 200)
    if protect:
        assert shapes.area(after) == pytest.approx(shapes.area(make_mesh(points, mesh.triangles)), rel=0.002)


def test_sharp_normals_stay_sharp() -> None:
    """Given a fine cube with a normal for each side, when simplified, then all normals are still those of the sides."""
    import trimesh

    fine = trimesh.creation.box((1, 1, 1)).subdivide().subdivide().subdivide().subdivide()
    flat = shapes.soup(make_mesh(fine.vertices, fine.faces))
    normals = numpy.repeat(fine.face_normals, 3, axis=0)

    after = reduced(make_mesh(flat.positions, flat.triangles, normals=normals), 60)

    assert after.normals is not None
    assert _close(len(after.triangles), 60)
    assert shapes.is_closed(after)
    assert numpy.abs(after.normals).max(axis=1) == pytest.approx(1.0, abs=1e-3)


def test_narrow_triangles_do_not_stop_it() -> None:
    """Given a disc of narrow triangles with some of no area, when simplified, then the target is met."""
    turn = numpy.linspace(0, 2 * numpy.pi, 720, endpoint=False)
    rim = numpy.stack([numpy.cos(turn), numpy.sin(turn), 0 * turn], axis=1)
    here, there = numpy.arange(720), (numpy.arange(720) + 1) % 720
    top, bottom = numpy.full(720, 1440), numpy.full(720, 1441)
    faces = [
        (here, there, top),
        (there + 720, here + 720, bottom),
        (here + 720, there + 720, there),
        (here + 720, there, here),
    ]
    mesh = make_mesh(
        numpy.concatenate([rim + numpy.array([0, 0, 0.1]), rim, [[0, 0, 0.1], [0, 0, 0]]]),
        numpy.concatenate([numpy.stack(corners, axis=1) for corners in faces]),
    )

    after = reduced(mesh, 288)

    assert _close(len(after.triangles), 288)
    assert shapes.is_closed(after)
    assert shapes.volume(after) == pytest.approx(shapes.volume(mesh), rel=0.01)


def test_the_target_counts_instances() -> None:
    """Given a ball shown three times and a small cube, when simplified to a count, then the whole scene meets it."""
    ball, cube = Part(mesh=shapes.ball(detail=4)), Part(mesh=shapes.box())
    scene = shapes.scene(ball, ball, ball, cube)

    report = decimate([scene.root], count=3000)

    assert (report.triangles_before, report.target, report.part_count) == (3 * 5120 + 12, 3000, 1)
    assert _close(report.triangles_after, 3000)
    assert report.triangles_after == scene.triangle_count
    assert cube.mesh is not None
    assert len(cube.mesh.triangles) == FEWEST


def test_larger_parts_give_what_small_ones_cannot() -> None:
    """Given twenty cubes and a ball, when simplified to a tenth, then the cubes stay and the ball gives more."""
    scene = shapes.scene(*(shapes.box() for _ in range(20)), shapes.ball(detail=4))

    report = decimate([scene.root], ratio=0.1)

    assert _close(report.triangles_after, round(0.1 * (240 + 5120)))


@pytest.mark.parametrize(("options", "counts"), [({"count": 500}, [500, 500]), ({"ratio": 0.5}, [640, 2560])])
def test_each_part_alone(options: dict[str, float], counts: list[int]) -> None:
    """Given two balls, when each is simplified alone, then each meets the target by itself."""
    scene = shapes.scene(shapes.ball(detail=3), shapes.ball(detail=4))

    decimate([scene.root], **options, each=True)  # type: ignore[arg-type]

    meshes = [part.mesh for part in scene.parts() if part.mesh is not None]
    assert all(_close(len(mesh.triangles), count) for mesh, count in zip(meshes, counts, strict=True))


def test_nothing_to_do() -> None:
    """Given points and a ball below the target, when simplified, then nothing is changed."""
    scene = shapes.scene(make_mesh([[0, 0, 0], [1, 1, 1]]), shapes.ball(detail=1))
    before = [part.mesh for part in scene.parts()]

    report = decimate([scene.root], count=5000)

    assert report.part_count == 0
    assert [part.mesh for part in scene.parts()] == before


@pytest.mark.parametrize(
    "options", [{}, {"count": 10, "ratio": 0.5}, {"count": -1}, {"ratio": 1.5}, {"ratio": float("nan")}]
)
def test_bad_targets(options: dict[str, float]) -> None:
    """Given no target, two of them, or one that is none, when simplified, then it says so."""
    with pytest.raises(ValueError, match=r"needed|must"):
        decimate([], **options)  # type: ignore[arg-type]


def test_the_step_sample(sample: object) -> None:
    """Given the parts of the STEP sample welded, when simplified to a tenth, then they stay closed and on target."""
    from pathlib import Path

    assert isinstance(sample, Path)
    meshes: list[Mesh] = quality.bracket(sample)

    for mesh in meshes:
        after = reduced(mesh, len(mesh.triangles) // 10)

        assert _close(len(after.triangles), len(mesh.triangles) // 10)
        assert shapes.is_closed(after)
