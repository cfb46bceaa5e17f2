"""What is read through assimp: FBX of other programs, 3D Studio and DXF, whole and damaged."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import numpy
import PIL.Image
import pytest

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.formats.assimp import reader as assimp
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside
from pixyz_worker.kernel.options import ReadOptions

OPTIONS = ReadOptions()
CORNERS = [(0, 0, 0), (2, 0, 0), (2, 3, 0), (0, 3, 0)]


def picture() -> bytes:
    """A small PNG."""
    data = io.BytesIO()
    PIL.Image.new("RGB", (2, 2), (10, 20, 30)).save(data, "PNG")
    return data.getvalue()


def text_fbx(*, unit: float = 1.0, up: int = 1, settings: bool = True, texture: bool = False) -> str:
    """An ASCII FBX: a quad below a turned and moved group, shown twice, with an animation."""
    image = base64.b64encode(picture()).decode()
    axes = {1: ((1, 1), (2, 1), (0, 1)), 2: ((2, 1), (1, -1), (0, 1))}[up]
    names = ("UpAxis", "FrontAxis", "CoordAxis")
    told = "".join(
        f'\t\tP: "{name}", "int", "Integer", "",{axis}\n\t\tP: "{name}Sign", "int", "Integer", "",{sign}\n'
        for name, (axis, sign) in zip(names, axes, strict=True)
    )
    told += f'\t\tP: "UnitScaleFactor", "double", "Number", "",{unit}\n'
    shown = f"GlobalSettings:  {{\n\tVersion: 1000\n\tProperties70:  {{\n{told}\t}}\n}}\n" if settings else ""
    pictures = f"""
	Texture: 40, "Texture::bild", "" {{
		Type: "TextureVideoClip"
		Media: "Video::bild"
		FileName: "C:\\elsewhere\\bild.png"
		RelativeFilename: "bild.png"
	}}
	Video: 41, "Video::bild", "Clip" {{
		Type: "Clip"
		Filename: "C:\\elsewhere\\bild.png"
		RelativeFilename: "bild.png"
		Content: ,
		"{image}"
	}}"""
    joined = '\tC: "OP",40,30, "DiffuseColor"\n\tC: "OO",41,40\n'
    return f"""; FBX 7.3.0 project file
FBXHeaderExtension:  {{
	FBXHeaderVersion: 1003
	FBXVersion: 7300
}}
{shown}Objects:  {{
	Geometry: 10, "Geometry::Platte", "Mesh" {{
		Vertices: *12 {{
			a: 0,0,0,2,0,0,2,3,0,0,3,0
		}}
		PolygonVertexIndex: *4 {{
			a: 0,1,2,-4
		}}
		GeometryVersion: 124
		LayerElementUV: 0 {{
			Version: 101
			Name: "map"
			MappingInformationType: "ByPolygonVertex"
			ReferenceInformationType: "Direct"
			UV: *8 {{
				a: 0,0,1,0,1,1,0,1
			}}
		}}
		LayerElementMaterial: 0 {{
			Version: 101
			Name: ""
			MappingInformationType: "AllSame"
			ReferenceInformationType: "IndexToDirect"
			Materials: *1 {{
				a: 0
			}}
		}}
		Layer: 0 {{
			Version: 100
			LayerElement:  {{
				Type: "LayerElementUV"
				TypedIndex: 0
			}}
			LayerElement:  {{
				Type: "LayerElementMaterial"
				TypedIndex: 0
			}}
		}}
	}}
	Model: 20, "Model::Gruppe Ä", "Null" {{
		Version: 232
		Properties70:  {{
			P: "RotationPivot", "Vector3D", "Vector", "",1,0,0
			P: "Lcl Rotation", "Lcl Rotation", "", "A",0,0,90
			P: "Lcl Translation", "Lcl Translation", "", "A",0,0,5
		}}
	}}
	Model: 21, "Model::links", "Mesh" {{
		Version: 232
	}}
	Model: 22, "Model::rechts", "Mesh" {{
		Version: 232
		Properties70:  {{
			P: "Lcl Translation", "Lcl Translation", "", "A",7,0,0
		}}
	}}
	Material: 30, "Material::rot", "" {{
		Version: 102
		ShadingModel: "lambert"
		Properties70:  {{
			P: "DiffuseColor", "Color", "", "A",0.8,0.1,0.2
		}}
	}}{pictures if texture else ""}
	AnimationStack: 50, "AnimStack::Take 001", "" {{
	}}
	AnimationStack: 51, "AnimStack::Öffnen", "" {{
	}}
}}
Connections:  {{
	C: "OO",20,0
	C: "OO",21,20
	C: "OO",22,20
	C: "OO",10,21
	C: "OO",10,22
	C: "OO",30,21
	C: "OO",30,22
{joined if texture else ""}}}
"""


def chunk(number: int, content: bytes) -> bytes:
    """A chunk of a 3DS file."""
    return struct.pack("<HI", number, len(content) + 6) + content


def studio(texture: str = "", *, smooth: bool = False) -> bytes:
    """A 3DS file: a red quad of two triangles, of one smoothing group or of none."""
    name = chunk(0xA000, b"rot\0")
    diffuse = chunk(0xA020, chunk(0x0011, bytes((200, 30, 40))))
    picture = chunk(0xA200, chunk(0xA300, texture.encode() + b"\0")) if texture else b""
    vertices = chunk(0x4110, struct.pack("<H12f", 4, *(value for corner in CORNERS for value in corner)))
    uvs = chunk(0x4140, struct.pack("<H8f", 4, 0, 0, 1, 0, 1, 1, 0, 1))
    group = chunk(0x4130, b"rot\0" + struct.pack("<3H", 2, 0, 1))
    smoothing = chunk(0x4150, struct.pack("<2I", 1, 1)) if smooth else b""
    faces = chunk(0x4120, struct.pack("<H8H", 2, 0, 1, 2, 7, 0, 2, 3, 7) + group + smoothing)
    shape = chunk(0x4000, b"Platte\0" + chunk(0x4100, vertices + uvs + faces))
    return chunk(
        0x4D4D, chunk(0x0002, struct.pack("<I", 3)) + chunk(0x3D3D, chunk(0xAFFF, name + diffuse + picture) + shape)
    )


def drawing(*, unit: int | None = None, faces: int = 1) -> str:
    """A DXF drawing with 3DFACEs on the layer PLATTE."""
    told = "" if unit is None else f"9\n$INSUNITS\n70\n{unit}\n"
    face = "0\n3DFACE\n8\nPLATTE\n" + "".join(
        f"{10 + place}\n{x}\n{20 + place}\n{y}\n{30 + place}\n{z}\n" for place, (x, y, z) in enumerate(CORNERS)
    )
    return f"0\nSECTION\n2\nHEADER\n{told}0\nENDSEC\n0\nSECTION\n2\nENTITIES\n{face * faces}0\nENDSEC\n0\nEOF\n"


class TestFbx:
    def test_tree_instances_and_names(self, tmp_path: Path) -> None:
        """Given an ASCII FBX of millimetres standing on z, when it is read, then its tree, place and unit are there."""
        file = tmp_path / "t.fbx"
        file.write_text(text_fbx(unit=0.1, up=2), encoding="utf-8")
        scene = assimp.parse_fbx(file, OPTIONS)
        assert (scene.unit_m, scene.up) == (pytest.approx(0.001), "z")
        assert [occurrence.name for occurrence in scene.root.walk()] == ["Gruppe Ä", "links", "rechts"]
        left, right = scene.root.children
        assert left.part is right.part is not None
        mesh = left.part.mesh
        assert mesh is not None
        assert len(mesh.triangles) == 2
        assert mesh.bounds.tolist() == pytest.approx(numpy.array([(0, 0, 0), (0.002, 0.003, 0)]))
        # Turned by 90 degrees around z at the pivot (1, 0, 0), then moved: x = 0 ends at y = -1.
        assert scene.root.world()[:3, 3] == pytest.approx([0.001, -0.001, 0.005])
        assert right.world()[:3, 3] == pytest.approx([0.001, 0.006, 0.005])

    def test_materials_and_uvs(self, tmp_path: Path) -> None:
        """Given colours and texture coordinates, when it is read, then they are sRGB, and v runs down."""
        file = tmp_path / "t.fbx"
        file.write_text(text_fbx(), encoding="utf-8")
        part = assimp.parse_fbx(file, OPTIONS).parts()[0]
        assert part.mesh is not None and part.mesh.uvs is not None
        material = part.mesh.materials[0]
        assert material is not None
        assert (material.name, material.srgb) == ("rot", (204, 26, 51, 255))
        pairs = {tuple(row) for row in numpy.column_stack([part.mesh.positions[:, :2] * 100, part.mesh.uvs]).round(3)}
        assert pairs == {(0, 0, 0, 1), (2, 0, 1, 1), (2, 3, 1, 0), (0, 3, 0, 0)}

    def test_pictures_within(self, tmp_path: Path) -> None:
        """Given a picture within the file, when it is read, then the material shows it."""
        file = tmp_path / "t.fbx"
        file.write_text(text_fbx(texture=True), encoding="utf-8")
        material = assimp.parse_fbx(file, OPTIONS).materials()[0]
        assert material.base_colour_texture is not None
        assert material.base_colour_texture.image.data == picture()
        assert material.base_colour == (1, 1, 1, 1)

    def test_animations(self, tmp_path: Path) -> None:
        """Given two animation stacks, when it is read, then both are counted, by name."""
        file = tmp_path / "t.fbx"
        file.write_text(text_fbx(), encoding="utf-8")
        scene = assimp.parse_fbx(file, OPTIONS)
        assert [animation.name for animation in scene.animations] == ["Take 001", "Öffnen"]

    @pytest.mark.parametrize(("given", "expected"), [(None, 0.01), (0.5, 0.5)])
    def test_no_unit(self, tmp_path: Path, given: float | None, expected: float) -> None:
        """Given no settings in the file, when it is read, then the unit asked for counts, else centimetres."""
        file = tmp_path / "t.fbx"
        file.write_text(text_fbx(settings=False), encoding="utf-8")
        assert assimp.parse_fbx(file, ReadOptions(unit_m=given)).unit_m == expected


class TestStudio:
    def test_parts(self, tmp_path: Path) -> None:
        """Given a 3DS file and its texture, when it is read, then its part, colours and picture are there."""
        (tmp_path / "bild.png").write_bytes(picture())
        file = tmp_path / "t.3ds"
        file.write_bytes(studio("bild.png"))
        scene = assimp.parse_3ds(file, OPTIONS)
        assert (scene.unit_m, scene.up) == (None, "z")
        shown = scene.instances()
        assert [occurrence.name for occurrence in shown] == ["Platte"]
        mesh = shown[0].part.mesh if shown[0].part else None
        assert mesh is not None and mesh.materials[0] is not None
        assert mesh.bounds.tolist() == [[0, 0, 0], [2, 3, 0]]
        assert mesh.materials[0].name == "rot"
        assert mesh.materials[0].base_colour_texture is not None

    @pytest.mark.parametrize("smooth", [False, True])
    def test_smoothing(self, tmp_path: Path, smooth: bool) -> None:
        """Given a 3DS file with smoothing groups or none, when it is read, then it is smooth, or all is flat."""
        file = tmp_path / "t.3ds"
        file.write_bytes(studio(smooth=smooth))
        mesh = assimp.parse_3ds(file, OPTIONS).parts()[0].mesh
        assert mesh is not None and (mesh.normals is not None) == smooth

    def test_colours_and_unit(self, tmp_path: Path) -> None:
        """Given a 3DS file without a texture, when it is read in millimetres, then colour and size are right."""
        file = tmp_path / "t.3ds"
        file.write_bytes(studio())
        scene = assimp.parse_3ds(file, ReadOptions(unit_m=0.001))
        mesh = scene.parts()[0].mesh
        assert mesh is not None and mesh.materials[0] is not None
        assert mesh.materials[0].srgb == (200, 30, 40, 255)
        assert mesh.bounds[1].tolist() == pytest.approx([0.002, 0.003, 0])


class TestDrawing:
    @pytest.mark.parametrize(("unit", "unit_m"), [(None, None), (4, 0.001), (1, 0.0254), (0, None)])
    def test_faces(self, tmp_path: Path, unit: int | None, unit_m: float | None) -> None:
        """Given faces on a layer, when the drawing is read, then they are a part, in the unit of its header."""
        file = tmp_path / "t.dxf"
        file.write_text(drawing(unit=unit))
        scene = assimp.parse_dxf(file, OPTIONS)
        assert (scene.unit_m, scene.up) == (unit_m, "z")
        part = scene.parts()[0]
        assert part.mesh is not None
        assert len(part.mesh.triangles) == 2
        assert part.mesh.bounds[1].tolist() == pytest.approx([2 * (unit_m or 1), 3 * (unit_m or 1), 0])

    def test_without_faces(self, tmp_path: Path) -> None:
        """Given a drawing of lines, when it is read, then it says that there is no mesh."""
        file = tmp_path / "t.dxf"
        file.write_text(drawing(faces=0))
        with pytest.raises(ValueError):
            assimp.parse_dxf(file, OPTIONS)


class TestDamaged:
    """Through the front door, in a child process: a sentence in the end, whatever the file."""

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("short.fbx", b"Kaydara FBX Binary  \x00\x1a\x00\xe8\x1c"),
            ("garbage.fbx", bytes(range(256)) * 8),
            ("cut.fbx", text_fbx().encode()[:900]),
            ("cut.3ds", studio()[:150]),
            ("garbage.3ds", bytes(range(256)) * 8),
            ("count.3ds", studio().replace(struct.pack("<HH", 2, 0), struct.pack("<HH", 65535, 0), 1)),
            ("cut.dxf", drawing().encode()[:120]),
            ("garbage.dxf", bytes(range(256)) * 8),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_sentences(self, tmp_path: Path, name: str, data: bytes) -> None:
        """Given a damaged file, when it is read, then an error names it, unless something of it is whole."""
        file = tmp_path / name
        file.write_bytes(data)
        try:
            scene = read_scene(file)
        except FormatError as error:
            assert str(error).startswith(name)
            assert str(error).endswith(".")
        else:
            assert scene.triangle_count

    def test_whole(self, tmp_path: Path) -> None:
        """Given whole files, when they are read through the front door, then their parts come from the child."""
        for name, data in (("t.fbx", text_fbx().encode()), ("t.3ds", studio()), ("t.dxf", drawing().encode())):
            (tmp_path / name).write_bytes(data)
            assert read_scene(tmp_path / name).triangle_count in (2, 4)


class TestPictures:
    @pytest.mark.parametrize(
        "reference", ["../secret.png", "/etc/hostname", "sub/../../secret.png", "no.png", "", "\0"]
    )
    def test_outside(self, tmp_path: Path, reference: str) -> None:
        """Given a reference that leads out of the folder, when it is looked for, then nothing is found."""
        folder = tmp_path / "in"
        folder.mkdir()
        (tmp_path / "secret.png").write_bytes(picture())
        (folder / "link.png").symlink_to(tmp_path / "secret.png")
        beside = ImagesBeside(folder / "t.fbx")
        assert beside.find(reference) is None
        assert beside.find("link.png") is None

    def test_kinds(self, tmp_path: Path) -> None:
        """Given a BMP below the folder with a Windows path, when it is found, then it is a PNG, once."""
        (tmp_path / "maps").mkdir()
        PIL.Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "maps" / "a b.bmp")
        beside = ImagesBeside(tmp_path / "t.fbx")
        found = beside.find("maps\\a%20b.bmp")
        assert found is not None
        assert (found.mime, found.data[:4]) == ("image/png", b"\x89PNG")
        assert beside.find("maps/a b.bmp") is found

    @pytest.mark.parametrize(
        "reference",
        [
            "C:\\Users\\me\\wood.png",
            "file:///C:/work/wood.png",
            "\\\\server\\share\\wood.png",
            "//server/share/wood.png",
        ],
    )
    def test_on_the_authors_computer(self, tmp_path: Path, reference: str) -> None:
        """Given a picture's path on its author's computer, when it lies beside the file, then it is found."""
        (tmp_path / "wood.png").write_bytes(picture())
        assert ImagesBeside(tmp_path / "t.fbx").find(reference) is not None

    def test_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a picture of more pixels than allowed, when it is found, then it is left out."""
        monkeypatch.setenv("MAX_IMAGE_PIXELS", "3")
        (tmp_path / "a.png").write_bytes(picture())
        assert ImagesBeside(tmp_path / "t.fbx").find("a.png") is None
