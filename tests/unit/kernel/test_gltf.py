"""GLB files apart and together: bytes that stay, trees that come back, damage that ends in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.formats.gltf import arrays as gltf_arrays
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.gltf import reader as gltf_reader
from pixyz_worker.kernel.formats.gltf import writer as gltf_writer
from pixyz_worker.kernel.formats.gltf.document import Document
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import merged
from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Channel, Occurrence, Part, Scene
from tests.unit.kernel import samples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ASSEMBLY = gltf_writer.encode(samples.assembly())


def again(scene: Scene) -> Scene:
    """A scene after it went through a GLB."""
    return gltf_reader.read(gltf_writer.encode(scene), name=scene.name)


def named(scene: Scene, name: str) -> Occurrence:
    """The occurrence of a name."""
    return next(occurrence for occurrence in scene.root.walk() if occurrence.name == name)


def alone(part: Part) -> Scene:
    """A scene of one part."""
    return Scene(name="alone", root=Occurrence(name="alone", part=part), unit_m=1.0, up="y")


@given(extras=JSON, binary=st.binary(max_size=64))
def test_split_undoes_join(extras: Any, binary: bytes) -> None:
    """Given any document, when it is joined and split, then it is the same but for padding."""
    document = Document(tree={"asset": {"version": "2.0"}, "extras": extras}, binary=binary)
    result = gltf.split(gltf.join(document))
    assert result.tree == document.tree
    assert result.binary.rstrip(b"\0") == binary.rstrip(b"\0")
    assert gltf.join(result) == gltf.join(document)


@given(cut=st.integers(min_value=0), flip=st.integers(min_value=0), value=st.integers(0, 255))
def test_a_damaged_glb_ends_in_a_sentence(cut: int, flip: int, value: int) -> None:
    """Given a GLB with a byte changed and its end cut, when it is taken apart, then it works or a sentence says why."""
    damaged = bytearray(ASSEMBLY)
    damaged[flip % len(damaged)] = value
    try:
        gltf_reader.read(bytes(damaged[: len(damaged) - cut % 64]), name="damaged")
    except InvalidFile as error:
        assert str(error).startswith("damaged cannot be read")


def test_given_an_assembly_when_it_went_through_a_glb_then_all_of_it_is_there(assembly: Scene) -> None:
    """Given names, colours, instances and places, when they go through a GLB, then they are the same, and the bytes."""
    result = again(assembly)
    names = [occurrence.name for occurrence in result.root.walk()]
    assert names == ["two parts", "Kasten Ä", "Gruppe", "ball left", "ball right"]
    assert [part.name for part in result.parts()] == ["Kasten Ä", "ball"]
    assert len(result.instances()) == 3 and result.triangle_count == assembly.triangle_count
    assert named(result, "ball right").world()[:3, 3].tolist() == [3, 4, 0]
    colours = [part.mesh.materials[0].srgb[:3] for part in result.parts() if part.mesh and part.mesh.materials[0]]
    assert colours == [samples.RED, samples.BLUE]
    assert gltf_writer.encode(again(result)) == gltf_writer.encode(result)


def test_given_everything_else_when_it_went_through_a_glb_then_it_is_there(assembly: Scene) -> None:
    """Given metadata, annotations, visibility, animations and variants, when they go through a GLB, then they stay."""
    box, ball = named(assembly, "Kasten Ä"), named(assembly, "ball left")
    box.metadata |= {"serial": "Ä-1", "mass": 2.5, "checked": True}
    box.annotations = (AnnotationGroup(name="dimensions", annotations=("12 ±0.1", "⌀ 8")),)
    ball.visible = False
    times, turns = numpy.array([0, 1], numpy.float32), numpy.array([[0, 0, 0, 1], [0, 1, 0, 0]], numpy.float32)
    assembly.animations = [
        Animation(name="turn", channels=[Channel(target=box, path="rotation", times=times, values=turns)])
    ]
    assembly.variants = ["winter", "summer"]
    assert box.part is not None and box.part.mesh is not None
    box.part.mesh.variants = ({"summer": samples.painted("green", samples.GREEN)},)

    result = again(assembly)

    box = named(result, "Kasten Ä")
    assert box.metadata == {"serial": "Ä-1", "mass": 2.5, "checked": True}
    assert box.annotations[0].annotations == ("12 ±0.1", "⌀ 8")
    assert not named(result, "ball left").visible and named(result, "ball right").visible
    channel = result.animations[0].channels[0]
    assert (channel.target, channel.path) == (box, "rotation") and numpy.array_equal(channel.values, turns)
    assert result.variants == ["winter", "summer"]
    assert box.part is not None and box.part.mesh is not None
    replaced = box.part.mesh.variants[0]["summer"]
    assert replaced is not None and replaced.srgb[:3] == samples.GREEN


def test_given_an_animated_glb_when_it_was_changed_then_places_are_as_before(assembly: Scene) -> None:
    """Given turned, scaled and mirrored places, when a scene with an animation is written, then they are the same."""
    group = named(assembly, "Gruppe")
    matrices = [numpy.eye(4) for _ in range(3)]
    matrices[0][:3, :3] = [[0, 0, 2], [3, 0, 0], [0, -1, 0]]
    matrices[1][:3, :3] = [[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]
    matrices[2][:3, :3] = [[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]
    channel = Channel(
        target=group,
        path="translation",
        times=numpy.zeros(1, numpy.float32),
        values=numpy.zeros((1, 3), numpy.float32),
    )
    assembly.animations = [Animation(name="move", channels=[channel])]
    for matrix in matrices:
        group.matrix = matrix
        result = named(again(assembly), "Gruppe").matrix
        assert result is not None and numpy.allclose(result, matrix, atol=1e-6)


def test_given_a_part_of_two_materials_when_it_went_through_a_glb_then_vertices_stay_shared(assembly: Scene) -> None:
    """Given a mesh with two materials, when it goes through a GLB, then its vertices and materials are as before."""
    mesh = merged([part.mesh for part in assembly.parts() if part.mesh is not None])
    part = again(alone(Part(name="two", mesh=mesh))).parts()[0]
    assert part.mesh is not None and part.mesh.triangle_materials is not None and mesh.triangle_materials is not None
    assert numpy.array_equal(part.mesh.positions, mesh.positions)
    assert [material.name for material in part.mesh.materials if material] == ["red", "blue"]
    assert numpy.bincount(part.mesh.triangle_materials).tolist() == numpy.bincount(mesh.triangle_materials).tolist()


@pytest.mark.parametrize("mime", ["image/png", "image/webp"])
def test_given_a_texture_when_it_went_through_a_glb_then_its_bytes_and_its_place_are_the_same(mime: str) -> None:
    """Given a texture with a transform, when it goes through a GLB, then picture, wrap and transform are the same."""
    data = samples.picture() if mime == "image/png" else b"RIFF\0\0\0\0WEBPVP8 "
    texture = Texture(
        image=Image(name="bild", data=data, mime=mime),
        wrap=("mirror", "clamp"),
        offset=(0.25, 0.5),
        scale=(2.0, 3.0),
        rotation=0.5,
    )
    material = Material(name="paint", base_colour_texture=texture, normal_texture=texture, emission=(0.0, 1.0, 0.0))
    material.extensions = {"KHR_materials_ior": {"ior": 1.4}}
    part = again(alone(Part(name="square", mesh=samples.square(material)))).parts()[0]
    assert part.mesh is not None and part.mesh.uvs is not None and part.mesh.uvs.tolist()[0] == [0, 1]
    result = part.mesh.materials[0]
    assert result is not None and result.base_colour_texture is not None and result.normal_texture is not None
    assert result.base_colour_texture.image is result.normal_texture.image
    back = result.base_colour_texture
    assert (back.image.data, back.image.mime, back.image.name) == (data, mime, "bild")
    assert (back.wrap, back.offset, back.scale, back.rotation) == (("mirror", "clamp"), (0.25, 0.5), (2.0, 3.0), 0.5)
    assert result.emission == (0.0, 1.0, 0.0) and result.extensions == material.extensions


def test_given_all_levels_when_they_become_linear_and_srgb_again_then_each_is_the_same() -> None:
    """Given every 8-bit level, when it is written and read as a vertex colour, then it is the same."""
    levels = numpy.repeat(numpy.arange(256, dtype=numpy.uint8)[:, None], 4, axis=1)
    part = Part(name="points", mesh=samples.points().parts()[0].mesh)
    assert part.mesh is not None
    part.mesh.positions, part.mesh.colours = numpy.random.default_rng(1).random((256, 3), numpy.float32), levels
    back = again(alone(part)).parts()[0].mesh
    assert back is not None and back.is_points and numpy.array_equal(back.colours, levels)


@pytest.mark.parametrize(
    ("mode", "order", "triangles"),
    [
        (5, [0, 1, 2, 3], [[0, 1, 2], [2, 1, 3]]),
        (6, [0, 1, 2, 3], [[0, 1, 2], [0, 2, 3]]),
        (4, None, [[0, 1, 2]]),
    ],
)
def test_given_strips_and_fans_when_they_are_read_then_they_are_triangles(
    mode: int, order: list[int] | None, triangles: list[list[int]]
) -> None:
    """Given the other ways to say triangles, when they are read, then triangles keep their front."""
    points = numpy.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], numpy.int16)
    corners = b"" if order is None else numpy.array(order, numpy.uint8).tobytes()
    primitive: dict[str, Any] = {"attributes": {"POSITION": 0}, "mode": mode}
    accessors: list[dict[str, Any]] = [
        {"bufferView": 0, "componentType": 5122, "normalized": True, "count": 4, "type": "VEC3"}
    ]
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": 24}]
    if order is not None:
        primitive["indices"] = 1
        accessors.append({"bufferView": 1, "componentType": 5121, "count": len(order), "type": "SCALAR"})
        views.append({"buffer": 0, "byteOffset": 24, "byteLength": len(order)})
    tree = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": 28}],
    }
    mesh = gltf_reader.read(gltf.join(Document(tree=tree, binary=points.tobytes() + corners)), name="x").parts()[0].mesh
    assert mesh is not None and mesh.triangles.tolist() == triangles
    assert mesh.positions[1].tolist() == pytest.approx([1 / 32767, 0, 0])


def test_given_a_sparse_accessor_when_it_is_read_then_some_values_are_replaced() -> None:
    """Given an accessor of zeros with one other value, when it is read, then that value stands in its place."""
    sparse = {
        "count": 1,
        "indices": {"bufferView": 0, "componentType": 5121},
        "values": {"bufferView": 0, "byteOffset": 4},
    }
    tree: dict[str, Any] = {
        "accessors": [{"componentType": 5126, "count": 3, "type": "SCALAR", "sparse": sparse}],
        "bufferViews": [{"buffer": 0, "byteLength": 8}],
    }
    binary = b"\1\0\0\0" + numpy.array([2.5], numpy.float32).tobytes()
    assert gltf_arrays.array(Document(tree=tree, binary=binary), 0)[:, 0].tolist() == [0, 2.5, 0]
    sparse["count"] = 9
    with pytest.raises(ValueError, match="sparse"):
        gltf_arrays.array(Document(tree=tree, binary=binary), 0)


def test_given_a_tree_of_ten_thousand_levels_when_it_went_through_a_glb_then_it_is_as_deep() -> None:
    """Given a very deep tree, when it is written and read, then nothing ends in a recursion."""
    bottom = Occurrence(name="bottom", part=Part(name="box", mesh=samples.box()))
    root = bottom
    for level in range(10_000):
        root = Occurrence(name=f"level {level}", children=[root])
    result = again(Scene(name="deep", root=root))
    assert sum(1 for _ in result.root.walk()) == 10_001 and len(result.instances()) == 1


def test_an_unedited_glb_is_passed_on_byte_for_byte(tmp_path: Path) -> None:
    """Given a GLB with an animation and an unknown extension, when it is converted, then they are still there."""
    document = gltf.split(ASSEMBLY)
    tree = document.tree | {"animations": [], "extras": {"serial": "Ä-1"}, "extensionsUsed": ["VENDOR_thing"]}
    source = tmp_path / "in.glb"
    source.write_bytes(gltf.join(Document(tree=tree, binary=document.binary)))
    scene = read_scene(source)
    write_scene(scene, tmp_path / "out.glb")
    write_scene(scene, tmp_path / "out.gltf")
    assert (tmp_path / "out.glb").read_bytes() == source.read_bytes()
    written = json.loads((tmp_path / "out.gltf").read_text(encoding="utf-8"))
    assert written["extras"] == {"serial": "Ä-1"} and written["extensionsUsed"] == ["VENDOR_thing"]
    assert written["buffers"][0]["uri"] == "out.bin"


def test_given_a_compressed_glb_when_it_is_looked_into_then_a_sentence_says_what_is_possible(tmp_path: Path) -> None:
    """Given a GLB that needs Draco, when it is converted, then GLB works and OBJ says what does."""
    document = gltf.split(ASSEMBLY)
    tree = document.tree | {"extensionsRequired": ["KHR_draco_mesh_compression"]}
    (tmp_path / "in.glb").write_bytes(gltf.join(Document(tree=tree, binary=document.binary)))
    scene = read_scene(tmp_path / "in.glb")
    write_scene(scene, tmp_path / "out.glb")
    with pytest.raises(InvalidFile, match="KHR_draco_mesh_compression, which can only be passed on to GLB"):
        _ = scene.root


def test_gltf_brings_its_side_files_in(tmp_path: Path, assembly: Scene) -> None:
    """Given a .gltf whose data lies in a subfolder with a space, when it is read, then it becomes one GLB."""
    write_scene(assembly, tmp_path / "part.gltf")
    (tmp_path / "side files").mkdir()
    (tmp_path / "part.bin").rename(tmp_path / "side files" / "part.bin")
    tree = json.loads((tmp_path / "part.gltf").read_text(encoding="utf-8"))
    tree["buffers"][0]["uri"] = "side%20files/part.bin"
    (tmp_path / "part.gltf").write_text(json.dumps(tree), encoding="utf-8")
    scene = read_scene(tmp_path / "part.gltf")
    assert scene.source is not None and gltf.split(scene.source).binary == gltf.split(ASSEMBLY).binary
    assert len(scene.instances()) == 3


@pytest.mark.parametrize("uri", ["side%20files%5Cpart.bin", "side files\\part.bin"])
def test_gltf_with_backslashes(uri: str, tmp_path: Path, assembly: Scene) -> None:
    """Given a .gltf whose paths are written as on Windows, when it is read, then its files are found."""
    write_scene(assembly, tmp_path / "part.gltf")
    (tmp_path / "side files").mkdir()
    (tmp_path / "part.bin").rename(tmp_path / "side files" / "part.bin")
    tree = json.loads((tmp_path / "part.gltf").read_text(encoding="utf-8"))
    tree["buffers"][0]["uri"] = uri
    (tmp_path / "part.gltf").write_text(json.dumps(tree), encoding="utf-8")
    assert len(read_scene(tmp_path / "part.gltf").instances()) == 3


@pytest.mark.parametrize(
    "uri",
    [
        "//server/share/part.bin",
        "%5C%5Cserver%5Cshare%5Cpart.bin",
        "../part.bin",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://x/y.bin",
        "%2e%2e/part.bin",
    ],
)
def test_gltf_reaches_nothing_outside_its_folder(uri: str, tmp_path: Path) -> None:
    """Given a .gltf that names a file elsewhere, when it is read, then it is refused."""
    (tmp_path / "part.bin").write_bytes(b"1234")
    (tmp_path / "in").mkdir()
    tree = {"asset": {"version": "2.0"}, "buffers": [{"uri": uri, "byteLength": 4}]}
    (tmp_path / "in" / "part.gltf").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(InvalidFile, match="outside its own folder"):
        read_scene(tmp_path / "in" / "part.gltf")
