"""3DXML with triangles as XML: product structure, instances, colours, and what is no such file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.formats import threedxml
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.scene import Scene
from tests.unit.kernel import facts, samples

SPACE = 'xmlns="http://www.3ds.com/xsd/3DXML" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
MANIFEST = f"<Manifest {SPACE}><Root>main.3dxml</Root></Manifest>"
POINTS = "0 0 0, 1000 0 0, 1000 1000 0, 0 1000 0"
NORMALS = ", ".join(["0 0 1"] * 4)


def colour(levels: tuple[int, int, int]) -> str:
    """Surface attributes of one colour."""
    red, green, blue = (level / 255 for level in levels)
    rgba = f'red="{red}" green="{green}" blue="{blue}" alpha="1"'
    return f'<SurfaceAttributes><Color xsi:type="RGBAColorType" {rgba}/></SurfaceAttributes>'


def rep(faces: str, points: str = POINTS, normals: str = NORMALS) -> str:
    """A document with the triangles of a shape."""
    buffer = f"<VertexBuffer><Positions>{points}</Positions><Normals>{normals}</Normals></VertexBuffer>"
    inner = f'<Rep xsi:type="PolygonalRepType" id="2"><Faces>{colour(samples.RED)}{faces}</Faces>{buffer}</Rep>'
    return f'<XMLRepresentation {SPACE}><Root xsi:type="BagRepType" id="1">{inner}</Root></XMLRepresentation>'


def reference(number: int, name: str) -> str:
    """A product."""
    return f'<Reference3D xsi:type="Reference3DType" id="{number}" name="{name}"/>'


def instance(number: int, name: str, above: int, of: int, matrix: str = "1 0 0 0 1 0 0 0 1 0 0 0") -> str:
    """A product in another one."""
    links = f"<IsAggregatedBy>{above}</IsAggregatedBy><IsInstanceOf>{of}</IsInstanceOf>"
    return f'<Instance3D id="{number}" name="{name}">{links}<RelativeMatrix>{matrix}</RelativeMatrix></Instance3D>'


def shape(number: int, file: str, above: int) -> str:
    """A shape and its connection to a product."""
    links = f"<IsAggregatedBy>{above}</IsAggregatedBy><IsInstanceOf>{number}</IsInstanceOf>"
    head = f'<ReferenceRep id="{number}" name="rep" format="TESSELLATED" associatedFile="urn:3DXML:{file}"/>'
    return f'{head}<InstanceRep id="{number + 100}" name="rep.1">{links}</InstanceRep>'


def product(*parts: str, view: str = "") -> str:
    """The main document."""
    inside = "".join(parts)
    return f'<Model_3dxml {SPACE}><ProductStructure root="1">{inside}</ProductStructure>{view}</Model_3dxml>'


# Turned by a quarter around z, and moved by 3 m along x.
TURNED = "0 1 0 -1 0 0 0 0 1 3000 0 0"
ASSEMBLY = (
    reference(1, "Gerät Ä"),
    reference(2, "Group"),
    reference(3, "Plate"),
    instance(11, "Group.1", 1, 2, "1 0 0 0 1 0 0 0 1 0 0 5000"),
    instance(12, "Plate.1", 2, 3),
    instance(13, "Plate.2", 2, 3, TURNED),
    shape(21, "plate.3drep", 3),
)
SQUARE = '<Face triangles="0 1 2 0 2 3"/>'


def write(folder: Path, documents: Mapping[str, str | bytes]) -> Path:
    """A file with such documents."""
    with zipfile.ZipFile(folder / "part.3dxml", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in documents.items():
            archive.writestr(name, content)
    return folder / "part.3dxml"


def read(folder: Path, main: str, **reps: str | bytes) -> Scene:
    """The scene of a file with one main document, and shapes as name.3drep."""
    documents = {f"{name}.3drep": content for name, content in reps.items()}
    return read_scene(write(folder, {"Manifest.xml": MANIFEST, "main.3dxml": main, **documents}))


def test_an_assembly_keeps_tree_names_instances_and_places(tmp_path: Path) -> None:
    """Given a product with a group and a part twice, when it is read, then all of it is as in the file, in metres."""
    scene = read(tmp_path, product(*ASSEMBLY), plate=rep(SQUARE))
    assert (scene.unit_m, scene.up) == (0.001, "z")
    assert [occurrence.name for occurrence in scene.root.walk()] == ["Gerät Ä", "Group.1", "Plate.1", "Plate.2"]
    first, second = scene.instances()
    assert first.part is second.part and first.part is not None and first.part.name == "Plate"
    assert first.world()[:3, 3] == pytest.approx([0, 0, 5])
    assert second.world() @ (1, 0, 0, 1) == pytest.approx([3, 1, 5, 1])
    assert facts.area(scene) == pytest.approx(2)
    assert {material.srgb[:3] for material in scene.materials()} == {samples.RED}


FACES: dict[str, str] = {
    "triangles": SQUARE,
    "strips": '<Face strips="0 1 3 2"/>',
    "fans": '<Face fans="0 1 2 3"/>',
    "several": '<Face strips="0 1 2,0 2 3"/>',
    "two faces": '<Face triangles="0 1 2"/><Face fans="0 2 3"/>',
}


@pytest.mark.parametrize("name", FACES)
def test_the_ways_of_triangles(name: str, tmp_path: Path) -> None:
    """Given a square in one of the ways of the format, when it is read, then its triangles face up."""
    scene = read(tmp_path, product(*ASSEMBLY), plate=rep(FACES[name]))
    (part,) = scene.parts()
    assert part.mesh is not None and part.mesh.normals is not None
    corners = part.mesh.positions[part.mesh.triangles]
    normals = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert normals[:, 2] == pytest.approx([1, 1])


def test_faces_and_instances_with_colours_of_their_own(tmp_path: Path) -> None:
    """Given a blue face, and a view in which one instance is green, when it is read, then each shows its colour."""
    faces = f'<Face triangles="0 1 2"/><Face triangles="0 2 3">{colour(samples.BLUE)}</Face>'
    place = "<OccurenceId><id>urn:3DXML:main.3dxml#11</id><id>urn:3DXML:main.3dxml#13</id></OccurenceId>"
    look = f"<GraphicProperties>{colour(samples.GREEN)}</GraphicProperties>"
    view = f"<DefaultView><DefaultViewProperty>{place}{look}</DefaultViewProperty></DefaultView>"
    scene = read(tmp_path, product(*ASSEMBLY, view=view), plate=rep(faces))
    shown = [
        {material.srgb[:3] for material in occurrence.part.mesh.materials if material}
        for occurrence in scene.instances()
        if occurrence.part and occurrence.part.mesh
    ]
    assert shown == [{samples.RED, samples.BLUE}, {samples.GREEN}]


def test_materials_of_the_library(tmp_path: Path) -> None:
    """Given a material by its number in the library of the file, when it is read, then its colour is there."""
    library = (
        f'<CATMaterialRef {SPACE}><MaterialDomain id="5" name="paint" associatedFile="urn:3DXML:paint.3drep"/>'
        '<MaterialDomainInstance id="6"><IsAggregatedBy>7</IsAggregatedBy><IsInstanceOf>5</IsInstanceOf>'
        "</MaterialDomainInstance></CATMaterialRef>"
    )
    red, green, blue = (level / 255 for level in samples.BLUE)
    paint = (
        f"<Osm {SPACE}><Feature Alias='RenderingFeature'>"
        f"<Attr Name='DiffuseColor' Value='[{red},{green},{blue}]'/></Feature></Osm>"
    )
    applied = (
        "<SurfaceAttributes><MaterialApplication><MaterialId id='urn:3DXML:CATMaterialRef.3dxml#7'/>"
        "</MaterialApplication></SurfaceAttributes>"
    )
    documents = {
        "Manifest.xml": MANIFEST,
        "main.3dxml": product(*ASSEMBLY),
        "plate.3drep": rep(f'<Face triangles="0 1 2">{applied}</Face>'),
        "CATMaterialRef.3dxml": library,
        "paint.3drep": paint,
    }
    (material,) = read_scene(write(tmp_path, documents)).materials()
    assert (material.name, material.srgb[:3]) == ("paint", samples.BLUE)


DOUBLING = [reference(1, "top"), *(reference(n, "more") for n in range(2, 40)), shape(99, "plate.3drep", 39)]
DOUBLING += [instance(100 + 2 * n + k, "i", n, n + 1) for n in range(1, 39) for k in (0, 1)]
CASES: dict[str, tuple[str, str | bytes, str]] = {
    "binary triangles": (product(*ASSEMBLY), b"V5_CFV2\0\1\2\3", "binary, which needs the Pixyz SDK"),
    "a face that leads nowhere": (product(*ASSEMBLY), rep('<Face triangles="0 1 9"/>'), "refer to vertices"),
    "triangles cut off": (product(*ASSEMBLY), rep('<Face triangles="0 1"/>'), "ends before"),
    "words for numbers": (product(*ASSEMBLY), rep('<Face triangles="a b c"/>'), "something else"),
    "coordinates cut off": (product(*ASSEMBLY), rep(SQUARE, points="0 0 0, 1"), "ends before"),
    "coordinates that are not numbers": (product(*ASSEMBLY), rep(SQUARE, points="nan 0 0 " * 4), "not numbers"),
    "a shape without triangles": (product(*ASSEMBLY), rep(""), "no mesh"),
    "a shape with entities": (product(*ASSEMBLY), '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', "document type"),
    "products in a circle": (
        product(reference(1, "top"), instance(11, "again", 1, 1), shape(21, "plate.3drep", 1)),
        rep(SQUARE),
        "circle",
    ),
    "products that multiply": (product(*DOUBLING), rep(SQUARE), "multiply"),
    "no root": (product(reference(7, "other")), rep(SQUARE), "no root"),
    "a matrix of words": (product(*ASSEMBLY[:3], instance(11, "x", 1, 3, "one two")), rep(SQUARE), "something else"),
    "a matrix cut off": (product(*ASSEMBLY[:3], instance(11, "x", 1, 3, "1 0 0")), rep(SQUARE), "ends before"),
    "no structure": (f"<Model_3dxml {SPACE}/>", rep(SQUARE), "no product structure"),
    "a main document that is no XML": ("hello", rep(SQUARE), "not well-formed"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_makes_no_scene_ends_in_a_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given documents that are wrong, when they are read, then a sentence names the file and the reason."""
    monkeypatch.setattr(threedxml, "MAX_OCCURRENCES", 5000)  # the real one takes seconds
    main, plate, reason = CASES[case]
    with pytest.raises(InvalidFile, match=rf"^part\.3dxml cannot be read as 3DXML: .*{reason}.*\.$"):
        read(tmp_path, main, plate=plate)


def test_a_document_that_is_missing_is_named(tmp_path: Path) -> None:
    """Given a file without some document, when it is read, then the sentence names the document."""
    for documents, missing in (
        ({"readme.txt": "nothing"}, r"Manifest\.xml"),
        ({"Manifest.xml": MANIFEST}, r"main\.3dxml"),
        ({"Manifest.xml": MANIFEST, "main.3dxml": product(*ASSEMBLY)}, r"plate\.3drep"),
    ):
        with pytest.raises(InvalidFile, match=rf"there is no {missing} in it"):
            read_scene(write(tmp_path, documents))


def test_what_is_no_archive_or_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given noise, a cut archive, or one that unpacks to too much, when it is read, then a sentence says so."""
    path = write(tmp_path, {"Manifest.xml": MANIFEST, "main.3dxml": " " * 2_000_000})
    whole = path.read_bytes()
    monkeypatch.setenv("MAX_ARCHIVE_BYTES", "1000000")
    with pytest.raises(InvalidFile, match="MAX_ARCHIVE_BYTES"):
        read_scene(path)
    for content in (bytes(3000), whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InvalidFile, match="not a zip archive"):
            read_scene(path)
