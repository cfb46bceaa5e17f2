"""A scene written as USD: text (usda), crate (usdc and usd), or a package with its pictures (usdz)."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from pxr import Sdf, Tf, Vt

from pixyz_worker.kernel.formats.shared.roots import check_writable
from pixyz_worker.kernel.formats.usd.materials import MaterialWriter
from pixyz_worker.kernel.formats.usd.reader import PART, SHAPE_OF_PARENT
from pixyz_worker.kernel.formats.usd.specs import (
    TYPES,
    Names,
    add,
    add_prim,
    clean,
    place,
    relate,
    vectors,
    whole_numbers,
)
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene, Value

MAX_DEPTH = 200
"""Levels of the tree that are written: USD's own work grows with the cube of them. What is deeper hangs there."""
_LONGEST = 2**63
_LINEAR = numpy.array(
    [level / 255 / 12.92 if level <= 10 else ((level / 255 + 0.055) / 1.055) ** 2.4 for level in range(256)]
)


def write(scene: Scene, path: Path) -> None:
    """Write a scene. Parts that are shown several times become prototypes of instances.

    Raises ValueError when there is nothing to write.
    """
    check_writable(scene, triangles=False)
    try:
        if path.suffix.lower() == ".usdz":
            _write_package(scene, path)
        else:
            _write_layer(scene, path, "usda" if path.suffix.lower() == ".usda" else "usdc")
    except Tf.ErrorException as error:
        raise ValueError(" ".join(str(error).split(" : ")[-1].split())) from error


def _write_package(scene: Scene, path: Path) -> None:
    """The layer first, then its pictures, none compressed, each at a multiple of 64 bytes; Sdf sees to that."""
    with tempfile.TemporaryDirectory(prefix="pixyz-usdz-") as folder:
        layer = Path(folder) / f"{path.stem}.usdc"
        _write_layer(scene, layer, "usdc")
        package = Sdf.ZipFileWriter.CreateNew(str(path))
        for file in [layer, *sorted(file for file in Path(folder).iterdir() if file != layer)]:
            package.AddFile(str(file), file.name)
        if not package.Save():
            raise ValueError("the package could not be written")


def _write_layer(scene: Scene, path: Path, kind: str) -> None:
    layer = Sdf.Layer.CreateAnonymous(f".{kind}")
    with Sdf.ChangeBlock():
        _Writer(scene, layer, path).write()
    if not layer.Export(str(path), args={"format": kind}):
        raise ValueError(f"{path.name} could not be written")


class _Writer:
    """Fills one layer."""

    def __init__(self, scene: Scene, layer: Any, path: Path) -> None:
        self._scene = scene
        self._layer = layer
        self._path = path
        self._per_unit = 1 / (scene.unit_m or 1.0)
        self._names = Names()
        self._uses = Counter(occurrence.part for occurrence in scene.instances())
        self._prototypes: dict[Part, Any] = {}
        self._prototype_scope: Any = None
        self._root: Any = None
        self._materials: Any = None

    def write(self) -> None:
        info = self._layer.pseudoRoot
        info.SetInfo("metersPerUnit", float(self._scene.unit_m or 1.0))
        info.SetInfo("upAxis", "Z" if self._scene.up == "z" else "Y")
        pending: list[tuple[Occurrence, Any, int, NDArray[Any] | None, bool]] = [
            (self._scene.root, self._layer, 0, self._standing(), False)
        ]
        while pending:
            occurrence, parent, depth, above, hidden = pending.pop()
            spec = self._occurrence(occurrence, parent, above, hidden)
            flat = depth + 1 >= MAX_DEPTH
            matrix = _product(above, occurrence.matrix) if flat else None
            below = (
                (parent, depth, matrix, hidden or not occurrence.visible) if flat else (spec, depth + 1, None, False)
            )
            pending.extend((child, *below) for child in reversed(occurrence.children))
        self._layer.defaultPrim = self._root.name

    def _standing(self) -> NDArray[Any] | None:
        """What turns the scene to an axis that USD has."""
        if self._scene.up != "x":
            return None
        from pixyz_worker.kernel.axes import turn

        return turn("x", "y")

    def _occurrence(self, occurrence: Occurrence, parent: Any, above: NDArray[Any] | None, hidden: bool) -> Any:
        part = occurrence.part if occurrence.part is not None and occurrence.part.mesh is not None else None
        shared = part is not None and self._uses[part] > 1
        whole = part is not None and (bool(occurrence.children) or parent is self._layer)
        name = self._names.new(parent, occurrence.name or (part.name if part else "") or "node")
        kind = "Xform" if part is None or shared or whole else _kind(part)
        spec = add_prim(parent, name, kind, occurrence.name)
        if self._root is None:
            self._root = spec
            self._materials = MaterialWriter(spec, self._names, self._path)
        place(spec, self._in_units(_product(above, occurrence.matrix)))
        if hidden or not occurrence.visible:
            add(spec, "visibility", TYPES.Token, "invisible")
        told: dict[str, Any] = _storable(occurrence.metadata)
        if part is not None and not whole:
            self._fill(spec, part, shared, told)
        elif part is not None:
            child = add_prim(spec, self._names.new(spec, "Shape"), "Xform" if shared else _kind(part), part.name)
            self._fill(child, part, shared, {SHAPE_OF_PARENT: True})
        if told:
            spec.SetInfo("customData", told)
        return spec

    def _fill(self, spec: Any, part: Part, shared: bool, told: dict[str, Any]) -> None:
        """Make a prim show a part, by itself or as an instance; `told` is its custom data."""
        if shared:
            spec.SetInfo("instanceable", True)
            spec.referenceList.Prepend(Sdf.Reference(primPath=self._prototype(part)))
        else:
            told[PART] = _told_of(part)
            self._shape(spec, part)
        if told and told.get(SHAPE_OF_PARENT):
            spec.SetInfo("customData", told)

    def _prototype(self, part: Part) -> Any:
        """Where the prototype of a shared part stands, which is written when it is first asked for."""
        if part not in self._prototypes:
            if self._prototype_scope is None:
                name = self._names.new(self._root, "Prototypes")
                self._prototype_scope = add_prim(self._root, name, "Scope", abstract=True)
            scope = self._prototype_scope
            prim = add_prim(scope, self._names.new(scope, part.name or "part"), "Xform")
            shape = add_prim(prim, "Shape", _kind(part), part.name)
            shape.SetInfo("customData", {PART: _told_of(part)})
            self._shape(shape, part)
            self._prototypes[part] = prim.path
        return self._prototypes[part]

    def _shape(self, spec: Any, part: Part) -> None:
        mesh = part.mesh
        assert mesh is not None
        positions = mesh.positions * numpy.float32(self._per_unit)
        add(spec, "points", TYPES.Point3fArray, vectors(positions))
        add(spec, "extent", TYPES.Float3Array, vectors(numpy.array([positions.min(axis=0), positions.max(axis=0)])))
        if mesh.is_points:
            size = float(numpy.linalg.norm(positions.max(axis=0) - positions.min(axis=0))) / 500 or 1.0
            add(spec, "widths", TYPES.FloatArray, Vt.FloatArray([size]), interpolation="constant")
        else:
            _write_triangles(spec, mesh)
        if mesh.colours is not None:
            self._colours(spec, mesh)
        self._bind(spec, mesh)

    def _colours(self, spec: Any, mesh: Mesh) -> None:
        """Colours of the vertices, times that of the material: it shows them instead of its own."""
        colours = mesh.colours
        assert colours is not None
        linear = _LINEAR[colours[:, :3]]
        material = mesh.materials[0]
        if material is not None and len(mesh.materials) == 1:
            linear = linear * numpy.array(material.base_colour[:3])
        add(spec, "primvars:displayColor", TYPES.Color3fArray, vectors(linear), interpolation="vertex")
        if (colours[:, 3] < 255).any():
            opacity = Vt.FloatArray.FromNumpy((colours[:, 3] / 255).astype(numpy.float32))
            add(spec, "primvars:displayOpacity", TYPES.FloatArray, opacity, interpolation="vertex")

    def _bind(self, spec: Any, mesh: Mesh) -> None:
        """Say which material the mesh has, or each of its groups of triangles."""
        coloured = mesh.colours is not None
        if mesh.triangle_materials is None:
            self._bind_one(spec, mesh.materials[0], coloured)
            return
        add(spec, "subsetFamily:materialBind:familyType", TYPES.Token, "partition", uniform=True)
        for number, material in enumerate(mesh.materials):
            chosen = numpy.flatnonzero(mesh.triangle_materials == number)
            if not len(chosen):
                continue
            name = self._names.new(spec, (material.name if material else "") or "faces")
            subset = add_prim(spec, name, "GeomSubset")
            add(subset, "elementType", TYPES.Token, "face", uniform=True)
            add(subset, "familyName", TYPES.Token, "materialBind", uniform=True)
            add(subset, "indices", TYPES.IntArray, whole_numbers(chosen))
            self._bind_one(subset, material, coloured)

    def _bind_one(self, spec: Any, material: Any, coloured: bool) -> None:
        if material is None:
            return
        spec.SetInfo("apiSchemas", Sdf.TokenListOp.CreateExplicit(["MaterialBindingAPI"]))
        relate(spec, "material:binding", [self._materials.path(material, coloured=coloured)])

    def _in_units(self, matrix: NDArray[Any] | None) -> NDArray[Any] | None:
        if matrix is None:
            return None
        scaled = numpy.array(matrix, dtype=float)
        scaled[:3, 3] *= self._per_unit
        return scaled


def _write_triangles(spec: Any, mesh: Mesh) -> None:
    add(spec, "faceVertexCounts", TYPES.IntArray, whole_numbers(numpy.full(len(mesh.triangles), 3)))
    add(spec, "faceVertexIndices", TYPES.IntArray, whole_numbers(mesh.triangles))
    add(spec, "subdivisionScheme", TYPES.Token, "none", uniform=True)
    if any(material is None or material.double_sided for material in mesh.materials):
        add(spec, "doubleSided", TYPES.Bool, True, uniform=True)
    if mesh.normals is not None:
        add(spec, "normals", TYPES.Normal3fArray, vectors(mesh.normals), interpolation="vertex")
    if mesh.uvs is not None:
        flipped = numpy.stack([mesh.uvs[:, 0], 1 - mesh.uvs[:, 1]], axis=1)
        add(spec, "primvars:st", TYPES.TexCoord2fArray, vectors(flipped), interpolation="vertex")


def _kind(part: Part) -> str:
    return "Points" if part.mesh is not None and part.mesh.is_points else "Mesh"


def _told_of(part: Part) -> dict[str, Any]:
    """What custom data says of a part: its name, which the prim may not have, and its metadata."""
    told: dict[str, Any] = {"name": clean(part.name)}
    return told | {"metadata": _storable(part.metadata)} if part.metadata else told


def _storable(metadata: dict[str, Value]) -> dict[str, Any]:
    """Metadata as custom data; whole numbers that are too long for USD become text."""
    found: dict[str, Any] = {}
    for key, value in metadata.items():
        if isinstance(value, str):
            value = clean(value)
        elif isinstance(value, int) and not -_LONGEST <= value < _LONGEST:
            value = str(value)
        found[clean(key)] = value
    found.pop("", None)
    return found


def _product(first: NDArray[Any] | None, second: NDArray[Any] | None) -> NDArray[Any] | None:
    if first is None or second is None:
        return second if first is None else first
    product: NDArray[Any] = first @ second
    return product
