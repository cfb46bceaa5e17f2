"""STEP, IGES and BRep files: what is kept, with exact surfaces and without, and what is refused."""

from __future__ import annotations

import gzip
import os
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import FormatError, InvalidFile, PixyzSecurityViolation
from pixyz_worker.kernel import system_libraries
from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.formats.cad import step
from pixyz_worker.kernel.formats.cad.step_text import is_sound
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.options import ReadOptions, Tessellation
from pixyz_worker.kernel.scene import Scene
from tests.unit.kernel import cad_shapes

Need = Callable[[str], None]


@pytest.fixture
def cad(need_extra: Need) -> None:
    """OpenCASCADE is here."""
    need_extra("cad")


def three_levels(folder: Path) -> Path:
    """A machine of two axles (instances of one assembly) with two wheels each, and a painted box."""
    made = cad_shapes.Document()
    wheel, crate = made.part(cad_shapes.sphere(10), "Rad ø20"), made.part(cad_shapes.box(1, 2, 3), "Kiste")
    made.paint(wheel, cad_shapes.RED)
    top = made.shapes.AddSubShape(crate, made.occ.faces(made.shapes.GetShape_s(crate))[5])
    made.paint(crate, cad_shapes.GREEN)
    made.paint(top, cad_shapes.BLUE)
    machine, axle = made.assembly("Maschine"), made.assembly("Achse")
    made.put(axle, wheel, "links", -50, 0, 0)
    made.put(axle, wheel, "rechts", 50, 0, 0)
    made.put(machine, axle, "vorne", 0, 100, 0)
    made.put(machine, axle, "hinten", 0, -100, 0)
    made.put(machine, crate, "Kiste 木箱")
    return made.write(folder / "maschine.step")


@pytest.mark.usefixtures("cad")
def test_an_assembly_keeps_names_places_instances_and_colours(tmp_path: Path) -> None:
    """Given an assembly of three levels, when it is read, then its tree comes back, with exact surfaces alone."""
    scene = read_scene(three_levels(tmp_path))
    names = [occurrence.name for occurrence in scene.root.walk()]
    assert names == [
        *("maschine", "Maschine", "vorne", "links", "rechts", "hinten", "links", "rechts", "Kiste 木箱"),
    ]
    assert (scene.unit_m, scene.up) == (0.001, "z")
    wheels = [occurrence.part for occurrence in scene.root.walk() if occurrence.name in ("links", "rechts")]
    assert len(set(wheels)) == 1
    assert wheels[0] is not None and (wheels[0].name, wheels[0].mesh) == ("Rad ø20", None)
    numpy.testing.assert_allclose(cad_shapes.find(scene, "rechts").world()[:3, 3], (0.05, 0.1, 0))
    assert isinstance(wheels[0].brep, OccBrep)
    numpy.testing.assert_allclose(wheels[0].brep.bounds(), [[-0.01] * 3, [0.01] * 3], atol=1e-9)
    material = wheels[0].brep.materials[0]
    assert material is not None
    numpy.testing.assert_allclose(material.base_colour, (*cad_shapes.RED, 1), atol=1e-3)


@pytest.mark.usefixtures("cad")
def test_colours_of_single_faces(tmp_path: Path) -> None:
    """Given a green box with a blue top, when it is read, also from bytes of its surfaces, then that is so."""
    part = cad_shapes.find(read_scene(three_levels(tmp_path)), "Kiste 木箱").part
    assert part is not None and isinstance(part.brep, OccBrep)
    for brep in (part.brep, OccBrep.from_bytes(part.brep.to_bytes()), pickle.loads(pickle.dumps(part.brep))):  # noqa: S301
        (top,) = cad_shapes.face_look(brep, lambda centre: centre[2] > 2.9)
        (other,) = cad_shapes.face_look(brep, lambda centre: centre[2] < 2.9)
        assert top is not None and other is not None
        numpy.testing.assert_allclose(top.base_colour, (*cad_shapes.BLUE, 1), atol=1e-3)
        numpy.testing.assert_allclose(other.base_colour, (*cad_shapes.GREEN, 1), atol=1e-3)


@pytest.mark.usefixtures("cad")
def test_the_colour_of_an_instance_and_of_an_assembly(tmp_path: Path) -> None:
    """Given a bare part below a red assembly, one instance blue, when read, then they are red and blue."""
    made = cad_shapes.Document()
    part, group, top = made.part(cad_shapes.box(1, 1, 1), "part"), made.assembly("group"), made.assembly("top")
    made.put(group, part, "plain")
    made.paint(made.put(group, part, "special", 5, 0, 0), cad_shapes.BLUE)
    made.paint(made.put(top, group, "group"), cad_shapes.RED)
    scene = read_scene(made.write(tmp_path / "a.step"))
    for name, values in (("plain", cad_shapes.RED), ("special", cad_shapes.BLUE)):
        found = cad_shapes.find(scene, name).part
        assert found is not None and isinstance(found.brep, OccBrep)
        material = found.brep.materials[0]
        assert material is not None, name
        numpy.testing.assert_allclose(material.base_colour, (*values, 1), atol=1e-3)


def add_dimension(made: cad_shapes.Document, face: object) -> None:
    """Give a face a dimension."""
    from OCP import XCAFDimTolObjects

    tool, attributes = made.tolerances, made.occ.XCAFDoc
    length, size = XCAFDimTolObjects.XCAFDimTolObjects_DimensionObject(), tool.AddDimension()
    length.SetType(XCAFDimTolObjects.XCAFDimTolObjects_DimensionType.XCAFDimTolObjects_DimensionType_Size_Diameter)
    length.SetValue(3.0)
    length.SetUpperTolValue(0.2)
    length.SetLowerTolValue(-0.1)
    made.occ.attribute(size, attributes.XCAFDoc_Dimension).SetObject(length)
    tool.SetDimension(face, size)


def add_tolerances(made: cad_shapes.Document, face: object) -> None:
    """Give a face a dimension, a datum and a tolerance, and the document a note."""
    from OCP import XCAFDimTolObjects
    from OCP.TCollection import TCollection_HAsciiString

    tool, attributes = made.tolerances, made.occ.XCAFDoc
    add_dimension(made, face)
    datum, letter = XCAFDimTolObjects.XCAFDimTolObjects_DatumObject(), tool.AddDatum()
    datum.SetName(TCollection_HAsciiString("A"))
    made.occ.attribute(letter, attributes.XCAFDoc_Datum).SetObject(datum)
    faces = made.occ.collections.Sequence_TDF_Label()
    faces.Append(face)
    tool.SetDatum(faces, letter)
    kinds = XCAFDimTolObjects.XCAFDimTolObjects_GeomToleranceType
    rule, label = XCAFDimTolObjects.XCAFDimTolObjects_GeomToleranceObject(), tool.AddGeomTolerance()
    rule.SetType(kinds.XCAFDimTolObjects_GeomToleranceType_Parallelism)
    rule.SetValue(0.05)
    made.occ.attribute(label, attributes.XCAFDoc_GeomTolerance).SetObject(rule)
    tool.SetGeomTolerance(face, label)
    notes = made.occ.XCAFDoc.XCAFDoc_DocumentTool.NotesTool_s(made.document.Main())
    notes.CreateComment(made.occ.extended("me"), made.occ.extended("now"), made.occ.extended("nicht schön"))


@pytest.mark.usefixtures("cad")
def test_layers_and_dimensions(tmp_path: Path) -> None:
    """Given a part on a layer with a dimension, when it is read, then they are metadata and an annotation."""
    made = cad_shapes.Document()
    part = made.part(cad_shapes.box(1, 2, 3), "part")
    made.layers.SetLayer(part, made.occ.extended("Gehäuse"), False)
    add_dimension(made, made.shapes.AddSubShape(part, made.occ.faces(made.shapes.GetShape_s(part))[0]))
    found = cad_shapes.find(read_scene(made.write(tmp_path / "a.step")), "part")
    assert found.part is not None and found.part.metadata["Layer"] == "Gehäuse"
    groups = {group.name: group.annotations for group in found.annotations}
    assert groups["Dimensions"] == ("diameter: size diameter 3 +0.2/-0.1",)


@pytest.mark.usefixtures("cad")
def test_annotations_of_all_kinds() -> None:
    """Given a document with tolerances and a note, when its tree is read, then they stand where they belong."""
    from pixyz_worker.kernel.formats.cad.xcaf_tree import read_tree

    made = cad_shapes.Document()
    part, top = made.part(cad_shapes.box(1, 2, 3), "part"), made.assembly("top")
    made.put(top, part, "first")
    made.put(top, part, "second", 9, 0, 0)
    add_tolerances(made, made.shapes.AddSubShape(part, made.occ.faces(made.shapes.GetShape_s(part))[0]))
    made.shapes.UpdateAssemblies()
    tree = {found.name: found for found in read_tree(made.document, "root").walk()}
    groups = {name: [(group.name, group.annotations) for group in found.annotations] for name, found in tree.items()}
    assert groups["first"] == [
        ("Dimensions", ("size diameter 3 +0.2/-0.1",)),
        ("Geometric tolerances", ("parallelism 0.05",)),
        ("Datums", ("A",)),
    ]
    assert groups["root"] == [("Notes", ("nicht schön",))]
    assert groups["second"] == groups["top"] == []


@pytest.mark.usefixtures("cad")
@pytest.mark.parametrize(("unit", "metres"), [("MM", 0.001), ("INCH", 0.0254), ("M", 1.0)])
def test_units_become_metres(tmp_path: Path, unit: str, metres: float) -> None:
    """Given a box of 25.4 mm in a file of another unit, when it is read either way, then its size stays."""
    made = cad_shapes.Document()
    made.part(cad_shapes.box(25.4, 25.4, 25.4), "box")
    path = made.write(tmp_path / "box.step", unit=unit)
    exact = read_scene(path)
    bare = step.read_with_cascadio(path, ReadOptions(), kind="step", name="box")
    assert exact.unit_m == bare.unit_m == metres
    (part,), (triangles,) = exact.parts(), bare.parts()
    assert part.brep is not None and triangles.mesh is not None
    numpy.testing.assert_allclose(part.brep.bounds()[1], [0.0254] * 3, atol=1e-8)  # type: ignore[attr-defined]
    numpy.testing.assert_allclose(triangles.mesh.bounds[1], [0.0254] * 3, atol=1e-8)


@pytest.mark.usefixtures("cad")
def test_parts_in_files_beside_it(tmp_path: Path) -> None:
    """Given an assembly whose parts are in other files, when read, then they are found, in this folder alone."""
    (tmp_path / "in").mkdir()
    made = cad_shapes.Document()
    top = made.assembly("top")
    made.put(top, made.part(cad_shapes.box(1, 2, 3), "one"), "one")
    made.put(top, made.part(cad_shapes.sphere(5), "two"), "two", 9, 0, 0)
    path = tmp_path / "in" / "top.step"
    before = Path.cwd()
    os.chdir(path.parent)  # where OpenCASCADE puts the files of parts
    try:
        made.write(path, multi="part-")
    finally:
        os.chdir(before)
    scene = read_scene(path)
    assert sorted(part.name for part in scene.parts()) == ["one", "two"]
    assert all(part.brep is not None and part.brep.bounds().any() for part in scene.parts())  # type: ignore[attr-defined]

    (path.parent / "part-one.stp").rename(tmp_path / "part-one.stp")
    path.write_text(path.read_text().replace("part-one.stp", "../part-one.stp"))
    with pytest.raises(InvalidFile, match=r"'\.\./part-one\.stp', which is outside its folder"):
        read_scene(path)
    with pytest.raises(ValueError, match="in other files, which are read with the extra 'cad'"):
        step.read_with_cascadio(path, ReadOptions(), kind="step", name="top")


def test_without_the_extra_triangles_are_read(sample: Path) -> None:
    """Given the sample, when it is read without exact surfaces, then tree, instances and colours are there."""
    scene = step.read_with_cascadio(sample, ReadOptions(), kind="step", name="bracket")
    assert (scene.unit_m, scene.up, len(scene.parts())) == (0.001, "z", 6)
    assert {"Lagerbock links", "Shaft Ø20"} <= {occurrence.name for occurrence in scene.root.walk()}
    assert len(scene.instances()) == 22
    assert all(part.mesh is not None and part.brep is None for part in scene.parts())
    assert len(scene.materials()) == 6
    assert {"#7D8A96", "#E07B1A"} <= {material.name for material in scene.materials()}


def test_the_tessellation_that_is_asked_for(sample: Path) -> None:
    """Given a coarser tessellation, when read without exact surfaces, then there are fewer triangles."""
    fine = step.read_with_cascadio(sample, ReadOptions(), kind="step", name="bracket")
    rough = ReadOptions(tessellation=Tessellation(sag_m=0.001, angle_deg=60))
    coarse = step.read_with_cascadio(sample, rough, kind="step", name="bracket")
    assert 0 < coarse.triangle_count < fine.triangle_count / 2


@pytest.mark.parametrize("name", ["part.stpz", "part.step"])
def test_compressed_files_and_byte_order_marks(tmp_path: Path, sample: Path, name: str) -> None:
    """Given STEP in gzip or behind a byte order mark, when it is read, then it is like the plain file."""
    text = b"\xef\xbb\xbf" + sample.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("stpz") else text)
    scene = read_scene(tmp_path / name)
    assert scene.name == "part"
    assert len(scene.parts()) == 6


@pytest.mark.usefixtures("cad")
def test_iges(tmp_path: Path) -> None:
    """Given a box in inches as IGES, when it is read either way, then its size and faces are there."""
    from OCP.IGESControl import IGESControl_Writer

    from pixyz_worker.kernel.formats.cad import occ

    path = tmp_path / "box.igs"
    with occ.quietly():
        writer = IGESControl_Writer("IN", 0)
        writer.AddShape(cad_shapes.box(25.4, 25.4, 50.8))
        assert writer.Write(str(path))
    exact = read_scene(path)
    bare = step.read_with_cascadio(path, ReadOptions(), kind="iges", name="box")
    assert exact.unit_m == pytest.approx(0.0254)
    assert bare.unit_m == pytest.approx(0.0254)
    assert sum(len(occ.faces(part.brep.shape)) for part in exact.parts() if isinstance(part.brep, OccBrep)) == 6
    assert max(part.brep.bounds()[1].max() for part in exact.parts() if part.brep) == pytest.approx(0.0508)  # type: ignore[attr-defined]
    assert max(float(part.mesh.bounds[1].max()) for part in bare.parts() if part.mesh) == pytest.approx(0.0508)


@pytest.mark.usefixtures("cad")
@pytest.mark.parametrize("binary", [False, True])
def test_brep(tmp_path: Path, binary: bool) -> None:
    """Given a box as BRep, text or binary, when it is read, then it is one part with exact surfaces."""
    from pixyz_worker.kernel.formats.cad import occ

    path = tmp_path / "box.brep"
    if binary:
        occ.BinTools.BinTools.Write_s(cad_shapes.box(1, 2, 3), str(path))
    else:
        occ.BRepTools.BRepTools.Write_s(cad_shapes.box(1, 2, 3), str(path))
    (part,) = read_scene(path).parts()
    assert isinstance(part.brep, OccBrep)
    numpy.testing.assert_allclose(part.brep.bounds(), [[0, 0, 0], [0.001, 0.002, 0.003]], atol=1e-9)


IGES_LINE = b"x".ljust(72) + b"S      1\n"
BAD: list[tuple[str, bytes, str]] = [
    ("a.step", b"hello " * 300, "does not begin with ISO-10303-21"),
    ("a.step", bytes(range(256)) * 20, "does not begin with ISO-10303-21"),
    ("a.step", b"ISO-10303-21;\nHEADER;\n", "it is cut off"),
    ("a.step", b"ISO-10303-21;HEADER;ENDSEC;DATA;#1=(((;ENDSEC;END-ISO-10303-21;", "damaged|no shape"),
    ("a.step", b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\nENDSEC;\nEND-ISO-10303-21;\n", "damaged|no shape"),
    ("a.stpz", b"ISO-10303-21;", "not compressed with gzip"),
    ("a.stpz", gzip.compress(b"ISO-10303-21;" * 99)[:-20], "damaged or cut off"),
    ("a.stpz", gzip.compress(b"nothing of that kind"), "does not begin with ISO-10303-21"),
    ("a.igs", b"hello " * 300, "does not begin like IGES"),
    ("a.igs", IGES_LINE, "cut off"),
    ("a.igs", IGES_LINE + b"S      1".ljust(72) + b"T      1\n", "damaged|no shape"),
]


@pytest.mark.parametrize(("name", "data", "words"), BAD)
def test_what_is_no_cad_file_is_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    """Given garbage, when it is read, then a sentence says why not."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError, match=rf"^{name} cannot be read as (STEP|IGES): .*({words}).*\.$"):
        read_scene(tmp_path / name)


@pytest.mark.usefixtures("cad")
@pytest.mark.parametrize("data", [b"hello", b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c) Matra\nLocations 9\n"])
def test_what_is_no_brep_is_refused(tmp_path: Path, data: bytes) -> None:
    """Given garbage, when it is read as BRep, then a sentence says why not."""
    (tmp_path / "a.brep").write_bytes(data)
    with pytest.raises(FormatError, match=r"^a.brep cannot be read as BRep: .*(damaged|does not begin)"):
        read_scene(tmp_path / "a.brep")


def test_damaged_texts_do_no_harm(tmp_path: Path, sample: Path) -> None:
    """Given STEP with letters that went wrong, when it is read, then there is a scene or a sentence, and no crash."""
    paths = [damaged(sample.read_bytes(), tmp_path / f"{seed}.step", random.Random(seed)) for seed in range(2)]

    def read(path: Path) -> str:
        try:
            return "a scene." if read_scene(path).parts() else ""
        except FormatError as error:
            return str(error).removeprefix(f"{path.name} ")

    with ThreadPoolExecutor() as pool:  # each is read in a process of its own
        assert all(re.fullmatch(r"[a-z].*\.", words, re.DOTALL) for words in pool.map(read, paths))


def damaged(data: bytes, path: Path, chance: random.Random) -> Path:
    """Write a STEP file with forty places that went wrong."""
    text = bytearray(data)
    for _ in range(40):
        place = chance.randrange(3000, len(text) - 200)
        text[place : place + chance.randrange(3)] = bytes([chance.choice(b"0123456789#,()$'.*;=")])
    path.write_bytes(text)
    assert not is_sound(path)
    return path


@pytest.mark.parametrize(
    ("body", "sound"),
    [
        ("#1=A('x;(',#2,$,*,.T.,1.E-5,(),(#2));\n#2 = B ( 'it''s' ) ;", True),
        ("#1=(A(1)B(#2)C('\\X2\\00E4\\X0\\'));/* #9 ( */#2=B();", True),
        ("#1=A(#2);", False),
        ("#1=A();#1=B();", False),
        ("#1=A((1);", False),
        ("#1=A(1 2$);", False),
        ("#1=A(1,,2);", False),
        ("#1=;", False),
        ("#1 A();", False),
        ("1=A();", False),
        ("", True),
    ],
)
def test_sound_texts(tmp_path: Path, body: str, sound: bool) -> None:
    """Given a text, when it is looked at, then errors of syntax and references that lead nowhere are seen."""
    (tmp_path / "a.step").write_text(f"ISO-10303-21;HEADER;ENDSEC;DATA;{body}\nENDSEC;END-ISO-10303-21;")
    assert is_sound(tmp_path / "a.step") is sound


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path: Path, sample: Path, share: float) -> None:
    """Given the beginning of a STEP file, when it is read, then the sentence says that it is cut off."""
    data = sample.read_bytes()
    (tmp_path / "a.step").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FormatError, match="cut off"):
        read_scene(tmp_path / "a.step")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given gzip that unpacks to more than allowed, when it is read, then it is refused before it fills the disk."""
    monkeypatch.setenv("MAX_ARCHIVE_BYTES", str(2 << 20))
    (tmp_path / "a.stpz").write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(PixyzSecurityViolation, match=r"a\.stpz unpacks to more than"):
        read_scene(tmp_path / "a.stpz")


@pytest.mark.usefixtures("cad")
def test_exact_surfaces_stay_bytes_until_they_are_used() -> None:
    """Given the bytes of surfaces, when they are damaged, then that is said when they are read or used."""
    data = OccBrep(cad_shapes.box(1, 2, 3)).to_bytes()
    assert OccBrep.from_bytes(data).to_bytes() == data
    for broken in (b"", data[:10], b"x" * 100):
        with pytest.raises(ValueError, match=r"cut off|damaged"):
            OccBrep.from_bytes(broken)
    with pytest.raises(ValueError, match="damaged"):
        _ = OccBrep.from_bytes(data[:400]).shape


@pytest.mark.usefixtures("cad")
def test_reading_does_not_tessellate(assembly_scene: Scene) -> None:
    """Given the sample, when it is read, then no part has triangles."""
    assert all(part.mesh is None and part.brep is not None for part in assembly_scene.parts())


@pytest.fixture
def assembly_scene(sample: Path) -> Scene:
    """The sample, read as users do."""
    return read_scene(sample)


UNLOADED = {
    "libGL.so.1: cannot open shared object file": (
        "Exact CAD surfaces need the system library libGL.so.1: apt install libgl1"
    ),
    "something else": "OpenCASCADE (cadquery-ocp-novtk) cannot be loaded: something else",
}


def test_opencascade_that_cannot_be_loaded(tmp_path: Path, sample: Path) -> None:
    """Given OpenCASCADE without a library that it needs, then STEP is read as triangles, and writing says why not."""
    (tmp_path / "OCP").mkdir()
    (tmp_path / "OCP" / "__init__.py").write_text("import os\nraise ImportError(os.environ['WORDS'])")
    script = (
        "import os, sys; from pathlib import Path\n"
        "from pixyz_worker.exception import UnsupportedFormat\n"
        "from pixyz_worker.kernel.formats.reading import read_scene, write_scene\n"
        "for os.environ['WORDS'] in sys.argv[3:]:\n"
        "    scene = read_scene(Path(sys.argv[1])); print(scene.triangle_count)\n"
        "    try: write_scene(scene, Path(sys.argv[2]))\n"
        "    except UnsupportedFormat as error: print('refused:', error, file=sys.stderr)"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", script, str(sample), str(tmp_path / "a.step"), *UNLOADED],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [int(count) > 10_000 for count in done.stdout.split()] == [True] * len(UNLOADED), done.stderr
    for sentence in UNLOADED.values():
        assert f"{sentence}. Triangles are read instead" in done.stderr
        if not system_libraries.missing_for("cad"):  # without it, that is said before OpenCASCADE is tried
            assert f"refused: {sentence}.\n" in done.stderr
