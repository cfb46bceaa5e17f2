"""Counts and bounds of known shapes."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker.kernel.algorithms import adjacency, measures
from pixyz_worker.kernel.mesh import make_mesh, moved
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import known_shapes as shapes

_FIN = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]], [[0, 1, 2], [1, 0, 3], [0, 1, 4]])


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        pytest.param(shapes.box(), (8, 12, 18, 0, 0, 0), id="cube"),
        pytest.param(shapes.soup(shapes.box()), (36, 12, 18, 0, 0, 0), id="cube of single triangles"),
        pytest.param(shapes.open_box(), (8, 10, 17, 1, 4, 0), id="open box"),
        pytest.param(shapes.ball(detail=2), (162, 320, 480, 0, 0, 0), id="ball"),
        pytest.param(_FIN, (5, 3, 7, 1, 6, 1), id="three triangles at one edge"),
        pytest.param(make_mesh([[0, 0, 0], [1, 0, 0]]), (2, 0, 0, 0, 0, 0), id="points"),
    ],
)
def test_counts(mesh: Any, expected: tuple[int, ...]) -> None:
    """Given a known shape, when it is counted, then vertices, triangles, edges and boundaries are those it has."""
    infos = measures.mesh_infos([shapes.scene(mesh).root])

    counted = (infos.vertex_count, infos.polygon_count, infos.edge_count, infos.boundary_count)
    assert (*counted, infos.boundary_edge_count, infos.non_manifold_edge_count) == expected


def test_instances() -> None:
    """Given a part shown twice beside another one, when counted, then totals count it twice and the others once."""
    cube, ball = Part(mesh=shapes.box()), Part(mesh=shapes.ball(detail=1))
    root = shapes.scene(cube, cube, ball).root

    infos = measures.mesh_infos([root, root.children[0]])

    assert (infos.part_count, infos.total_part_count) == (2, 3)
    assert (infos.polygon_count, infos.total_polygon_count) == (12 + 80, 24 + 80)
    assert (infos.edge_count, infos.total_edge_count) == (18 + 120, 36 + 120)
    assert measures.polygon_count([root]) == 24 + 80
    assert infos.patch_count == 2


def test_two_holes() -> None:
    """Given an open box twice in one mesh, when counted, then there are two loops of four edges."""
    mesh = shapes.open_box()
    far = mesh.positions + numpy.float32(5)
    both = make_mesh(numpy.concatenate([mesh.positions, far]), numpy.concatenate([mesh.triangles, mesh.triangles + 8]))

    infos = measures.mesh_infos([shapes.scene(both).root])

    assert (infos.boundary_count, infos.boundary_edge_count) == (2, 8)


def test_bounds_of_a_turned_instance() -> None:
    """Given a flat triangle turned by 45 degrees, when bounded, then the box is that of its vertices, not its box."""
    half = 0.5**0.5
    turned = shapes.place(0, 0, 0, turn=[[half, -half, 0], [half, half, 0], [0, 0, 1]])
    triangle = Part(mesh=make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]))
    root = Occurrence(children=[Occurrence(part=triangle, matrix=turned)], matrix=shapes.place(10, 0, 0))

    box = measures.bounds([root])

    assert box == pytest.approx(numpy.array([[10 - half, 0, 0], [10 + half, half, 0]]), abs=1e-6)


def test_bounds_of_nothing() -> None:
    """Given a tree that shows nothing, when bounded, then there is no box."""
    assert measures.bounds([Occurrence(children=[Occurrence()])]) is None


def test_bounds_below_a_child() -> None:
    """Given a child of a moved parent, when the child alone is bounded, then its place in the world counts."""
    child = Occurrence(part=Part(mesh=shapes.box(2.0)))
    Scene(name="s", root=Occurrence(children=[child], matrix=shapes.place(5, 6, 7)))

    assert measures.bounds([child]) == pytest.approx(numpy.array([[4, 5, 6], [6, 7, 8]]))


_numbers = st.floats(-100, 100, width=32)
_places = st.lists(st.tuples(_numbers, _numbers, _numbers), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(first=_places, second=_places, shift=st.tuples(_numbers, _numbers, _numbers))
def test_bounds_are_those_of_the_union(first: Any, second: Any, shift: Any) -> None:
    """Given two clouds, when bounded together or moved, then the box is that of all their points."""
    one, two = make_mesh(first), make_mesh(second)
    matrix = shapes.place(*shift)
    points = numpy.concatenate([one.positions, two.positions]).astype(float)

    box = measures.bounds([shapes.scene(one, two).root])
    moved_box = measures.bounds([shapes.scene(moved(one, matrix), moved(two, matrix)).root])

    assert box == pytest.approx(numpy.array([points.min(axis=0), points.max(axis=0)]))
    assert moved_box == pytest.approx(numpy.array([points.min(axis=0), points.max(axis=0)]) + shift, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40))
def test_distinct_rows(rows: list[tuple[int, int]]) -> None:
    """Given rows, when numbered, then equal ones have the same number, in the order in which they first appear."""
    values = numpy.array(rows, numpy.float32)

    first, numbers = adjacency.distinct(values)

    order = list(dict.fromkeys(rows))
    assert [rows[place] for place in first] == order
    assert [order.index(row) for row in rows] == numbers.tolist()


def test_minus_zero_is_zero() -> None:
    """Given minus zero and zero, when numbered, then they are the same."""
    assert adjacency.distinct(numpy.array([[0.0], [-0.0]], numpy.float32))[1].tolist() == [0, 0]
