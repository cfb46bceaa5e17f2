"""COLLADA 1.4.1 writer; pictures go beside the file.

pycollada makes the elements of materials. Geometries and nodes are made here: pycollada writes them by recursion, and
in a time that grows with the square of their number.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy
from collada.asset import Asset, Contributor
from collada.common import E
from collada.material import CImage, Effect, Map, Sampler2D, Surface
from collada.material import Material as Bound
from lxml import etree
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import number_text
from pixyz_worker.kernel.formats.shared.roots import check_writable, top_occurrences
from pixyz_worker.kernel.formats.shared.side_images import ImageWriter
from pixyz_worker.kernel.material import Image, Material, Texture, to_srgb
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

_UNITS = {1.0: "meter", 0.01: "centimeter", 0.001: "millimeter", 0.0254: "inch", 0.3048: "foot"}
_NESTED = 50
"""Levels of nodes within each other; what is deeper goes into the library of nodes, as parsers of XML mind depth."""
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A fixed time gives the same bytes for the same scene.
_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_WRAPS = {"repeat": "WRAP", "mirror": "MIRROR", "clamp": "CLAMP"}
_SOURCES = {"POSITION": ("X", "Y", "Z"), "NORMAL": ("X", "Y", "Z"), "TEXCOORD": ("S", "T"), "COLOR": tuple("RGBA")}


def write(scene: Scene, path: Path) -> None:
    """Write a scene as COLLADA, in its unit; ValueError when it has no triangles."""
    check_writable(scene)
    _Document(scene, path).tree().write(str(path), encoding="utf-8", xml_declaration=True)


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Pending:
    """An occurrence that is still to be written."""

    occurrence: Occurrence
    into: Any
    """The element that its node goes into."""
    depth: int


class _Document:
    """One document while it is put together."""

    def __init__(self, scene: Scene, path: Path) -> None:
        self.scene = scene
        self.unit_m = scene.unit_m or 1.0
        self.files = ImageWriter(path)
        self.images, self.effects, self.materials = E.library_images(), E.library_effects(), E.library_materials()
        self.geometries, self.nodes = E.library_geometries(), E.library_nodes()
        self.known_images: dict[Image, Any] = {}
        self.known_materials: dict[Material, str] = {}
        self.known_parts: dict[Part, str] = {}
        self.last = 0

    def number(self, kind: str) -> str:
        """An id for the next element."""
        self.last += 1
        return f"{kind}-{self.last}"

    def tree(self) -> Any:
        """The whole document."""
        visual = E.visual_scene(id="scene", name=_text(self.scene.root.name or self.scene.name))
        self.add_nodes(visual)
        libraries = (self.images, self.effects, self.materials, self.geometries, self.nodes)
        root = E.COLLADA(self.asset(), *(each for each in libraries if len(each)), version="1.4.1")
        root.append(E.library_visual_scenes(visual))
        root.append(E.scene(E.instance_visual_scene(url="#scene")))
        return etree.ElementTree(root)

    def asset(self) -> Any:
        """Unit and axis."""
        return Asset(
            created=_TIME,
            modified=_TIME,
            unitname=_UNITS.get(self.unit_m, "unit"),
            unitmeter=self.unit_m,
            upaxis=f"{(self.scene.up or 'y').upper()}_UP",
            contributors=[Contributor(authoring_tool="pixyz-on-ray")],
        ).xmlnode

    def add_nodes(self, visual: Any) -> None:
        """Every occurrence as a node."""
        pending = [_Pending(occurrence=top, into=visual, depth=1) for top in reversed(top_occurrences(self.scene))]
        while pending:
            item = pending.pop()
            node, depth = self.node(item.occurrence), item.depth
            if depth > _NESTED:
                self.nodes.append(node)
                item.into.append(E.instance_node(url=f"#{node.get('id')}"))
                depth = 1
            else:
                # An instance of the library has to stand before the nodes, if the schema is taken by its word.
                item.into.append(node)
            below = reversed(item.occurrence.children)
            pending.extend(_Pending(occurrence=child, into=node, depth=depth + 1) for child in below)

    def node(self, occurrence: Occurrence) -> Any:
        """One occurrence, without its children."""
        node = E.node(id=self.number("node"), name=_text(occurrence.name))
        if occurrence.matrix is not None:
            matrix = numpy.array(occurrence.matrix, float)
            matrix[:3, 3] /= self.unit_m
            node.append(E.matrix(" ".join(map(repr, matrix.reshape(-1).tolist())), sid="transform"))
        part = occurrence.part
        if part is not None and part.mesh is not None and not part.mesh.is_points:
            shown = E.instance_geometry(url=f"#{self.geometry(part, part.mesh)}")
            if bound := self.binding(part.mesh):
                shown.append(E.bind_material(E.technique_common(*bound)))
            node.append(shown)
        return node

    def binding(self, mesh: Mesh) -> list[Any]:
        """Which material each of the symbols of a mesh stands for."""
        found = []
        for place, material in enumerate(mesh.materials):
            if material is not None:
                bound = E.instance_material(symbol=f"material{place}", target=f"#{self.material(material)}")
                if mesh.uvs is not None:
                    bound.append(E.bind_vertex_input(semantic="UVMap", input_semantic="TEXCOORD", input_set="0"))
                found.append(bound)
        return found

    def geometry(self, part: Part, mesh: Mesh) -> str:
        """The id of a part's geometry, which its instances share."""
        if part in self.known_parts:
            return self.known_parts[part]
        key = self.known_parts[part] = self.number("geometry")
        element = E.mesh()
        inputs = [E.input(semantic="VERTEX", source=f"#{key}-vertices", offset="0")]
        for semantic, values in self.arrays(mesh).items():
            source = f"{key}-{semantic.lower()}"
            element.append(_source(source, values, _SOURCES[semantic]))
            if semantic != "POSITION":
                inputs.append(E.input(semantic=semantic, source=f"#{source}", offset="0", set="0"))
                if semantic == "NORMAL":
                    del inputs[-1].attrib["set"]
        element.append(E.vertices(E.input(semantic="POSITION", source=f"#{key}-position"), id=f"{key}-vertices"))
        for place, material in enumerate(mesh.materials):
            all_of_it = mesh.triangle_materials is None
            chosen = mesh.triangles if all_of_it else mesh.triangles[mesh.triangle_materials == place]
            if len(chosen):
                made = E.triangles(*(E.input(**entry.attrib) for entry in inputs), count=str(len(chosen)))
                if material is not None:
                    made.set("material", f"material{place}")
                made.append(E.p(_numbers(list(chosen.T))))
                element.append(made)
            if all_of_it:
                break
        self.geometries.append(E.geometry(element, id=key, name=_text(part.name)))
        return key

    def arrays(self, mesh: Mesh) -> dict[str, NDArray[Any]]:
        """The arrays of a mesh as COLLADA has them."""
        found: dict[str, Any] = {"POSITION": mesh.positions, "NORMAL": mesh.normals}
        if self.unit_m != 1.0:
            found["POSITION"] = (mesh.positions / numpy.float64(self.unit_m)).astype(numpy.float32)
        if mesh.uvs is not None:
            found["TEXCOORD"] = numpy.column_stack([mesh.uvs[:, 0], 1 - mesh.uvs[:, 1]])
        if mesh.colours is not None:
            found["COLOR"] = mesh.colours.astype(numpy.float32) / numpy.float32(255)
        return {semantic: values for semantic, values in found.items() if values is not None}

    def material(self, material: Material) -> str:
        """The id of a material."""
        if material not in self.known_materials:
            key = self.known_materials[material] = self.number("material")
            effect = self.effect(f"{key}-effect", material)
            self.effects.append(effect.xmlnode)
            self.materials.append(Bound(key, _text(material.name), effect).xmlnode)
        return self.known_materials[material]

    def effect(self, key: str, material: Material) -> Any:
        """How a material looks, with colours in sRGB."""
        levels = [to_srgb(min(max(float(part), 0.0), 1.0)) for part in (*material.base_colour[:3], *material.emission)]
        diffuse: Any = (*levels[:3], 1.0)
        params: list[Any] = []
        if material.base_colour_texture is not None:
            params, diffuse = self.map(material.base_colour_texture)
        nothing = dict.fromkeys(
            ("ambient", "specular", "shininess", "reflective", "reflectivity", "index_of_refraction")
        )
        effect = Effect(
            key,
            params,
            "lambert",
            emission=(*levels[3:], 1.0),
            diffuse=diffuse,
            transparent=(1.0, 1.0, 1.0, 1.0),
            transparency=float(material.base_colour[3]),
            **nothing,
        )
        effect.xmlnode.find(".//{*}transparent").set("opaque", "A_ONE")
        sided = E.double_sided("1" if material.double_sided else "0")
        effect.xmlnode[0].append(E.extra(E.technique(sided, profile="GOOGLEEARTH")))
        return effect

    def map(self, texture: Texture) -> tuple[list[Any], Any]:
        """The parameters of an effect that a texture needs, and what takes the place of the colour."""
        surface = Surface("surface", self.image(texture.image))
        sampler = Sampler2D("sampler", surface)
        for side, wrap in zip("st", texture.wrap, strict=True):
            sampler.xmlnode[0].append(E(f"wrap_{side}", _WRAPS[wrap]))
        return [surface, sampler], Map(sampler, "UVMap")

    def image(self, image: Image) -> Any:
        """A picture, whose file is beside the document."""
        if image not in self.known_images:
            made = CImage(self.number("image"), quote(self.files.put(image)))
            made.xmlnode.set("name", _text(image.name))
            self.known_images[image] = made
            self.images.append(made.xmlnode)
        return self.known_images[image]


def _source(key: str, values: NDArray[Any], components: tuple[str, ...]) -> Any:
    """An array with its accessor."""
    array = E.float_array(_numbers(list(values.T)), id=f"{key}-array", count=str(values.size))
    params = [E.param(name=component, type="float") for component in components]
    accessor = E.accessor(*params, source=f"#{key}-array", count=str(len(values)), stride=str(len(components)))
    return E.source(array, E.technique_common(accessor), id=key)


def _numbers(columns: Sequence[NDArray[Any]]) -> str:
    text = io.BytesIO()
    number_text.write_lines(text, columns)
    return text.getvalue().decode("ascii")


def _text(name: str) -> str:
    """A name without the characters that XML does not allow."""
    return _FORBIDDEN.sub("\ufffd", name)
