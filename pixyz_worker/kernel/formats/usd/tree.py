"""The prims of a USD stage as a scene: a tree of occurrences, with instances that share their parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from pxr import Usd, UsdGeom, UsdShade

from pixyz_worker.kernel.formats.shared.roots import MAX_OCCURRENCES, root_of
from pixyz_worker.kernel.formats.usd.animation import animations_of
from pixyz_worker.kernel.formats.usd.geometry import KINDS, Shape, constant_colour, shape_of
from pixyz_worker.kernel.formats.usd.looks import Looks
from pixyz_worker.kernel.formats.usd.reader import PART, SHAPE_OF_PARENT
from pixyz_worker.kernel.material import Colour, Material
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Axis, Occurrence, Part, Scene, Value

_MAX_NESTING = 100
_ALL = Usd.PrimIsActive & Usd.PrimIsDefined & Usd.PrimIsLoaded
_NOT_SHAPE = ("xformOp", "visibility", "purpose", "proxyPrim", "kind")
_HIDDEN_PURPOSES = ("guide", "proxy")

Look = tuple[Material | None, Colour | None]
"""The material and the colour that an instance hands down to what is in it."""


def scene_of(stage: Any, path: Path, options: ReadOptions) -> Scene:
    """The scene of a stage; a stage that names no unit is in centimetres, as USD has it, unless the options say."""
    named = UsdGeom.StageHasAuthoredMetersPerUnit(stage)
    unit = UsdGeom.GetStageMetersPerUnit(stage) if named else options.unit_m or UsdGeom.GetStageMetersPerUnit(stage)
    if not 0 < unit < float("inf"):
        raise ValueError(f"its unit is {unit} metres")
    axis: Axis = "z" if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z else "y"
    tree = _Tree(stage, path.resolve().parent, unit)
    tops = [top for prim in _children(stage.GetPseudoRoot()) if (top := tree.grow(prim, (None, None)))]
    if not tops:
        raise ValueError("there is nothing to show in it")
    scene = Scene(name=path.stem, root=root_of(tops, path.stem), unit_m=float(unit), up=axis)
    scene.animations = animations_of(stage, tree.places, unit)
    scene.variants = _variants(stage)
    return scene


class _Tree:
    """Makes occurrences of prims."""

    def __init__(self, stage: Any, folder: Path, unit: float) -> None:
        self.when = (
            Usd.TimeCode(stage.GetStartTimeCode()) if stage.HasAuthoredTimeCodeRange() else Usd.TimeCode.EarliestTime()
        )
        self.unit = unit
        self.places: dict[Any, Occurrence] = {}
        self._looks = Looks(folder, self.when)
        self._parts: dict[Any, Part | None] = {}
        self._templates: dict[Any, Occurrence] = {}
        self._open: list[Any] = []
        self._count = 0

    def grow(self, prim: Any, look: Look) -> Occurrence | None:
        """The occurrence of a prim, with all below it; None if it is nothing that is shown."""
        top: Occurrence | None = None
        pending: list[tuple[Any, Occurrence | None]] = [(prim, None)]
        while pending:
            current, parent = pending.pop()
            occurrence = self._occurrence(current, look)
            if occurrence is None:
                continue
            of_parent = parent is not None and current.HasCustomDataKey(SHAPE_OF_PARENT)
            if parent is None:
                top = occurrence
            elif of_parent:
                parent.part, occurrence = occurrence.part, parent
            else:
                parent.add(occurrence)
            if current.IsInstance():
                self._show(self._template(current.GetPrototype(), self._handed_down(current, look)), occurrence)
            elif current.IsA(UsdGeom.PointInstancer):
                self._scatter(UsdGeom.PointInstancer(current), occurrence, look)
            elif not of_parent:
                pending.extend((child, occurrence) for child in reversed(_children(current)))
        return top

    def _occurrence(self, prim: Any, look: Look) -> Occurrence | None:
        """One occurrence without its children; None for what is not shown: materials, cameras, guides."""
        kind = prim.GetTypeName()
        if kind and kind not in KINDS and not prim.IsA(UsdGeom.Imageable):
            return None
        if kind not in ("Xform", *KINDS) and not _may_hold(prim, kind):
            return None
        if prim.IsA(UsdGeom.Imageable) and str(UsdGeom.Imageable(prim).GetPurposeAttr().Get()) in _HIDDEN_PURPOSES:
            return None
        self._counted(1)
        occurrence = Occurrence(
            name=_name(prim),
            matrix=self._matrix(prim),
            visible=not kind or UsdGeom.Imageable(prim).GetVisibilityAttr().Get(self.when) != UsdGeom.Tokens.invisible,
            metadata=_metadata(prim),
            part=self._part(prim, look) if kind in KINDS else None,
        )
        if not self._open:  # what moves inside of a prototype would have to move in all copies
            self.places[prim.GetPath()] = occurrence
        return occurrence

    def _matrix(self, prim: Any) -> NDArray[numpy.float64] | None:
        if not prim.IsA(UsdGeom.Xformable):
            return None
        movable = UsdGeom.Xformable(prim)
        if not movable.GetXformOpOrderAttr().HasAuthoredValue():
            return None
        matrix = numpy.array(movable.GetLocalTransformation(self.when)).T
        if movable.GetResetXformStack() and (above := prim.GetParent()):
            around = UsdGeom.XformCache(self.when).GetLocalToWorldTransform(above)
            matrix = numpy.linalg.inv(numpy.array(around).T) @ matrix
        return self._metres(matrix, prim.GetName())

    def _metres(self, matrix: NDArray[numpy.float64], name: str) -> NDArray[numpy.float64] | None:
        """A matrix for lengths in metres; None for the identity."""
        if not numpy.isfinite(matrix).all():
            raise ValueError(f"the place of {name} is not made of numbers")
        matrix[:3, 3] *= self.unit
        return None if numpy.array_equal(matrix, numpy.eye(4)) else matrix

    def _part(self, prim: Any, look: Look) -> Part | None:
        """The part of a prim with a shape; prims that references bring from one place share it."""
        material, colour = self._handed_down(prim, look)
        subsets = [
            (subset, self._bound(subset.GetPrim()))
            for subset in UsdGeom.Subset.GetAllGeomSubsets(UsdGeom.Imageable(prim))
        ]
        key = (_origin(prim), material, colour, tuple(bound for _, bound in subsets))
        if key not in self._parts:
            self._parts[key] = self._new_part(prim, material, colour, subsets)
        return self._parts[key]

    def _new_part(self, prim: Any, material: Material | None, colour: Colour | None, subsets: list[Any]) -> Part | None:
        if material is None and colour is not None:
            material = self._looks.plain(colour)
        of_colours = colour is None and (material is None or self._looks.shows_colours(material))
        named = next((found for found in (material, *(bound for _, bound in subsets)) if found), None)
        shape = shape_of(prim, self.when, self._looks.uv_name(named), of_colours)
        if shape is None:
            return None
        told = prim.GetCustomDataByKey(PART) or {}
        told = told if isinstance(told, dict) else {}
        metadata = {str(key): value for key, value in told.get("metadata", {}).items() if isinstance(value, Value)}
        mesh = self._mesh(shape, material, [(subset, bound) for subset, bound in subsets if bound])
        return Part(name=str(told.get("name", _name(prim))), mesh=mesh, metadata=metadata)

    def _mesh(self, shape: Shape, material: Material | None, subsets: list[Any]) -> Mesh:
        materials: list[Material | None] = [material]
        of_face = numpy.zeros(int(shape.faces.max(initial=-1)) + 1, numpy.uint32)
        for subset, bound in subsets:
            faces = numpy.asarray(subset.GetIndicesAttr().Get(self.when) or [], dtype=numpy.int64)
            if bound not in materials:
                materials.append(bound)
            of_face[faces[(faces >= 0) & (faces < len(of_face))]] = materials.index(bound)
        used, numbers = numpy.unique(of_face[shape.faces], return_inverse=True)
        chosen = tuple(materials[number] for number in used) or (material,)
        return make_mesh(
            shape.positions * numpy.asarray(self.unit, shape.positions.dtype),
            shape.triangles,
            normals=shape.normals,
            uvs=shape.uvs,
            colours=shape.colours,
            materials=chosen,
            triangle_materials=numbers if len(chosen) > 1 else None,
        )

    def _handed_down(self, prim: Any, look: Look) -> Look:
        """The material and the one colour of a prim, its own or what was handed down to it."""
        colour = constant_colour(prim, self.when) if prim.IsA(UsdGeom.Imageable) else None
        return self._bound(prim) or look[0], colour or look[1]

    def _bound(self, prim: Any) -> Material | None:
        bound = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]
        return self._looks.material(bound) if bound else None

    def _template(self, prim: Any, look: Look) -> Occurrence:
        """A prototype as a tree that is copied for each of its instances; made once for each look."""
        key = (prim.GetPath(), look)
        if key not in self._templates:
            if prim.GetPath() in self._open or len(self._open) > _MAX_NESTING:
                raise ValueError("its instances hold themselves, or are nested too deep")
            self._open.append(prim.GetPath())
            template = Occurrence()
            if prim.IsPrototype():
                for child in _children(prim):
                    if (grown := self.grow(child, look)) is not None:
                        template.add(grown)
            elif (grown := self.grow(prim, look)) is not None:
                template.add(grown)
            self._templates[key] = template
            self._open.pop()
        return self._templates[key]

    def _show(self, template: Occurrence, occurrence: Occurrence) -> None:
        """Put a copy of a template's tree below an occurrence; a single shape becomes its own part."""
        only = template.children[0] if len(template.children) == 1 else None
        bare = only is not None and only.matrix is None and only.visible and not only.children
        if only is not None and bare and occurrence.part is None:
            occurrence.part = only.part
            occurrence.metadata = {**only.metadata, **occurrence.metadata}
            return
        for child in list(self._copy(template).children):
            occurrence.add(child)

    def _copy(self, template: Occurrence) -> Occurrence:
        copies: dict[int, Occurrence] = {}
        for one in template.walk():
            self._counted(1)
            copies[id(one)] = copy = Occurrence(
                name=one.name,
                matrix=None if one.matrix is None else one.matrix.copy(),
                part=one.part,
                visible=one.visible,
                metadata=dict(one.metadata),
            )
            if one is not template and one.parent is not None:
                above = copies[id(one.parent)]
                copy.parent = above
                above.children.append(copy)
        return copies[id(template)]

    def _scatter(self, instancer: Any, occurrence: Occurrence, look: Look) -> None:
        """One child for each instance of a PointInstancer."""
        prim, stage = instancer.GetPrim(), instancer.GetPrim().GetStage()
        numbers = list(instancer.GetProtoIndicesAttr().Get(self.when) or [])
        self._counted(len(numbers))
        prototypes = [stage.GetPrimAtPath(target) for target in instancer.GetPrototypesRel().GetForwardedTargets()]
        if any(not 0 <= number < len(prototypes) or not prototypes[number] for number in numbers):
            raise ValueError(f"{prim.GetName()} shows prototypes that are not there")
        if any(prim.GetPath().HasPrefix(prototype.GetPath()) for prototype in prototypes):
            raise ValueError(f"{prim.GetName()} shows itself")
        places = instancer.ComputeInstanceTransformsAtTime(
            self.when, self.when, UsdGeom.PointInstancer.ExcludeProtoXform, UsdGeom.PointInstancer.IgnoreMask
        )
        if len(places) != len(numbers):
            raise ValueError(f"{prim.GetName()} has fewer places than instances")
        shown = instancer.ComputeMaskAtTime(self.when) or [True] * len(numbers)
        handed = self._handed_down(prim, look)
        for index, (number, place) in enumerate(zip(numbers, places, strict=True)):
            template = self._template(prototypes[number], handed)
            matrix = self._metres(numpy.array(place).T, prim.GetName())
            child = Occurrence(
                name=f"{_name(prototypes[number])} {index + 1}", matrix=matrix, visible=bool(shown[index])
            )
            self._show(template, occurrence.add(child))

    def _counted(self, more: int) -> None:
        self._count += more
        if self._count > MAX_OCCURRENCES:
            raise ValueError(f"it unfolds to more than {MAX_OCCURRENCES} occurrences")


def _children(prim: Any) -> list[Any]:
    """The prims below one that may be shown; of what is abstract, only from within."""
    abstract = prim.IsAbstract() and not prim.IsPseudoRoot()
    return [child for child in prim.GetFilteredChildren(_ALL) if abstract or not child.IsAbstract()]


def _may_hold(prim: Any, kind: str) -> bool:
    """Whether a prim that is no shape and no Xform is a group: one with children, not all of which are materials."""
    if prim.IsInstance() or prim.IsA(UsdGeom.PointInstancer):
        return True
    below = _children(prim)
    if kind in ("", "Scope"):
        everything = prim.GetFilteredChildren(_ALL)
        return not everything or any(not child.GetTypeName() or child.IsA(UsdGeom.Imageable) for child in below)
    return bool(below)


def _origin(prim: Any) -> tuple[tuple[str, str], ...]:
    """Where the shape of a prim is written: layers and paths, but for those that only say where it stands."""
    return tuple(
        (spec.layer.identifier, str(spec.path))
        for spec in prim.GetPrimStack()
        if not spec.properties or any(not name.startswith(_NOT_SHAPE) for name in spec.properties.keys())  # noqa: SIM118
    )


def _name(prim: Any) -> str:
    return str(prim.GetDisplayName() or prim.GetName())


def _metadata(prim: Any) -> dict[str, Value]:
    """Custom data and custom attributes with single values."""
    found: dict[str, Value] = {}
    if prim.HasAuthoredCustomData():
        # Prim by prim as they are written: put together, they would have the words of the schema too.
        pending = [("", dict(spec.customData)) for spec in prim.GetPrimStack()]
        while pending:
            prefix, values = pending.pop()
            for key, value in values.items():
                if key in (SHAPE_OF_PARENT, PART):
                    continue
                if isinstance(value, dict):
                    pending.append((f"{prefix}{key}:", value))
                elif (plain := _plain(value)) is not None:
                    found[prefix + key] = plain
    for attribute in prim.GetAuthoredAttributes():
        if attribute.IsCustom() and (plain := _plain(attribute.Get())) is not None:
            found[attribute.GetName()] = plain
    return found


def _plain(value: Any) -> Value | None:
    if isinstance(value, str | int | float | bool):
        return value
    path = getattr(value, "path", None)
    return path if isinstance(path, str) else None


def _variants(stage: Any) -> list[str]:
    """The names of all variants of all variant sets, each once."""
    found: dict[str, None] = {}
    for prim in stage.Traverse(Usd.PrimIsDefined):
        if prim.HasVariantSets():
            sets = prim.GetVariantSets()
            for name in sets.GetNames():
                found.update(dict.fromkeys(sets.GetVariantSet(name).GetVariantNames()))
    return list(found)
