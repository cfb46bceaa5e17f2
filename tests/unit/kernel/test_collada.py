"""COLLADA: what comes back of ours, files of others, and files that mean harm."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from collada import Collada

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.formats.collada import reader as collada_reader
from pixyz_worker.kernel.formats.collada import writer as collada_writer
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import facts, samples

OPTIONS = ReadOptions()
NAMESPACE = 'xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"'
GEOMETRY = """<geometry id="plate" name="Platte Ä"><mesh>
<source id="p"><float_array id="pa" count="12">0 0 0 2 0 0 2 3 0 0 3 0</float_array><technique_common>
<accessor source="#pa" count="4" stride="3"><param name="X"/><param name="Y"/><param name="Z"/></accessor>
</technique_common></source>
<source id="n"><float_array id="na" count="3">0 0 1</float_array><technique_common>
<accessor source="#na" count="1" stride="3"><param name="X"/><param name="Y"/><param name="Z"/></accessor>
</technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
{primitive}</mesh></geometry>"""
INPUTS = '<input semantic="VERTEX" source="#v" offset="0"/><input semantic="NORMAL" source="#n" offset="1"/>'
PRIMITIVES = {
    "triangles": f'<triangles count="2" material="look">{INPUTS}<p>0 0 1 0 2 0 0 0 2 0 3 0</p></triangles>',
    "polylist": f'<polylist count="1" material="look">{INPUTS}<vcount>4</vcount><p>0 0 1 0 2 0 3 0</p></polylist>',
    "polygons": f'<polygons count="1" material="look">{INPUTS}<p>0 0 1 0 2 0 3 0</p></polygons>',
    "tristrips": f'<tristrips count="1" material="look">{INPUTS}<p>0 0 1 0 3 0 2 0</p></tristrips>',
    "trifans": f'<trifans count="1" material="look">{INPUTS}<p>0 0 1 0 2 0 3 0</p></trifans>',
    "with lines": f'<lines count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1</p></lines>'
    f'<triangles count="2" material="look">{INPUTS}<p>0 0 1 0 2 0 0 0 2 0 3 0</p></triangles>',
}
LOOK = """<library_effects><effect id="e"><profile_COMMON><technique sid="common"><phong>
<diffuse><color>1 0.5 0 1</color></diffuse>{more}</phong></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m" name="orange"><instance_effect url="#e"/></material></library_materials>"""
SHOW = """<instance_geometry url="#plate"><bind_material><technique_common>
<instance_material symbol="look" target="#m"/></technique_common></bind_material></instance_geometry>"""


def document(nodes: str = f"<node>{SHOW}</node>", *, primitive: str = "triangles", asset: str = "", **more: str) -> str:
    """A document of another program: a plate of 2 by 3."""
    look = LOOK.format(more=more.get("effect", ""))
    shape = GEOMETRY.format(primitive=PRIMITIVES.get(primitive, primitive))
    return f"""<?xml version="1.0" encoding="utf-8"?>{more.get("doctype", "")}
<COLLADA {NAMESPACE}><asset>{asset}</asset>{look}
<library_geometries>{shape}</library_geometries>{more.get("libraries", "")}
<library_visual_scenes><visual_scene id="s" name="s">{nodes}</visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#s"/></scene></COLLADA>"""


def parsed(folder: Path, text: str) -> Scene:
    """A document, read."""
    (folder / "t.dae").write_text(text, encoding="utf-8")
    return collada_reader.read(folder / "t.dae", OPTIONS)


class TestRoundTrip:
    def test_everything(self, tmp_path: Path) -> None:
        """Given an assembly with a texture, when it goes through a file, then all that the table promises is there."""
        before = samples.everything()
        write_scene(before, tmp_path / "t ü.dae")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["t ü.dae", "t ü_quadrants.png"]
        after = read_scene(tmp_path / "t ü.dae")
        assert (after.unit_m, after.up) == (0.001, "y")
        assert [o.name for o in after.root.walk()][1:] == [o.name for o in before.root.walk()][1:]
        assert facts.extents(after) == pytest.approx(facts.extents(before))
        assert facts.volume(after) == pytest.approx(facts.volume(before))
        assert facts.counts(after) == facts.counts(before)
        assert facts.quadrants(after) == facts.quadrants(before)
        assert {material.name for material in after.materials()} == {"red", "blue", "paint"}

    def test_materials_and_colours(self, tmp_path: Path) -> None:
        """Given two materials, opacity and colours of vertices, when it comes back, then they are as before."""
        mesh = samples.box()
        clear = Material(name="clear", base_colour=(0, 0, 1, 0.5), emission=(1.0, 0.0, 0.0), double_sided=False)
        mesh.materials = (samples.painted("red", samples.RED), clear, None)
        mesh.triangle_materials = numpy.array([0] * 6 + [1] * 4 + [2] * 2, numpy.uint16)
        mesh.colours = numpy.arange(32, dtype=numpy.uint8).reshape(8, 4) * 7
        scene = Scene(name="t", root=Occurrence(name="t", part=Part(name="t", mesh=mesh)), unit_m=None, up="z")
        collada_writer.write(scene, tmp_path / "t.dae")
        after = collada_reader.read(tmp_path / "t.dae", OPTIONS)
        found = after.parts()[0].mesh
        assert found is not None and found.colours is not None and found.triangle_materials is not None
        assert (after.unit_m, after.up) == (1.0, "z")
        assert found.triangle_materials.tolist() == mesh.triangle_materials.tolist()
        assert found.positions.tolist() == mesh.positions.tolist()
        assert found.colours.tolist() == mesh.colours.tolist()
        assert found.materials[2] is None
        assert found.materials[1] is not None
        assert found.materials[1].base_colour == pytest.approx((0, 0, 1, 0.5))
        assert (found.materials[1].emission, found.materials[1].double_sided) == (pytest.approx((1, 0, 0)), False)

    def test_deep_tree(self, tmp_path: Path) -> None:
        """Given a tree of 3000 levels, when it goes through a file, then all of them are there."""
        deepest = root = Occurrence(name="root")
        for level in range(3000):
            deepest = deepest.add(Occurrence(name=f"level {level}", matrix=samples.shift(0.001)))
        deepest.part = Part(name="box", mesh=samples.box())
        collada_writer.write(Scene(name="deep", root=root, unit_m=1.0, up="y"), tmp_path / "t.dae")
        after = collada_reader.read(tmp_path / "t.dae", OPTIONS)
        assert [o.name for o in after.root.walk()] == [o.name for o in root.walk()]
        assert after.instances()[0].world()[0, 3] == pytest.approx(3.0)

    def test_names_that_xml_does_not_allow(self, tmp_path: Path) -> None:
        """Given a name with a zero and markup, when it is written, then the file can be read."""
        part = Part(name="a<&\x00\ud800b", mesh=samples.box())
        scene = Scene(name="t", root=Occurrence(name='"\x1b', part=part), unit_m=1.0, up="y")
        collada_writer.write(scene, tmp_path / "t.dae")
        assert collada_reader.read(tmp_path / "t.dae", OPTIONS).parts()[0].name == "a<&\ufffd\ufffdb"

    def test_pycollada_agrees(self, tmp_path: Path) -> None:
        """Given a file of ours, when pycollada reads it, then it finds its tree and its triangles."""
        collada_writer.write(samples.everything(), tmp_path / "t.dae")
        found = Collada(str(tmp_path / "t.dae"))
        assert not found.errors
        assert len(found.geometries) == 3
        assert len(list(found.scene.objects("geometry"))) == 4

    @pytest.mark.parametrize(("scene", "words"), [(samples.points(), "only points"), (None, "no mesh and no point")])
    def test_nothing_to_write(self, tmp_path: Path, scene: Scene | None, words: str) -> None:
        """Given points alone, or nothing, when it is written, then a sentence refuses it."""
        with pytest.raises(ValueError, match=words):
            collada_writer.write(scene or Scene(name="none", root=Occurrence(name="none")), tmp_path / "t.dae")


class TestOthers:
    @pytest.mark.parametrize("primitive", PRIMITIVES)
    def test_primitives(self, tmp_path: Path, primitive: str) -> None:
        """Given a plate in each kind of primitive, when it is read, then it has two triangles that face +z."""
        mesh = parsed(tmp_path, document(primitive=primitive)).parts()[0].mesh
        assert mesh is not None and mesh.normals is not None
        assert len(mesh.triangles) == 2
        corners = mesh.positions[mesh.triangles]
        normals = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert normals.tolist() == [[0, 0, 6], [0, 0, 6]]
        assert mesh.normals.tolist() == [[0, 0, 1]] * len(mesh.positions)
        assert mesh.materials[0] is not None
        assert (mesh.materials[0].name, mesh.materials[0].srgb) == ("orange", (255, 128, 0, 255))

    def test_transformations(self, tmp_path: Path) -> None:
        """Given one transformation after the other, when it is read, then they apply from the inside out."""
        steps = "<translate>10 0 0</translate><rotate>0 0 1 90</rotate><scale>2 2 2</scale>"
        asset = '<unit name="centimeter" meter="0.01"/><up_axis>Z_UP</up_axis>'
        scene = parsed(tmp_path, document(f'<node name="a">{steps}{SHOW}</node>', asset=asset))
        assert (scene.unit_m, scene.up) == (0.01, "z")
        low, high = facts.placed_positions(scene)[0].min(axis=0), facts.placed_positions(scene)[0].max(axis=0)
        assert scene.root.world() @ [0.02, 0, 0, 1] == pytest.approx([0.1, 0.04, 0, 1])
        assert (high - low).max() == pytest.approx(0.06)

    def test_library_nodes(self, tmp_path: Path) -> None:
        """Given a node of the library that is shown twice, when it is read, then both show one part."""
        library = f'<library_nodes><node id="l" name="shared">{SHOW}</node></library_nodes>'
        node = '<node name="{}"><instance_node url="#l"/></node>'
        scene = parsed(tmp_path, document(node.format("a") + node.format("b"), libraries=library))
        assert [o.name for o in scene.root.walk()] == ["t", "a", "shared", "b", "shared"]
        assert facts.counts(scene) == (1, 2)

    def test_materials_by_instance(self, tmp_path: Path) -> None:
        """Given two instances, one without the material, when it is read, then they show two parts."""
        scene = parsed(tmp_path, document(f'<node>{SHOW}</node><node><instance_geometry url="#plate"/></node>'))
        assert facts.counts(scene) == (2, 2)

    @pytest.mark.parametrize(
        ("effect", "opacity"),
        [
            ("<transparency><float>0.25</float></transparency>", 0.25),
            ('<transparent opaque="A_ONE"><color>1 1 1 0.5</color></transparent>', 0.5),
            ('<transparent opaque="RGB_ZERO"><color>0.75 0.75 0.75 1</color></transparent>'
             "<transparency><float>1</float></transparency>", 0.25),
            ("<transparency><float>0</float></transparency>", 1.0),
        ],
    )  # fmt: skip
    def test_opacity(self, tmp_path: Path, effect: str, opacity: float) -> None:
        """Given the ways to say transparency, when it is read, then the opacity is what they mean."""
        assert parsed(tmp_path, document(effect=effect)).materials()[0].base_colour[3] == pytest.approx(opacity)

    @pytest.mark.parametrize(("given", "size"), [(None, 3.0), (0.001, 0.003)])
    def test_no_unit(self, tmp_path: Path, given: float | None, size: float) -> None:
        """Given no unit in the file, when it is read, then its numbers count as metres, or as asked for."""
        (tmp_path / "t.dae").write_text(document(), encoding="utf-8")
        scene = collada_reader.read(tmp_path / "t.dae", ReadOptions(unit_m=given))
        assert (scene.unit_m, scene.up) == (given, "y")
        assert facts.extents(scene)[1] == pytest.approx(size)

    def test_animations(self, tmp_path: Path) -> None:
        """Given animations, when it is read, then they are counted, by name."""
        library = '<library_animations><animation name="open"/><animation id="close"/></library_animations>'
        scene = parsed(tmp_path, document(libraries=library))
        assert [animation.name for animation in scene.animations] == ["open", "close"]


LOOP = (
    '<library_nodes><node id="a"><instance_node url="#b"/></node>'
    '<node id="b"><instance_node url="#a"/></node></library_nodes>'
)
SHOWN = '<instance_node url="#n{}"/>'
DOUBLING = "".join(f'<node id="n{n}">{SHOWN.format(n + 1) * 8}</node>' for n in range(40)) + '<node id="n40"/>'
DOUBLING = f"<library_nodes>{DOUBLING}</library_nodes>"
HOSTILE = {
    "entities": (document(doctype='<!DOCTYPE COLLADA [<!ENTITY a "aaaa">]>'), "DOCTYPE"),
    "a DTD elsewhere": (document(doctype='<!DOCTYPE COLLADA SYSTEM "http://127.0.0.1/x.dtd">'), "DOCTYPE"),
    "a loop": (document('<node><instance_node url="#a"/></node>', libraries=LOOP), "shows itself"),
    "doubling": (document('<node><instance_node url="#n0"/></node>', libraries=DOUBLING), "unfolds"),
    "no such geometry": (document('<node><instance_geometry url="#nowhere"/></node>'), "not there"),
    "no such vertex": (document(primitive=PRIMITIVES["triangles"].replace("3 0</p>", "9 0</p>")), "damaged|not there"),
    "a negative vertex": (document(primitive=PRIMITIVES["triangles"].replace("3 0</p>", "-1 0</p>")), "not there"),
    "words for numbers": (document().replace("0 3 0</float_array>", "0 x 0</float_array>"), "damaged"),
    "half a polygon": (document(primitive=PRIMITIVES["polylist"].replace(">4<", ">7<")), "damaged|corners"),
    "a short matrix": (document(f"<node><matrix>1 0 0</matrix>{SHOW}</node>"), "numbers"),
    "no mesh": (document("<node/>"), "no mesh"),
    "another XML": ("<html/>", "begins with <html>"),
    "cut off": (document()[:900], "damaged"),
    "garbage": ("\x01\x02 no XML", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(tmp_path: Path, name: str) -> None:
    """Given a file that means harm, or is damaged, when it is read, then a sentence says what is wrong."""
    text, words = HOSTILE[name]
    (tmp_path / "t.dae").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=f"^t.dae cannot be read as COLLADA: .*({words}).*\\.$"):
        read_scene(tmp_path / "t.dae")
