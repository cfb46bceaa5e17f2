"""FBX writer: binary, version 7.4, without the Autodesk SDK.

What the records mean follows the documentation of the FBX SDK (help.autodesk.com, "FBX SDK Programmer's Guide") and
files that other programs read. Lengths are written in the scene's unit, which `UnitScaleFactor` tells in centimetres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.fbx import records as fbx_records
from pixyz_worker.kernel.formats.fbx.records import Long, Record
from pixyz_worker.kernel.formats.fbx.transform import Transform, decomposed
from pixyz_worker.kernel.formats.shared.roots import check_writable, top_occurrences
from pixyz_worker.kernel.material import Image, Material, Texture, to_srgb
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

CENTIMETRE = 0.01
# Readers of the FBX SDK want these two to belong together; a fixed time gives the same bytes for the same scene.
_FILE_ID = bytes.fromhex("28b32aebb624ccc2bfc8b02aa92bfcf1")
_CREATED = "1970-01-01 10:00:00:000"
_AXES = {
    # For each axis that points up: the axes to the front and to the right, as (number, sign).
    "x": ((0, 1), (2, 1), (1, -1)),
    "y": ((1, 1), (2, 1), (0, 1)),
    "z": ((2, 1), (1, -1), (0, 1)),
}
_SEPARATOR = "\x00\x01"


def write(scene: Scene, path: Path) -> None:
    """Write a scene as binary FBX, with its pictures in it; ValueError when it has no triangles."""
    check_writable(scene)
    records = _Document(scene, scene.unit_m or CENTIMETRE).records()
    with path.open("wb") as file:
        fbx_records.write(records, file)


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Pending:
    """An occurrence that is still to be written."""

    occurrence: Occurrence
    parent: int
    """Number of the object that it goes below; 0 is the root of the file."""
    before: NDArray[numpy.float64] | None
    """What its parent could not express of its own matrix."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Objects:
    """The objects of a document, by kind, and how they are connected."""

    models: list[Record] = field(default_factory=list)
    geometries: list[Record] = field(default_factory=list)
    materials: list[Record] = field(default_factory=list)
    textures: list[Record] = field(default_factory=list)
    videos: list[Record] = field(default_factory=list)
    attributes: list[Record] = field(default_factory=list)
    connections: Record = field(default_factory=lambda: Record(name="Connections"))

    def kinds(self) -> dict[str, list[Record]]:
        """Each kind with its objects; kinds without objects are left out."""
        every = {
            "Model": self.models,
            "NodeAttribute": self.attributes,
            "Geometry": self.geometries,
            "Material": self.materials,
            "Texture": self.textures,
            "Video": self.videos,
        }
        return {kind: records for kind, records in every.items() if records}

    def connect(self, child: int, parent: int, place: str = "") -> None:
        """Put an object below another, or into a property of it."""
        values = [Long(child), Long(parent)]
        self.connections.add("C", "OP" if place else "OO", *values, *([place] if place else []))


class _Document:
    """One file while it is put together."""

    def __init__(self, scene: Scene, unit_m: float) -> None:
        self.scene = scene
        self.unit_m = unit_m
        self.objects = _Objects()
        self.last = 1_000_000
        self.geometries: dict[Part, int] = {}
        self.materials: dict[Material | None, int] = {}
        self.textures: dict[Texture, int] = {}
        self.videos: dict[Image, int] = {}

    def number(self) -> int:
        """A number for the next object."""
        self.last += 1
        return self.last

    def records(self) -> list[Record]:
        """The whole file."""
        self.add_tree()
        kinds = self.objects.kinds()
        objects = Record(name="Objects", children=[record for records in kinds.values() for record in records])
        return [
            _header(),
            Record(name="FileId", values=[_FILE_ID]),
            Record(name="CreationTime", values=[_CREATED]),
            Record(name="Creator", values=["pixyz-on-ray"]),
            self.settings(),
            self.documents(),
            Record(name="References"),
            _definitions({kind: len(records) for kind, records in kinds.items()}),
            objects,
            self.objects.connections,
        ]

    def settings(self) -> Record:
        """Axes and unit."""
        up, front, right = _AXES[self.scene.up or "y"]
        scale = self.unit_m / CENTIMETRE
        made = Record(name="GlobalSettings")
        made.add("Version", 1000)
        properties = made.add("Properties70")
        for name, (axis, sign) in (("UpAxis", up), ("FrontAxis", front), ("CoordAxis", right)):
            _set(properties, name, "int", "Integer", axis)
            _set(properties, f"{name}Sign", "int", "Integer", sign)
        _set(properties, "OriginalUpAxis", "int", "Integer", -1 if self.scene.up is None else up[0])
        _set(properties, "OriginalUpAxisSign", "int", "Integer", 1)
        _set(properties, "UnitScaleFactor", "double", "Number", scale)
        _set(properties, "OriginalUnitScaleFactor", "double", "Number", scale)
        return made

    def documents(self) -> Record:
        """The one document that the file holds."""
        made = Record(name="Documents")
        made.add("Count", 1)
        document = made.add("Document", Long(self.number()), self.scene.name, "Scene")
        document.add("Properties70")
        document.add("RootNode", Long(0))
        return made

    def add_tree(self) -> None:
        """Every occurrence as a model, parents before their children."""
        pending = [_Pending(occurrence=top, parent=0, before=None) for top in reversed(top_occurrences(self.scene))]
        while pending:
            item = pending.pop()
            number, rest = self.add_model(item)
            children = reversed(item.occurrence.children)
            pending.extend(_Pending(occurrence=child, parent=number, before=rest) for child in children)

    def add_model(self, item: _Pending) -> tuple[int, NDArray[numpy.float64] | None]:
        """One occurrence; its number, and the turn that its children and its own shape have to take over."""
        occurrence, number = item.occurrence, self.number()
        part = occurrence.part
        mesh = part.mesh if part is not None else None
        if mesh is not None and mesh.is_points:
            mesh = None
        matrix = numpy.eye(4) if occurrence.matrix is None else numpy.array(occurrence.matrix, float)
        matrix[:3, 3] /= self.unit_m
        transform, rest = decomposed(matrix if item.before is None else item.before @ matrix)
        name = f"{occurrence.name}{_SEPARATOR}Model"
        model = Record(name="Model", values=[Long(number), name, "Null" if mesh is None else "Mesh"])
        model.add("Version", 232)
        _place(model.add("Properties70"), transform, occurrence.visible)
        model.add("Shading", True)
        model.add("Culling", "CullingOff")
        self.objects.models.append(model)
        self.objects.connect(number, item.parent)
        if part is not None and mesh is not None:
            self.objects.connect(self.geometry(part, mesh), number)
            if any(material is not None for material in mesh.materials):
                for material in mesh.materials:
                    self.objects.connect(self.material(material), number)
        else:
            self.add_null(number)
        return number, rest

    def add_null(self, model: int) -> None:
        """Say of a model that it is a group."""
        number = self.number()
        values = [Long(number), f"{_SEPARATOR}NodeAttribute", "Null"]
        attribute = Record(name="NodeAttribute", values=values)
        attribute.add("TypeFlags", "Null")
        self.objects.attributes.append(attribute)
        self.objects.connect(number, model)

    def geometry(self, part: Part, mesh: Mesh) -> int:
        """The number of a part's triangles, which its instances share."""
        if part not in self.geometries:
            number = self.geometries[part] = self.number()
            self.objects.geometries.append(_geometry(number, part.name, mesh, self.unit_m))
        return self.geometries[part]

    def material(self, material: Material | None) -> int:
        """The number of a material; triangles without one get a plain one, as indices need an entry."""
        if material not in self.materials:
            number = self.materials[material] = self.number()
            self.objects.materials.append(_material(number, material or Material(name="default")))
            texture = material.base_colour_texture if material else None
            if texture is not None:
                self.objects.connect(self.texture(texture), number, "DiffuseColor")
            normal = material.normal_texture if material else None
            if normal is not None:
                self.objects.connect(self.texture(normal), number, "NormalMap")
        return self.materials[material]

    def texture(self, texture: Texture) -> int:
        """The number of a texture."""
        if texture not in self.textures:
            number = self.textures[texture] = self.number()
            self.objects.textures.append(_texture(number, texture))
            self.objects.connect(self.video(texture.image), number)
        return self.textures[texture]

    def video(self, image: Image) -> int:
        """The number of a picture, whose bytes are in the file."""
        if image not in self.videos:
            number = self.videos[image] = self.number()
            name = _file_name(image)
            video = Record(name="Video", values=[Long(number), f"{name}{_SEPARATOR}Video", "Clip"])
            video.add("Type", "Clip")
            _set(video.add("Properties70"), "Path", "KString", "XRefUrl", name)
            video.add("UseMipMap", 0)
            video.add("Filename", name)
            video.add("RelativeFilename", name)
            video.add("Content", image.data)
            self.objects.videos.append(video)
        return self.videos[image]


def _header() -> Record:
    made = Record(name="FBXHeaderExtension")
    made.add("FBXHeaderVersion", 1003)
    made.add("FBXVersion", 7400)
    made.add("EncryptionType", 0)
    stamp = made.add("CreationTimeStamp")
    for name, value in (("Version", 1000), ("Year", 1970), ("Month", 1), ("Day", 1), ("Hour", 10), ("Minute", 0)):
        stamp.add(name, value)
    stamp.add("Second", 0)
    stamp.add("Millisecond", 0)
    made.add("Creator", "pixyz-on-ray")
    return made


def _definitions(counts: dict[str, int]) -> Record:
    """How many objects there are of each kind."""
    made = Record(name="Definitions")
    made.add("Version", 100)
    made.add("Count", sum(counts.values()) + 1)
    for kind, count in {"GlobalSettings": 1, **counts}.items():
        made.add("ObjectType", kind).add("Count", count)
    return made


def _set(properties: Record, name: str, kind: str, label: str, *values: Any, flags: str = "") -> None:
    """Put a property into a Properties70 record."""
    properties.add("P", name, kind, label, flags, *values)


def _place(properties: Record, transform: Transform, visible: bool) -> None:
    """The place of a model in its parent, and whether it is shown."""
    _set(properties, "RotationActive", "bool", "", 1)
    _set(properties, "InheritType", "enum", "", 1)
    for name, values, usual in (
        ("Lcl Translation", transform.translation, 0.0),
        ("Lcl Rotation", transform.rotation_deg, 0.0),
        ("Lcl Scaling", transform.scale, 1.0),
    ):
        if any(value != usual for value in values):
            _set(properties, name, name, "", *values, flags="A")
    if any(transform.geometric_deg):
        _set(properties, "GeometricRotation", "Vector3D", "Vector", *transform.geometric_deg)
    _set(properties, "DefaultAttributeIndex", "int", "Integer", 0)
    if not visible:
        _set(properties, "Visibility", "Visibility", "", 0.0, flags="A")


def _geometry(number: int, name: str, mesh: Mesh, unit_m: float) -> Record:
    """Triangles with everything that lies on them."""
    made = Record(name="Geometry", values=[Long(number), f"{name}{_SEPARATOR}Geometry", "Mesh"])
    made.add("GeometryVersion", 124)
    made.add("Vertices", (mesh.positions.astype(numpy.float64) / unit_m).reshape(-1))
    corners = mesh.triangles.astype(numpy.int32)
    polygons = corners.copy()
    polygons[:, 2] = ~polygons[:, 2]  # the last corner of a polygon is told by its complement
    made.add("PolygonVertexIndex", polygons.reshape(-1))
    layer = Record(name="Layer", values=[0])
    layer.add("Version", 100)
    for element in _elements(mesh, corners.reshape(-1)):
        made.children.append(element)
        entry = layer.add("LayerElement")
        entry.add("Type", element.name)
        entry.add("TypedIndex", 0)
    made.children.append(layer)
    return made


def _elements(mesh: Mesh, corners: NDArray[numpy.int32]) -> Iterator[Record]:
    """Normals, texture coordinates, colours and materials, each as a layer."""
    if mesh.normals is not None:
        made = _element("LayerElementNormal", "ByPolygonVertex", "Direct")
        made.add("Normals", mesh.normals.astype(numpy.float64)[corners].reshape(-1))
        yield made
    if mesh.colours is not None:
        made = _element("LayerElementColor", "ByPolygonVertex", "IndexToDirect")
        made.add("Colors", (mesh.colours / 255.0).reshape(-1))
        made.add("ColorIndex", corners)
        yield made
    if mesh.uvs is not None:
        made = _element("LayerElementUV", "ByPolygonVertex", "IndexToDirect", name="UVMap")
        uvs = mesh.uvs.astype(numpy.float64)
        made.add("UV", numpy.column_stack([uvs[:, 0], 1.0 - uvs[:, 1]]).reshape(-1))
        made.add("UVIndex", corners)
        yield made
    each = mesh.triangle_materials
    made = _element("LayerElementMaterial", "AllSame" if each is None else "ByPolygon", "IndexToDirect")
    made.add("Materials", numpy.zeros(1, numpy.int32) if each is None else each.astype(numpy.int32))
    yield made


def _element(kind: str, mapping: str, reference: str, name: str = "") -> Record:
    made = Record(name=kind, values=[0])
    made.add("Version", 102 if kind == "LayerElementNormal" else 101)
    made.add("Name", name)
    made.add("MappingInformationType", mapping)
    made.add("ReferenceInformationType", reference)
    return made


def _material(number: int, material: Material) -> Record:
    """The colours of a surface, in sRGB."""
    made = Record(name="Material", values=[Long(number), f"{material.name}{_SEPARATOR}Material", ""])
    made.add("Version", 102)
    made.add("ShadingModel", "lambert")
    made.add("MultiLayer", 0)
    properties = made.add("Properties70")
    opacity = float(material.base_colour[3])
    diffuse = [to_srgb(min(max(float(part), 0.0), 1.0)) for part in material.base_colour[:3]]
    emission = [to_srgb(min(max(float(part), 0.0), 1.0)) for part in material.emission]
    for name, colour in (("DiffuseColor", diffuse), ("EmissiveColor", emission), ("TransparentColor", [1.0] * 3)):
        _set(properties, name, "Color", "", *colour, flags="A")
    for name, value in (("DiffuseFactor", 1.0), ("EmissiveFactor", 1.0), ("TransparencyFactor", 1.0 - opacity)):
        _set(properties, name, "Number", "", value, flags="A")
    for name, values in (("Emissive", emission), ("Ambient", [0.0] * 3), ("Diffuse", diffuse)):
        _set(properties, name, "Vector3D", "Vector", *values)
    _set(properties, "Opacity", "double", "Number", opacity)
    return made


def _texture(number: int, texture: Texture) -> Record:
    """How a picture lies on a surface."""
    name = _file_name(texture.image)
    made = Record(name="Texture", values=[Long(number), f"{name}{_SEPARATOR}Texture", ""])
    made.add("Type", "TextureVideoClip")
    made.add("Version", 202)
    made.add("TextureName", f"{name}{_SEPARATOR}Texture")
    properties = made.add("Properties70")
    _set(properties, "UVSet", "KString", "", "UVMap")
    _set(properties, "UseMaterial", "bool", "", 1)
    for side, wrap in zip("UV", texture.wrap, strict=True):
        _set(properties, f"WrapMode{side}", "enum", "", int(wrap == "clamp"))
    made.add("Media", f"{name}{_SEPARATOR}Video")
    made.add("FileName", name)
    made.add("RelativeFilename", name)
    made.add("ModelUVTranslation", 0.0, 0.0)
    made.add("ModelUVScaling", 1.0, 1.0)
    made.add("Texture_Alpha_Source", "None")
    made.add("Cropping", 0, 0, 0, 0)
    return made


def _file_name(image: Image) -> str:
    """A name with the ending of its kind, without a folder."""
    stem = Path(image.name.replace("\\", "/")).stem or "image"
    return f"{stem}.{image.extension}"
