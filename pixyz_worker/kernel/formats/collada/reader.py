"""COLLADA reader: pycollada takes geometries and effects apart, the tree of nodes is walked here.

pycollada alone would walk the tree by recursion, fetch what a file refers to, and let XML say anything.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import collada
import numpy
from collada.common import DaeError, tagger
from collada.geometry import Geometry
from lxml import etree
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.collada.looks import Looks
from pixyz_worker.kernel.formats.collada.shapes import mesh_of
from pixyz_worker.kernel.formats.shared import number_text, turns
from pixyz_worker.kernel.formats.shared.roots import check_unfolding, root_of
from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Animation, Axis, Occurrence, Part, Scene

_UP: dict[str | None, Axis] = {"X_UP": "x", "Y_UP": "y", "Z_UP": "z"}
_LINES = ("lines", "linestrips")
_SEMANTICS = ("VERTEX", "NORMAL", "TEXCOORD", "COLOR", "TEXTANGENT", "TEXBINORMAL", "TANGENT", "BINORMAL")
_SHARED_SKINS = 8
"""Controllers that one may find on the way to a geometry: a skin of a morph of ..."""


def read(path: Path, options: ReadOptions) -> Scene:
    """Read a COLLADA file: tree, names, instances, materials, and the pictures beside it.

    Skins are shown as they were modelled. Raises ValueError when the XML is damaged or has a DOCTYPE, when a
    reference leads nowhere, and when there is no mesh.
    """
    document = _Document(path, _parse(path), options)
    return document.scene(path.stem)


def _parse(path: Path) -> Any:
    """The XML of a file; a DOCTYPE, which might hold entities, is refused before the rest is read."""
    safe = {"resolve_entities": False, "no_network": True, "load_dtd": False}
    try:
        with path.open("rb") as file:
            _, first = next(iter(etree.iterparse(file, events=("start",), huge_tree=False, **safe)))
            if first.getroottree().docinfo.doctype:
                raise ValueError("it has a DOCTYPE, which is not allowed here")
            if etree.QName(first).localname != "COLLADA":
                raise ValueError(f"its XML begins with <{etree.QName(first).localname}> and not with <COLLADA>")
        # The arrays of a large mesh are longer than what a parser takes without this.
        return etree.parse(str(path), etree.XMLParser(huge_tree=True, remove_comments=True, remove_pis=True, **safe))
    except etree.XMLSyntaxError as error:
        raise ValueError(f"its XML is damaged: {error.msg}") from error


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Step:
    """A node that is still to be looked at."""

    element: Any
    above: Occurrence | None


class _Document:
    """What is shared while one document is taken apart."""

    def __init__(self, path: Path, xml: Any, options: ReadOptions) -> None:
        self.xml = xml
        root = xml.getroot()
        self.tag: Callable[[str], str] = tagger(etree.QName(root).namespace) if "}" in root.tag else str
        self.library = collada.Collada()
        self.library.xmlnode, self.library.tag = xml, self.tag
        self.library.ignoreErrors(DaeError)
        unit = root.find(f"{self.tag('asset')}/{self.tag('unit')}")
        self.stated = _positive(unit.get("meter")) if unit is not None else None
        self.unit_m = self.stated or options.unit_m
        self.looks = Looks(self.library, xml, ImagesBeside(path))
        self.geometries = self.by_id("geometry")
        self.controllers = self.by_id("controller")
        self.nodes = self.by_id("node")
        self.loaded: dict[str, Any] = {}
        self.parts: dict[tuple[str, tuple[Material | None, ...]], Part | None] = {}

    def by_id(self, name: str) -> dict[str, Any]:
        """All elements of a kind by their id."""
        return {element.get("id"): element for element in self.xml.iter(self.tag(name)) if element.get("id")}

    def scene(self, name: str) -> Scene:
        """The whole scene."""
        with warnings.catch_warnings():
            # numpy warns of text among the numbers, and will raise ValueError one day.
            warnings.simplefilter("error", DeprecationWarning)
            try:
                tops = self.tree()
            except (DaeError, DeprecationWarning, LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"it is damaged: {_words(error)}") from error
        if not any(self.parts.values()):
            raise ValueError("there is no mesh in it")
        up = self.xml.getroot().find(f"{self.tag('asset')}/{self.tag('up_axis')}")
        axis = _UP.get((up.text or "").strip(), "y") if up is not None else "y"
        animations = [Animation(name=self.name(element)) for element in self.animations()]
        return Scene(name=name, root=root_of(tops, name), unit_m=self.unit_m, up=axis, animations=animations)

    def animations(self) -> Iterator[Any]:
        """The elements of animations; those within others belong to them."""
        return (
            element
            for library in self.every("library_animations")
            for element in library
            if self.is_(element, "animation")
        )

    def every(self, name: str) -> Iterator[Any]:
        """The elements of a kind."""
        found: Iterator[Any] = self.xml.iter(self.tag(name))
        return found

    def is_(self, element: Any, name: str) -> bool:
        """Whether an element is of a kind."""
        return bool(element.tag == self.tag(name))

    def name(self, element: Any) -> str:
        """What an element is called."""
        return str(element.get("name") or element.get("id") or element.get("sid") or "")

    def tree(self) -> list[Occurrence]:
        """What is at the top of the tree."""
        tops: list[Occurrence] = []
        chosen = self.visual_scene()
        if chosen is None:  # only a library of geometries
            for key in self.geometries:
                part = self.part(key, {})
                tops.append(Occurrence(name=self.name(self.geometries[key]), part=part))
            return tops
        check_unfolding(self.below(chosen), self.below)
        pending = [_Step(element=node, above=None) for node in reversed(self.below(chosen))]
        while pending:
            step = pending.pop()
            made = self.occurrence(step.element)
            (tops.append if step.above is None else step.above.add)(made)
            pending.extend(_Step(element=node, above=made) for node in reversed(self.below(step.element)))
        return tops

    def visual_scene(self) -> Any:
        """The scene to be shown; None when there is none."""
        shown = self.xml.getroot().find(f"{self.tag('scene')}/{self.tag('instance_visual_scene')}")
        scenes = list(self.every("visual_scene"))
        wanted = (shown.get("url") or "")[1:] if shown is not None else None
        return next((scene for scene in scenes if scene.get("id") == wanted), scenes[0] if scenes else None)

    def below(self, element: Any) -> list[Any]:
        """The nodes in an element, and those of the library that it shows."""
        found = []
        for child in element:
            if self.is_(child, "node"):
                found.append(child)
            elif self.is_(child, "instance_node") and (url := child.get("url") or "").startswith("#"):
                if url[1:] not in self.nodes:
                    raise ValueError(f"it refers to a node {url[1:]!r} that is not there")
                found.append(self.nodes[url[1:]])
        return found

    def occurrence(self, element: Any) -> Occurrence:
        """One node, with what it shows itself."""
        made = Occurrence(name=self.name(element), matrix=self.matrix(element))
        kinds = (self.tag("instance_geometry"), self.tag("instance_controller"))
        shown = [child for child in element if child.tag in kinds]
        parts = [self.part(self.geometry_of(child), self.binding(child)) for child in shown]
        found = [part for part in parts if part is not None]
        if len(found) == 1:
            made.part = found[0]
        for part in found if len(found) > 1 else ():
            made.add(Occurrence(name=part.name, part=part))
        return made

    def geometry_of(self, instance: Any) -> str:
        """The id of the geometry that is shown, by way of controllers or at once."""
        key = (instance.get("url") or "").lstrip("#")
        for _ in range(_SHARED_SKINS):
            if key in self.geometries or key not in self.controllers:
                break
            inner = next((child for child in self.controllers[key] if child.get("source")), None)
            key = "" if inner is None else str(inner.get("source")).lstrip("#")
        if key not in self.geometries:
            raise ValueError(f"it refers to a geometry {key!r} that is not there")
        return key

    def binding(self, instance: Any) -> dict[str, str]:
        """For each symbol of a geometry's primitives the id of the material that an instance gives it."""
        bound = instance.iter(self.tag("instance_material"))
        return {each.get("symbol") or "": (each.get("target") or "").lstrip("#") for each in bound}

    def part(self, key: str, binding: dict[str, str]) -> Part | None:
        """A geometry with its materials; None for one without triangles. Instances with the same materials share it."""
        if key not in self.loaded:
            self.loaded[key] = self.geometry(self.geometries[key])
        geometry = self.loaded[key]
        symbols = [primitive.material for primitive in geometry.primitives] if geometry is not None else []
        materials = tuple(self.looks.find(binding.get(symbol or "", symbol)) for symbol in symbols)
        if (key, materials) not in self.parts:
            mesh = mesh_of(geometry.primitives, materials, self.unit_m or 1.0) if geometry is not None else None
            name = self.name(self.geometries[key])
            self.parts[key, materials] = None if mesh is None else Part(name=name, mesh=mesh)
        return self.parts[key, materials]

    def geometry(self, element: Any) -> Any:
        """A geometry as pycollada has it, without lines and what else it would stumble over; None for a spline."""
        mesh = element.find(self.tag("mesh"))
        if mesh is None:
            return None
        for child in list(mesh):
            if etree.QName(child).localname in _LINES:
                mesh.remove(child)
        for entry in list(mesh.iter(self.tag("input"))):
            if entry.get("offset") is not None and entry.get("semantic") not in _SEMANTICS:
                entry.getparent().remove(entry)
        return Geometry.load(self.library, {}, element)

    def matrix(self, node: Any) -> NDArray[numpy.float64] | None:
        """The place of a node in metres: its transformations, one after the other; None for the identity."""
        matrix = numpy.eye(4)
        for child in node:
            if step := _TRANSFORMS.get(etree.QName(child).localname):
                count, make = step
                numbers = number_text.parse((child.text or "").encode())
                if len(numbers) != count:
                    raise ValueError(f"a transformation has {len(numbers)} numbers where {count} are needed")
                matrix = matrix @ make(numbers)
        if not numpy.isfinite(matrix).all():
            raise ValueError("a transformation is not made of numbers")
        matrix[:3, 3] *= self.unit_m or 1.0
        return None if numpy.array_equal(matrix, numpy.eye(4)) else matrix


def _translation(numbers: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    matrix = numpy.eye(4)
    matrix[:3, 3] = numbers
    return matrix


def _rotation(numbers: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """A turn around an axis by an angle in degrees."""
    matrix = numpy.eye(4)
    matrix[:3, :3] = turns.turn(numbers[:3], float(numpy.radians(numbers[3])))
    return matrix


def _scale(numbers: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    return numpy.diag([*numbers, 1.0])


def _look(numbers: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """From an eye to a point of interest, which lies along -z, with an up vector."""
    eye, interest, up = numbers.reshape(3, 3)
    back = eye - interest
    right = numpy.cross(up, back)
    above = numpy.cross(back, right)
    matrix = numpy.eye(4)
    for column, axis in enumerate((right, above, back)):
        matrix[:3, column] = axis / (numpy.linalg.norm(axis) or 1.0)
    matrix[:3, 3] = eye
    return matrix


_TRANSFORMS: dict[str, tuple[int, Callable[[NDArray[numpy.float64]], NDArray[numpy.float64]]]] = {
    "matrix": (16, lambda numbers: numbers.reshape(4, 4)),
    "translate": (3, _translation),
    "rotate": (4, _rotation),
    "scale": (3, _scale),
    "lookat": (9, _look),
}


def _positive(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _words(error: Exception) -> str:
    return str(getattr(error, "msg", "") or error)
