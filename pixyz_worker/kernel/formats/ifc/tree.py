"""Buildings of IFC as a scene: project, site, building, storeys and elements, with their properties and shapes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.util.element
import ifcopenshell.util.placement
import ifcopenshell.util.unit
import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.material import Material, from_srgb
from pixyz_worker.kernel.mesh import make_mesh, settled
from pixyz_worker.kernel.options import USUAL, ReadOptions, Tessellation
from pixyz_worker.kernel.scene import Occurrence, Part, Scene, Value

_geometry: Any = ifcopenshell.geom  # it publishes no types
SAG_M, ANGLE_DEG = 1e-3, 28.6
"""How closely round things of a building are followed, unless the options say something else than their default."""
_MAX_THREADS = 4
_MAX_TEXT = 10_000
_SUBTRACTED = "IfcFeatureElementSubtraction"
_ATTRIBUTES = ("GlobalId", "Description", "ObjectType", "PredefinedType", "Tag", "LongName")

Placed = tuple[Part, NDArray[numpy.float64]]
"""A part, and where it stands in the world: (4, 4), metres."""


def scene_of(path: Path, options: ReadOptions) -> Scene:
    """The scene of a file; ValueError when it is damaged or shows nothing.

    Coordinates stay in the frame of each element, so that buildings in national grids keep their millimetres.
    """
    file = _open(path)
    unit = _unit(file)
    shapes = _shapes(file, options.tessellation)
    if not shapes:
        raise ValueError("there is no shape in it")
    root = _Building(file, unit, shapes).tree(path.stem)
    return Scene(name=path.stem, root=root, unit_m=unit, up="z")


def _open(path: Path) -> Any:
    try:
        return ifcopenshell.open(str(path))
    except (ifcopenshell.Error, RuntimeError, KeyError) as error:
        raise ValueError(f"it is damaged ({' '.join(str(error).split())[:200].rstrip('.')})") from error


def _unit(file: Any) -> float:
    """Metres in one unit of the file."""
    try:
        unit = float(ifcopenshell.util.unit.calculate_unit_scale(file))
    except (AttributeError, TypeError, IndexError, RuntimeError) as error:
        raise ValueError("its units make no sense") from error
    if not 0 < unit < math.inf:
        raise ValueError(f"its unit is {unit} metres")
    return unit


def _shapes(file: Any, how: Tessellation) -> dict[int, Placed]:
    """For each product that has one its shape, openings taken off, by the product's number in the file."""
    settings = _geometry.settings()
    settings.set("use-world-coords", False)
    settings.set("weld-vertices", True)
    settings.set("apply-default-materials", False)
    settings.set("mesher-linear-deflection", SAG_M if how == USUAL else how.sag(1.0))
    settings.set("mesher-angular-deflection", math.radians(ANGLE_DEG if how == USUAL else how.angle_deg))
    threads = min(_cores(), _MAX_THREADS)
    iterator = _geometry.iterator(settings, file, threads, exclude=[_SUBTRACTED])
    looks, parts, found = _Looks(file), dict[str, tuple[Part, NDArray[numpy.float64]] | None](), dict[int, Placed]()
    more = iterator.initialize()
    while more:
        shape = iterator.get()
        identity = str(shape.geometry.id)
        if identity not in parts:
            parts[identity] = _part(shape, looks)
        if (known := parts[identity]) is not None:
            part, offset = known
            found[int(shape.id)] = (part, _placement(shape, offset))
        more = iterator.next()
    return found


def _cores() -> int:
    """Return how many cores this process may use, or the machine has where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _part(shape: Any, looks: _Looks) -> tuple[Part, NDArray[numpy.float64]] | None:
    """The part of a shape, and what was taken off its coordinates; None for lines alone."""
    geometry = shape.geometry
    triangles = numpy.frombuffer(geometry.faces_buffer, dtype=numpy.int32).reshape(-1, 3)
    if not len(triangles):
        return None
    positions, offset = settled(numpy.frombuffer(geometry.verts_buffer, dtype=numpy.float64))
    styles = [looks.material(style) for style in geometry.materials]
    numbers = numpy.frombuffer(geometry.material_ids_buffer, dtype=numpy.int32)
    # A face without a style has the number -1: after the shift it comes first.
    used, places = numpy.unique(numbers + 1, return_inverse=True)
    choices = [None, *styles]
    mesh = make_mesh(
        positions,
        triangles.copy(),
        materials=tuple(choices[number] for number in used),
        triangle_materials=places if len(used) > 1 else None,
    )
    return Part(name=str(shape.name or shape.type), mesh=mesh), offset


def _placement(shape: Any, offset: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    matrix = numpy.array(shape.transformation.matrix, dtype=numpy.float64).reshape(4, 4).T.copy()
    matrix[:3, 3] += matrix[:3, :3] @ offset
    return matrix


class _Looks:
    """The surface styles of a file as materials, each once."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._made: dict[Any, Material] = {}

    def material(self, style: Any) -> Material:
        """The material of a style as the geometry library gives it."""
        colour = style.diffuse
        clear = style.transparency if style.has_transparency() and math.isfinite(style.transparency) else 0.0
        key = (style.name, colour.r(), colour.g(), colour.b(), clear)
        if key not in self._made:
            opacity = min(max(1.0 - float(clear), 0.0), 1.0)
            self._made[key] = Material(
                name=self._name(style),
                base_colour=from_srgb(colour.r(), colour.g(), colour.b(), opacity),
                alpha_mode="blend" if opacity < 1 else "opaque",
            )
        return self._made[key]

    def _name(self, style: Any) -> str:
        """The name of the IfcSurfaceStyle, which stands above what the library calls a style."""
        try:
            entity = self._file.by_id(int(style.instance_id()))
        except (RuntimeError, TypeError):
            return str(style.name)
        holders = [entity, *self._file.get_inverse(entity)]
        names = (holder.Name for holder in holders if holder.is_a("IfcSurfaceStyle") and holder.Name)
        return str(next(names, style.name))


class _Building:
    """The tree of a file."""

    def __init__(self, file: Any, unit: float, shapes: dict[int, Placed]) -> None:
        self._file = file
        self._unit = unit
        self._shapes = shapes
        self._seen: set[int] = set()

    def tree(self, name: str) -> Occurrence:
        """The root: the project, with all that hangs on it, and what hangs on nothing."""
        projects = self._file.by_type("IfcProject")
        root = Occurrence(name=name)
        if projects:
            root = self._grow(projects[0], Occurrence(), numpy.eye(4))
        for number in self._shapes:
            if number not in self._seen:
                root.add(self._grow(self._file.by_id(number), Occurrence(), numpy.eye(4)))
        return root

    def _grow(self, top: Any, first: Occurrence, around: NDArray[numpy.float64]) -> Occurrence:
        """The occurrence of an object with all below it; `around` is the place of what it is put into."""
        pending: list[tuple[Any, Occurrence | None, NDArray[numpy.float64]]] = [(top, None, around)]
        while pending:
            entity, parent, above = pending.pop()
            if entity.id() in self._seen:
                continue
            self._seen.add(entity.id())
            below = [child for child in _children(entity) if child.id() not in self._seen]
            place = self._place(entity)
            occurrence = self._fill(first if parent is None else Occurrence(), entity, bool(below))
            local = numpy.linalg.solve(above, place)
            occurrence.matrix = None if numpy.allclose(local, numpy.eye(4), rtol=0, atol=1e-12) else local
            if parent is not None:
                parent.add(occurrence)
            pending.extend((child, occurrence, place) for child in reversed(below))
        return first

    def _fill(self, occurrence: Occurrence, entity: Any, holds: bool) -> Occurrence:
        """Name, properties and shape; a space is hidden, but not what stands in it."""
        occurrence.name = str(entity.Name or entity.is_a())
        occurrence.metadata = _metadata(entity)
        part = self._shapes[entity.id()][0] if entity.id() in self._shapes else None
        hidden = entity.is_a("IfcSpace")
        if hidden and holds and part is not None:
            occurrence.add(Occurrence(name=occurrence.name, part=part, visible=False))
        else:
            occurrence.part, occurrence.visible = part, not (hidden and not holds)
        return occurrence

    def _place(self, entity: Any) -> NDArray[numpy.float64]:
        """Where an object stands in the world, (4, 4), metres."""
        if entity.id() in self._shapes:
            return self._shapes[entity.id()][1]
        placement = getattr(entity, "ObjectPlacement", None)
        if placement is None:
            return numpy.eye(4)
        try:
            matrix = numpy.array(ifcopenshell.util.placement.get_local_placement(placement), dtype=numpy.float64)
        except RecursionError as error:
            raise ValueError(f"the place of {entity.Name or entity.is_a()} refers to itself") from error
        if not numpy.isfinite(matrix).all() or abs(numpy.linalg.det(matrix)) < 1e-12:
            raise ValueError(f"the place of {entity.Name or entity.is_a()} makes no sense")
        matrix[:3, 3] *= self._unit
        return matrix


def _children(entity: Any) -> Iterator[Any]:
    """What an object is made of (IfcRelAggregates, IfcRelNests) and contains (IfcRelContainedInSpatialStructure)."""
    links = (
        ("IsDecomposedBy", "RelatedObjects"),
        ("IsNestedBy", "RelatedObjects"),
        ("ContainsElements", "RelatedElements"),
    )
    for inverse, forward in links:
        for relation in getattr(entity, inverse, None) or ():
            for child in getattr(relation, forward) or ():
                if child.is_a("IfcObject") and not child.is_a(_SUBTRACTED) and not child.is_a("IfcPort"):
                    yield child


def _metadata(entity: Any) -> dict[str, Value]:
    """Class, attributes and property sets; a property's name is 'Set.Property'."""
    found: dict[str, Value] = {"IfcClass": entity.is_a()}
    for name in _ATTRIBUTES:
        if (value := _plain(getattr(entity, name, None))) is not None:
            found[name] = value
    for group, properties in ifcopenshell.util.element.get_psets(entity).items():
        for name, given in properties.items():
            if name != "id" and (value := _plain(given)) is not None:
                found[f"{group}.{name}"] = value
    material: Any = ifcopenshell.util.element.get_material(entity)
    if material is not None:
        named = getattr(material, "Name", None) or getattr(material, "LayerSetName", None)
        found["Material"] = str(named or material.is_a())
    return found


def _plain(value: Any) -> Value | None:
    """A value as metadata has it; lists become text."""
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)[:_MAX_TEXT]
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    return value if isinstance(value, int | float | bool) else None
