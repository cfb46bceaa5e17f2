"""Repair of exact surfaces: loose faces become a body, and their colours stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest

from pixyz_worker.kernel.algorithms.brep_measures import brep_infos
from pixyz_worker.kernel.algorithms.cad_repair import repair_cad
from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import cad_shapes

Need = Callable[[str], None]


@pytest.fixture
def cad(need_extra: Need) -> None:
    """OpenCASCADE is here."""
    need_extra("cad")


def loose_box(gap_mm: float, count: int = 6) -> Scene:
    """The first faces of a box of 10 x 20 x 30 mm, each of its own colour, each moved a little."""
    from pixyz_worker.kernel.formats.cad import occ

    materials = tuple(cad_shapes.colour((number / 10, 0, 0), str(number)) for number in range(6))
    numbers = numpy.arange(count, dtype=numpy.uint16)
    shape = cad_shapes.loose(occ.faces(cad_shapes.box(10, 20, 30))[:count], gap_mm)
    return cad_shapes.shown(shape, materials=materials, face_materials=numbers)


def brep_of(scene: Scene) -> OccBrep:
    """The surfaces of the one part."""
    (part,) = scene.parts()
    assert isinstance(part.brep, OccBrep)
    return part.brep


@pytest.mark.usefixtures("cad")
@pytest.mark.parametrize("orient", [True, False])
def test_loose_faces_become_a_solid(orient: bool) -> None:
    """Given the faces of a box that nearly meet, when repaired, then they are one closed body, once and for all."""
    from pixyz_worker.kernel.formats.cad import occ

    scene = loose_box(0.001)
    assert repair_cad([scene.root], 1e-4, orient=orient) == 1
    infos = brep_infos([scene.root])
    assert (infos.body_count, infos.face_count, infos.edge_count, infos.vertex_count) == (1, 6, 12, 8)
    assert (infos.boundary_count, infos.open_shell_count) == (0, 0)
    properties = occ.GProp.GProp_GProps()
    occ.BRepGProp.BRepGProp.VolumeProperties_s(brep_of(scene).shape, properties)
    assert properties.Mass() == pytest.approx(6000, rel=0.01)  # positive: it faces outwards
    assert repair_cad([scene.root], 1e-4) == 0


@pytest.mark.usefixtures("cad")
def test_each_face_keeps_its_colour() -> None:
    """Given faces of six colours, when they are sewn, then each still has its own, by its place."""
    scene = loose_box(0.001)
    before = brep_of(scene)
    repair_cad([scene.root], 1e-4)
    sides: list[Callable[[tuple[float, float, float]], bool]] = [
        lambda centre: centre[0] < 0.1,
        lambda centre: centre[0] > 9.9,
        lambda centre: centre[1] < 0.1,
        lambda centre: centre[1] > 19.9,
        lambda centre: centre[2] < 0.1,
        lambda centre: centre[2] > 29.9,
    ]
    for side in sides:
        assert len(cad_shapes.face_look(before, side)) == 1
        assert cad_shapes.face_look(brep_of(scene), side) == cad_shapes.face_look(before, side)


@pytest.mark.usefixtures("cad")
def test_gaps_larger_than_the_tolerance_stay() -> None:
    """Given faces that are far apart, when repaired with a small tolerance, then they stay apart."""
    scene = loose_box(1.0)
    repair_cad([scene.root], 1e-5)
    assert brep_infos([scene.root]).boundary_edge_count > 0


@pytest.mark.usefixtures("cad")
def test_an_open_box_stays_open() -> None:
    """Given a box without a lid, when repaired, then it is one shell with one boundary."""
    scene = loose_box(0.0, 5)
    assert repair_cad([scene.root], 1e-4) == 1
    infos = brep_infos([scene.root])
    assert (infos.boundary_count, infos.boundary_edge_count, infos.open_shell_count) == (1, 4, 1)


@pytest.mark.usefixtures("cad")
def test_neighbours_on_one_plane_are_joined_only_if_asked_and_alike() -> None:
    """Given two boxes fused side by side, when unified, then faces of one plane and one colour are joined."""
    from OCP.BRepAlgoAPI import BRepAlgoAPI_Fuse
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox
    from OCP.gp import gp_Pnt

    from pixyz_worker.kernel.formats.cad import occ

    shape = BRepAlgoAPI_Fuse(cad_shapes.box(1, 1, 1), BRepPrimAPI_MakeBox(gp_Pnt(1, 0, 0), 1, 1, 1).Shape()).Shape()
    assert len(occ.faces(shape)) == 10
    scene = cad_shapes.shown(shape)
    assert repair_cad([scene.root], 1e-4) == 0
    assert repair_cad([scene.root], 1e-4, unify=True) == 1
    assert len(occ.faces(brep_of(scene).shape)) == 6
    looks = numpy.zeros(10, dtype=numpy.uint16)
    looks[[number for number, face in enumerate(occ.faces(shape)) if _centre_x(face) < 1]] = 1
    pair = (cad_shapes.colour(cad_shapes.RED), cad_shapes.colour(cad_shapes.BLUE))
    scene = cad_shapes.shown(shape, materials=pair, face_materials=looks)
    repair_cad([scene.root], 1e-4, unify=True)
    assert len(occ.faces(brep_of(scene).shape)) == 10


@pytest.mark.usefixtures("cad")
def test_what_is_whole_is_left_alone() -> None:
    """Given a sphere and a cube, when they are repaired, then nothing is reported, and the surfaces are the same."""
    for shape in (cad_shapes.sphere(5), cad_shapes.box(1, 2, 3)):
        scene = cad_shapes.shown(shape)
        brep = brep_of(scene)
        assert repair_cad([scene.root], 1e-5) == 0
        assert brep_of(scene) is brep


def test_meshes_are_passed_over() -> None:
    """Given triangles, when exact surfaces are repaired, then nothing happens, without OpenCASCADE too."""
    mesh = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    assert repair_cad([Occurrence(part=Part(mesh=mesh))], 1e-4) == 0


def test_a_tolerance_is_positive() -> None:
    """Given no tolerance, when asked to repair, then it is refused."""
    with pytest.raises(ValueError, match="tolerance"):
        repair_cad([], 0.0)


def _centre_x(face: object) -> float:
    from pixyz_worker.kernel.formats.cad import occ

    properties = occ.GProp.GProp_GProps()
    occ.BRepGProp.BRepGProp.SurfaceProperties_s(face, properties)
    return float(properties.CentreOfMass().X())
