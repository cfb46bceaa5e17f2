"""Every function of pxz that existing scripts call, against geometry that is known: cube, sphere, bracket."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session, shim
from pixyz_worker.kernel.formats.cad import step
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Occurrence, Part, Scene
from tests.unit.kernel import samples

CONTRACT = {
    "pxz": "initialize release get_current_session set_current_session",
    "pxz.io": "importScene importFiles exportScene",
    "pxz.core": "resetSession save listProperties setModuleProperty checkLicense configureLicenseServer",
    "pxz.scene": "getRoot getAABB getBRepInfos getTessellationInfos getPartOccurrences getPolygonCount listComponent "
    "ComponentType getAnnotationGroups getAnnotations listAnimations listVariants mergeImages mergeMaterials "
    "mergePartOccurrencesByMaterials",
    "pxz.material": "getAllMaterials",
    "pxz.algo": "repairCAD repairMesh tessellate tessellateRelativelyToAABB decimateTarget",
    "pxz.view": "createViewer createGPUScene addGPUScene setViewerProperty fitCamera CameraType takeScreenshot "
    "destroyViewer",
    "pxz.geom": "Point3",
}
MM = 0.001


@pytest.fixture
def pxz() -> Any:
    """Our pxz, fresh."""
    return shim.modules()["pxz"]


def scene_of(mesh: Mesh, *matrices: Any, **about: Any) -> Scene:
    """A scene in the session with one part at each of some places; once at the origin without any."""
    part = Part(name="part", mesh=mesh)
    shown = [Occurrence(name=f"one {n}", part=part, matrix=matrix) for n, matrix in enumerate(matrices or (None,))]
    scene = Scene(name="scene", root=Occurrence(name="root", children=shown), up="y", **about)
    session.add(scene)
    return scene


def cube(side_mm: float = 10.0, material: Material | None = None) -> Mesh:
    """A closed cube around the origin."""
    return samples.box(*(side_mm * MM,) * 3, material)


def sphere(radius_mm: float = 10.0, rings: int = 32) -> Mesh:
    """A closed ball around the origin."""
    return samples.sphere(radius_mm * MM, rings)


@pytest.mark.parametrize(("module", "name"), [(room, one) for room, names in CONTRACT.items() for one in names.split()])
def test_every_name_of_the_contract_is_there(module: str, name: str) -> None:
    """Given the names that scripts use, when they are looked up, then each is there and documented."""
    found = getattr(shim.modules()[module], name)
    assert found.__doc__


@pytest.mark.parametrize("module", shim.NAMES)
def test_every_name_that_is_offered_is_there(module: str) -> None:
    """Given a module, when it is asked what it offers, then every name is there."""
    one = shim.modules()[module]
    assert all(getattr(one, name) is not None for name in dir(one))


def test_every_name_is_on_the_page() -> None:
    """Given docs/kernel.md, when its table is read, then it has every name that is offered, and no other."""
    page = (Path(__file__).parents[3] / "docs" / "kernel.md").read_text(encoding="utf-8")
    table = page.partition("## What there is")[2].partition("Any other name")[0]
    listed = set(re.findall(r"`(\w+)`", table))
    rooms = {name.rpartition(".")[2] for name in shim.NAMES}
    assert listed == {name for module in shim.modules().values() for name in dir(module)} - rooms | {"pxz"}


# --- Handles ---------------------------------------------------------------------------------------------------------


def test_every_spelling_of_a_selection_means_the_same(pxz: Any) -> None:
    """Given one scene, when parts are asked for by any handle, then they are the same ones."""
    scene = scene_of(cube(), None, samples.shift(x=1))
    root = pxz.scene.getRoot()
    both = scene.root.children
    spellings = (None, 0, [], [0], root, [root], scene, scene.root, [scene.root], both, tuple(both), [*both, root])
    assert all(pxz.scene.getPartOccurrences(given) == both for given in spellings)
    assert pxz.scene.getPartOccurrences(both[1]) == [both[1]]
    with pytest.raises(PixyzException, match="root is str"):
        pxz.scene.getPartOccurrences("part")


def test_an_empty_session_has_a_root_and_nothing_else(pxz: Any) -> None:
    """Given nothing imported, when everything is asked, then there is nothing, and nothing fails."""
    assert pxz.scene.getPartOccurrences() == [] and pxz.scene.getPolygonCount([]) == 0
    assert pxz.scene.getTessellationInfos()["polygonCount"] == 0
    assert pxz.scene.getBRepInfos()["bodyCount"] == 0
    assert list(pxz.scene.getAABB([]).low) == [0, 0, 0]
    pxz.algo.repairMesh([], 0.1)
    pxz.algo.decimateTarget([], ["ratio", 50])
    pxz.scene.mergePartOccurrencesByMaterials([])
    root = pxz.scene.getRoot()
    assert pxz.scene.getRoot() is root and pxz.scene.getChildren(root) == []


# --- pxz.geom --------------------------------------------------------------------------------------------------------


def test_a_point_is_a_list_with_names(pxz: Any) -> None:
    """Given a point, when it is read and changed by name and by number, then both see the same."""
    point = pxz.geom.Point3(1, 2, 3)
    point.y = 5
    assert (point.x, point[1], point.z, list(point), point) == (1, 5, 3, [1, 5, 3], [1, 5, 3])
    assert pxz.geom.Point3() == [0, 0, 0]
    box = pxz.geom.AABB(pxz.geom.Point3(0, 0, 0), point)
    assert box.high.y == 5


# --- pxz.scene: measures ---------------------------------------------------------------------------------------------


def turned(degrees: float) -> Any:
    """A matrix that turns around z."""
    matrix, angle = numpy.eye(4), math.radians(degrees)
    matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return matrix


@pytest.mark.parametrize(
    ("mesh", "matrix", "half"),
    [
        (cube(10), None, (5, 5, 5)),
        (cube(10), turned(45), (5 * math.sqrt(2), 5 * math.sqrt(2), 5)),
        (sphere(10), None, (10, 10, 10)),
        (sphere(10, 64), turned(33), (10, 10, 10)),
    ],
)
def test_the_box_is_in_millimetres_and_exact(
    pxz: Any, mesh: Mesh, matrix: Any, half: tuple[float, float, float]
) -> None:
    """Given a cube or a sphere, also a turned one, when its box is asked, then it is that of what is there."""
    scene = scene_of(mesh, matrix)
    box = pxz.scene.getAABB([pxz.scene.getRoot()])
    assert [box.high.x, box.high.y, box.high.z] == pytest.approx(half, rel=2e-3)
    assert [box.low.x, box.low.y, box.low.z] == pytest.approx([-one for one in half], rel=2e-3)
    assert list(pxz.scene.getAABB([scene]).low) == list(box.low)


def test_counts_of_a_cube_with_instances(pxz: Any) -> None:
    """Given a cube shown twice, when it is counted, then once for the part and twice in total."""
    scene_of(cube(), None, samples.shift(x=1))
    infos = pxz.scene.getTessellationInfos()
    assert infos == {
        "partCount": 1,
        "totalPartCount": 2,
        "vertexCount": 8,
        "totalVertexCount": 16,
        "edgeCount": 18,
        "totalEdgeCount": 36,
        "polygonCount": 12,
        "totalPolygonCount": 24,
        "patchCount": 1,
        "totalPatchCount": 2,
        "boundaryCount": 0,
        "boundaryEdgeCount": 0,
        "nonManifoldEdgeCount": 0,
    }
    assert pxz.scene.getPolygonCount([pxz.scene.getRoot()]) == 24
    assert pxz.scene.getPolygonCount([], countOnceEachInstance=True) == 12
    assert pxz.scene.getVertexCount([]) == 16


def test_an_open_sphere_has_a_boundary(pxz: Any) -> None:
    """Given a sphere without its uppermost triangles, when it is counted, then one loop of open edges is there."""
    whole = sphere(10, 8)
    scene_of(make_mesh(whole.positions, whole.triangles[16:]))
    infos = pxz.scene.getTessellationInfos(pxz.scene.getRoot())
    assert (infos["boundaryCount"], infos["boundaryEdgeCount"]) == (1, 16)


def test_hidden_parts_count_only_when_asked(pxz: Any) -> None:
    """Given a hidden part, when triangles are counted, then without it unless countHidden."""
    scene = scene_of(cube(), None, samples.shift(x=1))
    scene.root.children[0].visible = False
    assert pxz.scene.getPolygonCount([]) == 12
    assert pxz.scene.getPolygonCount([], countHidden=True) == 24


# --- pxz.scene: the tree ---------------------------------------------------------------------------------------------


def test_the_tree_is_walked_and_changed(pxz: Any) -> None:
    """Given an assembly, when occurrences are asked, made, moved and deleted, then the tree follows."""
    session.add(samples.assembly())
    root = pxz.scene.getRoot()
    box, group = pxz.scene.getChildren(root)
    assert pxz.scene.getOccurrenceName(root) == "two parts"
    assert [pxz.core.getProperty(one, "Name") for one in (box, group)] == ["Kasten Ä", "Gruppe"]
    assert [one.name for one in pxz.scene.getPartOccurrences(group)] == ["ball left", "ball right"]
    left = pxz.scene.getChildren(group)[0]
    assert [row[3] for row in pxz.scene.getGlobalMatrix(left)] == [-3000, 4000, 0, 1]
    assert [row[3] for row in pxz.scene.getLocalMatrix(left)] == [-3000, 0, 0, 1]
    pxz.scene.applyTransformation(left, [[1, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert pxz.scene.getAABB([left]).high.x == pytest.approx(-2000)
    made = pxz.scene.createOccurrence("neu", group)
    assert made in pxz.scene.getChildren(group) and pxz.scene.getParent(made) is group
    pxz.core.setProperty(made, "Name", "anders")
    assert pxz.scene.getOccurrenceName(made) == "anders"
    pxz.scene.deleteOccurrences([group])
    assert pxz.scene.getChildren(root) == [box]
    with pytest.raises(PixyzException, match="One occurrence"):
        pxz.scene.getOccurrenceName([box, left])


# --- pxz.scene, pxz.core: components ---------------------------------------------------------------------------------


def test_metadata_and_annotations_are_listed(pxz: Any) -> None:
    """Given metadata and annotations, when components are listed, then each with what it has."""
    scene = scene_of(cube(), None, samples.shift(x=1))
    first, second = scene.root.children
    first.metadata = {"Material": "steel", "Weight": 3.5}
    first.annotations = (
        AnnotationGroup(name="Dimensions", annotations=("10 mm", "20 mm")),
        AnnotationGroup(name="Notes", annotations=("deburr",)),
    )
    (metadata,) = pxz.scene.listComponent(pxz.scene.ComponentType.Metadata)
    properties = pxz.core.listProperties(metadata)
    assert [(one.name, one.value) for one in properties] == [("Material", "steel"), ("Weight", "3.5")]
    assert pxz.core.getProperty(metadata, "Weight") == "3.5" and not pxz.core.hasProperty(metadata, "Colour")
    with pytest.raises(PixyzException, match=r"no property 'Colour'.*Material, Weight"):
        pxz.core.getProperty(metadata, "Colour")
    assert pxz.core.getProperties([first, second], "Name", "") == ["one 0", "one 1"]
    (pmi,) = pxz.scene.listComponent(pxz.scene.ComponentType.PMI)
    groups = pxz.scene.getAnnotationGroups(pmi)
    assert [pxz.scene.getAnnotations(group) for group in groups] == [["10 mm", "20 mm"], ["deburr"]]
    assert len(pxz.scene.listComponent(pxz.scene.ComponentType.Part)) == 2
    assert pxz.scene.listComponent(pxz.scene.ComponentType.Light) == []
    assert pxz.scene.getComponent(first, 5) == metadata and pxz.scene.getComponent(second, 5) is None


def test_animations_and_variants_are_listed(pxz: Any) -> None:
    """Given a scene with them, when they are listed, then they are there."""
    moving = Animation(name="spin")
    scene_of(cube(), animations=[moving], variants=["red", "blue"])
    assert pxz.scene.listAnimations() == [moving]
    assert pxz.scene.listVariants() == ["red", "blue"]


# --- pxz.core --------------------------------------------------------------------------------------------------------


def test_core_saves_loads_and_resets(pxz: Any, tmp_path: Path) -> None:
    """Given a scene, when it is saved, forgotten and loaded, then it is the same; the extension is added."""
    scene_of(cube(), unit_m=0.001)
    pxz.core.save(str(tmp_path / "saved"))
    pxz.core.resetSession()
    assert pxz.scene.getPartOccurrences() == []
    pxz.core.load(str(tmp_path / "saved.pxz"))
    assert pxz.scene.getPolygonCount([]) == 12


def test_settings_are_kept_and_texture_formats_answered_once(pxz: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a texture format that is not written, when it is asked for twice, then one line says so."""
    for _ in range(2):
        pxz.core.setModuleProperty("Material", "ExportTextureFormat", "KTX2")
    pxz.core.setModuleProperty("IO", "PreferLoadMesh", "True")
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "KTX2" in printed and "textures stay as they are" in printed
    assert pxz.core.getModuleProperty("IO", "PreferLoadMesh") == "True"
    assert pxz.core.getModuleProperty("IO", "other") == ""
    pxz.release()


def test_licences_are_not_needed(pxz: Any) -> None:
    """Given scripts that configure a licence server, when they do, then all is well."""
    pxz.core.configureLicenseServer("localhost", 27000, True)
    assert pxz.core.checkLicense() is True
    assert pxz.core.getVersion()


# --- pxz.material, merging -------------------------------------------------------------------------------------------


def two_reds(**about: Any) -> list[Occurrence]:
    """Three cubes, two with materials that look the same, in the session."""
    looks = [samples.painted("red", samples.RED), samples.painted("red", samples.RED)]
    looks.append(samples.painted("blue", samples.BLUE))
    shown = [
        Occurrence(name=f"cube {n}", part=Part(mesh=cube(10, look)), matrix=samples.shift(x=n))
        for n, look in enumerate(looks)
    ]
    session.add(Scene(name="cubes", root=Occurrence(children=shown), up="y", **about))
    return shown


def test_equal_materials_become_one(pxz: Any) -> None:
    """Given two materials that look the same, when they are merged, then one is left of them."""
    two_reds()
    assert len(pxz.material.getAllMaterials()) == 3
    pxz.scene.mergeMaterials([], False)
    assert sorted(map(pxz.material.getMaterialName, pxz.material.getAllMaterials())) == ["blue", "red"]


def test_equal_images_become_one(pxz: Any) -> None:
    """Given two images with the same bytes, when they are merged, then one is left."""
    images = [Image(name=name, data=samples.picture()) for name in ("a", "b")]
    looks = [Material(name=one.name, base_colour_texture=Texture(image=one)) for one in images]
    shown = [Occurrence(part=Part(mesh=samples.square(look))) for look in looks]
    session.add(Scene(name="squares", root=Occurrence(children=shown)))
    assert len(pxz.material.getAllImages()) == 2
    pxz.scene.mergeImages([])
    assert len(pxz.material.getAllImages()) == 1


def test_parts_are_merged_by_materials(pxz: Any) -> None:
    """Given three cubes of two looks, when they are merged, then two parts at the same places are left."""
    two_reds()
    before = pxz.scene.getAABB([])
    pxz.scene.mergeMaterials([], False)
    made = pxz.scene.mergePartOccurrencesByMaterials(
        [], mergeNoMaterials=True, mergeHiddenPartsMode=2, combineMeshes=True
    )
    assert len(made) == len(pxz.scene.getPartOccurrences()) == 2
    assert sorted(pxz.scene.getPolygonCount([one]) for one in made) == [12, 24]
    assert list(pxz.scene.getAABB([]).high) == pytest.approx(list(before.high))


@pytest.mark.parametrize(("mode", "triangles"), [(0, 24), (1, 36), (2, 24)])
def test_hidden_parts_are_treated_as_asked(pxz: Any, mode: int, triangles: int) -> None:
    """Given a hidden part, when parts are merged, then it is destroyed, shown, or merged for itself, still hidden."""
    two_reds()[0].visible = False
    pxz.scene.mergePartOccurrencesByMaterials([], True, mode, True)
    assert pxz.scene.getPolygonCount([]) == triangles
    assert pxz.scene.getPolygonCount([], countHidden=True) == (24 if mode == 0 else 36)


def test_parts_are_merged_into_one_and_exploded_again(pxz: Any) -> None:
    """Given three cubes, when they are merged and exploded by material and by connection, then 1, 3 and 3 parts."""
    two_reds()
    assert len(pxz.scene.mergePartOccurrences([])) == len(pxz.scene.getPartOccurrences()) == 1
    pxz.algo.explodePartByMaterials([])
    assert len(pxz.scene.getPartOccurrences()) == 3
    pxz.scene.mergePartOccurrences([])
    pxz.algo.explodeConnectedMeshes([])
    assert len(pxz.scene.getPartOccurrences()) == 3


# --- pxz.algo --------------------------------------------------------------------------------------------------------


def test_a_torn_cube_is_welded(pxz: Any) -> None:
    """Given a cube whose triangles share no vertices, when it is repaired, then it is closed with 8 vertices."""
    whole = cube()
    scene_of(make_mesh(whole.positions[whole.triangles].reshape(-1, 3), numpy.arange(36).reshape(-1, 3)))
    pxz.algo.repairMesh([pxz.scene.getRoot()], 0.1, True, False)
    infos = pxz.scene.getTessellationInfos()
    assert (infos["vertexCount"], infos["polygonCount"], infos["boundaryCount"]) == (8, 12, 0)


def test_repair_within_a_tolerance_in_millimetres(pxz: Any) -> None:
    """Given vertices 0.05 mm apart, when repaired within 0.01 mm and 0.1 mm, then only the latter joins them."""
    gap = [[0, 0, 0], [10, 0, 0], [0, 10, 0], [10, 0.05, 0], [0.05, 10, 0], [10, 10, 0]]
    scene_of(make_mesh(numpy.array(gap) * MM, [[0, 1, 2], [3, 5, 4]]))
    for tolerance, edges in ((0.01, 6), (0.1, 5)):
        pxz.algo.repairMesh([], tolerance, False, False)
        assert pxz.scene.getTessellationInfos()["edgeCount"] == edges


@pytest.mark.parametrize(
    ("target", "least", "most"),
    [(["triangleCount", 1000], 900, 1000), (["ratio", 50], 1840, 1984), (["ratio", 100], 3968, 3968)],
)
def test_a_sphere_is_decimated_to_its_target(pxz: Any, target: list[Any], least: int, most: int) -> None:
    """Given a sphere of 3968 triangles, when it is decimated, then it has the number asked for, and is a sphere."""
    scene_of(sphere(10, 32))
    assert pxz.scene.getPolygonCount([]) == 3968
    pxz.algo.decimateTarget([], target)
    assert least <= pxz.scene.getPolygonCount([]) <= most
    assert list(pxz.scene.getAABB([]).high) == pytest.approx([10, 10, 10], rel=0.02)


@pytest.mark.parametrize(
    "target", ["half", ["ratio"], ["ratio", 0], ["ratio", 101], ["triangleCount", "x"], ["quality", 5]]
)
def test_a_wrong_target_is_a_sentence(pxz: Any, target: Any) -> None:
    """Given a target that is none, when something is decimated, then the sentence shows how one looks."""
    with pytest.raises(PixyzException, match=r'\["triangleCount", NUMBER\] or \["ratio", PERCENT\]'):
        pxz.algo.decimateTarget([], target)


def test_normals_follow_the_angle(pxz: Any) -> None:
    """Given a cube, when normals are made, then its edges stay sharp; with 180 degrees they do not."""
    scene_of(cube())
    pxz.algo.createNormals([], -1, True)
    assert pxz.scene.getVertexCount([]) == 24
    pxz.algo.createNormals([], 180, True)
    normals = session.scenes()[0].parts()[0].mesh.normals
    assert numpy.allclose(numpy.linalg.norm(normals, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("level", [0, 2])
def test_what_is_inside_is_removed(pxz: Any, level: int) -> None:
    """Given a small cube within a large one, when what nobody sees is removed, then the small one."""
    root = Occurrence(children=[Occurrence(part=Part(mesh=cube(size))) for size in (10, 2)])
    session.add(Scene(name="two", root=root))
    pxz.algo.removeOccludedGeometries([], level, 256)
    assert pxz.scene.getPolygonCount([]) == 12


def test_small_parts_are_deleted(pxz: Any) -> None:
    """Given cubes of 10 and 1 mm, when those below 5 mm are deleted, then one is."""
    root = Occurrence(children=[Occurrence(part=Part(mesh=cube(size))) for size in (10, 1)])
    session.add(Scene(name="two", root=root))
    assert pxz.algo.deleteSmallParts([], 5) == 1
    assert len(pxz.scene.getPartOccurrences()) == 1


# --- Exact surfaces --------------------------------------------------------------------------------------------------


@pytest.fixture
def bracket(pxz: Any, sample: Path, need_extra: Callable[[str], None]) -> Any:
    """The STEP sample in the session, with its exact surfaces; see samples/README.md."""
    need_extra("cad")
    return pxz.io.importScene(str(sample))


def test_the_bracket_is_measured(pxz: Any, bracket: Any) -> None:
    """Given the bracket assembly, when its exact surfaces are measured, then every body is closed."""
    infos = pxz.scene.getBRepInfos()
    parts = pxz.scene.getPartOccurrences()
    assert infos["totalPartCount"] == len(parts) == infos["totalBodyCount"]
    assert infos["partCount"] == infos["bodyCount"] < len(parts)
    assert (infos["boundaryCount"], infos["boundaryEdgeCount"], infos["openShellCount"]) == (0, 0, 0)
    assert infos["faceCount"] > 10 and infos["area2Dsum"] > 1000
    assert pxz.scene.getPolygonCount([bracket]) == 0


def test_the_bracket_has_its_materials_before_and_after_tessellation(pxz: Any, bracket: Any) -> None:
    """Given exact surfaces with colours, when materials are asked for, then they are there without triangles too."""
    before = pxz.material.getAllMaterials()
    assert {pxz.material.getMaterialName(material) for material in before} >= {"#7D8A96", "#E07B1A"}
    assert pxz.material.getMaterialsFromOccurrence(bracket) == before
    pxz.algo.tessellate([bracket], 1.0, -1, -1)
    assert pxz.material.getAllMaterials() == before


def test_figures_that_need_an_extra_say_so(pxz: Any, sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the sample as triangles alone, when surfaces are counted, then zeros come with a line; a mesh has none."""
    session.add(step.read_with_cascadio(sample, ReadOptions(), kind="step", name="bracket"))
    assert pxz.scene.getBRepInfos()["faceCount"] == 0
    assert re.search(r"not counted\. .*(pip|apt) install", capsys.readouterr().out)
    pxz.core.resetSession()
    session.add(scene_of(cube()))
    assert pxz.scene.getBRepInfos()["faceCount"] == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wrong", ["fine", True, [1]])
def test_a_wrong_tessellation_is_a_sentence(pxz: Any, wrong: Any) -> None:
    """Given no number, when tessellating, then the sentence names the argument, also in an empty session."""
    with pytest.raises(PixyzException, match="maxSag must be a number, or -1"):
        pxz.algo.tessellate([], wrong)
    with pytest.raises(PixyzException, match="maxAngle must be a number, or -1"):
        pxz.algo.tessellate([], numpy.float32(0.1), -1, wrong)


def test_the_bracket_is_tessellated_as_closely_as_asked(pxz: Any, bracket: Any) -> None:
    """Given exact surfaces, when the sag becomes smaller, then more triangles; without override, none change."""
    box = pxz.scene.getAABB([bracket])
    pxz.algo.repairCAD([bracket], 0.1, orient=False)
    pxz.algo.tessellate([bracket], 1.0, -1, -1)
    coarse = pxz.scene.getPolygonCount([bracket])
    pxz.algo.tessellate([bracket], 0.01, -1, 10)
    assert pxz.scene.getPolygonCount([bracket]) == coarse > 0
    pxz.algo.tessellate([bracket], 0.01, -1, 10, overrideExistingTessellation=True)
    assert pxz.scene.getPolygonCount([bracket]) > 2 * coarse
    after = pxz.scene.getAABB([bracket])
    assert [*after.low, *after.high] == pytest.approx([*box.low, *box.high], abs=0.5)


def test_the_sag_follows_the_size_of_the_part(pxz: Any, bracket: Any) -> None:
    """Given a ratio, when parts are tessellated, then the smaller of sag and ratio holds; -1 is not used."""
    pxz.algo.tessellateRelativelyToAABB([bracket], 5, 0.0001, -1, -1, keepBRepShape=False)
    fine = pxz.scene.getPolygonCount([bracket])
    assert pxz.scene.getBRepInfos()["bodyCount"] == 0
    pxz.core.resetSession()
    root = pxz.io.importScene(str(Path(__file__).parents[3] / "samples" / "bracket_assembly.step"))
    pxz.algo.tessellateRelativelyToAABB([root], 5, -1)
    assert 0 < pxz.scene.getPolygonCount([root]) < fine
    with pytest.raises(PixyzException, match="needs a sag"):
        pxz.algo.tessellate([root], -1, -1, -1)


# --- pxz.view --------------------------------------------------------------------------------------------------------


def picture(path: Path) -> Any:
    """The pixels of a picture, (height, width, 4)."""
    import PIL.Image

    with PIL.Image.open(path) as image:
        return numpy.asarray(image.convert("RGBA"))


@pytest.mark.parametrize(
    ("direction", "colour"),
    [((0, 0, -1), (60, 60, 200)), ((-1, 0, 0), (200, 60, 60)), ((0, -1, 0), (60, 200, 60))],
)
@pytest.mark.parametrize("up", ["y", "z"])
def test_each_side_of_a_cube_is_seen_from_its_direction(
    pxz: Any, tmp_path: Path, direction: tuple[float, ...], colour: tuple[int, ...], up: str
) -> None:
    """Given a cube with a red right, a green top and a blue front, when it is taken, then that side is seen.

    A scene that stands on z is seen as it stands.
    """
    from pixyz_worker.kernel.axes import turn

    names = {(200, 60, 60): 0, (60, 200, 60): 1, (60, 60, 200): 2}
    whole = cube()
    middles = whole.positions[whole.triangles].mean(axis=1)
    sides = numpy.abs(middles).argmax(axis=1)
    looks = tuple(samples.painted(str(rgb), rgb) for rgb in names)
    mesh = make_mesh(whole.positions, whole.triangles, materials=looks, triangle_materials=sides)
    root = Occurrence(part=Part(mesh=mesh), matrix=turn("y", up))
    session.add(Scene(name="cube", root=root, up=up))
    viewer = pxz.view.createViewer(40, 40)
    gpu = pxz.view.createGPUScene([pxz.scene.getRoot()])
    pxz.view.addGPUScene(gpu, viewer)
    pxz.view.setViewerProperty("ShowBackground", "False", viewer)
    pxz.view.setViewerProperty("Renderer", "embree", viewer)
    pxz.view.fitCamera(pxz.geom.Point3(*direction), pxz.view.CameraType.Perspective, 70, viewer=viewer)
    pxz.view.takeScreenshot(str(tmp_path / "side.png"), viewer)
    pxz.view.destroyViewer(viewer)
    pixels = picture(tmp_path / "side.png")
    assert pixels.shape == (40, 40, 4) and pixels[20, 20, 3] == 255 and pixels[0, 0, 3] == 0
    assert pixels[20, 20, :3].argmax() == numpy.argmax(colour)


def test_viewers_are_found_and_forgotten(pxz: Any, tmp_path: Path) -> None:
    """Given viewers, when none is named, then the last is meant; what is no viewer is a sentence."""
    scene_of(sphere())
    first, last = pxz.view.createViewer(8, 8), pxz.view.createViewer(16, 12)
    gpu = pxz.view.createGPUScene([])
    pxz.view.addGPUScene(gpu)
    pxz.view.setViewerProperty("ShowBackground", "True")
    pxz.view.fitCamera([0, 0, -1], pxz.view.CameraType.Orthographic)
    pxz.view.takeScreenshot(tmp_path / "a.png")
    assert picture(tmp_path / "a.png").shape == (12, 16, 4)
    assert pxz.view.getViewerProperty("ShowBackground") == "True" and pxz.view.getViewerSize(first) == (8, 8)
    pxz.view.resizeViewer(10, 10)
    assert pxz.view.getViewerSize(last) == (10, 10)
    pxz.view.destroyGPUScene(gpu)
    for viewer in (last, first):
        pxz.view.destroyViewer(viewer)
    for call in (
        lambda: pxz.view.getViewerSize(),
        lambda: pxz.view.getViewerSize(first),
        lambda: pxz.view.getViewerSize(7),
    ):
        with pytest.raises(PixyzException, match="viewer"):
            call()
    pxz.view.createViewer(8, 8)
    with pytest.raises(PixyzException, match="createGPUScene"):
        pxz.view.addGPUScene(scene_of(cube()))
    pxz.release()
