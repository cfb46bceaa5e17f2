"""STL, PLY, OFF and clouds of points: what they keep, what others write, and what is no such file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.formats.shared import header_comments
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.formats.shared.vertex_colours import coloured
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Axis, Occurrence, Part, Scene
from tests.unit.kernel import facts, samples

PLY_HEAD = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
TRIANGLE = "0 0 0\n1 0 0\n0 1 0\n"


def only_mesh(scene: Scene) -> Mesh:
    """The mesh of a scene with one part."""
    (part,) = scene.parts()
    assert part.mesh is not None
    return part.mesh


def written(folder: Path, name: str, content: bytes | str) -> Path:
    """A file with some content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def scene_of(*meshes: Mesh, unit_m: float | None = 1.0) -> Scene:
    """A scene with an occurrence for each mesh."""
    children = [Occurrence(name=f"part {n}", part=Part(name="part", mesh=mesh)) for n, mesh in enumerate(meshes)]
    return Scene(name="scene", root=Occurrence(name="scene", children=children), unit_m=unit_m)


@pytest.mark.parametrize("extension", ["stl", "ply", "off"])
@pytest.mark.parametrize("unit_m", [None, 0.001, 0.0254, 0.5])
def test_a_merged_mesh_keeps_its_size_place_and_unit(extension: str, unit_m: float | None, tmp_path: Path) -> None:
    """Given an assembly in some unit, when it is written and read, then size, volume and unit are as before."""
    scene = samples.assembly()
    scene.unit_m = unit_m
    write_scene(scene, tmp_path / f"part.{extension}")
    result = read_scene(tmp_path / f"part.{extension}")
    assert result.unit_m == (0.001 if extension == "stl" else unit_m)
    assert only_mesh(result).bounds == pytest.approx(numpy.array([[-3.5, -1.5, -2], [3.5, 4.5, 2]]), rel=1e-5)
    assert facts.volume(result) == pytest.approx(facts.volume(scene), rel=1e-5)
    assert result.triangle_count == scene.triangle_count
    assert [occurrence.name for occurrence in result.root.walk()] == ["part", "part"]


@pytest.mark.parametrize("extension", ["ply", "off", "xyz"])
def test_colours_of_materials_are_stored_at_the_vertices(extension: str, tmp_path: Path) -> None:
    """Given a red and a blue part, when they are written, then vertices are red and blue."""
    write_scene(samples.assembly(), tmp_path / f"part.{extension}")
    colours = only_mesh(read_scene(tmp_path / f"part.{extension}")).colours
    assert colours is not None
    found = {tuple(row[:3]) for row in numpy.unique(colours, axis=0).tolist()}
    assert found == {samples.RED, samples.BLUE}


@pytest.mark.parametrize("extension", ["ply", "xyz"])
def test_points_keep_their_colours(extension: str, points: Scene, tmp_path: Path) -> None:
    """Given two points, when they are written and read, then places and colours are as before."""
    write_scene(points, tmp_path / f"cloud.{extension}")
    mesh = only_mesh(read_scene(tmp_path / f"cloud.{extension}"))
    assert mesh.is_points and mesh.colours is not None
    assert mesh.positions.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert mesh.colours[:, :3].tolist() == [list(samples.RED), list(samples.BLUE)]


@pytest.mark.parametrize("extension", ["stl", "off", "obj"])
def test_formats_of_triangles_refuse_points(extension: str, points: Scene, tmp_path: Path) -> None:
    """Given only points, when they are written as triangles, then the sentence says why not, and no file is left."""
    with pytest.raises(InvalidFile, match="has only points, and this format stores triangles"):
        write_scene(points, tmp_path / f"cloud.{extension}")
    with pytest.raises(InvalidFile, match="no mesh and no point"):
        write_scene(Scene(name="empty", root=Occurrence()), tmp_path / f"cloud.{extension}")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("extension", ["stl", "ply", "off", "obj"])
def test_a_mirrored_instance_keeps_its_front(extension: str, tmp_path: Path) -> None:
    """Given a box under a matrix that mirrors, when it is written, then its triangles still face outwards."""
    scene = scene_of(samples.box(1, 2, 3))
    scene.root.matrix = numpy.diag([-1.0, 1, 1, 1])
    write_scene(scene, tmp_path / f"box.{extension}")
    assert facts.volume(read_scene(tmp_path / f"box.{extension}")) == pytest.approx(6)


@pytest.mark.parametrize("extension", ["ply", "off", "xyz", "obj"])
def test_what_lies_far_away_keeps_its_millimetres(extension: str, tmp_path: Path) -> None:
    """Given a box 5000 kilometres away, when it is written and read, then its size is right to a tenth of a mm."""
    scene = scene_of(samples.box(1, 2, 3))
    scene.root.matrix = samples.shift(5e6, 4e6, 0)
    write_scene(scene, tmp_path / f"box.{extension}")
    result = read_scene(tmp_path / f"box.{extension}")
    (instance,) = result.instances()
    assert instance.world()[:2, 3] == pytest.approx([5e6, 4e6])
    (part,) = result.parts()
    assert part.mesh is not None
    assert numpy.ptp(part.mesh.bounds, axis=0) == pytest.approx([1, 2, 3], abs=1e-4)


def test_ply_keeps_normals_and_texture_coordinates(tmp_path: Path) -> None:
    """Given a textured square, when it is written as PLY, then both stay, and colours are sampled."""
    write_scene(samples.textured(), tmp_path / "square.ply")
    mesh, before = only_mesh(read_scene(tmp_path / "square.ply")), samples.square()
    assert mesh.normals is not None and mesh.uvs is not None and mesh.colours is not None
    assert numpy.array_equal(mesh.normals, numpy.array([[0, 0, 1]] * 4))
    assert numpy.array_equal(mesh.uvs, before.uvs)
    places = ["lower left", "lower right", "upper right", "upper left"]
    assert mesh.colours[:, :3].tolist() == [list(samples.QUADRANTS[place]) for place in places]


def test_vertices_between_two_colours_are_doubled() -> None:
    """Given two triangles of two colours that share an edge, when colours go to vertices, then each keeps its own."""
    materials = (samples.painted("red", samples.RED), samples.painted("blue", samples.BLUE))
    square = samples.square()
    mesh = make_mesh(square.positions, square.triangles, materials=materials, triangle_materials=[0, 1])
    result = coloured(mesh)
    assert result.colours is not None and len(result.positions) == 6
    assert result.colours[result.triangles][:, :, :3].tolist() == [[list(samples.RED)] * 3, [list(samples.BLUE)] * 3]


def test_a_texture_repeats_and_is_tinted() -> None:
    """Given coordinates beyond 1 and a half-bright material, when a texture is sampled, then both count."""
    image = Image(data=samples.picture())
    material = Material(base_colour=(0.0, 1.0, 0.0, 1.0), base_colour_texture=Texture(image=image))
    mesh = make_mesh([[0, 0, 0]], uvs=[[1.25, -0.75]], materials=(material,))
    colours = coloured(mesh).colours
    assert colours is not None and colours.tolist() == [[0, samples.QUADRANTS["upper left"][1], 0, 255]]


def test_binary_stl_of_other_programs(tmp_path: Path) -> None:
    """Given a binary STL that begins with the word solid, when it is read, then it is read as binary."""
    corners = struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1000, 0, 0, 0, 1000, 0, 0)
    path = written(tmp_path, "part.stl", b"solid by someone".ljust(80) + struct.pack("<I", 1) + corners)
    assert only_mesh(read_scene(path)).positions.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_stl_as_text_has_its_solids_as_parts(tmp_path: Path) -> None:
    """Given text with two named solids in capital letters, when it is read, then they are two named parts."""
    facet = "FACET NORMAL 0 0 1\nOUTER LOOP\nVERTEX 0 0 0\nVERTEX 1e3 0 0\nVERTEX 0 {} 0\nENDLOOP\nENDFACET\n"
    text = "".join(f"solid {name}\n{facet.format(size)}endsolid {name}\n" for name, size in [("Ä b", 1e3), ("c", 2e3)])
    scene = read_scene(written(tmp_path, "part.stl", text))
    assert [occurrence.name for occurrence in scene.instances()] == ["Ä b", "c"]
    assert facts.area(scene) == pytest.approx(1.5)


def test_stl_corners_on_the_same_place_become_one_vertex(tmp_path: Path) -> None:
    """Given a box as STL, which repeats its corners, when it is read, then it has eight vertices again."""
    write_scene(scene_of(samples.box()), tmp_path / "box.stl")
    assert len(only_mesh(read_scene(tmp_path / "box.stl")).positions) == 8


FACES = "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
SQUARE = numpy.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]])


@pytest.mark.parametrize("order", ["<", ">", "text"])
def test_ply_of_every_order_with_faces_of_several_sizes(order: str, tmp_path: Path) -> None:
    """Given a square and a triangle in one PLY, when it is read, then they are three triangles."""
    form = {"<": "binary_little_endian", ">": "binary_big_endian", "text": "ascii"}[order]
    head = (PLY_HEAD.format(form, 5) + FACES).encode()
    if order == "text":
        body = b"".join(b"%d %d %d\r\n" % tuple(row) for row in SQUARE.tolist()) + b"4 0 1 2 3\n3 1 4 2\n"
    else:
        body = SQUARE.astype(f"{order}f4").tobytes() + struct.pack(f"{order}B4iB3i", 4, 0, 1, 2, 3, 3, 1, 4, 2)
    mesh = only_mesh(read_scene(written(tmp_path, "part.ply", head + body)))
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [1, 4, 2]]
    assert numpy.array_equal(mesh.positions, SQUARE)


def test_ply_faces_without_area(tmp_path: Path) -> None:
    """Given a square and a face of two corners, when they are read, then the square is all that there is."""
    text = PLY_HEAD.format("ascii", 4) + FACES + "0 0 0\n1 0 0\n1 1 0\n0 1 0\n2 0 1\n4 0 1 2 3\n"
    mesh = only_mesh(read_scene(written(tmp_path, "part.ply", text)))
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_ply_of_pictures_at_the_corners(tmp_path: Path) -> None:
    """Given texture coordinates at corners and a picture beside, as MeshLab writes, when read, then both are there."""
    (tmp_path / "skin.png").write_bytes(samples.picture())
    head = PLY_HEAD.format("ascii", 4).replace("\nelement", "\ncomment TextureFile skin.png\nelement", 1)
    faces = "element face 2\nproperty list uchar int vertex_index\nproperty list uchar float texcoord\nend_header\n"
    rows = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2 6 0 0 1 0 1 1\n3 0 2 3 6 0.5 0 1 1 0 1\n"
    scene = read_scene(written(tmp_path, "part.ply", head + faces + rows))
    mesh = only_mesh(scene)
    assert len(mesh.positions) == 5 and mesh.uvs is not None
    assert mesh.uvs[mesh.triangles].tolist() == [[[0, 1], [1, 1], [1, 0]], [[0.5, 1], [1, 0], [0, 0]]]
    (material,) = scene.materials()
    assert material.base_colour_texture is not None
    assert material.base_colour_texture.image.data == samples.picture()


def test_ply_colours_of_faces_are_materials(tmp_path: Path) -> None:
    """Given faces with colours, when they are read, then triangles have materials of these colours."""
    faces = "element face 2\nproperty list uchar int vertex_indices\nproperty uchar red\nproperty uchar green\n"
    text = PLY_HEAD.format("ascii", 3) + faces + "property uchar blue\nend_header\n" + TRIANGLE
    scene = read_scene(written(tmp_path, "part.ply", text + "3 0 1 2 200 30 40\n3 2 1 0 20 130 240\n"))
    shown = {material.srgb[:3]: len(triangles) for material, triangles in only_mesh(scene).by_material() if material}
    assert shown == {samples.RED: 1, samples.BLUE: 1}


OFF_CASES: dict[str, tuple[str, int, int]] = {
    "square": ("OFF\n# nothing\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", 2, 4),
    "counts on the first line": ("OFF 3 1 0\n" + TRIANGLE + "3 0 1 2\n", 1, 3),
    "blank lines": ("OFF\n\n3 1 0\n\n0 0 0\n\n1 0 0\n0 1 0\n\n3 0 1 2\n\n", 1, 3),
    "windows": (("OFF\n3 1 0\n" + TRIANGLE + "3 0 1 2\n").replace("\n", "\r\n"), 1, 3),
    "mixed": ("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n4 0 1 2 3\n", 3, 4),
    "normals": ("NOFF\n3 1 0\n0 0 0 0 0 1\n1 0 0 0 0 1\n0 1 0 0 0 1\n3 0 1 2\n", 1, 3),
    "a face without area": ("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n2 0 1\n4 0 1 2 3\n", 2, 4),
    "face colours": ("OFF\n3 2 0\n" + TRIANGLE + "3 0 1 2 255 0 0\n3 2 1 0 0 255 0\n", 2, 3),
    "some face colours": ("OFF\n3 2 0\n" + TRIANGLE + "3 0 1 2 1.0 0.0 0.0 0.5\n3 2 1 0\n", 2, 3),
}


@pytest.mark.parametrize("case", OFF_CASES)
def test_off_as_it_is_found(case: str, tmp_path: Path) -> None:
    """Given the ways in which OFF is written, when it is read, then triangles and vertices are there."""
    text, triangles, vertices = OFF_CASES[case]
    mesh = only_mesh(read_scene(written(tmp_path, "part.off", text)))
    assert (len(mesh.triangles), len(mesh.positions)) == (triangles, vertices)
    assert (mesh.normals is not None) == (case == "normals")
    assert len(mesh.materials) == (2 if "face colours" in case else 1)


XYZ_CASES: dict[str, tuple[str, set[str]]] = {
    "bare": ("0 0 0\n1 2 3\n", set()),
    "commas": ("0,0,0\n1,2,3", set()),
    "comments": ("# a cloud\n0 0 0\n\n1 2 3 // last\n", set()),
    "levels": ("0 0 0 255 0 0\n1 2 3 0 7 0\n", {"colours"}),
    "shares": ("0 0 0 1.0 0.5 0\n1 2 3 0 0.25 0\n", {"colours"}),
    "normals": ("0 0 0 0 0 1\n1 2 3 0.6 0.8 0\n", {"normals"}),
    "both": ("0 0 0 255 0 9 0 0 1\n1 2 3 0 9 0 0 1 0\n", {"colours", "normals"}),
    "intensity": ("0 0 0 0.7\n1 2 3 12\n", set()),
}


@pytest.mark.parametrize("case", XYZ_CASES)
def test_points_as_they_are_found(case: str, tmp_path: Path) -> None:
    """Given the ways in which points are written, when they are read, then places and attributes are there."""
    text, attributes = XYZ_CASES[case]
    mesh = only_mesh(read_scene(written(tmp_path, "cloud.xyz", text)))
    assert mesh.positions.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert {name for name in ("colours", "normals") if getattr(mesh, name) is not None} == attributes


UNITS: dict[str, float | None] = {
    "units: mm": 0.001,
    "Units = inches": 0.0254,
    "unit: feet": 0.3048,
    "units: 2.5 mm": 0.0025,
    "File units = meters": 1.0,
    "units: parsec": None,
    "made by hand": None,
    "units: 1.2.3 mm": 0.001,
}


@pytest.mark.parametrize("comment", UNITS)
def test_units_in_comments(comment: str, tmp_path: Path) -> None:
    """Given a comment, when a file with it is read, then it counts before what the reader is told."""
    path = written(tmp_path, "cloud.xyz", f"# {comment}\n0 0 0\n1000 0 0\n")
    scene = read_scene(path, ReadOptions(unit_m=7.0))
    assert scene.unit_m == pytest.approx(UNITS[comment] or 7.0)
    assert facts.extents(scene)[0] == pytest.approx(1000 * (UNITS[comment] or 7.0))


@pytest.mark.parametrize("extension", ["stl", "ply", "off", "xyz", "obj"])
@pytest.mark.parametrize("up", [None, "y", "z"])
def test_the_axis_that_points_up_survives(extension: str, up: Axis | None, tmp_path: Path) -> None:
    """Given a scene that stands on some axis, when it is written and read, then it stands on the same one."""
    scene = scene_of(samples.box())
    scene.up = up
    write_scene(scene, tmp_path / f"box.{extension}")
    assert read_scene(tmp_path / f"box.{extension}").up == up


@given(st.floats(1e-9, 1e9))
def test_every_unit_survives_as_a_comment(unit_m: float) -> None:
    """Given any unit, when it is written as a comment, then the comment says it again."""
    assert header_comments.stated("\n".join(header_comments.comments(unit_m, None))) == pytest.approx(unit_m)


@given(st.integers(3, 40), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_a_polygon_keeps_its_area(count: int, random: Any) -> None:
    """Given a star-shaped polygon, concave or not, when it is cut, then its triangles have its area, all one way up."""
    angles = numpy.arange(count) * (2 * numpy.pi / count)
    radii = numpy.array([random.uniform(0.2, 1) for _ in range(count)])
    points = numpy.stack([radii * numpy.cos(angles), numpy.zeros(count), radii * numpy.sin(angles)], axis=1)
    triangles, owner = triangulate(points, numpy.arange(count), [count])
    areas = numpy.cross(*(points[triangles[:, n]] - points[triangles[:, 0]] for n in (1, 2)))[:, 1] / 2
    following = numpy.roll(points, -1, axis=0)
    whole = (points[:, 2] * following[:, 0] - points[:, 0] * following[:, 2]).sum() / 2
    assert len(triangles) == count - 2 and (owner == 0).all()
    assert areas.sum() == pytest.approx(whole) and (areas * numpy.sign(whole) > -1e-12).all()


@given(
    rows=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=3, max_size=30),
    extension=st.sampled_from(["ply", "off", "xyz"]),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_coordinates_come_back_to_the_bit(rows: list[tuple[float, ...]], extension: str, tmp_path: Path) -> None:
    """Given any 32-bit coordinates in metres, when they are written and read, then they are the same numbers."""
    mesh = make_mesh(rows, [[0, 1, 2]])
    write_scene(scene_of(mesh), tmp_path / f"part.{extension}")
    result = read_scene(tmp_path / f"part.{extension}")
    if all(occurrence.matrix is None for occurrence in result.root.walk()):
        assert numpy.array_equal(only_mesh(result).positions, mesh.positions)


NOISE = bytes((n * 7919 + 13) % 256 for n in range(3000))
BAD: dict[str, tuple[str, bytes | str, str]] = {
    "stl of noise": ("stl", NOISE, "announces .* triangles"),
    "stl that is text": ("stl", "hello world\n" * 20, "announces"),
    "stl with 10^9 triangles": ("stl", bytes(80) + struct.pack("<I", 10**9) + bytes(50), "announces 1000000000"),
    "stl cut off": ("stl", bytes(80) + struct.pack("<I", 2) + bytes(99), "announces 2"),
    "stl without triangles": ("stl", bytes(84), "no triangle"),
    "stl of four bytes": ("stl", b"abcd", "announces|no triangle|neither text"),
    "stl with nan": ("stl", bytes(80) + struct.pack("<I12fH", 1, *[float("nan")] * 12, 0), "not numbers"),
    "stl text with nan": (
        "stl",
        "solid\nfacet normal 0 0 1\nouter loop\nvertex nan 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n",
        "not numbers",
    ),
    "stl text cut off": ("stl", "solid\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n", "triangle"),
    "stl text with two corners": ("stl", "solid\nouter loop\nvertex 0 0 0\nvertex 0 0 0\nendloop\nendfacet\n", "whole"),
    "stl text of words": ("stl", "solid\nvertex a b c\nvertex 1 0 0\nvertex 0 1 0\nendfacet\n", "whole"),
    "ply of noise": ("ply", NOISE, "the word ply"),
    "ply without an end": ("ply", PLY_HEAD.format("ascii", 3), "no end"),
    "ply with 10^9 vertices": ("ply", PLY_HEAD.format("ascii", 10**9) + "end_header\n0 0 0\n", "more than it has"),
    "binary ply with 10^9 vertices": (
        "ply",
        PLY_HEAD.format("binary_little_endian", 10**9) + "end_header\n0 0 0\n",
        "more than it has bytes",
    ),
    "ply with 10^18 rows of nothing": (
        "ply",
        f"ply\nformat ascii 1.0\nelement ghost {10**17}\n" + PLY_HEAD.format("ascii", 1)[21:] + "end_header\n",
        "more than it has|ends before|no mesh",
    ),
    "ply whose face leads nowhere": (
        "ply",
        PLY_HEAD.format("ascii", 3) + FACES + TRIANGLE + "3 0 1 77\n3 0 1 2\n",
        "refer",
    ),
    "ply with a negative vertex": (
        "ply",
        PLY_HEAD.format("ascii", 3) + FACES + TRIANGLE + "3 0 1 -1\n3 0 1 2\n",
        "refer",
    ),
    "ply cut in its faces": ("ply", PLY_HEAD.format("ascii", 3) + FACES + TRIANGLE + "3 0 1 2\n3 0 1\n", "ends before"),
    "ply with a list of 10^9": (
        "ply",
        PLY_HEAD.format("ascii", 3) + FACES + TRIANGLE + "999999999 0 1 2\n3 0 1\n",
        "ends",
    ),
    "ply with a list of -1": ("ply", PLY_HEAD.format("ascii", 3) + FACES + TRIANGLE + "3 0 1 2\n-1 0 1 2\n", "fewer"),
    "ply of words": ("ply", PLY_HEAD.format("ascii", 1) + "end_header\na b c\n", "something else"),
    "ply with nan": ("ply", PLY_HEAD.format("ascii", 1) + "end_header\nnan 0 0\n", "not numbers"),
    "ply without coordinates": (
        "ply",
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty int q\nend_header\n1\n",
        "coord",
    ),
    "ply of an unknown type": (
        "ply",
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty huge x\nend_header\n1\n",
        "type",
    ),
    "ply of no known order": ("ply", "ply\nformat morse 1.0\nend_header\n", "no sense"),
    "ply without an order": ("ply", "ply\nend_header\n", "text or binary"),
    "ply without vertices": ("ply", "ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "no mesh"),
    "ply of strips": (
        "ply",
        PLY_HEAD.format("ascii", 3) + "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
        f"{TRIANGLE}3 0 1 2\n",
        "strips",
    ),
    "off that is text": ("off", "hello world\n", "word OFF"),
    "off of noise": ("off", NOISE, "word OFF"),
    "off that is binary": ("off", b"OFF BINARY\n" + NOISE, "binary"),
    "off with 10^9 vertices": ("off", "OFF\n1000000000 1 0\n0 0 0\n3 0 1 2\n", "more than it has bytes"),
    "off without counts": ("off", "OFF\nthree one\n", "how many"),
    "off whose face leads nowhere": ("off", "OFF\n3 1 0\n" + TRIANGLE + "3 0 1 99\n", "refer"),
    "off with a negative corner": ("off", "OFF\n3 1 0\n" + TRIANGLE + "3 0 1 -1\n", "refer"),
    "off cut in its vertices": ("off", "OFF\n3 1 0\n0 0 0\n1 0 0\n", "more than it has bytes|ends before|missing"),
    "off cut in its faces": ("off", "OFF\n3 2 0\n" + TRIANGLE + "3 0 1 2\n", "ends before"),
    "off of words": ("off", "OFF\n3 1 0\n0 0 0\n1 a 0\n0 1 0\n3 0 1 2\n", "something else"),
    "off with nan": ("off", "OFF\n3 1 0\nnan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "not numbers"),
    "xyz of words": ("xyz", "one two three\n" * 3, "something else"),
    "xyz of noise": ("xyz", NOISE, "something else|same length|begin with"),
    "xyz of two columns": ("xyz", "1 2\n3 4\n", "three numbers"),
    "xyz of lines that differ": ("xyz", "1 2 3\n1 2 3 4\n5 6\n", "three numbers|same length"),
    "xyz with nan": ("xyz", "nan 0 0\n1 2 3\n", "not numbers"),
    "xyz of comments": ("xyz", "# nothing\n", "no point"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_such_file_ends_in_a_sentence(case: str, tmp_path: Path) -> None:
    """Given content that is wrong, when it is read, then a sentence names the file and the reason."""
    extension, content, reason = BAD[case]
    with pytest.raises(InvalidFile, match=rf"^bad\.{extension} cannot be read as .+: .*({reason}).*\.$"):
        read_scene(written(tmp_path, f"bad.{extension}", content))


@pytest.mark.parametrize("extension", ["stl", "ply", "off", "xyz", "obj"])
def test_every_cut_of_a_file_is_read_or_refused(extension: str, tmp_path: Path) -> None:
    """Given a file that ends early, anywhere, when it is read, then there is a scene or a sentence, nothing else."""
    write_scene(samples.assembly(), tmp_path / f"whole.{extension}")
    whole = (tmp_path / f"whole.{extension}").read_bytes()
    for share in range(1, 24):
        path = written(tmp_path, f"cut.{extension}", whole[: len(whole) * share // 24])
        try:
            assert read_scene(path).parts()
        except InvalidFile as error:
            assert str(error).startswith(f"cut.{extension} cannot be read as ")
