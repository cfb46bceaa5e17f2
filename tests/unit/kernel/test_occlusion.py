"""What is hidden goes, what is seen stays."""

from __future__ import annotations

from typing import Literal

import numpy
import pytest

from pixyz_worker.kernel.algorithms.occlusion import remove_occluded
from pixyz_worker.kernel.algorithms.visibility import directions
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part
from tests.unit.kernel import known_shapes as shapes

Level = Literal["occurrences", "triangles"]
_QUICK = 128


@pytest.mark.parametrize("level", ["occurrences", "triangles"])
@pytest.mark.parametrize("outer", [shapes.box(3.0), shapes.ball(radius=2.0)], ids=["box", "ball"])
def test_the_inner_one_goes(outer: object, level: Level) -> None:
    """Given a ball inside another shape, when hidden things are removed, then the inner one is gone, the outer not."""
    scene = shapes.scene(outer, shapes.ball())  # type: ignore[arg-type]
    whole = scene.root.children[0].part

    report = remove_occluded([scene.root], level=level, resolution=_QUICK)

    assert [child.part for child in scene.root.children] == [whole]
    assert report.occurrences_removed == 1
    assert report.triangles_after == report.triangles_before - 1280


def test_hidden_triangles_go() -> None:
    """Given two balls that overlap, when hidden triangles are removed, then what is left lies outside of the other."""
    scene = shapes.scene(
        Occurrence(part=Part(mesh=shapes.ball())),
        Occurrence(part=Part(mesh=shapes.ball()), matrix=shapes.place(1, 0, 0)),
    )

    report = remove_occluded([scene.root], resolution=_QUICK)

    assert report.parts_changed == 2
    for child, other in zip(scene.root.children, ((1, 0, 0), (-1, 0, 0)), strict=True):
        mesh = child.part.mesh if child.part else None
        assert mesh is not None
        away = numpy.linalg.norm(mesh.positions[mesh.triangles] - numpy.float32(other), axis=2)
        assert (away.max(axis=1) > 0.99).all()
        assert 900 < len(mesh.triangles) < 1280


def test_nothing_small_is_lost() -> None:
    """Given a fine ball and rays far wider than its triangles, when hidden ones are removed, then none is."""
    scene = shapes.scene(shapes.ball(detail=5))

    report = remove_occluded([scene.root], resolution=8)

    assert report.triangles_after == report.triangles_before


def test_a_large_triangle_that_peeps_out_stays() -> None:
    """Given a large sheet through a ball, when its middle and corners are hidden but not the rest, then it stays."""
    covers = [Occurrence(part=Part(mesh=shapes.ball()), matrix=shapes.place(*place)) for place in (
        (0, 0, 0), (8, 0, 0), (0, 8, 0), (-8, -8, 0))]  # fmt: skip
    corners = [[8, 0, 0], [0, 8, 0], [-8, -8, 0]]
    sheet = Occurrence(part=Part(mesh=make_mesh(corners, [[0, 1, 2]])))
    scene = shapes.scene(sheet, *covers)

    remove_occluded([scene.root], resolution=_QUICK)

    assert sheet in scene.root.children


def test_glass_hides_nothing() -> None:
    """Given a ball in a box of glass, when hidden things are removed, then both stay."""
    box = shapes.box(3.0)
    glass = make_mesh(
        box.positions, box.triangles, materials=(Material(base_colour=(1, 1, 1, 0.3), alpha_mode="blend"),)
    )
    scene = shapes.scene(glass, shapes.ball())

    report = remove_occluded([scene.root], resolution=_QUICK)

    assert report.triangles_after == report.triangles_before


def test_what_one_instance_shows_stays() -> None:
    """Given a part shown inside a ball and outside of it, when hidden triangles are removed, then it stays whole."""
    inner = Part(mesh=shapes.box())
    scene = shapes.scene(
        shapes.ball(radius=2.0), Occurrence(part=inner), Occurrence(part=inner, matrix=shapes.place(9, 0, 0))
    )

    by_triangles = remove_occluded([scene.root], resolution=_QUICK)
    by_occurrences = remove_occluded([scene.root], level="occurrences", resolution=_QUICK)

    assert by_triangles.triangles_after == by_triangles.triangles_before
    assert by_occurrences.occurrences_removed == 1
    assert inner.mesh is not None
    assert len(inner.mesh.triangles) == 12


def test_others_keep_their_part() -> None:
    """Given a part that is half hidden in one group and shown in another, when the first is cut, the second is not."""
    ball = Part(mesh=shapes.ball())
    group = Occurrence(
        children=[Occurrence(part=ball), Occurrence(part=Part(mesh=shapes.ball()), matrix=shapes.place(1, 0, 0))]
    )
    other = Occurrence(part=ball, matrix=shapes.place(50, 0, 0))
    shapes.scene(group, other)

    remove_occluded([group], resolution=_QUICK)

    assert other.part is ball
    assert ball.mesh is not None
    assert len(ball.mesh.triangles) == 1280
    assert group.children[0].part is not ball


def test_hidden_occurrences_are_left_alone() -> None:
    """Given a ball in a hidden box, when hidden things are removed, then both stay."""
    scene = shapes.scene(shapes.box(3.0), shapes.ball(), make_mesh([[0, 0, 0]]))
    scene.root.children[0].visible = False

    remove_occluded([scene.root], resolution=_QUICK)

    assert len(scene.root.children) == 3
    assert scene.triangle_count == 12 + 1280


@pytest.mark.parametrize("count", [1, 6, 26, 100])
def test_directions(count: int) -> None:
    """Given a number of views, when their directions are made, then they are different unit vectors, that many."""
    looks = directions(count)

    assert looks.shape == (count, 3)
    assert numpy.linalg.norm(looks, axis=1) == pytest.approx(1.0)
    assert len(numpy.unique(looks.round(6), axis=0)) == count


def test_bad_options() -> None:
    """Given no view, no ray, or an unknown level, when hidden things are removed, then it says so."""
    for options in ({"views": 0}, {"resolution": 0}, {"level": "patches"}):
        with pytest.raises(ValueError, match=r"one view|taken out"):
            remove_occluded([Occurrence()], **options)  # type: ignore[arg-type]
