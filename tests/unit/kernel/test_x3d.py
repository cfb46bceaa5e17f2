"""X3D as XML: its tree, its kinds of geometry against known sizes, its looks, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.formats.x3d import reader as x3d
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Scene
from tests.unit.kernel import facts, samples

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE X3D PUBLIC "ISO//Web3D//DTD X3D 3.3//EN" "http://x/x3d.dtd">\n'
)
SQUARE = '<Coordinate point="0 0 0, 1 0 0, 1 1 0, 0 1 0"/>'


def read_text(folder: Path, body: str, *, head: str = "", before: str = HEAD) -> Scene:
    """The scene of an X3D file with such content."""
    text = f'{before}<X3D version="3.3"><head>{head}</head><Scene>{body}</Scene></X3D>'
    (folder / "part.x3d").write_text(text, encoding="utf-8")
    return read_scene(folder / "part.x3d")


def only_mesh(scene: Scene) -> Mesh:
    """The mesh of a scene with one part."""
    (part,) = scene.parts()
    assert part.mesh is not None
    return part.mesh


def shape(geometry: str, material: str = "") -> str:
    """A Shape."""
    return f"<Shape><Appearance>{material}</Appearance>{geometry}</Shape>"


def test_an_assembly_keeps_tree_names_instances_and_colours(tmp_path: Path) -> None:
    """Given groups, a shape used twice and colours, when it is read, then tree, names and parts are as in the file."""
    blue = '<Material DEF="blue" diffuseColor="0.078 0.51 0.94"/>'
    ball = shape("<Sphere/>", blue).replace("<Shape>", '<Shape DEF="ball">')
    body = (
        '<Transform DEF="Gruppe Ä" translation="0 4 0">'
        f'<Transform DEF="left" translation="-3 0 0">{ball}</Transform>'
        '<Transform DEF="right" translation="3 0 0"><Shape USE="ball"/></Transform></Transform>'
        + shape('<Box size="2 3 4"/>', '<Material diffuseColor="0.784 0.118 0.157" transparency="0.5"/>')
    )
    scene = read_text(tmp_path, body)
    assert (scene.up, scene.unit_m) == ("y", 1.0)
    assert [occurrence.name for occurrence in scene.root.walk()] == ["part", "Gruppe Ä", "left", "right", ""]
    assert {part.name for part in scene.parts()} == {"ball", ""}
    assert facts.counts(scene) == (2, 3)
    assert facts.extents(scene) == pytest.approx([8, 6.5, 4], rel=1e-2)
    assert facts.close(samples.RED, facts.colours(scene)) and facts.close(samples.BLUE, facts.colours(scene))
    assert [material.base_colour[3] for material in scene.materials()] == [1.0, 0.5]


def test_lengths_in_a_unit_of_the_file(tmp_path: Path) -> None:
    """Given a file in millimetres, when it is read, then sizes, places and the unit are right."""
    unit = '<unit category="length" name="millimetre" conversionFactor="0.001"/>'
    body = f'<Transform translation="1000 0 0">{shape("<Box/>")}</Transform>'
    scene = read_text(tmp_path, body, head=unit)
    (instance,) = scene.instances()
    assert scene.unit_m == 0.001
    assert facts.extents(scene) == pytest.approx([0.002] * 3)
    assert instance.world()[0, 3] == pytest.approx(1.0)


SOLIDS: dict[str, tuple[str, tuple[float, float, float], float]] = {
    "box": ('<Box size="1 2 3"/>', (1, 2, 3), 6),
    "sphere": ('<Sphere radius="2"/>', (4, 4, 4), 32 * numpy.pi / 3),
    "cylinder": ('<Cylinder radius="1" height="3"/>', (2, 3, 2), 3 * numpy.pi),
    "cone": ('<Cone bottomRadius="1" height="3"/>', (2, 3, 2), numpy.pi),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_have_their_size_and_stand_upright(name: str, tmp_path: Path) -> None:
    """Given a solid, when it is read, then box and volume are right, and its middle is the origin."""
    geometry, size, volume = SOLIDS[name]
    scene = read_text(tmp_path, shape(geometry))
    mesh = only_mesh(scene)
    assert facts.extents(scene) == pytest.approx(size, rel=1e-2)
    assert mesh.bounds.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-2)
    assert facts.volume(scene) == pytest.approx(volume, rel=0.04)
    assert mesh.normals is not None
    outward = (mesh.normals * (mesh.positions - mesh.bounds.mean(axis=0))).sum(axis=1)
    assert (outward > 0).all() if name != "cone" else (outward > -1e-6).all()


def test_a_cone_points_up(tmp_path: Path) -> None:
    """Given a cone, when it is read, then its tip is above."""
    mesh = only_mesh(read_text(tmp_path, shape("<Cone/>")))
    tip = mesh.positions[numpy.argmax(mesh.positions[:, 1])]
    assert tip == pytest.approx([0, 1, 0], abs=1e-6)


FACES: dict[str, tuple[str, int, float]] = {
    # geometry, triangles, area towards +z
    "faces": (f'<IndexedFaceSet coordIndex="0 1 2 3 -1">{SQUARE}</IndexedFaceSet>', 2, 1),
    "faces without the last end": (f'<IndexedFaceSet coordIndex="0,1,2,-1,0,2,3">{SQUARE}</IndexedFaceSet>', 2, 1),
    "clockwise": (f'<IndexedFaceSet ccw="false" coordIndex="0 1 2 3 -1">{SQUARE}</IndexedFaceSet>', 2, -1),
    "triangles": (f'<IndexedTriangleSet index="0 1 2 0 2 3">{SQUARE}</IndexedTriangleSet>', 2, 1),
    "strips": (f'<IndexedTriangleStripSet index="0 1 3 2 -1">{SQUARE}</IndexedTriangleStripSet>', 2, 1),
    "fans": (f'<IndexedTriangleFanSet index="0 1 2 3 -1">{SQUARE}</IndexedTriangleFanSet>', 2, 1),
    "bare triangles": (f"<TriangleSet>{SQUARE}</TriangleSet>", 1, 0.5),
    "bare fan": (f'<TriangleFanSet fanCount="4">{SQUARE}</TriangleFanSet>', 2, 1),
    "bare strip": (f'<TriangleStripSet stripCount="4">{SQUARE}</TriangleStripSet>', 2, 0),
}


@pytest.mark.parametrize("name", FACES)
def test_sets_of_faces(name: str, tmp_path: Path) -> None:
    """Given a square in one of the ways of the format, when it is read, then triangles and fronts are right."""
    geometry, count, area = FACES[name]
    mesh = only_mesh(read_text(tmp_path, shape(geometry)))
    corners = mesh.positions[mesh.triangles]
    normals = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert len(mesh.triangles) == count
    assert normals[:, 2].sum() / 2 == pytest.approx(area)


def test_faces_with_everything(tmp_path: Path) -> None:
    """Given coordinates, colours of faces, normals and texture coordinates numbered apart, when read, all are there."""
    geometry = (
        '<IndexedFaceSet colorPerVertex="false" colorIndex="1 0" coordIndex="0 1 2 -1 0 2 3 -1"'
        ' texCoordIndex="0 0 0 -1 1 1 1 -1" normalIndex="0 0 0 -1 0 0 0 -1">'
        f'{SQUARE}<Color color="1 0 0 0 0 1"/><Normal vector="0 0 1"/>'
        '<TextureCoordinate point="0 0 1 1"/></IndexedFaceSet>'
    )
    mesh = only_mesh(read_text(tmp_path, shape(geometry)))
    assert mesh.colours is not None and mesh.uvs is not None and mesh.normals is not None
    assert mesh.colours[mesh.triangles][:, :, 2].tolist() == [[255] * 3, [0] * 3]
    assert mesh.uvs[mesh.triangles][:, :, 1].tolist() == [[1] * 3, [0] * 3]
    assert (mesh.normals == (0, 0, 1)).all() and len(mesh.positions) == 6


def test_points_with_colours(tmp_path: Path) -> None:
    """Given a set of points with colours, when it is read, then it is a cloud."""
    body = shape('<PointSet><Coordinate point="0 0 0 1 2 3"/><ColorRGBA color="1 0 0 1 0 0 1 0.2"/></PointSet>')
    mesh = only_mesh(read_text(tmp_path, body))
    assert mesh.is_points and mesh.colours is not None
    assert mesh.colours.tolist() == [[255, 0, 0, 255], [0, 0, 255, 51]]


def test_a_transform_turns_and_stretches_around_its_centre(tmp_path: Path) -> None:
    """Given a transform with everything, when it is read, then points go where the standard's formula puts them."""
    attributes = 'translation="10 0 0" rotation="0 0 1 1.5707963267948966" scale="2 1 1" center="1 0 0"'
    scene = read_text(tmp_path, f"<Transform {attributes}>{shape('<Box/>')}</Transform>")
    (instance,) = scene.instances()
    assert instance.world() @ (2, 0, 0, 1) == pytest.approx([11, 2, 0, 1])
    assert instance.world() @ (1, 1, 0, 1) == pytest.approx([10, 0, 0, 1])


def test_a_picture_beside_the_file(tmp_path: Path) -> None:
    """Given an image texture, when it is read, then the picture of the folder is used, and one outside is not."""
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "skin.png").write_bytes(samples.picture())
    (tmp_path / "secret.png").write_bytes(samples.picture())
    geometry = (
        f'<IndexedFaceSet coordIndex="0 1 2 3 -1">{SQUARE}<TextureCoordinate point="0 0 1 0 1 1 0 1"/></IndexedFaceSet>'
    )
    looks = '<ImageTexture url=\'"http://far/away.png" "skin.png"\' repeatS="false"/>'
    scene = read_text(folder, shape(geometry, looks) + shape("<Box/>", '<ImageTexture url="../secret.png"/>'))
    (material,) = scene.materials()
    assert material.base_colour_texture is not None
    assert material.base_colour_texture.image.data == samples.picture()
    assert material.base_colour_texture.wrap == ("clamp", "repeat")


def test_of_alternatives_the_shown_one_is_read(tmp_path: Path) -> None:
    """Given a switch and levels of detail, when they are read, then one of each is there."""
    boxes = "".join(shape(f'<Box size="{n} 1 1"/>') for n in (1, 2, 3))
    switch = read_text(tmp_path, f'<Switch whichChoice="1">{boxes}</Switch>')
    assert facts.extents(switch)[0] == pytest.approx(2)
    assert facts.extents(read_text(tmp_path, f"<LOD>{boxes}</LOD>"))[0] == pytest.approx(1)


NESTED = "".join(
    f'<Group DEF="g{n}"><Group USE="g{n - 1}"/><Group USE="g{n - 1}"/></Group>'
    if n
    else f'<Group DEF="g0">{shape("<Box/>")}</Group>'
    for n in range(40)
)
FACE_SET = f'<IndexedFaceSet coordIndex="%s">{SQUARE}</IndexedFaceSet>'
BAD: dict[str, tuple[str, str]] = {
    "nothing shown": ("<Group/>", "no mesh"),
    "a face that leads nowhere": (shape(FACE_SET % "0 1 9 -1"), "refer to vertices"),
    "a face of -2": (shape(FACE_SET % "0 1 -2 -1"), "refer to vertices"),
    "no face": (shape(FACE_SET % "-1"), "no faces"),
    "words for numbers": (shape(FACE_SET % "zero one two"), "something else"),
    "no coordinates": (shape('<IndexedFaceSet coordIndex="0 1 2 -1"/>'), "no coordinates"),
    "coordinates cut off": (shape('<PointSet><Coordinate point="0 0"/></PointSet>'), "ends before"),
    "coordinates that are not numbers": (shape('<PointSet><Coordinate point="nan 0 0"/></PointSet>'), "not numbers"),
    "strips that are too long": (
        shape(f'<TriangleStripSet stripCount="999999999">{SQUARE}</TriangleStripSet>'),
        "refer",
    ),
    "a size of nothing": (shape('<Sphere radius="-1"/>'), "makes no sense"),
    "a use of nothing": ('<Group USE="gone"/>', "does not define"),
    "groups in a circle": ('<Group DEF="a"><Group USE="a"/></Group>', "circle"),
    "groups that multiply": (NESTED, "circle, or multiply"),
    "a transform of words": (f'<Transform translation="a b c">{shape("<Box/>")}</Transform>', "something else"),
    "a transform cut off": (f'<Transform translation="1 2">{shape("<Box/>")}</Transform>', "ends before"),
    "broken XML": ("<Group>", "not well-formed"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_scene_ends_in_a_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given content that is wrong, when it is read, then a sentence names the file and the reason."""
    monkeypatch.setattr(x3d, "MAX_OCCURRENCES", 5000)  # the real one takes seconds
    body, reason = BAD[case]
    with pytest.raises(InvalidFile, match=rf"^part\.x3d cannot be read as X3D: .*{reason}.*\.$"):
        read_text(tmp_path, body)


ENTITY = '<!DOCTYPE X3D [<!ENTITY a "aaaa">]>'
DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "noise": (bytes((n * 7919 + 13) % 256 for n in range(3000)), "not XML|encoding|well-formed"),
    "text": (b"hello world", "not well-formed"),
    "html": (b"<html></html>", "not X3D"),
    "no scene": (b"<X3D/>", "no scene"),
    "entities": ((ENTITY + "<X3D><Scene>&a;</Scene></X3D>").encode(), "document type"),
    "entities in 16 bits": ((ENTITY + "<X3D><Scene>&a;</Scene></X3D>").encode("utf-16"), "document type"),
    "a rare encoding": (b"<?xml version='1.0' encoding='UTF-7'?><X3D/>", "encoding"),
    "deep": (b"<X3D><Scene>" + b"<Group>" * 100_000, "not well-formed"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_what_is_no_x3d_ends_in_a_sentence(case: str, tmp_path: Path) -> None:
    """Given a document that is something else, when it is read, then a sentence says so."""
    content, reason = DOCUMENTS[case]
    (tmp_path / "part.x3d").write_bytes(content)
    with pytest.raises(InvalidFile, match=rf"^part\.x3d cannot be read as X3D: .*({reason}).*\.$"):
        read_scene(tmp_path / "part.x3d")
