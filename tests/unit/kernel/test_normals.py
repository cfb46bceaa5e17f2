"""Normals of known shapes."""

from __future__ import annotations

import numpy
import pytest

from pixyz_worker.kernel.algorithms.normals import create_normals, with_normals
from pixyz_worker.kernel.mesh import make_mesh
from tests.unit.kernel import known_shapes as shapes


@pytest.mark.parametrize(("sharp_deg", "vertices"), [(45.0, 24), (100.0, 8)])
def test_a_cube(sharp_deg: float, vertices: int) -> None:
    """Given a cube, when its edges count as sharp, then each side has its own vertices; else they are shared."""
    after = with_normals(shapes.box(), sharp_deg=sharp_deg)

    assert len(after.positions) == vertices
    assert after.normals is not None
    corners = after.normals[after.triangles].mean(axis=1)
    middles = after.positions[after.triangles].mean(axis=1)
    assert (numpy.einsum("ij,ij->i", corners, middles) > 0).all()
    wanted = 1.0 if vertices == 24 else 3**-0.5
    assert numpy.abs(after.normals).max(axis=1) == pytest.approx(wanted, abs=1e-6)


def test_a_ball_of_single_triangles() -> None:
    """Given a ball of single triangles, when it gets normals, then they are smooth and vertices are joined."""
    after = with_normals(shapes.soup(shapes.ball()))

    assert after.normals is not None
    assert len(after.positions) == 642
    assert numpy.einsum("ij,ij->i", after.normals, after.positions) == pytest.approx(1.0, abs=2e-3)


def test_angles_weigh() -> None:
    """Given a cube's corner of four triangles, when smooth, then all three sides count the same."""
    after = with_normals(shapes.box(), sharp_deg=180)

    assert after.normals is not None
    assert numpy.abs(after.normals) == pytest.approx(3**-0.5, abs=1e-6)


def test_seams_of_textures_are_smooth() -> None:
    """Given a globe with a seam, when it gets new normals, then both sides of the seam have the same."""
    mesh = shapes.globe(24)

    after = with_normals(make_mesh(mesh.positions, mesh.triangles, uvs=mesh.uvs))

    assert after.normals is not None
    assert after.uvs is not None
    assert {0.0, 1.0} <= set(after.uvs[:, 0].tolist())
    assert numpy.einsum("ij,ij->i", after.normals, after.positions) == pytest.approx(1.0, abs=5e-3)


def test_degenerate_triangles_do_no_harm() -> None:
    """Given a ball with triangles that have no area, when it gets normals, then all are unit vectors, and smooth."""
    ball = shapes.ball(detail=2)
    first = ball.triangles[:40]
    nothing = numpy.stack([first[:, 0], first[:, 0], first[:, 1]], axis=1)

    after = with_normals(make_mesh(ball.positions, numpy.concatenate([ball.triangles, nothing])))

    assert after.normals is not None
    assert len(after.positions) == len(ball.positions)
    assert numpy.linalg.norm(after.normals, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_only_where_there_are_none() -> None:
    """Given parts with and without normals and points, when created, then only the second changes, or both again."""
    ball = shapes.ball(detail=1)
    scene = shapes.scene(
        make_mesh(ball.positions, ball.triangles, normals=-ball.positions), ball, make_mesh([[0, 0, 0]])
    )

    assert create_normals([scene.root]) == 1
    assert scene.parts()[0].mesh.normals[0] @ ball.positions[0] < 0  # type: ignore[union-attr,index]
    assert create_normals([scene.root], again=True) == 2
    assert scene.parts()[0].mesh.normals[0] @ ball.positions[0] > 0  # type: ignore[union-attr,index]
