"""Wavefront OBJ: parts, materials, pictures, the ways in which others write it, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.material import Image, Material, Texture, from_srgb
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import facts, samples

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def read_text(folder: Path, text: str, name: str = "part.obj") -> Scene:
    """The scene of an OBJ file of such text."""
    (folder / name).write_bytes(text.encode())
    return read_scene(folder / name)


def meshes(scene: Scene) -> list[Mesh]:
    """The meshes of its parts."""
    return [part.mesh for part in scene.parts() if part.mesh is not None]


def names(scene: Scene) -> list[str]:
    """The names of what it shows."""
    return [occurrence.name for occurrence in scene.instances()]


def test_an_assembly_keeps_names_places_colours_and_unit(assembly: Scene, tmp_path: Path) -> None:
    """Given an assembly in millimetres, when it is written and read, then each instance is a part at its place."""
    write_scene(assembly, tmp_path / "two.obj")
    assert (
        (tmp_path / "two.obj")
        .read_text(encoding="utf-8")
        .startswith("# units: mm\n# up: y\nmtllib two.mtl\no Kasten Ä\n")
    )
    result = read_scene(tmp_path / "two.obj")
    assert names(result) == ["Kasten Ä", "ball left", "ball right"]
    assert result.unit_m == 0.001
    assert facts.extents(result) == pytest.approx([7, 6, 4])
    assert facts.volume(result) == pytest.approx(facts.volume(assembly), rel=1e-5)
    assert [mesh.materials[0].srgb[:3] for mesh in meshes(result) if mesh.materials[0]] == [
        samples.RED,
        samples.BLUE,
        samples.BLUE,
    ]
    assert meshes(result)[1].normals is not None


def test_a_material_keeps_all_that_the_format_has(tmp_path: Path) -> None:
    """Given a material with pictures of every kind, when it is written and read, then values and pictures are there."""
    texture = Texture(image=Image(name="../../évil name.png", data=samples.picture()), wrap=("clamp", "clamp"))
    material = Material(
        name="my paint",
        base_colour=from_srgb(0.5, 0.25, 1.0, 0.5),
        metalness=0.75,
        roughness=0.25,
        emission=from_srgb(0.1, 0.2, 0.3)[:3],
        base_colour_texture=texture,
        metal_rough_texture=texture,
        normal_texture=texture,
        emission_texture=texture,
        alpha_mode="blend",
    )
    scene = samples.textured()
    scene.parts()[0].mesh = samples.square(material)
    write_scene(scene, tmp_path / "square.obj")
    assert all(path.name.startswith("square") for path in tmp_path.iterdir())
    (result,) = read_scene(tmp_path / "square.obj").materials()
    assert result.name == "my_paint"
    assert result.base_colour == pytest.approx(material.base_colour, abs=1e-5)
    assert (result.metalness, result.roughness, result.alpha_mode) == (0.75, 0.25, "blend")
    assert result.emission == pytest.approx(material.emission, abs=1e-5)
    assert result.base_colour_texture is not None and result.base_colour_texture.wrap == ("clamp", "clamp")
    assert result.base_colour_texture.image.data == samples.picture()
    assert result.metal_rough_texture and result.normal_texture and result.emission_texture


def test_a_texture_stands_upright(textured: Scene, tmp_path: Path) -> None:
    """Given a textured square, when it is written and read, then the same corner shows the same quarter."""
    write_scene(textured, tmp_path / "square.obj")
    result = read_scene(tmp_path / "square.obj")
    assert facts.quadrants(result) == facts.quadrants(textured)
    assert "vt 0 0\n" in (tmp_path / "square.obj").read_text()


def test_a_transform_of_a_texture_goes_into_the_coordinates(tmp_path: Path) -> None:
    """Given a texture that is scaled and moved, when it is written, then its coordinates are."""
    texture = Texture(image=Image(data=samples.picture()), scale=(2.0, 3.0), offset=(0.5, 0.25))
    scene = samples.textured()
    scene.parts()[0].mesh = samples.square(Material(base_colour_texture=texture))
    write_scene(scene, tmp_path / "square.obj")
    (mesh,) = meshes(read_scene(tmp_path / "square.obj"))
    before = samples.square().uvs
    assert mesh.uvs is not None and before is not None
    assert mesh.uvs == pytest.approx(before * (2, 3) + (0.5, 0.25), abs=1e-6)


def test_several_materials_stay_in_one_part(tmp_path: Path) -> None:
    """Given a part with two materials, when it is written and read, then triangles keep theirs."""
    materials = (samples.painted("same", samples.RED), samples.painted("same", samples.BLUE), None)
    triangles = [[0, 1, 2], [0, 2, 3], [1, 2, 3]]
    mesh = make_mesh(samples.square().positions, triangles, materials=materials, triangle_materials=[0, 1, 2])
    root = Occurrence(name="scene", children=[Occurrence(name="part", part=Part(name="part", mesh=mesh))])
    write_scene(Scene(name="scene", root=root), tmp_path / "part.obj")
    (result,) = meshes(read_scene(tmp_path / "part.obj"))
    shown = {
        material.srgb[:3] if material else None: triangles.tolist() for material, triangles in result.by_material()
    }
    assert shown == {samples.RED: [[0, 1, 2]], samples.BLUE: [[0, 2, 3]], (255, 255, 255): [[1, 2, 3]]}


def test_a_part_without_a_material_has_none_of_the_part_before(assembly: Scene, tmp_path: Path) -> None:
    """Given a red part and then one without a material, when they are written, then the second is not red."""
    assembly.root.add(Occurrence(name="bare", part=Part(name="bare", mesh=samples.box())))
    write_scene(assembly, tmp_path / "part.obj")
    *_, bare = meshes(read_scene(tmp_path / "part.obj"))
    assert bare.materials[0] is not None and bare.materials[0].srgb[:3] == (255, 255, 255)


def test_vertex_colours_stay(tmp_path: Path) -> None:
    """Given colours at the vertices, when they are written and read, then they are the same levels."""
    colours = numpy.array([[0, 1, 2, 255], [127, 128, 129, 255], [253, 254, 255, 255]], numpy.uint8)
    mesh = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], colours=colours)
    write_scene(Scene(name="s", root=Occurrence(part=Part(mesh=mesh))), tmp_path / "part.obj")
    (result,) = meshes(read_scene(tmp_path / "part.obj"))
    assert result.colours is not None and numpy.array_equal(result.colours, colours)


CASES: dict[str, tuple[str, list[str], int, int]] = {
    # text, names, triangles, vertices
    "a square": (SQUARE + "f 1 2 3 4\n", ["part"], 2, 4),
    "a triangle by negative numbers": (SQUARE + "f -4 -3 -2\n", ["part"], 1, 3),
    "negative numbers go back from their line": (SQUARE + "f -4 -3 -2\nv 5 5 5\nf -5 -4 -1\n", ["part"], 2, 4),
    "an object": (SQUARE + "o Ä b\nf 1 2 3\n", ["Ä b"], 1, 3),
    "two groups": (SQUARE + "g one\nf 1 2 3\ng two\nf 1 3 4\n", ["one", "two"], 2, 6),
    "a group taken up again": (SQUARE + "g one\nf 1 2 3\ng two\nf 1 3 4\ng one\nf 2 3 4\n", ["one", "two"], 3, 7),
    "an object with groups": (SQUARE + "o car\ng door\nf 1 2 3\ng roof\nf 1 3 4\n", ["door", "roof"], 2, 6),
    "an object with one group": (SQUARE + "o car\ng door\nf 1 2 3\n", ["car"], 1, 3),
    "windows": ((SQUARE + "f 1 2 3\n").replace("\n", "\r\n"), ["part"], 1, 3),
    "old macs": ((SQUARE + "f 1 2 3\n").replace("\n", "\r"), ["part"], 1, 3),
    "blanks and tabs": ("v  0 0\t0 \n\tv 1 0 0\n v 0 1 0\nf\t1  2 3 \n", ["part"], 1, 3),
    "a line that goes on": (SQUARE + "f 1 \\\n2 3\n", ["part"], 1, 3),
    "comments behind": ("v 0 0 0 # a\nv 1 0 0\nv 0 1 0\nf 1 2 3 # b\n", ["part"], 1, 3),
    "weights": ("v 0 0 0 1\nv 1 0 0 1\nv 0 1 0 1\nf 1 2 3\n", ["part"], 1, 3),
    "some weights": ("v 0 0 0 1\nv 1 0 0\nv 0 1 0 1\nf 1 2 3\n", ["part"], 1, 3),
    "no end of the last line": (SQUARE + "f 1 2 3", ["part"], 1, 3),
    "texture coordinates": (SQUARE + "vt 0 0\nvt 1 1\nf 1/1 2/2 3/1\n", ["part"], 1, 3),
    "seams": (SQUARE + "vt 0 0\nvt 1 1\nf 1/1 2/1 3/1\nf 1/2 3/2 4/2\n", ["part"], 2, 6),
    "normals": (SQUARE + "vn 0 0 1\nf 1//1 2//1 3//1\n", ["part"], 1, 3),
    "everything": (SQUARE + "vt 0 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1 4/1/1\n", ["part"], 2, 4),
    "faces of all kinds": (
        SQUARE + "vt 0 0\nvn 0 0 1\nf 1 2 3\nf 1/1 2/1 3/1\nf 1//1 2//1 3//1 4//1\n",
        ["part"],
        4,
        7,
    ),
    "corners of all kinds": (SQUARE + "vt 0 0\nvn 0 0 1\nf 1/ 2/1 3//1\nf 1/1/1 2 3\n", ["part"], 2, 5),
    "lines and points beside": (SQUARE + "p 1\nl 1 2\ns off\ns 1\nf 1 2 3\ncurv 1 2\n", ["part"], 1, 3),
    "faces of two corners": (SQUARE + "f 1 2\nf 1 2 3\n", ["part"], 1, 3),
    "only points": (SQUARE, ["part"], 0, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_the_ways_in_which_it_is_written(case: str, tmp_path: Path) -> None:
    """Given OBJ as programs write it, when it is read, then parts, triangles and vertices are as expected."""
    text, expected, triangles, vertices = CASES[case]
    scene = read_text(tmp_path, text)
    assert names(scene) == expected
    assert sum(len(mesh.triangles) for mesh in meshes(scene)) == triangles
    assert sum(len(mesh.positions) for mesh in meshes(scene)) == vertices


def test_an_object_with_several_groups_holds_them(tmp_path: Path) -> None:
    """Given an object of two groups, when it is read, then the groups lie below the object."""
    scene = read_text(tmp_path, SQUARE + "o car\ng door\nf 1 2 3\ng roof\nf 1 3 4\n")
    assert [(o.name, o.parent.name if o.parent else None) for o in scene.root.walk()] == [
        ("part", None),
        ("car", "part"),
        ("door", "car"),
        ("roof", "car"),
    ]


def test_a_concave_face_is_not_filled(tmp_path: Path) -> None:
    """Given a face in the shape of an L, when it is read, then its triangles have its area."""
    corners = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]
    text = "".join(f"v {x} {y} 0\n" for x, y in corners[3:] + corners[:3]) + "f 1 2 3 4 5 6\n"
    assert facts.area(read_text(tmp_path, text)) == pytest.approx(3)


def test_colours_at_vertices_of_other_programs(tmp_path: Path) -> None:
    """Given colours on some vertices only, when they are read, then the others are white."""
    (mesh,) = meshes(read_text(tmp_path, "v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0 0 0.5 1\nf 1 2 3\n"))
    assert mesh.colours is not None
    assert mesh.colours.tolist() == [[255, 0, 0, 255], [255, 255, 255, 255], [0, 128, 255, 255]]


def test_materials_of_other_programs(tmp_path: Path) -> None:
    """Given an mtl with a path from another machine and options, when it is read, then the picture beside is used."""
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "my skin.png").write_bytes(samples.picture())
    (tmp_path / "my mats.mtl").write_text(
        "newmtl a\nKd 1 0 0\nTr 0.25\nNs 1000\n\tmap_Kd -s 2 2 1 -o 0.5 0 -clamp on sub dir\\my skin.png\n"
        "newmtl b\nKd 0.5 oops\nmap_Kd C:\\gone\\away.png\n"
    )
    scene = read_text(
        tmp_path, "mtllib my mats.mtl\n" + SQUARE + "usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\nusemtl c\nf 2 3 4\n"
    )
    first, second, third = meshes(scene)[0].materials
    assert first and second and third
    assert first.base_colour[3] == 0.75 and first.alpha_mode == "blend" and first.roughness == 0
    texture = first.base_colour_texture
    assert texture is not None and texture.image.data == samples.picture()
    assert (texture.scale, texture.offset, texture.wrap[0]) == ((2.0, 2.0), (0.5, -1.0), "clamp")
    assert (second.name, second.base_colour, second.base_colour_texture) == ("b", (1, 1, 1, 1), None)
    assert third.name == "c"


def test_files_outside_the_folder_are_not_followed(tmp_path: Path) -> None:
    """Given names that lead out of the folder, by dots and by a link, when it is read, then nothing of them is used."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.mtl").write_text("newmtl a\nKd 1 0 0\n")
    (tmp_path / "secret.png").write_bytes(samples.picture())
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "own.mtl").write_text("newmtl b\nmap_Kd ../secret.png\nnewmtl c\nmap_Kd link.png\n")
    faces = "".join(f"usemtl {name}\nf 1 2 3\n" for name in "abc")
    scene = read_text(inside, f"mtllib ../secret.mtl\nmtllib own.mtl\n{SQUARE}{faces}")
    assert {material.name: material.srgb[:3] for material in scene.materials()} == dict.fromkeys("abc", (255,) * 3)
    assert not any(material.textures for material in scene.materials())


BAD: dict[str, tuple[bytes, str]] = {
    "noise": (bytes((n * 7919 + 13) % 256 for n in range(3000)), "it is no text"),
    "nothing but comments": (b"# nothing\no part\n", "no mesh"),
    "a face that leads nowhere": (SQUARE.encode() + b"f 1 2 900000000\n", "refer to vertices"),
    "a face of zeros": (SQUARE.encode() + b"f 0 1 2\n", "refer to vertices"),
    "a face that leads back too far": (SQUARE.encode() + b"f -1 -2 -9\n", "refer to vertices"),
    "a number that fits nowhere": (SQUARE.encode() + b"f 1 2 99999999999999999999999\n", "."),
    "texture coordinates that are not there": (SQUARE.encode() + b"f 1/7 2/7 3/7\n", "refer to texture"),
    "normals that are not there": (SQUARE.encode() + b"f 1//7 2//7 3//7\n", "refer to normals"),
    "words for coordinates": (b"v a b c\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "something else"),
    "words for corners": (SQUARE.encode() + b"f one two three\n", "something else"),
    "two coordinates": (b"v 1 2\nv 1 0\nv 0 1\nf 1 2 3\n", "too few numbers"),
    "coordinates that are not numbers": (b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not numbers"),
    "infinite coordinates": (b"v 1e999 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not numbers"),
    "faces without area or corners": (SQUARE.encode() + b"f 1 2\n", "no triangle"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_obj_ends_in_a_sentence(case: str, tmp_path: Path) -> None:
    """Given content that is wrong, when it is read, then a sentence names the file and the reason."""
    content, reason = BAD[case]
    (tmp_path / "bad.obj").write_bytes(content)
    with pytest.raises(InvalidFile, match=rf"^bad\.obj cannot be read as Wavefront OBJ: .*{reason}.*\.$"):
        read_scene(tmp_path / "bad.obj")
