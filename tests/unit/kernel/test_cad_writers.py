"""Writing STEP and BRep: what comes back when our own reader reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.algorithms import tessellation
from pixyz_worker.kernel.algorithms.brep_measures import brep_infos
from pixyz_worker.kernel.axes import turn
from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.formats.cad import step
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import cad_shapes, samples

Need = Callable[[str], None]
pytestmark = pytest.mark.usefixtures("cad")


@pytest.fixture
def cad(need_extra: Need) -> None:
    """OpenCASCADE is here."""
    need_extra("cad")


def at(*place: float) -> numpy.ndarray:
    """A shift in metres."""
    matrix = numpy.eye(4)
    matrix[:3, 3] = place
    return matrix


def tetrahedron(*materials: object) -> Mesh:
    """A closed mesh of four triangles, in metres, each of the next material."""
    corners = [[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]
    numbers = [number % len(materials) for number in range(4)] if len(materials) > 1 else None
    triangles = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    return make_mesh(corners, triangles, materials=materials or (None,), triangle_materials=numbers)  # type: ignore[arg-type]


def corners_of(scene: Scene) -> set[tuple[float, ...]]:
    """The corners of all triangles in the world, rounded to micrometres."""
    found = set()
    for occurrence in scene.instances():
        assert occurrence.part is not None and occurrence.part.mesh is not None
        mesh, world = occurrence.part.mesh, occurrence.world()
        points = mesh.positions[mesh.triangles.ravel()] @ world[:3, :3].T + world[:3, 3]
        found |= {tuple(round(float(value), 6) + 0.0 for value in point) for point in points}
    return found


def tree_of(scene: Scene) -> list[tuple[str, str | None]]:
    """The names of all occurrences and of their parts, below the root."""
    return [(found.name, found.part and found.part.name) for found in list(scene.root.walk())[1:]]


def test_a_step_file_comes_back(tmp_path: Path, sample: Path) -> None:
    """Given the sample, when it is written and read, then tree, places, instances, colours and surfaces are equal."""
    scene = read_scene(sample)
    write_scene(scene, tmp_path / "again.step")
    again = read_scene(tmp_path / "again.step")
    assert tree_of(again) == tree_of(scene)
    assert len(again.parts()) == len(scene.parts()) == 6
    before, after = brep_infos([scene.root]), brep_infos([again.root])
    assert after.area_m2 == pytest.approx(before.area_m2)
    assert (after.face_count, after.total_face_count) == (before.face_count, before.total_face_count)
    for one, other in zip(scene.root.walk(), again.root.walk(), strict=True):
        numpy.testing.assert_allclose(one.world(), other.world(), atol=1e-9)
    for part, same in zip(scene.parts(), again.parts(), strict=True):
        assert isinstance(part.brep, OccBrep) and isinstance(same.brep, OccBrep)
        assert [material and material.name for material in part.brep.materials] == [
            material and material.name for material in same.brep.materials
        ]


def test_colours_of_faces_come_back(tmp_path: Path) -> None:
    """Given a red box with a blue top, when it is written and read, then it is that."""
    from pixyz_worker.kernel.formats.cad import occ

    shape = cad_shapes.box(1, 2, 3)
    looks = numpy.zeros(6, dtype=numpy.uint16)
    looks[5] = 1
    pair = (cad_shapes.colour(cad_shapes.RED), cad_shapes.colour(cad_shapes.BLUE))
    scene = cad_shapes.shown(shape, materials=pair, face_materials=looks)
    write_scene(scene, tmp_path / "box.step")
    (part,) = read_scene(tmp_path / "box.step").parts()
    assert isinstance(part.brep, OccBrep)
    assert len(occ.faces(part.brep.shape)) == 6
    (top,) = cad_shapes.face_look(part.brep, lambda centre: centre[2] > 2.9)
    assert top is not None
    numpy.testing.assert_allclose(top.base_colour, (*cad_shapes.BLUE, 1), atol=1e-3)


def test_metadata_comes_back(tmp_path: Path) -> None:
    """Given properties of a part and of an instance, when written and read, then they are there, by kind."""
    scene = cad_shapes.shown(cad_shapes.box(1, 2, 3))
    told = {"Größe in mm": "ä ö", "Anzahl": 3, "Dichte": 2.5, "Layer": "Gehäuse"}
    (part,) = scene.parts()
    part.metadata = dict(told)
    write_scene(scene, tmp_path / "box.step")
    (again,) = read_scene(tmp_path / "box.step").parts()
    assert {key: again.metadata[key] for key in told} == told
    assert "Material" not in again.metadata


def test_meshes_are_written_as_triangles(tmp_path: Path) -> None:
    """Given triangles of two materials, shown twice, when written as STEP, then both ways of reading find them."""
    pair = (cad_shapes.colour(cad_shapes.RED), cad_shapes.colour(cad_shapes.BLUE))
    part = Part(name="Vierflächner", mesh=tetrahedron(*pair))
    children = [Occurrence(name="a", part=part), Occurrence(name="b ü", part=part, matrix=at(1, 2, 3))]
    scene = Scene(name="two", root=Occurrence(name="two", children=children), up="z")
    write_scene(scene, tmp_path / "two.step")
    again = read_scene(tmp_path / "two.step")
    assert [name for name, _ in tree_of(again)] == ["two", "a", "b ü"]
    assert len(again.parts()) == 1
    assert again.triangle_count == 8
    assert corners_of(again) == corners_of(scene)
    (read,) = again.parts()
    assert read.mesh is not None and read.brep is None
    colours = {material.srgb for material in read.mesh.materials if material is not None}
    assert colours == {material.srgb for material in pair}


@pytest.mark.parametrize("shades", [2, 600])
def test_colours_of_vertices_become_colours_of_pieces(tmp_path: Path, shades: int) -> None:
    """Given triangles whose vertices have colours, when written as STEP, then these come back, at least nearly."""
    numbers = numpy.arange(3 * shades)
    corners = numpy.stack([numbers, numbers % 3 == 1, numbers % 3 == 2], axis=1) * 0.01
    level = numpy.repeat(numpy.arange(shades) * 255 // (shades - 1), 3)
    colours = numpy.stack([level, 255 - level, numpy.repeat(numpy.arange(shades) % 256, 3), level * 0 + 255], axis=1)
    mesh = make_mesh(corners, numbers.reshape(-1, 3), colours=colours)
    scene = Scene(name="s", root=Occurrence(name="s", part=Part(name="part", mesh=mesh)), up="z")
    write_scene(scene, tmp_path / "s.step")
    (part,) = read_scene(tmp_path / "s.step").parts()
    assert part.mesh is not None and len(part.mesh.triangles) == shades
    found = numpy.array([material.srgb for material in part.mesh.materials if material is not None])
    assert len(found) == len(part.mesh.materials) > 1
    distance = numpy.abs(found[:, None, :3] - colours[None, ::3, :3]).max(axis=2).min(axis=1)
    assert distance.max() <= (2 if shades == 2 else 34)


@pytest.mark.parametrize("ending", ["step", "brep"])
def test_surfaces_and_triangles_together(tmp_path: Path, ending: str) -> None:
    """Given an exact part and a mesh part, when written and read, then both are there, at their places."""
    exact = Part(name="exact", brep=OccBrep(cad_shapes.box(10, 10, 10)))
    children = [
        Occurrence(name="exact", part=exact, matrix=at(1, 0, 0)),
        Occurrence(name="mesh", part=Part(name="mesh", mesh=tetrahedron()), matrix=at(0, 2, 0)),
    ]
    scene = Scene(name="mixed", root=Occurrence(name="mixed", children=children), up="z")
    path = tmp_path / f"mixed.{ending}"
    write_scene(scene, path)
    again = read_scene(path)
    tessellation.ensure(scene)
    tessellation.ensure(again)
    assert again.triangle_count == 12 + 4
    assert corners_of(again) == corners_of(scene)


@pytest.mark.parametrize("ending", ["step", "brep"])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "linear",
    [numpy.diag([2.0, 2, 2]), numpy.diag([-1.0, 1, 1]), numpy.diag([1.0, 2, 3]), turn("y", "z")[:3, :3] * 0.5],
    ids=["scaled", "mirrored", "uneven", "turned and scaled"],
)
def test_scaled_and_mirrored_places(tmp_path: Path, ending: str, exact: bool, linear: numpy.ndarray) -> None:
    """Given a group that scales or mirrors, when written and read, then what is below it is where it was."""
    part = Part(name="part", brep=OccBrep(cad_shapes.box(10, 20, 30))) if exact else Part(mesh=tetrahedron())
    matrix = at(1, 2, 3)
    matrix[:3, :3] = linear
    below = Occurrence(name="below", part=part, matrix=at(0.5, 0, 0))
    scene = Scene(name="s", root=Occurrence(name="s", children=[Occurrence(matrix=matrix, children=[below])]), up="z")
    write_scene(scene, tmp_path / f"s.{ending}")
    again = read_scene(tmp_path / f"s.{ending}")
    tessellation.ensure(scene)
    tessellation.ensure(again)
    assert again.triangle_count == scene.triangle_count
    assert corners_of(again) == corners_of(scene)


def test_the_turn_to_the_axis_of_the_format(tmp_path: Path) -> None:
    """Given a scene that stands on y, when it is written as STEP, then it stands on z."""
    scene = Scene(name="s", root=Occurrence(name="s", part=Part(mesh=tetrahedron()), matrix=at(0, 1, 0)), up="y")
    write_scene(scene, tmp_path / "s.step")
    again = read_scene(tmp_path / "s.step")
    (instance,) = again.instances()
    numpy.testing.assert_allclose(instance.world()[:3, 3], (0, 0, 1), atol=1e-9)


def test_an_occurrence_with_a_part_and_children(tmp_path: Path) -> None:
    """Given an occurrence that shows a part and has children, when written and read, then nothing is lost."""
    child = Occurrence(name="child", part=Part(name="inner", mesh=tetrahedron()), matrix=at(1, 0, 0))
    root = Occurrence(name="outer", part=Part(name="outer", mesh=tetrahedron()), children=[child])
    scene = Scene(name="s", root=root, up="z")
    write_scene(scene, tmp_path / "s.step")
    again = read_scene(tmp_path / "s.step")
    assert again.triangle_count == 8
    assert corners_of(again) == corners_of(scene)


def test_a_root_that_has_a_place_is_no_level_more(tmp_path: Path) -> None:
    """Given a scene that stands on y, when written as STEP, which stands on z, then its root is there once."""
    part = Part(name="part", mesh=tetrahedron())
    root = Occurrence(name="top", children=[Occurrence(name="one", part=part, matrix=at(1, 2, 3))])
    write_scene(Scene(name="top", root=root, up="y"), tmp_path / "top.step")
    again = read_scene(tmp_path / "top.step")
    assert tree_of(again) == [("top", None), ("one", "part")]
    numpy.testing.assert_allclose(again.instances()[0].world(), turn("y", "z") @ at(1, 2, 3), atol=1e-9)


@pytest.mark.parametrize("ending", ["step", "brep"])
def test_boxes_stay_sharp(tmp_path: Path, ending: str) -> None:
    """Given a box of triangles without normals, when written and read, then no corner is rounded."""
    part = Part(name="box", mesh=samples.box())
    assert part.mesh is not None and part.mesh.normals is None
    write_scene(Scene(name="box", root=Occurrence(name="box", part=part), up="z"), tmp_path / f"box.{ending}")
    (read,) = read_scene(tmp_path / f"box.{ending}").parts()
    assert read.mesh is not None and len(read.mesh.triangles) == 12
    if read.mesh.normals is not None:
        assert numpy.abs(read.mesh.normals).max(axis=1).min() == pytest.approx(1)


@pytest.mark.parametrize(("levels", "ending"), [(300, "step"), (5000, "brep")])
def test_deep_trees(tmp_path: Path, levels: int, ending: str) -> None:
    """Given a deep tree, when written and read, then no recursion ends it."""
    write_scene(deep(levels), tmp_path / f"deep.{ending}")
    (part,) = read_scene(tmp_path / f"deep.{ending}").parts()
    assert part.brep is not None


def test_trees_too_deep_for_step(tmp_path: Path) -> None:
    """Given a tree deeper than OpenCASCADE can write, when written as STEP, then a sentence says so."""
    with pytest.raises(FormatError, match="its tree has 5001 levels"):
        write_scene(deep(5000), tmp_path / "deep.step")


def deep(levels: int) -> Scene:
    """A part below so many occurrences."""
    below = Occurrence(name="leaf", part=Part(name="part", brep=OccBrep(cad_shapes.box(1, 1, 1))))
    for level in range(levels):
        below = Occurrence(name=f"level {level}", children=[below])
    return Scene(name="deep", root=below, up="z")


def test_without_the_extra_our_step_can_be_read(tmp_path: Path, sample: Path) -> None:
    """Given exact surfaces that we wrote, when cascadio reads them, then the triangles are as before."""
    write_scene(read_scene(sample), tmp_path / "a.step")
    one = step.read_with_cascadio(sample, ReadOptions(), kind="step", name="a")
    other = step.read_with_cascadio(tmp_path / "a.step", ReadOptions(), kind="step", name="a")
    assert other.triangle_count == one.triangle_count


@pytest.mark.parametrize("ending", ["step", "brep"])
@pytest.mark.parametrize(
    ("part", "words"),
    [(None, "no mesh and no point"), (Part(mesh=make_mesh([[0, 0, 0], [1, 1, 1]])), "only points")],
)
def test_what_cannot_be_written(tmp_path: Path, ending: str, part: Part | None, words: str) -> None:
    """Given an empty scene or points, when it is written, then a sentence says why not, and no file is left."""
    scene = Scene(name="s", root=Occurrence(name="s", part=part))
    with pytest.raises(FormatError, match=words):
        write_scene(scene, tmp_path / f"s.{ending}")
    assert not list(tmp_path.iterdir())
