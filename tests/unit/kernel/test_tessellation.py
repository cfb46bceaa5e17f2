"""Triangles of exact surfaces: how close they are, what they keep, and when they are made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.algorithms import subdivision, tessellation
from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.formats.cad import step
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.options import ReadOptions, Tessellation
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import cad_shapes

Need = Callable[[str], None]


@pytest.fixture
def cad(need_extra: Need) -> None:
    """OpenCASCADE is here."""
    need_extra("cad")


def only_mesh(scene: Scene) -> Mesh:
    """The mesh of the one part of a scene."""
    (part,) = scene.parts()
    assert part.mesh is not None
    return part.mesh


def volume(mesh: Mesh) -> float:
    """Volume within triangles that face outwards, in cubic metres."""
    first, second, third = mesh.positions.astype(float)[mesh.triangles].transpose(1, 0, 2)
    return float(numpy.einsum("ij,ij->", first, numpy.cross(second, third)) / 6)


def open_edges(mesh: Mesh) -> int:
    """Edges that are not met once in each direction, after equal positions are joined."""
    _, joined = numpy.unique(mesh.positions, axis=0, return_inverse=True)
    triangles = joined.reshape(-1)[mesh.triangles]
    edges = numpy.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    there = {tuple(edge) for edge in edges.tolist()}
    return sum((end, start) not in there for start, end in there) + len(edges) - len(there)


@pytest.mark.usefixtures("cad")
def test_a_cube() -> None:
    """Given a cube, when it is tessellated, then it has 12 triangles with the normals of its faces, outwards."""
    scene = cad_shapes.shown(cad_shapes.box(10, 20, 30))
    assert tessellation.tessellate([scene.root], Tessellation()) == 1
    mesh = only_mesh(scene)
    assert len(mesh.triangles) == 12
    assert volume(mesh) == pytest.approx(6e-6)
    assert open_edges(mesh) == 0
    assert mesh.normals is not None
    corners = mesh.positions[mesh.triangles]
    across = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across /= numpy.linalg.norm(across, axis=1, keepdims=True)
    numpy.testing.assert_allclose(mesh.normals[mesh.triangles[:, 0]], across, atol=1e-5)


@pytest.mark.usefixtures("cad")
@settings(max_examples=8, deadline=None)
@given(st.floats(0.002, 0.5), st.floats(1, 100))
def test_the_sag_holds(sag_mm: float, radius_mm: float) -> None:
    """Given a sphere and a sag, when it is tessellated, then no triangle is further from it than the sag allows."""
    scene = cad_shapes.shown(cad_shapes.sphere(radius_mm))
    sag_mm = max(sag_mm, radius_mm * 1e-4)
    tessellation.tessellate([scene.root], Tessellation(sag_m=sag_mm / 1000, angle_deg=60))
    mesh = only_mesh(scene)
    middles = mesh.positions.astype(float)[mesh.triangles].mean(axis=1)
    distance_mm = radius_mm - numpy.linalg.norm(middles, axis=1) * 1000
    assert distance_mm.max() <= 2 * sag_mm  # OpenCASCADE checks the sag along lines, not everywhere
    assert numpy.median(distance_mm) <= sag_mm
    assert open_edges(mesh) == 0
    assert mesh.normals is not None
    outwards = mesh.positions / numpy.linalg.norm(mesh.positions, axis=1, keepdims=True)
    numpy.testing.assert_allclose(mesh.normals, outwards, atol=1e-3)


@pytest.mark.usefixtures("cad")
def test_a_sag_ratio_is_relative_to_each_part() -> None:
    """Given a small and a large sphere, when tessellated by ratio, then they get equally many triangles."""
    parts = [Part(name=str(radius), brep=OccBrep(cad_shapes.sphere(radius))) for radius in (1, 50)]
    root = Occurrence(name="both", children=[Occurrence(name=part.name, part=part) for part in parts])
    scene = Scene(name="both", root=root)
    how = Tessellation(sag_m=None, sag_ratio=0.001, angle_deg=60)
    assert tessellation.tessellate([scene.root], how) == 2
    counts = [len(part.mesh.triangles) for part in parts if part.mesh is not None]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


@pytest.mark.usefixtures("cad")
def test_colours_of_faces_become_materials_of_triangles() -> None:
    """Given a box with three colours, when tessellated, then each triangle has the colour of its face."""
    red, green, blue = (cad_shapes.colour(values) for values in (cad_shapes.RED, cad_shapes.GREEN, cad_shapes.BLUE))
    numbers = numpy.array([0, 1, 1, 1, 1, 2], dtype=numpy.uint16)
    scene = cad_shapes.shown(cad_shapes.box(1, 2, 3), materials=(red, green, blue), face_materials=numbers)
    tessellation.ensure(scene)
    mesh, (part,) = only_mesh(scene), scene.parts()
    assert mesh.materials == (red, green, blue)
    assert mesh.triangle_materials is not None
    assert isinstance(part.brep, OccBrep)
    top = mesh.positions[mesh.triangles].mean(axis=1)[:, 2] > 0.0029
    chosen = {mesh.materials[number] for number in mesh.triangle_materials[top]}
    assert chosen == cad_shapes.face_look(part.brep, lambda centre: centre[2] > 2.9)


@pytest.mark.usefixtures("cad")
def test_shapes_at_several_places_and_mirrored() -> None:
    """Given a part of a box and its mirrored copy, when tessellated, then both are whole and face outwards."""
    from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt, gp_Trsf

    from pixyz_worker.kernel.formats.cad import occ

    solid, mirror = cad_shapes.box(1, 2, 3), gp_Trsf()
    mirror.SetMirror(gp_Ax2(gp_Pnt(-5, 0, 0), gp_Dir(1, 0, 0)))
    builder, whole = occ.BRep.BRep_Builder(), occ.TopoDS.TopoDS_Compound()
    builder.MakeCompound(whole)
    builder.Add(whole, solid)
    builder.Add(whole, solid.Moved(occ.TopLoc.TopLoc_Location(mirror), False))
    scene = cad_shapes.shown(whole)
    tessellation.ensure(scene)
    mesh = only_mesh(scene)
    assert len(mesh.triangles) == 24
    assert volume(mesh) == pytest.approx(12e-9, rel=1e-5)
    assert open_edges(mesh) == 0
    corners = mesh.positions.astype(float)[mesh.triangles]
    across = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert mesh.normals is not None
    assert (numpy.einsum("ij,ij->i", across, mesh.normals[mesh.triangles[:, 0]]) > 0).all()


@pytest.mark.usefixtures("cad")
def test_triangles_are_kept_unless_asked() -> None:
    """Given triangles, when tessellated again, then only `again` makes new ones, as fine as asked."""
    scene = cad_shapes.shown(cad_shapes.sphere(10))
    tessellation.tessellate([scene.root], Tessellation(sag_m=1e-3, angle_deg=60))
    coarse = only_mesh(scene)
    assert tessellation.tessellate([scene.root], Tessellation()) == 0
    assert only_mesh(scene) is coarse
    assert tessellation.tessellate([scene.root], Tessellation(), again=True) == 1
    fine = only_mesh(scene)
    assert len(fine.triangles) > 2 * len(coarse.triangles)
    assert tessellation.tessellate([scene.root], Tessellation(sag_m=1e-3, angle_deg=60), again=True) == 1
    assert len(only_mesh(scene).triangles) == len(coarse.triangles)


@pytest.mark.usefixtures("cad")
def test_the_sample_is_watertight(sample: Path) -> None:
    """Given the sample, when it is tessellated, then each part is closed, and instances share their triangles."""
    scene = read_scene(sample)
    tessellation.ensure(scene)
    for part in scene.parts():
        assert part.mesh is not None
        assert open_edges(part.mesh) == 0, part.name
        assert volume(part.mesh) > 0


@pytest.mark.usefixtures("cad")
def test_more_triangles_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a limit, when a tessellation goes beyond it, then it ends with a sentence."""
    monkeypatch.setenv("MAX_TRIANGLES", "10")
    with pytest.raises(InvalidFile, match="MAX_TRIANGLES"):
        tessellation.ensure(cad_shapes.shown(cad_shapes.box(1, 1, 1)))


def test_a_file_without_exact_surfaces_is_read_again(sample: Path) -> None:
    """Given triangles of a STEP file, when tessellated as asked, then the same parts get other triangles."""
    scene = step.read_with_cascadio(sample, ReadOptions(), kind="step", name="bracket")
    parts, before = scene.parts(), scene.triangle_count
    materials = scene.materials()
    coarse = Tessellation(sag_m=1e-3, angle_deg=60)
    assert tessellation.tessellate([scene.root], coarse) == 6
    assert scene.source is None
    assert scene.parts() == parts
    assert scene.materials() == materials
    after = scene.triangle_count
    assert 0 < after < before / 2
    assert tessellation.tessellate([scene.root], Tessellation()) == 0
    assert tessellation.tessellate([scene.root], Tessellation(), again=True) == 6
    assert scene.triangle_count == before
    assert (
        tessellation.tessellate([scene.root], Tessellation(sag_m=None, sag_ratio=0.01, angle_deg=60), again=True) == 6
    )
    assert 0 < scene.triangle_count < before


def test_an_edited_tree_gets_its_triangles_by_name(sample: Path) -> None:
    """Given a tree of which a part was removed, when the file is read again, then the others get their own."""
    scene = step.read_with_cascadio(sample, ReadOptions(), kind="step", name="bracket")
    cad_shapes.find(scene, "Base plate").remove()
    boxes = {part.name: part.mesh.bounds for part in scene.parts() if part.mesh is not None}
    tessellation.tessellate([scene.root], Tessellation(sag_m=1e-3, angle_deg=60))
    for part in scene.parts():
        assert part.mesh is not None
        numpy.testing.assert_allclose(part.mesh.bounds, boxes[part.name], atol=2e-3)


def test_what_is_no_cad_scene_is_left_alone() -> None:
    """Given a plain mesh, when it is tessellated, then nothing happens."""
    mesh = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    scene = Scene(name="plain", root=Occurrence(name="plain", part=Part(mesh=mesh)))
    assert tessellation.tessellate([scene.root], Tessellation(), again=True) == 0
    assert only_mesh(scene) is mesh


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 0.8), st.integers(0, 5))
def test_long_edges_are_halved_on_both_sides(length: float, seed: int) -> None:
    """Given a closed body, when its edges are shortened, then none is too long, and it is the same closed body."""
    corners = numpy.random.default_rng(seed).uniform(0.2, 1, (4, 3)) * [
        [1, 1, 1],
        [1, -1, -1],
        [-1, 1, -1],
        [-1, -1, 1],
    ]
    mesh = make_mesh(corners, [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    short = subdivision.shorten(mesh, length)
    edges = short.positions[short.triangles] - numpy.roll(short.positions[short.triangles], 1, axis=1)
    assert numpy.linalg.norm(edges, axis=2).max() <= length * (1 + 1e-5)
    assert open_edges(short) == 0
    assert volume(short) == pytest.approx(volume(mesh), rel=1e-4)


@pytest.mark.usefixtures("cad")
def test_longest_edges_of_a_box() -> None:
    """Given a longest edge, when a box is tessellated, then it stays closed, with normals and materials."""
    scene = cad_shapes.shown(cad_shapes.box(10, 10, 10))
    tessellation.tessellate([scene.root], Tessellation(length_m=0.003))
    mesh = only_mesh(scene)
    assert len(mesh.triangles) > 12
    assert open_edges(mesh) == 0
    assert mesh.normals is not None and len(mesh.normals) == len(mesh.positions)
