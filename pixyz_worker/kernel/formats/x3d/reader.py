"""X3D as XML (ISO/IEC 19775-1, 19776-1): its tree of groups and shapes, DEF and USE as instances."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import turns, xml_tree
from pixyz_worker.kernel.formats.shared.roots import MAX_OCCURRENCES, root_of
from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside
from pixyz_worker.kernel.formats.shared.xml_tree import name_of
from pixyz_worker.kernel.formats.x3d import shapes as x3d_shapes
from pixyz_worker.kernel.material import Material, Texture, Wrap, from_srgb
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

_DEEPEST = 1000
_GROUPS = {"Transform", "Group", "StaticGroup", "Collision", "Anchor", "Billboard", "Switch", "LOD"}
_GROUPS |= {"CADAssembly", "CADLayer", "CADPart", "CADFace", "HAnimHumanoid", "HAnimJoint", "HAnimSegment"}
_log = logging.getLogger(__name__)


def read(path: Path, options: ReadOptions) -> Scene:
    """X3D with its tree; names are those of DEF. Inlined files, scripts and animations are left out."""
    document = xml_tree.parse(path.read_bytes(), typed=True)
    if name_of(document) != "X3D":
        raise ValueError("its first element is not X3D")
    content = document.find("{*}Scene")
    if content is None:
        raise ValueError("there is no scene in it")
    unit_m = _unit(document)
    reader = _Reader(path, content, unit_m)
    top = Occurrence(name=path.stem)
    reader.fill(top, content)
    if not any(occurrence.part for occurrence in top.walk()):
        raise ValueError("there is no mesh and no point in it")
    tops = list(top.children)
    for child in tops:
        child.parent = None
    return Scene(name=path.stem, root=root_of(tops, path.stem), unit_m=unit_m, up="y")


def _unit(document: Any) -> float:
    """Metres in the file's unit of length: a metre, unless it says something else."""
    for unit in document.iterfind("{*}head/{*}unit[@category='length']"):
        factor = float(xml_tree.numbers(unit.get("conversionFactor"), 1)[0, 0])
        if not 1e-12 < factor < 1e12:
            raise ValueError("its unit of length makes no sense")
        return factor
    return 1.0


class _Reader:
    """Turns elements into occurrences; what has a DEF is made once."""

    def __init__(self, path: Path, content: Any, unit_m: float) -> None:
        self._images = ImagesBeside(path)
        self._unit_m = unit_m
        self._named = {name: element for element in content.iter() if (name := element.get("DEF"))}
        self._parts: dict[Any, Part | None] = {}
        self._meshes: dict[Any, Mesh] = {}
        self._materials: dict[Any, Material | None] = {}

    def fill(self, root: Occurrence, content: Any) -> None:
        """Put everything in an element below an occurrence."""
        pending, count = [(root, content, 0)], 0
        while pending:
            above, element, depth = pending.pop()
            children = []
            shown = self._shown(element)
            if len(shown) == 1 and name_of(shown[0]) == "Shape" and depth:
                self._join(above, shown[0])
                continue
            for child in shown:
                occurrence = self._occurrence(child)
                count += 1
                if depth > _DEEPEST or count > MAX_OCCURRENCES:
                    raise ValueError("its groups contain each other in a circle, or multiply beyond bounds")
                occurrence.parent = above
                above.children.append(occurrence)
                if name_of(child) != "Shape":
                    children.append((occurrence, child, depth + 1))
            pending.extend(reversed(children))

    def _join(self, group: Occurrence, shape: Any) -> None:
        """Let a group that holds nothing but a shape be the shape's occurrence."""
        occurrence = self._occurrence(shape)
        group.part, group.name = occurrence.part, group.name or occurrence.name
        group.visible = group.visible and occurrence.visible

    def _shown(self, element: Any) -> list[Any]:
        """The groups and shapes of a group, as they are defined; of alternatives the one that is shown."""
        found = [self._defined(child) for child in element]
        found = [child for child in found if name_of(child) in _GROUPS or name_of(child) == "Shape"]
        for child in element:
            if name_of(child) == "Inline":
                _log.warning("The inlined file %r is left out.", (child.get("url") or "")[:200])
        if name_of(element) == "Switch":
            choice = int(xml_tree.numbers(element.get("whichChoice", "-1"), 1, numpy.int64)[0, 0])
            return found[choice : choice + 1] if choice >= 0 else []
        return found[:1] if name_of(element) == "LOD" else found

    def _defined(self, element: Any) -> Any:
        """The element itself, or the one that it uses."""
        name = element.get("USE")
        if not name:
            return element
        used = self._named.get(name)
        if used is None or used.get("USE"):
            raise ValueError(f"it uses {name[:80]!r}, which it does not define")
        return used

    def _child(self, element: Any, *names: str) -> Any:
        """The first child of such a kind, as it is defined; None when there is none."""
        for child in element:
            if name_of(child) in names:
                return self._defined(child)
        return None

    def _occurrence(self, element: Any) -> Occurrence:
        name = element.get("DEF") or element.get("name") or ""
        visible = (element.get("visible") or "true").strip().lower() != "false"
        if name_of(element) != "Shape":
            matrix = _matrix(element, self._unit_m) if name_of(element) in ("Transform", "CADPart") else None
            return Occurrence(name=name, matrix=matrix, visible=visible)
        if element not in self._parts:
            self._parts[element] = self._part(element, name)
        return Occurrence(name=name, part=self._parts[element], visible=visible)

    def _part(self, shape: Any, name: str) -> Part | None:
        """The part of a Shape; None when its geometry is of a kind that is not read."""
        for child in shape:
            geometry = self._defined(child)
            make = x3d_shapes.KINDS.get(name_of(geometry))
            if make is None:
                continue
            if geometry not in self._meshes:
                self._meshes[geometry] = self._mesh(make, geometry)
            material = self._material(self._child(shape, "Appearance"), geometry)
            mesh = self._meshes[geometry]
            return Part(
                name=name or geometry.get("DEF") or "",
                mesh=Mesh(
                    positions=mesh.positions,
                    triangles=mesh.triangles,
                    normals=mesh.normals,
                    uvs=mesh.uvs,
                    colours=mesh.colours,
                    materials=(material,),
                ),
            )
        _log.warning("The shape %r is left out: its kind of geometry is not read.", name)
        return None

    def _mesh(self, make: Callable[[x3d_shapes.Source], Mesh], geometry: Any) -> Mesh:
        source = x3d_shapes.Source(
            geometry=geometry, child=lambda *names: self._child(geometry, *names), unit_m=self._unit_m
        )
        return make(source)

    def _material(self, appearance: Any, geometry: Any) -> Material | None:
        if appearance is None:
            return None
        key = (appearance, (geometry.get("solid") or "true").strip().lower() == "false")
        if key not in self._materials:
            self._materials[key] = self._look(appearance, double_sided=key[1])
        return self._materials[key]

    def _look(self, appearance: Any, *, double_sided: bool) -> Material | None:
        """The material of an Appearance: Material, PhysicalMaterial or UnlitMaterial, and its picture."""
        material = self._child(appearance, "Material", "PhysicalMaterial", "UnlitMaterial")
        picture = self._child(appearance, "ImageTexture")
        if material is not None and picture is None:
            picture = self._child(material, "ImageTexture")
        texture = None if picture is None else self._texture(picture)
        if material is None and texture is None:
            return None
        of = {} if material is None else material.attrib
        kind = "Material" if material is None else name_of(material)
        key = {"PhysicalMaterial": "baseColor", "UnlitMaterial": "emissiveColor"}.get(kind, "diffuseColor")
        # A picture takes the place of the colour, unless it is grey.
        default = (0.8, 0.8, 0.8) if kind == "Material" and texture is None else (1.0, 1.0, 1.0)
        colour = default if texture is not None and kind == "Material" else _colour(of.get(key), default)
        glow = _colour(of.get("emissiveColor"), (0.0, 0.0, 0.0)) if kind != "UnlitMaterial" else (0.0, 0.0, 0.0)
        opacity = 1 - _number(of.get("transparency"), 0.0)
        rough = (
            _number(of.get("roughness"), 1.0) if kind == "PhysicalMaterial" else 1 - _number(of.get("shininess"), 0.2)
        )
        return Material(
            name=(material.get("DEF") if material is not None else None) or appearance.get("DEF") or "",
            base_colour=from_srgb(*colour, opacity),
            metalness=_number(of.get("metallic"), 1.0) if kind == "PhysicalMaterial" else 0.0,
            roughness=rough,
            emission=from_srgb(*glow)[:3],
            base_colour_texture=texture,
            alpha_mode="blend" if opacity < 1 else "opaque",
            double_sided=double_sided,
        )

    def _texture(self, element: Any) -> Texture | None:
        """The first picture of an ImageTexture that is there."""
        for url in _texts(element.get("url") or ""):
            image = self._images.find(url)
            if image is not None:
                wraps: list[Wrap] = [
                    "clamp" if (element.get(key) or "true").strip().lower() == "false" else "repeat"
                    for key in ("repeatS", "repeatT")
                ]
                return Texture(image=image, wrap=(wraps[0], wraps[1]))
        return None


def _texts(url: str) -> list[str]:
    """The texts of an attribute that holds several, each in quotation marks; or the one that it holds without."""
    return [text for text in url.split('"') if text.strip()] if '"' in url else [url]


def _colour(text: str | None, default: tuple[float, float, float]) -> tuple[float, float, float]:
    values = xml_tree.numbers(text, 3)
    if not len(values) or not numpy.isfinite(values[0]).all():
        return default
    return (float(values[0, 0]), float(values[0, 1]), float(values[0, 2]))


def _number(text: str | None, default: float) -> float:
    values = xml_tree.numbers(text, 1)
    return min(max(float(values[0, 0]), 0.0), 1.0) if len(values) and numpy.isfinite(values[0, 0]) else default


def _matrix(element: Any, unit_m: float) -> NDArray[numpy.float64] | None:
    """The matrix of a Transform: T C R SR S -SR -C (ISO/IEC 19775-1, 10.4.4)."""

    def given(name: str, default: tuple[float, ...]) -> NDArray[numpy.float64]:
        text = element.get(name)
        if text is None:
            return numpy.array(default)
        rows = xml_tree.numbers(text, len(default))
        if len(rows) != 1 or not numpy.isfinite(rows).all():
            raise ValueError(f"the {name} of one of its transforms makes no sense")
        values: NDArray[numpy.float64] = rows[0]
        return values

    shift, centre = (given(name, (0.0, 0.0, 0.0)) * unit_m for name in ("translation", "center"))
    turn = _turn(given("rotation", (0.0, 0.0, 1.0, 0.0)))
    lean = _turn(given("scaleOrientation", (0.0, 0.0, 1.0, 0.0)))
    linear = turn @ lean @ numpy.diag(given("scale", (1.0, 1.0, 1.0))) @ lean.T
    matrix = numpy.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = shift + centre - linear @ centre
    return None if numpy.array_equal(matrix, numpy.eye(4)) else matrix


def _turn(axis_angle: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    return turns.turn(axis_angle[:3], float(axis_angle[3]))
