"""USD: what other programs write into it, what ours keeps on the way, and what strangers may try with it."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import samples

EXTENSIONS = ("usd", "usda", "usdc", "usdz")
SQUARE = """
    int[] faceVertexCounts = [4]
    int[] faceVertexIndices = [0, 1, 2, 3]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
"""


@pytest.fixture(autouse=True)
def usd(need_extra: Callable[[str], None]) -> None:
    """All of this needs usd-core."""
    need_extra("usd")


@pytest.fixture
def parse(tmp_path: Path) -> Callable[..., Scene]:
    """Reads text as USD, in this process."""

    def read(text: str, *, head: str = "", options: ReadOptions | None = None) -> Scene:
        from pixyz_worker.kernel.formats.usd import reader as usd_reader

        path = tmp_path / f"scene{len(list(tmp_path.iterdir()))}.usda"
        path.write_text(f"#usda 1.0\n(\n{head}\n)\n{text}", encoding="utf-8")
        return usd_reader.parse(path, options or ReadOptions())

    return read


def round_trip(scene: Scene, path: Path) -> Scene:
    """A scene after it was written and read in this process."""
    from pixyz_worker.kernel.formats.usd import reader as usd_reader
    from pixyz_worker.kernel.formats.usd import writer as usd_writer

    usd_writer.write(scene, path)
    return usd_reader.parse(path, ReadOptions())


def named(scene: Scene) -> dict[str, Occurrence]:
    """The occurrences by name."""
    return {occurrence.name: occurrence for occurrence in scene.root.walk()}


def mesh_of(occurrence: Occurrence) -> Any:
    """The mesh of an occurrence that has one."""
    assert occurrence.part is not None and occurrence.part.mesh is not None
    return occurrence.part.mesh


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_assembly_comes_back(extension: str, tmp_path: Path) -> None:
    """
    Given names with umlauts, a group, and a part that is shown twice.

    When the scene is written, and read in a child process.
    Then tree, names, places, colours, unit and axis are as before, and the part is shared.
    """
    write_scene(samples.assembly(), tmp_path / f"out.{extension}")
    scene = read_scene(tmp_path / f"out.{extension}")
    found = named(scene)
    assert list(found) == ["two parts", "Kasten Ä", "Gruppe", "ball left", "ball right"]
    assert (scene.unit_m, scene.up, len(scene.parts())) == (0.001, "y", 2)
    assert found["ball left"].part is found["ball right"].part
    assert found["ball left"].part is not None and found["ball left"].part.name == "ball"
    assert numpy.allclose(found["ball right"].world()[:3, 3], (3, 4, 0))
    assert numpy.allclose(mesh_of(found["Kasten Ä"]).bounds, [(-1, -1.5, -2), (1, 1.5, 2)])
    assert [(material.name, material.srgb[:3]) for material in scene.materials()] == [
        ("red", samples.RED),
        ("blue", samples.BLUE),
    ]


def test_the_first_bytes_say_the_kind(tmp_path: Path) -> None:
    """
    Given the four extensions.

    When a scene is written.
    Then usd and usdc are crate, usda is text, and usdz is a zip whose entries lie at multiples of 64, layer first.
    """
    heads = {"usd": b"PXR-USDC", "usdc": b"PXR-USDC", "usda": b"#usda 1.", "usdz": b"PK\x03\x04"}
    for extension, head in heads.items():
        path = tmp_path / f"out.{extension}"
        write_scene(samples.textured(), path)
        data = path.read_bytes()
        assert data.startswith(head)
        if extension == "usdz":
            with zipfile.ZipFile(path) as package:
                entries = package.infolist()
            for entry in entries:
                name, extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
                assert (entry.header_offset + 30 + name + extra) % 64 == 0
                assert entry.compress_type == zipfile.ZIP_STORED
            assert [Path(entry.filename).suffix for entry in entries] == [".usdc", ".png"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_textures_stay(extension: str, tmp_path: Path) -> None:
    """
    Given a square with a picture that is turned, scaled and moved.

    When the scene is written and read.
    Then the picture has its bytes, the texture its transform, and the texture coordinates their direction.
    """
    scene = samples.textured()
    (material,) = scene.materials()
    assert material.base_colour_texture is not None
    image = material.base_colour_texture.image
    material.base_colour_texture = Texture(
        image=image, wrap=("mirror", "clamp"), offset=(0.1, 0.2), scale=(2, 3), rotation=0.5
    )
    material.metal_rough_texture = material.normal_texture = Texture(image=image)
    material.metalness, material.roughness, material.base_colour = 0.25, 0.5, (0.5, 1.0, 0.25, 1.0)
    back = round_trip(scene, tmp_path / f"out.{extension}")
    (read,) = back.materials()
    texture = read.base_colour_texture
    assert texture is not None and texture.image.data == image.data and texture.wrap == ("mirror", "clamp")
    assert numpy.allclose((*texture.offset, *texture.scale, texture.rotation), (0.1, 0.2, 2, 3, 0.5), atol=1e-6)
    assert read.metal_rough_texture is not None and read.metal_rough_texture.image is texture.image
    assert read.normal_texture is not None
    assert (read.metalness, read.roughness, read.base_colour) == (0.25, 0.5, (0.5, 1.0, 0.25, 1.0))
    before, after = mesh_of(named(scene)["square"]), mesh_of(named(back)["square"])
    assert numpy.allclose(before.uvs, after.uvs) and numpy.allclose(before.normals, after.normals)


def test_materials_of_triangles_visibility_metadata_and_points_stay(tmp_path: Path) -> None:
    """
    Given a part of two materials, hidden things, properties, coloured points, and a part below which there is another.

    When the scene is written and read.
    Then all of it is there again.
    """
    red, glass = samples.painted("red", samples.RED), samples.painted("Glas Ü", samples.BLUE)
    glass.base_colour, glass.alpha_mode = (*glass.base_colour[:3], 0.25), "blend"
    box = samples.box()
    two = make_mesh(box.positions, box.triangles, materials=(red, None, glass), triangle_materials=[0, 1] * 4 + [2] * 4)
    colours = [[200, 30, 40, 255], [20, 130, 240, 128]] * 4
    coloured = make_mesh(box.positions, box.triangles, colours=colours, materials=(Material(name="white"),))
    cloud = mesh_of(named(samples.points())["points"])
    shared = Part(name="shared", mesh=samples.box(), metadata={"mass": 2.5})
    root = Occurrence(
        name="root",
        part=Part(name="of the root", mesh=samples.box()),
        children=[
            Occurrence(name="two", part=Part(name="two", mesh=two), visible=False, metadata={"a:b": 1, "ö k": True}),
            Occurrence(name="points", part=Part(name="points", mesh=cloud), metadata={"long": 2**70, "text": "Ä\n"}),
            Occurrence(name="coloured", part=Part(name="coloured", mesh=coloured)),
            Occurrence(name="holder", part=shared, children=[Occurrence(name="below", part=shared)]),
        ],
    )
    scene = round_trip(Scene(name="all", root=root), tmp_path / "out.usdc")
    found = named(scene)
    assert mesh_of(found["root"]).bounds.tolist() == box.bounds.tolist()
    assert not found["two"].visible and found["points"].visible
    assert found["two"].metadata == {"a:b": 1, "ö k": True}
    assert found["points"].metadata == {"long": str(2**70), "text": "Ä\n"}
    again = mesh_of(found["two"])
    for name, triangles in {"red": [0, 2, 4, 6], "Glas Ü": [8, 9, 10, 11]}.items():
        (place,) = [n for n, material in enumerate(again.materials) if material and material.name == name]
        assert numpy.flatnonzero(again.triangle_materials == place).tolist() == triangles
    assert [material.alpha_mode for material in scene.materials() if material.name == "Glas Ü"] == ["blend"]
    assert mesh_of(found["points"]).is_points
    assert mesh_of(found["points"]).colours.tolist() == cloud.colours.tolist()
    assert mesh_of(found["coloured"]).colours.tolist() == coloured.colours.tolist()
    assert found["holder"].part is found["below"].part and found["holder"].children == [found["below"]]
    assert found["holder"].part is not None and found["holder"].part.metadata == {"mass": 2.5}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=20), min_size=1, max_size=4)
)
def test_names_are_kept_whatever_they_are(names: list[str]) -> None:
    """
    Given any names, also equal ones.

    When a scene with them is written as text and read.
    Then the names are the same.
    """
    import tempfile

    part = Part(name="box", mesh=samples.box())
    root = Occurrence(name="root", children=[Occurrence(name=name, part=part) for name in names])
    with tempfile.TemporaryDirectory() as folder:
        scene = round_trip(Scene(name="names", root=root), Path(folder) / "out.usda")
    assert [child.name for child in scene.root.children] == names


def test_a_deep_tree_is_written(tmp_path: Path) -> None:
    """
    Given a tree of 1000 levels.

    When it is written and read.
    Then the part at its end stands where it stood, and is as hidden as it was.
    """
    scene = Scene(name="deep", root=Occurrence(name="root"))
    last = scene.root
    for level in range(1000):
        last = last.add(Occurrence(name="c", matrix=samples.shift(x=1), visible=level != 900))
    last.part = Part(name="end", mesh=samples.box())
    (end,) = round_trip(scene, tmp_path / "out.usdc").instances()
    assert end.world()[:3, 3].tolist() == [1000, 0, 0] and not end.shown()


def test_a_scene_on_x_is_turned_and_webp_becomes_png(tmp_path: Path) -> None:
    """
    Given what USD does not know: x as the axis that points up, and a WebP picture.

    When the scene is written and read.
    Then it stands on y, and the picture is PNG.
    """
    from io import BytesIO

    import PIL.Image

    packed = BytesIO()
    PIL.Image.new("RGB", (2, 2), (1, 2, 3)).save(packed, "WEBP")
    texture = Texture(image=Image(name="a.webp", data=packed.getvalue(), mime="image/webp"))
    mesh = samples.square(Material(name="m", base_colour_texture=texture))
    root = Occurrence(name="r", matrix=samples.shift(x=5), part=Part(name="p", mesh=mesh))
    scene = round_trip(Scene(name="s", root=root, up="x"), tmp_path / "out.usda")
    assert scene.up == "y" and scene.root.world()[1, 3] == pytest.approx(5)
    (material,) = scene.materials()
    assert material.base_colour_texture is not None and material.base_colour_texture.image.mime == "image/png"


def test_nothing_is_not_written(tmp_path: Path) -> None:
    """
    Given a scene of a group alone.

    When it is written.
    Then a sentence says that there is nothing.
    """
    with pytest.raises(FormatError, match="there is no mesh and no point"):
        write_scene(Scene(name="nothing", root=Occurrence(name="r")), tmp_path / "out.usda")


UNITS = (
    ('metersPerUnit = 0.001\nupAxis = "Z"', None, 0.001, "z"),
    ('upAxis = "Y"', None, 0.01, "y"),  # USD counts in centimetres where a file names no unit
    ('upAxis = "Y"', 0.0254, 0.0254, "y"),
    ("metersPerUnit = 1", 0.0254, 1.0, "y"),
)


@pytest.mark.parametrize(("head", "told", "unit", "up"), UNITS)
def test_units_and_axes(parse: Callable[..., Scene], head: str, told: float | None, unit: float, up: str) -> None:
    """
    Given stages that name a unit and an axis, or do not.

    When they are read.
    Then lengths and places are metres.
    """
    text = f'def Mesh "m" {{ {SQUARE}\n double3 xformOp:translate = (5, 0, 0)\n'
    text += ' uniform token[] xformOpOrder = ["xformOp:translate"]\n}'
    scene = parse(text, head=head, options=ReadOptions(unit_m=told))
    assert (scene.unit_m, scene.up) == (unit, up)
    assert mesh_of(scene.root).bounds[1, 0] == pytest.approx(unit)
    assert scene.root.world()[0, 3] == pytest.approx(5 * unit)


def test_polygons_corners_and_orientation(parse: Callable[..., Scene]) -> None:
    """
    Given a left-handed quad and a triangle with texture coordinates and normals for their corners, and a hole.

    When they are read.
    Then the front is on the other side, corners with different values have vertices of their own, the hole is none.
    """
    scene = parse(
        """def Mesh "m" {
    int[] faceVertexCounts = [4, 3, 3]
    int[] faceVertexIndices = [0, 1, 2, 3, 1, 4, 2, 0, 1, 4]
    int[] holeIndices = [2]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0, 0)]
    uniform token orientation = "leftHanded"
    texCoord2f[] primvars:st = [(0, 0), (1, 0), (1, 0.75)] (interpolation = "faceVarying")
    int[] primvars:st:indices = [0, 1, 2, 0, 1, 0, 0, 0, 0, 0]
    normal3f[] normals = [(0, 0, 2), (0, 1, 0), (1, 0, 0)] (interpolation = "uniform")
}"""
    )
    mesh = mesh_of(scene.root)
    assert len(mesh.triangles) == 3
    corners = mesh.positions[mesh.triangles]
    assert (numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] < 0).all()
    rows = {
        tuple(numpy.round([*p[:2] * 100, *uv, *n], 3))
        for p, uv, n in zip(mesh.positions, mesh.uvs, mesh.normals, strict=True)
    }
    assert (1.0, 1.0, 1.0, 0.25, 0.0, 0.0, 1.0) in rows  # v points down here
    assert (1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0) in rows
    assert len(numpy.unique(mesh.triangles)) == 4 + 3


COLOURS = (
    ("color3f[] primvars:displayColor = [(1, 0, 0)]", [(255, 0, 0, 255)], None),
    (
        'color3f[] primvars:displayColor = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)] (interpolation = "vertex")',
        None,
        4,
    ),
    ('color3f[] primvars:displayColor = [(1, 0, 0)] (interpolation = "uniform")', [(255, 0, 0, 255)], None),
    ('color3f[] primvars:displayColor = [(1, 0, 0), (0, 1, 0)] (interpolation = "vertex")', [], None),  # too few
    (
        "color3f[] primvars:displayColor = [(1, 0, 0)]\nfloat[] primvars:displayOpacity = [0.5]",
        [(255, 0, 0, 128)],
        None,
    ),
)


@pytest.mark.parametrize(("primvar", "of_material", "of_vertices"), COLOURS)
def test_display_colours(parse: Callable[..., Scene], primvar: str, of_material: Any, of_vertices: int | None) -> None:
    """
    Given colours without a material.

    When they are read.
    Then one colour is a material, several are colours of the vertices, and what does not fit is left out.
    """
    scene = parse(f'def Mesh "m" {{ {SQUARE}\n{primvar}\n}}')
    assert [material.srgb for material in scene.materials()] == (of_material or [])
    colours = mesh_of(scene.root).colours
    assert (None if colours is None else len(numpy.unique(colours, axis=0))) == of_vertices


def test_what_is_hidden_or_no_shape(parse: Callable[..., Scene]) -> None:
    """
    Given guides and proxies, cameras and lights, inactive and abstract prims, an invisible mesh, and an empty group.

    When they are read.
    Then the first are not there, the mesh is invisible, and the group is there.
    """
    mesh = f'def Mesh "m" {{ {SQUARE} }}'
    scene = parse(
        f"""def Xform "root" (displayName = "Wurzel Ä") {{
    def Xform "guide" {{ uniform token purpose = "guide"
{mesh}
}}
    def Xform "proxy" {{ uniform token purpose = "proxy"
{mesh}
}}
    def Camera "camera" {{
}}
    def SphereLight "light" {{
}}
    def Xform "off" (active = false) {{
{mesh}
}}
    class Xform "class" {{
{mesh}
}}
    def Mesh "unseen" {{ token visibility = "invisible"
{SQUARE} }}
    def Xform "empty" {{
}}
}}"""
    )
    assert list(named(scene)) == ["Wurzel Ä", "unseen", "empty"]
    assert not named(scene)["unseen"].visible


def test_instances_and_references_share_their_parts(parse: Callable[..., Scene]) -> None:
    """
    Given a prototype that is shown by instances and by plain references, one of them with another colour.

    When they are read.
    Then those that look the same share one part.
    """
    places = "".join(
        f'def Xform "i{n}" ({"instanceable = true " * (n < 2)}\nreferences = </Proto>) {{\n'
        f"double3 xformOp:translate = ({n}, 0, 0)\n"
        'uniform token[] xformOpOrder = ["xformOp:translate"]\n'
        f"{'color3f[] primvars:displayColor = [(1, 0, 0)]' if n == 3 else ''}\n}}\n"
        for n in range(4)
    )
    scene = parse(
        f'class Xform "Proto" {{ def Mesh "shape" {{ {SQUARE} }}\n}}\ndef Xform "root" {{\n{places}}}',
        head="metersPerUnit = 1",
    )
    shown = scene.instances()
    assert [int(occurrence.world()[0, 3]) for occurrence in shown] == [0, 1, 2, 3]
    assert shown[0].part is shown[1].part is shown[2].part is not shown[3].part
    assert shown[0].name == "i0" and [material.srgb for material in scene.materials()] == [(255, 0, 0, 255)]


def test_a_point_instancer(parse: Callable[..., Scene]) -> None:
    """
    Given an instancer with two prototypes, turned, scaled, and one of them invisible.

    When it is read.
    Then each instance is an occurrence at its place that shares its part.
    """
    scene = parse(
        f"""def PointInstancer "trees" {{
    rel prototypes = [</trees/A>, </trees/B>]
    int[] protoIndices = [0, 1, 0]
    point3f[] positions = [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    quath[] orientations = [(1, 0, 0, 0), (1, 0, 0, 0), (0.70710678, 0, 0, 0.70710678)]
    float3[] scales = [(1, 1, 1), (1, 1, 1), (2, 2, 2)]
    int64[] invisibleIds = [1]
    def Mesh "A" {{ {SQUARE} }}
    def Xform "B" {{ def Mesh "b" {{ {SQUARE} }}
    }}
}}""",
        head="metersPerUnit = 1",
    )
    first, second, third = scene.root.children
    assert first.part is third.part is not None
    assert [occurrence.visible for occurrence in (first, second, third)] == [True, False, True]
    assert numpy.allclose(third.world() @ (1, 0, 0, 1), (3, 2, 0, 1), atol=2e-3)
    assert len(scene.instances()) == 3


BODIES = {
    'Cube "c" { double size = 2': (2, 2, 2),
    'Sphere "s" { double radius = 1.5': (3, 3, 3),
    'Cylinder "c" { double radius = 1\n double height = 4\n uniform token axis = "X"': (4, 2, 2),
    'Cone "c" { double radius = 1\n double height = 4\n uniform token axis = "Y"': (2, 4, 2),
    'Capsule "c" { double radius = 1\n double height = 4\n uniform token axis = "Z"': (2, 2, 6),
    'Plane "c" { double width = 1\n double length = 4\n uniform token axis = "Z"': (1, 4, 0),
}


@pytest.mark.parametrize(("body", "size"), BODIES.items())
def test_bodies_become_meshes(parse: Callable[..., Scene], body: str, size: tuple[float, float, float]) -> None:
    """
    Given cubes, balls and so on.

    When they are read.
    Then they are meshes of that size around the origin, seen from outside.
    """
    mesh = mesh_of(parse(f"def {body}\n}}", head="metersPerUnit = 1").root)
    assert numpy.allclose(mesh.bounds[1] - mesh.bounds[0], size, atol=0.02)
    assert numpy.allclose(mesh.bounds.sum(axis=0), 0, atol=1e-4)
    corners = mesh.positions[mesh.triangles].astype(float)
    volume = numpy.einsum("ij,ij->i", corners[:, 0], numpy.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume > 0 or size[2] == 0


def test_animations_variants_and_metadata(parse: Callable[..., Scene]) -> None:
    """
    Given a transform that moves, variants, custom data and custom attributes.

    When they are read.
    Then there is one animation in seconds and metres, and the names of the variants and the properties are there.
    """
    scene = parse(
        f"""def Mesh "m" (
    customData = {{ string maker = "me"
 dictionary deep = {{ int n = 3 }} }}
    variants = {{ string paint = "red" }}
    prepend variantSets = "paint"
) {{ {SQUARE}
    custom string userProperties:colour = "rot"
    double3 xformOp:translate.timeSamples = {{ 0: (0, 0, 0), 48: (2, 0, 0) }}
    uniform token[] xformOpOrder = ["xformOp:translate"]
    variantSet "paint" = {{ "red" {{ }} "blue" {{ }} }}
}}""",
        head="timeCodesPerSecond = 24\nmetersPerUnit = 0.1",
    )
    assert sorted(scene.variants) == ["blue", "red"]
    assert scene.root.metadata == {"maker": "me", "deep:n": 3, "userProperties:colour": "rot"}
    (animation,) = scene.animations
    (channel,) = [channel for channel in animation.channels if channel.path == "translation"]
    assert channel.target is scene.root
    assert channel.times.tolist() == [0, 2] and numpy.allclose(channel.values[1], (0.2, 0, 0))


def test_files_of_the_folder_are_followed(tmp_path: Path) -> None:
    """
    Given a file that refers to another one in a folder beside it.

    When it is read.
    Then what is in the other one is there.
    """
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "square.usda").write_text(f'#usda 1.0\n(defaultPrim = "q")\ndef Mesh "q" {{ {SQUARE} }}\n')
    (tmp_path / "main.usda").write_text('#usda 1.0\ndef "a" (references = @./parts/square.usda@) {\n}\n')
    assert read_scene(tmp_path / "main.usda").triangle_count == 2


LAUGHS = 'def "L0" {\n}\n' + "".join(
    f'def "L{n}" {{\n' + "".join(f'def "c{m}" (references = </L{n - 1}>) {{\n}}\n' for m in range(10)) + "}\n"
    for n in range(1, 12)
)
HOSTILE = {
    "outside": ('def "a" (references = @../out.usda@) {\n}', "not in its own folder"),
    "absolute": ('def "a" (payload = @/etc/passwd@) {\n}', "not in its own folder"),
    "address": ('def "a" (references = @https://example.com/a.usda@) {\n}', "addresses are not followed"),
    "computed": ('def "a" (references = @`"/etc/passwd"`@) {\n}', "computes the names"),
    "in a variant": (
        'def "a" (prepend variantSets = "v") {\nvariantSet "v" = { "x" (payload = @/x.usd@) { } }\n}',
        "own folder",
    ),
    "a clip": (
        'def "a" (clips = { dictionary default = { asset[] assetPaths = [@/etc/c.usd@] } }) {\n}',
        "own folder",
    ),
    "missing": ('def "a" (references = @gone.usda@) {\n}', "gone.usda, which is not there"),
    "itself": ('def "a" (references = </a/b>) {\ndef "b" (references = </a>) {\n}\n}', "refers to itself"),
    "laughs": (LAUGHS, "multiply"),
    "laughing instances": (LAUGHS.replace("(references", "(instanceable = true\nreferences"), "multiply"),
    "instancer of itself": (
        'def PointInstancer "p" {\nrel prototypes = [</p>]\nint[] protoIndices = [0]\n}',
        "shows itself",
    ),
    "counts": ('def Mesh "m" {\n' + SQUARE.replace("[4]", "[2000000000, 2000000000]") + "}", "numbers of corners"),
    "negative": ('def Mesh "m" {\n' + SQUARE.replace("[4]", "[-4, 8]") + "}", "numbers of corners"),
    "corners": ('def Mesh "m" {\n' + SQUARE.replace("[0, 1, 2, 3]", "[0, 1, 2, 9]") + "}", "points that are not there"),
    "not numbers": ('def Mesh "m" {\n' + SQUARE.replace("(1, 1, 0)", "(nan, 1, 0)") + "}", "not numbers"),
    "radius": ('def Sphere "s" {\ndouble radius = inf\n}', "radius of s is inf"),
    "nothing": ("", "nothing to show"),
    "cut off": ('def "a" {\n', "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_strangers_try(name: str, parse: Callable[..., Scene]) -> None:
    """
    Given files that reach outside, lead to themselves, or multiply without end.

    When they are read.
    Then a sentence says so, at once.
    """
    text, reason = HOSTILE[name]
    with pytest.raises(ValueError, match=reason):
        parse(text)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """
    Given a link in the folder to a file outside of it.

    When a file that refers to it is read.
    Then that is refused; a picture behind such a link is left out.
    """
    from pixyz_worker.kernel.formats.usd import reader as usd_reader

    (tmp_path / "secret.usda").write_text(f'#usda 1.0\n(defaultPrim = "q")\ndef Mesh "q" {{ {SQUARE} }}\n')
    (tmp_path / "secret.png").write_bytes(samples.picture())
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link.usda").symlink_to(tmp_path / "secret.usda")
    (inner / "main.usda").write_text('#usda 1.0\ndef "a" (references = @link.usda@) {\n}\n')
    with pytest.raises(ValueError, match="not in its own folder"):
        usd_reader.parse(inner / "main.usda", ReadOptions())
    write_scene(samples.textured(), inner / "out.usda")
    (picture,) = inner.glob("*.png")
    picture.unlink()
    picture.symlink_to(tmp_path / "secret.png")
    (material,) = usd_reader.parse(inner / "out.usda", ReadOptions()).materials()
    assert material.base_colour_texture is None


def test_damaged_files_end_in_a_sentence(tmp_path: Path) -> None:
    """
    Given garbage, crate that is cut off, and packages that are cut off, compressed, or packed wrongly.

    When they are read as they are by a job.
    Then each ends with a FormatError that names the file.
    """
    for extension in ("usdc", "usdz"):
        write_scene(samples.assembly(), tmp_path / f"good.{extension}")
    crate, package = (tmp_path / "good.usdc").read_bytes(), (tmp_path / "good.usdz").read_bytes()
    with zipfile.ZipFile(tmp_path / "bomb.usdz", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("a.usdc", b"\0" * 10_000_000)
    cases = {
        "garbage.usda": b"garbage",
        "text.usda": b"#usda 1.0\n" + b"\xff" * 400,
        "cut.usdc": crate[: len(crate) // 2],
        "holes.usdc": crate[:400] + b"\xff" * 200 + crate[600:],
        "cut.usdz": package[: len(package) // 2],
        "bomb.usdz": (tmp_path / "bomb.usdz").read_bytes(),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FormatError, match=f"^{name} .*[.]$"):
            read_scene(tmp_path / name)
