"""Repair of meshes with known errors."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker.kernel.algorithms.mesh_repair import repair_mesh, repaired
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.scene import Part
from tests.unit.kernel import known_shapes as shapes

_MICRON = 1e-6


def test_triangles_are_joined() -> None:
    """Given a ball of single triangles, slightly apart, when repaired, then it is closed with as many triangles."""
    mesh = shapes.soup(shapes.ball())
    random = numpy.random.default_rng(1)
    scene = shapes.scene(make_mesh(mesh.positions + random.uniform(-2e-7, 2e-7, (3840, 3)), mesh.triangles))

    report = repair_mesh([scene.root], _MICRON)

    after = scene.parts()[0].mesh
    assert after is not None
    assert shapes.is_closed(after)
    assert (report.triangles_after, report.vertices_before, report.vertices_after) == (1280, 3840, 642)
    assert report.welded > 0


def test_bad_triangles_go_and_materials_stay_right() -> None:
    """Given degenerate and double triangles between good ones, when repaired, then good ones keep their materials."""
    red, blue = Material(name="red"), Material(name="blue")
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0], [9, 9, 9]]
    triangles = [[0, 1, 2], [2, 4, 0], [1, 4, 0], [0, 2, 3], [1, 0, 2]]
    mesh = make_mesh(points, triangles, materials=(red, blue, None), triangle_materials=[0, 2, 0, 1, 0])

    after, report = repaired(mesh, 0)

    assert after is not None
    assert (report.degenerate, report.duplicate, report.triangles_after) == (1, 1, 3)
    assert len(after.positions) == 4
    # The last one has the same corners as the first, seen from behind: it stays.
    assert [material for material, _ in after.by_material()] == [red, blue]
    assert [len(chosen) for _, chosen in after.by_material()] == [2, 1]


def test_seams_stay() -> None:
    """Given a globe whose seam is slightly open, when repaired, then it is closed and keeps both sides' coordinates."""
    mesh = shapes.globe(12)
    seam = mesh.uvs[:, 0] == 1  # type: ignore[index]
    positions = mesh.positions.copy()
    positions[seam] += numpy.float32(1e-5)
    opened = make_mesh(positions, mesh.triangles, uvs=mesh.uvs)

    after, _ = repaired(opened, 1e-4)

    assert after is not None
    assert not shapes.is_closed(opened)
    assert shapes.is_closed(after)
    assert {0.0, 1.0} <= set(after.uvs[:, 0].tolist())  # type: ignore[index]


@pytest.mark.parametrize("with_normals", [False, True])
def test_triangles_are_turned_outwards(with_normals: bool) -> None:
    """Given a ball with some triangles turned over, when oriented, then its volume is that of the whole ball."""
    good = shapes.ball()
    triangles = good.triangles.copy()
    triangles[::3] = triangles[::3, ::-1]
    mesh = make_mesh(good.positions, triangles, normals=good.positions if with_normals else None)

    after, report = repaired(mesh, 0, orient=True)

    assert after is not None
    assert shapes.volume(after) == pytest.approx(shapes.volume(good))
    assert report.turned == len(triangles[::3])
    if with_normals:
        assert after.normals is not None
        assert (numpy.einsum("ij,ij->i", after.normals, after.positions) > 0).all()


def test_an_inside_out_ball_is_turned() -> None:
    """Given a ball that is inside out beside a good one, when oriented, then only the first is turned."""
    good = shapes.ball(detail=1)
    both = make_mesh(
        numpy.concatenate([good.positions, good.positions + numpy.float32(5)]),
        numpy.concatenate([good.triangles[:, ::-1], good.triangles + len(good.positions)]),
    )

    after, report = repaired(both, 0, orient=True)

    assert after is not None
    assert report.turned == len(good.triangles)
    assert shapes.volume(after) == pytest.approx(2 * shapes.volume(good), rel=1e-5)


def test_an_open_sheet_goes_with_the_majority() -> None:
    """Given a sheet with one triangle turned over, when oriented, then that one is turned."""
    sheet = shapes.square(4)
    triangles = sheet.triangles.copy()
    triangles[7] = triangles[7, ::-1]

    after, report = repaired(make_mesh(sheet.positions, triangles), 0, orient=True)

    assert after is not None
    assert report.turned == 1
    assert (after.triangles == sheet.triangles).all(axis=1).sum() >= len(triangles) - 1


def test_cracking() -> None:
    """Given two cubes that share an edge, when cracked, then each has vertices of its own, at the same places."""
    cube = shapes.box()
    both = make_mesh(
        numpy.concatenate([cube.positions, cube.positions + numpy.float32([1, 1, 0])]),
        numpy.concatenate([cube.triangles, cube.triangles + 8]),
    )

    plain, _ = repaired(both, 0)
    cracked, report = repaired(both, 0, crack_non_manifold=True)

    assert plain is not None
    assert cracked is not None
    assert (len(plain.positions), len(cracked.positions), report.cracked) == (14, 16, 2)


def test_nothing_left() -> None:
    """Given a part of degenerate triangles alone, when repaired, then what showed it is gone."""
    nothing = Part(mesh=make_mesh([[0, 0, 0], [0, 0, 0], [1, 1, 1]], [[0, 1, 2]]))
    scene = shapes.scene(nothing, nothing, shapes.box())

    repair_mesh([scene.root], 0)

    assert len(scene.root.children) == 1


def test_what_is_good_is_left_alone() -> None:
    """Given a good mesh and points, when repaired, then nothing was changed and the scene keeps its source."""
    scene = shapes.scene(shapes.box(), make_mesh([[0, 0, 0], [0, 0, 0]]))
    before = [part.mesh for part in scene.parts()]

    report = repair_mesh([scene.root], _MICRON, crack_non_manifold=True, orient=True)

    assert [part.mesh for part in scene.parts()] == before
    assert (report.part_count, report.changed_count) == (1, 0)


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_bad_tolerance(tolerance: float) -> None:
    """Given a tolerance that is none, when repaired, then it says so."""
    with pytest.raises(ValueError, match="tolerance"):
        repair_mesh([], tolerance)


_steps = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=3, max_size=60)


@settings(max_examples=40, deadline=None)
@given(corners=_steps, tolerance=st.sampled_from([0.0, 0.9, 1.0, 1.8, 30.0]))
def test_repairing_twice_changes_nothing(corners: Any, tolerance: float) -> None:
    """Given any triangles, when repaired twice, then the second time nothing is done, and nothing moves too far."""
    corners = corners[: len(corners) // 3 * 3]
    mesh = make_mesh(corners, numpy.arange(len(corners)).reshape(-1, 3))

    once, _ = repaired(mesh, tolerance)

    if once is not None:
        again, report = repaired(once, tolerance)
        assert (report.welded, report.degenerate, report.duplicate) == (0, 0, 0)
        assert again is once
