"""3MF: what comes back of ours, packages of others, and packages that mean harm."""

from __future__ import annotations

import locale
import zipfile
from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import FormatError, UnsafeFile
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.formats.threemf import reader as threemf_reader
from pixyz_worker.kernel.formats.threemf import writer as threemf_writer
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import facts, samples

OPTIONS = ReadOptions()
CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
SPACES = (
    f'xmlns="{CORE}" xmlns:m="http://schemas.microsoft.com/3dmanufacturing/material/2015/02" '
    'xmlns:p="http://schemas.microsoft.com/3dmanufacturing/production/2015/06" requiredextensions="m p"'
)
TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
)
RELATION = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="{target}" Id="r1" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    "</Relationships>"
)
VERTICES = (
    '<vertices><vertex x="0" y="0" z="0"/><vertex x="2" y="0" z="0"/><vertex x="2" y="3" z="0"/>'
    '<vertex x="0" y="3" z="0"/></vertices>'
)
PLATE = (
    f'<object id="{{key}}" type="model" name="Platte Ä" p:UUID="00000000-0000-0000-0000-00000000000{{key}}"{{more}}>'
    f"<mesh>{VERTICES}<triangles>{{triangles}}</triangles></mesh></object>"
)
TRIANGLES = '<triangle v1="0" v2="1" v3="2"{0}/><triangle v1="0" v2="2" v3="3"{1}/>'
MATERIALS = (
    '<basematerials id="1"><base name="rot" displaycolor="#C81E28"/><base name="blau" displaycolor="#1482F080"/>'
    "</basematerials>"
)


def model(resources: str, build: str, unit: str = "millimeter") -> str:
    """The XML of a model."""
    inside = f"<resources>{resources}</resources><build>{build}</build>"
    return f'<?xml version="1.0"?><model {SPACES} unit="{unit}">{inside}</model>'


def plate(key: int = 2, more: str = "", first: str = "", second: str = "") -> str:
    """An object of two triangles, with more attributes."""
    return PLATE.format(key=key, more=more, triangles=TRIANGLES.format(first, second))


def item(key: int, more: str = "") -> str:
    """Something that is built."""
    return f'<item objectid="{key}" p:UUID="00000000-0000-0000-0001-00000000000{key}"{more}/>'


def package(path: Path, root: str, **parts: str) -> Path:
    """A package of a model, and of more models by the name of their files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", RELATION.format(target="/3D/3dmodel.model"))
        for name, text in parts.items():
            archive.writestr("3D/_rels/3dmodel.model.rels", RELATION.format(target=f"/3D/{name}.model"))
            archive.writestr(f"3D/{name}.model", text)
        archive.writestr("3D/3dmodel.model", root)
    return path


def parsed(folder: Path, root: str, **parts: str) -> Scene:
    """A package, read."""
    return threemf_reader.read(package(folder / "t.3mf", root, **parts), OPTIONS)


class TestRoundTrip:
    def test_everything(self, tmp_path: Path) -> None:
        """Given an assembly with a texture, when it goes through a file, then all that the table promises is there."""
        before = samples.everything()
        write_scene(before, tmp_path / "t.3mf")
        after = read_scene(tmp_path / "t.3mf")
        assert (after.unit_m, after.up) == (0.001, "z")
        assert {o.name for o in before.root.walk()} <= {o.name for o in after.root.walk()}
        assert facts.extents(after) == pytest.approx(facts.extents(before))
        assert facts.volume(after) == pytest.approx(facts.volume(before))
        assert facts.counts(after) == facts.counts(before)
        assert facts.paths(after) == facts.paths(before)
        assert facts.quadrants(after) == facts.quadrants(before)
        assert {material.name for material in after.materials()} == {"red", "blue", "quadrants"}

    def test_materials_of_triangles(self, tmp_path: Path) -> None:
        """Given triangles of two materials and of none, when they come back, then each has its own."""
        mesh = samples.box()
        mesh.materials = (None, samples.painted("red", samples.RED), samples.painted("blue", samples.BLUE))
        mesh.triangle_materials = numpy.array([0] * 2 + [1] * 4 + [2] * 6, numpy.uint16)
        scene = Scene(name="t", root=Occurrence(name="t", part=Part(name="t", mesh=mesh)), up="z")
        threemf_writer.write(scene, tmp_path / "t.3mf")
        found = threemf_reader.read(tmp_path / "t.3mf", OPTIONS).parts()[0].mesh
        assert found is not None
        counts = {material.name if material else "": len(triangles) for material, triangles in found.by_material()}
        assert counts["blue"] == 6
        assert sum(counts.values()) == 12

    def test_colours(self, tmp_path: Path) -> None:
        """Given colours of vertices, when they come back, then each vertex has its own."""
        mesh = samples.box()
        mesh.colours = numpy.arange(32, dtype=numpy.uint8).reshape(8, 4) * 7
        scene = Scene(name="t", root=Occurrence(name="t", part=Part(name="t", mesh=mesh)), up="z")
        threemf_writer.write(scene, tmp_path / "t.3mf")
        found = threemf_reader.read(tmp_path / "t.3mf", OPTIONS).parts()[0].mesh
        assert found is not None and found.colours is not None
        rows = {tuple(row): tuple(colour) for row, colour in zip(mesh.positions, mesh.colours, strict=True)}
        assert {tuple(r): tuple(c) for r, c in zip(found.positions, found.colours, strict=True)} == rows

    def test_empty_branches_and_flat_triangles(self, tmp_path: Path) -> None:
        """Given a group of nothing and a triangle with two corners, when it is written, then both are left out."""
        mesh = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 1, 1]])
        children = [Occurrence(name="nothing"), Occurrence(name="a\x00b", part=Part(name="p", mesh=mesh))]
        threemf_writer.write(Scene(name="t", root=Occurrence(name="t", children=children), up="z"), tmp_path / "t.3mf")
        after = threemf_reader.read(tmp_path / "t.3mf", OPTIONS)
        assert [o.name for o in after.root.walk()] == ["a\ufffdb"]
        assert after.triangle_count == 1

    @pytest.mark.parametrize(("scene", "words"), [(samples.points(), "only points"), (None, "no mesh and no point")])
    def test_nothing_to_write(self, tmp_path: Path, scene: Scene | None, words: str) -> None:
        """Given points alone, or nothing, when it is written, then a sentence refuses it."""
        with pytest.raises(ValueError, match=words):
            threemf_writer.write(scene or Scene(name="none", root=Occurrence(name="none")), tmp_path / "t.3mf")


class TestOthers:
    @pytest.mark.parametrize(
        ("unit", "metres"),
        [
            ("micron", 1e-6),
            ("millimeter", 1e-3),
            ("centimeter", 0.01),
            ("inch", 0.0254),
            ("foot", 0.3048),
            ("meter", 1),
        ],
    )
    def test_units(self, tmp_path: Path, unit: str, metres: float) -> None:
        """Given each unit of the format, when it is read, then lengths and places are metres."""
        text = model(plate(), item(2, ' transform="0 1 0 -1 0 0 0 0 1 10 0 0"'), unit)
        scene = parsed(tmp_path, text)
        assert scene.unit_m == pytest.approx(metres)
        assert scene.root.world() @ [2 * metres, 0, 0, 1] == pytest.approx([10 * metres, 2 * metres, 0, 1])

    def test_parts_in_other_files(self, tmp_path: Path) -> None:
        """Given components in another file of the package, when it is read, then they are instances of one part."""
        components = "".join(
            f'<component objectid="2" p:path="/3D/shape.model" p:UUID="00000000-0000-0000-0002-00000000000{number}" '
            f'transform="1 0 0 0 1 0 0 0 1 {number} 0 0"/>'
            for number in (5, 9)
        )
        group = (
            '<object id="4" name="Gruppe" p:UUID="00000000-0000-0000-0000-000000000004">'
            f"<components>{components}</components></object>"
        )
        scene = parsed(tmp_path, model(group, item(4)), shape=model(plate(), ""))
        assert scene.root.name == "Gruppe"
        assert facts.counts(scene) == (1, 2)
        assert [round(o.world()[0, 3], 6) for o in scene.instances()] == [0.005, 0.009]
        assert scene.parts()[0].name == "Platte Ä"

    def test_base_materials(self, tmp_path: Path) -> None:
        """Given a default material and another on one triangle, when it is read, then both are shown."""
        scene = parsed(tmp_path, model(MATERIALS + plate(2, ' pid="1" pindex="0"', "", ' pid="1" p1="1"'), item(2)))
        looks = [(material.name, material.srgb) for material in scene.materials()]
        assert looks == [("rot", (200, 30, 40, 255)), ("blau", (20, 130, 240, 128))]

    def test_plain_colours(self, tmp_path: Path) -> None:
        """Given colours on whole triangles, when it is read, then they are materials."""
        colours = '<m:colorgroup id="1"><m:color color="#C81E28"/><m:color color="#1482F0"/></m:colorgroup>'
        scene = parsed(tmp_path, model(colours + plate(2, "", ' pid="1" p1="0"', ' pid="1" p1="1"'), item(2)))
        assert facts.colours(scene) == {samples.RED, samples.BLUE}

    def test_composites_and_layers(self, tmp_path: Path) -> None:
        """Given a mixture, and colours upon a material, when it is read, then something fitting is shown."""
        mixed = (
            '<m:compositematerials id="3" matid="1" matindices="0 1">'
            '<m:composite values="0.5 0.5"/></m:compositematerials>'
        )
        colours = '<m:colorgroup id="4"><m:color color="#FFFFFF"/><m:color color="#000000"/></m:colorgroup>'
        layers = (
            '<m:multiproperties id="5" pids="1 4"><m:multi pindices="0 0"/>'
            '<m:multi pindices="0 1"/></m:multiproperties>'
        )
        shape = plate(2, "", ' pid="3" p1="0"', ' pid="5" p1="0" p2="1" p3="0"')
        mesh = parsed(tmp_path, model(MATERIALS + mixed + colours + layers + shape, item(2))).parts()[0].mesh
        assert mesh is not None and mesh.colours is not None
        assert {material.srgb for material in mesh.materials if material} == {(110, 80, 140, 192), (200, 30, 40, 255)}
        assert [0, 0, 0, 255] in mesh.colours.tolist()


def doubling() -> str:
    """Objects of which each shows the one before ten times."""
    component = '<component objectid="{}"/>'
    objects = "".join(
        f'<object id="{key}" type="model"><components>{component.format(key - 1) * 10}</components></object>'
        for key in range(3, 33)
    )
    return model(plate() + objects, item(32)).replace('requiredextensions="m p"', "")


class TestHostile:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (model("", ""), "no mesh"),
            (model(plate(), ""), "no mesh"),
            (model(plate().replace('v3="3"', 'v3="4000000000"'), item(2)), "damaged"),
            (model(plate(), item(7)), "damaged"),
            (model(plate(), item(2))[:400], "damaged"),
            (model(plate().replace('x="2"', 'x="two"'), item(2)), "damaged|not numbers"),
            (doubling(), "unfolds to more"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]>" + model(plate(), item(2)), "damaged"),
            ("\x01 no XML", "damaged"),
        ],
        ids=["nothing", "nothing built", "a vertex", "an object", "cut", "words", "doubling", "DOCTYPE", "garbage"],
    )
    def test_models(self, tmp_path: Path, text: str, words: str) -> None:
        """Given a damaged model, when it is read, then a sentence says so; nothing is ever an empty scene."""
        package(tmp_path / "t.3mf", text)
        with pytest.raises(FormatError, match=f"^t.3mf cannot be read as 3MF: .*({words}).*\\.$"):
            read_scene(tmp_path / "t.3mf")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
    def test_cut_off(self, tmp_path: Path, share: float) -> None:
        """Given a part of a package, when it is read, then it is called damaged."""
        data = package(tmp_path / "t.3mf", model(plate(), item(2))).read_bytes()
        (tmp_path / "t.3mf").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(FormatError, match="no zip archive"):
            read_scene(tmp_path / "t.3mf")

    def test_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a package that unpacks to more than allowed and lies about it, when it is read, then it is refused."""
        monkeypatch.setenv("MAX_ARCHIVE_BYTES", "100000")
        path = package(tmp_path / "t.3mf", model(plate(), item(2)) + " " * 300_000)
        size = len(model(plate(), item(2))) + 300_000
        path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (500).to_bytes(4, "little")))
        with pytest.raises(FormatError, match="unpacks to more than 100000 bytes"):
            read_scene(path)

    def test_entries(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given more entries than allowed, when it is read, then it is refused."""
        monkeypatch.setenv("MAX_ARCHIVE_ENTRIES", "2")
        with pytest.raises(UnsafeFile, match="more than 2 entries"):
            read_scene(package(tmp_path / "t.3mf", model(plate(), item(2))))


def test_given_a_locale_when_a_file_is_written_and_read_then_it_is_as_before(tmp_path: Path) -> None:
    """Given text that is UTF-8, when lib3mf has worked, which sets the locale to C, then text is UTF-8 still."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        write_scene(samples.assembly(), tmp_path / "a.3mf")
        assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"
        read_scene(tmp_path / "a.3mf")
        assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"
    finally:
        locale.setlocale(locale.LC_ALL, before)
