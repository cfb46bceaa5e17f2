"""Counts of exact surfaces, against shapes whose counts are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pixyz_worker.kernel.algorithms.brep_measures import BrepInfos, brep_infos
from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part
from tests.unit.kernel import cad_shapes

Need = Callable[[str], None]


def test_meshes_have_no_exact_surfaces() -> None:
    """Given a scene of triangles, when its surfaces are counted, then all is zero, without OpenCASCADE too."""
    mesh = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    assert brep_infos([Occurrence(part=Part(mesh=mesh))]) == BrepInfos()


def test_a_cube_that_is_shown_twice(need_extra: Need) -> None:
    """Given two instances of a cube, when it is counted, then each total is twice the count."""
    need_extra("cad")
    part = Part(brep=OccBrep(cad_shapes.box(10, 20, 30)))
    infos = brep_infos([Occurrence(children=[Occurrence(part=part), Occurrence(part=part)])])
    assert (infos.part_count, infos.total_part_count) == (1, 2)
    assert (infos.vertex_count, infos.edge_count, infos.face_count, infos.body_count) == (8, 12, 6, 1)
    assert (infos.total_vertex_count, infos.total_edge_count, infos.total_body_count) == (16, 24, 2)
    assert (infos.boundary_count, infos.boundary_edge_count, infos.open_shell_count) == (0, 0, 0)
    assert infos.area_m2 == pytest.approx(2 * 0.0022)


def test_occurrences_that_hold_one_another_count_once(need_extra: Need) -> None:
    """Given a group and its child, when both are counted, then the child counts once."""
    need_extra("cad")
    child = Occurrence(part=Part(brep=OccBrep(cad_shapes.box(1, 1, 1))))
    assert brep_infos([Occurrence(children=[child]), child]).total_part_count == 1


def test_a_sphere_has_no_boundary(need_extra: Need) -> None:
    """Given a sphere, when it is counted, then its seam is one edge, and closed."""
    need_extra("cad")
    infos = brep_infos([Occurrence(part=Part(brep=OccBrep(cad_shapes.sphere(10))))])
    assert (infos.face_count, infos.edge_count, infos.boundary_count, infos.body_count) == (1, 1, 0, 1)
    assert infos.area_m2 == pytest.approx(4 * math.pi * 1e-4)


def test_an_open_box_has_one_boundary(need_extra: Need) -> None:
    """Given a box without its lid, when it is counted, then it has one boundary of four edges."""
    need_extra("cad")
    from pixyz_worker.kernel.formats.cad import occ

    builder, shell = occ.BRep.BRep_Builder(), occ.TopoDS.TopoDS_Shell()
    builder.MakeShell(shell)
    for face in occ.faces(cad_shapes.box(1, 1, 1))[:5]:
        builder.Add(shell, face)
    infos = brep_infos([Occurrence(part=Part(brep=OccBrep(shell)))])
    assert (infos.boundary_count, infos.boundary_edge_count) == (1, 4)
    assert (infos.open_shell_count, infos.body_count, infos.face_count) == (1, 1, 5)


def test_loose_faces_have_a_boundary_each(need_extra: Need) -> None:
    """Given six faces that share nothing, when they are counted, then each is a body with a boundary."""
    need_extra("cad")
    from pixyz_worker.kernel.formats.cad import occ

    shape = cad_shapes.loose(occ.faces(cad_shapes.box(1, 1, 1)))
    infos = brep_infos([Occurrence(part=Part(brep=OccBrep(shape)))])
    assert (infos.boundary_count, infos.boundary_edge_count) == (6, 24)
    assert (infos.open_shell_count, infos.body_count) == (6, 6)
