"""3DXML (Dassault Systèmes) whose triangles are XML: product structure, instances, names and colours.

The file is a zip: Manifest.xml names the document with the product structure, and that one a document for each shape.
Lengths are millimetres; matrices stand in columns.
"""

from __future__ import annotations

import logging
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker import zip_reading
from pixyz_worker.kernel.formats.shared import xml_tree
from pixyz_worker.kernel.formats.shared.roots import MAX_OCCURRENCES
from pixyz_worker.kernel.formats.shared.strips import fans_to_triangles, strips_to_triangles
from pixyz_worker.kernel.limits import FREE_BYTES, Limits
from pixyz_worker.kernel.material import Material, from_srgb
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

_UNIT_M = 1e-3
_DEEPEST = 1000
_BINARY = "its triangles are stored as binary, which needs the Pixyz SDK, not installed here"
_log = logging.getLogger(__name__)


def read(path: Path, options: ReadOptions) -> Scene:
    """3DXML with its tree; ValueError for the kind whose triangles are binary."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not a zip archive")
    with zip_reading.opened(path, Limits.from_environment()) as archive:
        documents = _Documents(archive)
        manifest = documents.tree("Manifest.xml")
        main = manifest.findtext("{*}Root")
        if not main:
            raise ValueError("its manifest names no document")
        product = _Product(documents, documents.tree(main.strip()))
        root = product.unfold()
    if not any(occurrence.part for occurrence in root.walk()):
        raise ValueError(_BINARY if product.binary else "there is no mesh in it")
    if product.binary:
        _log.warning("%s: %d shapes are left out, as they are stored as binary.", path.name, product.binary)
    return Scene(name=path.stem, root=root, unit_m=_UNIT_M, up="z")


class _Documents:
    """The documents of an archive, whose sizes are checked before anything is unpacked."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._entries = {info.filename: info for info in archive.infolist()}
        limits, packed = Limits.from_environment(), sum(info.compress_size for info in archive.infolist())
        size = sum(info.file_size for info in archive.infolist())
        if limits.max_archive_bytes and size > limits.max_archive_bytes:
            raise ValueError("it unpacks to more bytes than are allowed (MAX_ARCHIVE_BYTES)")
        if limits.max_archive_ratio and size > max(FREE_BYTES, packed * limits.max_archive_ratio):
            raise ValueError("it unpacks to many times its own size, more than is allowed (MAX_ARCHIVE_RATIO)")

    def data(self, name: str) -> bytes:
        """The bytes of a document; ValueError when there is none of that name."""
        info = self._entries.get(name) or self._entries.get(PurePosixPath(name).name)
        if info is None:
            raise ValueError(f"there is no {name[:80]} in it")
        return zip_reading.entry_bytes(self._archive, info)

    def tree(self, name: str) -> Any:
        """The root element of a document."""
        return xml_tree.parse(self.data(name))


@dataclass(kw_only=True, slots=True, eq=False)
class _Reference:
    """A product: an assembly or a part, shown by its instances."""

    name: str
    children: list[_Instance] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True, eq=False)
class _Instance:
    """A product in a place of another one."""

    id: str
    name: str
    of: str
    matrix: NDArray[numpy.float64] | None


class _Product:
    """The product structure of a file."""

    def __init__(self, documents: _Documents, tree: Any) -> None:
        structure = tree.find("{*}ProductStructure")
        if structure is None:
            raise ValueError("there is no product structure in it")
        self._documents = documents
        self._materials = _Materials(documents)
        self._references: dict[str, _Reference] = {}
        self._files: dict[str, tuple[str, str]] = {}
        self._meshes: dict[str, Mesh | None] = {}
        self._parts: dict[tuple[str, Material | None], Part] = {}
        self._painted = self._views(tree)
        self.binary = 0
        self._top = structure.get("root") or ""
        self._take(structure)

    def unfold(self) -> Occurrence:
        """The tree of occurrences: every instance of every product in its places."""
        reference = self._references.get(self._top)
        if reference is None:
            raise ValueError("its product structure has no root")
        root = Occurrence(name=reference.name)
        pending: list[tuple[Occurrence, _Reference, Material | None, int]] = [(root, reference, None, 0)]
        count = 1
        while pending:
            occurrence, reference, colour, depth = pending.pop()
            self._show(occurrence, reference, colour)
            count += len(reference.children)
            if depth > _DEEPEST or count > MAX_OCCURRENCES:
                raise ValueError("its products contain each other in a circle, or multiply beyond bounds")
            for instance in reference.children:
                below = self._references.get(instance.of)
                if below is None:
                    _log.warning("The product %r refers to one that is not in the file.", instance.name)
                    continue
                child = Occurrence(name=instance.name or below.name, matrix=instance.matrix, parent=occurrence)
                occurrence.children.append(child)
                pending.append((child, below, self._painted.get(instance.id, colour), depth + 1))
        return root

    def _take(self, structure: Any) -> None:
        for element in structure.iter("{*}Reference3D"):
            self._references[element.get("id")] = _Reference(name=_name(element))
        for element in structure.iter("{*}ReferenceRep"):
            file = (element.get("associatedFile") or "").rpartition(":")[2]
            self._files[element.get("id")] = (file, element.get("format") or "")
        for element in structure.iter("{*}Instance3D"):
            above = self._references.get(_target(element, "IsAggregatedBy"))
            if above is not None:
                of, matrix = _target(element, "IsInstanceOf"), _matrix(element)
                above.children.append(_Instance(id=element.get("id"), name=_name(element), of=of, matrix=matrix))
        for element in structure.iter("{*}InstanceRep"):
            above = self._references.get(_target(element, "IsAggregatedBy"))
            if above is not None:
                above.shapes.append(_target(element, "IsInstanceOf"))

    def _views(self, tree: Any) -> dict[str, Material]:
        """Colours that the default view gives to instances, by the last number of their path."""
        found = dict[str, Material]()
        for view in tree.iterfind("{*}DefaultView//{*}DefaultViewProperty"):
            colour = view.find("{*}GraphicProperties/{*}SurfaceAttributes/{*}Color")
            # The element's name is misspelt in the format itself.
            for place in [*view.iterfind("{*}OccurenceId"), *view.iterfind("{*}OccurrenceId")]:
                numbers = [entry.text for entry in place.iterfind("{*}id") if entry.text]
                if colour is not None and numbers:
                    found[numbers[-1].rpartition("#")[2].strip()] = self._materials.plain(colour)
        return found

    def _show(self, occurrence: Occurrence, reference: _Reference, colour: Material | None) -> None:
        """Give an occurrence the shapes of its product: one as its part, several below it."""
        parts = [part for shape in reference.shapes if (part := self._part(shape, reference.name, colour)) is not None]
        if len(parts) == 1:
            occurrence.part = parts[0]
        else:
            for part in parts:
                occurrence.add(Occurrence(name=part.name, part=part))

    def _part(self, shape: str, name: str, colour: Material | None) -> Part | None:
        if shape not in self._meshes:
            self._meshes[shape] = self._mesh(shape)
        mesh = self._meshes[shape]
        if mesh is None:
            return None
        if (shape, colour) not in self._parts:
            if colour is not None:
                mesh = replace(mesh, materials=(colour,), triangle_materials=None)
            self._parts[shape, colour] = Part(name=name, mesh=mesh)
        return self._parts[shape, colour]

    def _mesh(self, shape: str) -> Mesh | None:
        """The triangles of a shape; None when it has none, or none that can be read."""
        file, form = self._files.get(shape, ("", ""))
        if not file or form not in ("TESSELLATED", ""):
            self.binary += bool(file)
            return None
        data = self._documents.data(file)
        if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<" and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            self.binary += 1
            return None
        return _shape(xml_tree.parse(data), self._materials)


class _Materials:
    """Materials by their numbers in CATMaterialRef.3dxml, and those of bare colours."""

    def __init__(self, documents: _Documents) -> None:
        self._by_colour: dict[tuple[float, ...], Material] = {}
        self._by_id: dict[str, Material] = {}
        try:
            library = documents.tree("CATMaterialRef.3dxml")
        except ValueError:
            return
        for domain in library.iter("{*}MaterialDomain"):
            file = (domain.get("associatedFile") or "").rpartition(":")[2]
            try:
                self._by_id[domain.get("id")] = _material(documents.tree(file), domain.get("name") or "")
            except ValueError as error:
                _log.warning("The material %r cannot be read: %s", domain.get("name"), error)
        for instance in library.iter("{*}MaterialDomainInstance"):
            material = self._by_id.get(_target(instance, "IsInstanceOf"))
            if material is not None:
                self._by_id[_target(instance, "IsAggregatedBy")] = material

    def plain(self, element: Any) -> Material:
        """The material of a Color element; the same one for the same colour."""
        try:
            parts = tuple(float(element.get(name, 1.0)) for name in ("red", "green", "blue", "alpha"))
        except ValueError:
            raise ValueError("a colour in it is not made of numbers") from None
        if parts not in self._by_colour:
            colour = from_srgb(*parts)
            self._by_colour[parts] = Material(base_colour=colour, alpha_mode="blend" if colour[3] < 1 else "opaque")
        return self._by_colour[parts]

    def of(self, attributes: Any, default: Material | None) -> Material | None:
        """The material that a SurfaceAttributes element gives; the default when it gives none."""
        if attributes is None:
            return default
        colour = attributes.find("{*}Color")
        if colour is not None:
            return self.plain(colour)
        applied = attributes.find("{*}MaterialApplication/{*}MaterialId")
        return default if applied is None else self._by_id.get((applied.get("id") or "").rpartition("#")[2], default)


def _material(tree: Any, name: str) -> Material:
    """A material of its rendering feature."""
    colour = (0.8, 0.8, 0.8)
    for attribute in tree.iterfind("{*}Feature[@Alias='RenderingFeature']/{*}Attr[@Name='DiffuseColor']"):
        values = xml_tree.numbers((attribute.get("Value") or "").strip("[] "), 1)[:, 0]
        if len(values) >= 3:
            colour = (float(values[0]), float(values[1]), float(values[2]))
    return Material(name=name, base_colour=from_srgb(*colour))


def _name(element: Any) -> str:
    return str(element.get("name") or element.findtext("{*}PLM_ExternalID") or element.findtext("{*}V_Name") or "")


def _target(element: Any, relation: str) -> str:
    """The number of the element that a relation leads to."""
    text = (element.findtext(f"{{*}}{relation}") or "").strip()
    return str(text.rpartition("#")[2].rpartition(":")[2])


def _matrix(element: Any) -> NDArray[numpy.float64] | None:
    text = element.findtext("{*}RelativeMatrix")
    if text is None:
        return None
    values = xml_tree.numbers(text, 12)
    if len(values) != 1 or not numpy.isfinite(values).all():
        raise ValueError("a matrix in it does not have twelve numbers")
    matrix = numpy.eye(4)
    matrix[:3, :3] = values[0, :9].reshape(3, 3).T
    matrix[:3, 3] = values[0, 9:] * _UNIT_M
    return None if numpy.array_equal(matrix, numpy.eye(4)) else matrix


def _shape(tree: Any, materials: _Materials) -> Mesh | None:
    """One mesh of the representations of a document."""
    positions, normals = list[NDArray[Any]](), list[NDArray[Any]]()
    triangles, numbers = list[NDArray[Any]](), list[NDArray[Any]]()
    used, start = dict[Material | None, int](), 0
    for rep in tree.iter("{*}Rep"):
        points = xml_tree.numbers(rep.findtext("{*}VertexBuffer/{*}Positions"), 3)
        groups = rep.findall("{*}Faces") or rep.findall("{*}PolygonalLOD[1]/{*}Faces")
        if not len(points) or not groups:
            continue
        positions.append(points)
        normals.append(xml_tree.numbers(rep.findtext("{*}VertexBuffer/{*}Normals"), 3))
        default = materials.of(rep.find("{*}SurfaceAttributes"), None)
        for group in groups:
            of_group = materials.of(group.find("{*}SurfaceAttributes"), default)
            for face in group.iterfind("{*}Face"):
                material = materials.of(face.find("{*}SurfaceAttributes"), of_group)
                corners = _face(face)
                if len(corners) and not 0 <= corners.min() <= corners.max() < len(points):
                    raise ValueError("its triangles refer to vertices that are not there")
                triangles.append(corners + start)
                numbers.append(numpy.full(len(corners), used.setdefault(material, len(used))))
        start += len(points)
    if not sum(map(len, triangles)):
        return None
    return make_mesh(
        numpy.concatenate(positions) * _UNIT_M,
        numpy.concatenate(triangles),
        normals=numpy.concatenate(normals) if sum(map(len, normals)) == start else None,
        materials=tuple(used),
        triangle_materials=numpy.concatenate(numbers),
    )


def _face(face: Any) -> NDArray[numpy.int64]:
    """The triangles of a face: single ones, strips and fans, (m, 3)."""
    single = xml_tree.numbers(face.get("triangles"), 3, numpy.int64)
    strips = [xml_tree.numbers(text, 1, numpy.int64)[:, 0] for text in (face.get("strips") or "").split(",")]
    fans = [xml_tree.numbers(text, 1, numpy.int64)[:, 0] for text in (face.get("fans") or "").split(",")]
    return numpy.concatenate([single, strips_to_triangles(strips), fans_to_triangles(fans)])
