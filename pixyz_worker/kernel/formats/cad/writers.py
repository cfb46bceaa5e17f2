"""STEP and BRep with exact surfaces where parts have them, with triangles where not (the extra `cad`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.cad import occ
from pixyz_worker.kernel.formats.cad.placed_shapes import PlacedShapes
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.scene import Occurrence, Part, Scene, Value

MAX_LEVELS = 1000
"""Levels of a tree; OpenCASCADE's writer calls itself for each, and crashes at some more."""
_OWN = ("ProductID", "ProductName", "ProductDescription", "Layer", "Volume", "Area", "Centroid", "Material", "Density")
"""Metadata that STEP keeps in places of its own, or that its readers compute."""
_SETTINGS: dict[str, int] = {
    "write.step.schema": 5,  # AP242, the first that knows triangles
    "write.step.tessellated": 1,  # triangles of faces without a surface (faces with one have no triangles here)
    "write.step.assembly": 1,
}


def write_step(scene: Scene, path: Path) -> None:
    """STEP AP242 in millimetres: the tree with names, colours, instances and properties.

    Visibility is left out: OpenCASCADE's writer crashes on hidden labels.
    Raises ValueError when there is nothing to write, or points alone, or more than MAX_LEVELS levels.
    """
    _check(scene)
    if (levels := _levels(scene.root)) > MAX_LEVELS:
        raise ValueError(f"its tree has {levels} levels, more than the {MAX_LEVELS} that OpenCASCADE can write")
    with occ.quietly(), occ.explained("OpenCASCADE cannot write it"):
        document = occ.document()
        _Writer(document).fill(scene)
        for name, value in _SETTINGS.items():
            occ.Interface.Interface_Static.SetIVal_s(name, value)
        occ.Interface.Interface_Static.SetCVal_s("write.step.unit", "MM")
        writer = occ.STEPCAFControl.STEPCAFControl_Writer()
        writer.SetMetadataMode(True)
        if not writer.Transfer(document):
            raise ValueError("OpenCASCADE cannot turn it into STEP")
        if writer.Write(str(path)) != occ.IFSelect.IFSelect_ReturnStatus.IFSelect_RetDone:
            raise ValueError("OpenCASCADE cannot write the file")


def write_brep(scene: Scene, path: Path) -> None:
    """OpenCASCADE's own format as text, in millimetres: one shape, with each part at its place.

    Raises ValueError when there is nothing to write, or points alone.
    """
    _check(scene)
    shapes, builder, whole = PlacedShapes(), occ.BRep.BRep_Builder(), occ.TopoDS.TopoDS_Compound()
    builder.MakeCompound(whole)
    with occ.quietly(), occ.explained("OpenCASCADE cannot write it"):
        for occurrence, matrix in _placed(scene.root):
            assert occurrence.part is not None
            location, rest = shapes.location(matrix)
            found = shapes.shape(occurrence.part, rest)
            if found is not None:
                builder.Add(whole, found.shape.Located(location))
        if not occ.BRepTools.BRepTools.Write_s(whole, str(path)):
            raise ValueError("OpenCASCADE cannot write the file")


def _check(scene: Scene) -> None:
    parts = [part for part in scene.parts() if part.brep is not None or part.mesh is not None]
    if not parts:
        raise ValueError("there is no mesh and no point in the scene")
    if all(part.brep is None and part.mesh is not None and part.mesh.is_points for part in parts):
        raise ValueError("the scene has only points, and this format stores triangles")


def _levels(root: Occurrence) -> int:
    """How many occurrences stand one below the other, at most."""
    levels, layer = 0, [root]
    while layer:
        levels += 1
        layer = [child for occurrence in layer for child in occurrence.children]
    return levels


def _placed(root: Occurrence) -> Iterator[tuple[Occurrence, NDArray[numpy.float64]]]:
    """The occurrences that show a part, each with its place in the tree."""
    pending = [(root, numpy.eye(4))]
    while pending:
        occurrence, above = pending.pop()
        matrix = above if occurrence.matrix is None else above @ occurrence.matrix
        if occurrence.part is not None:
            yield occurrence, matrix
        pending += [(child, matrix) for child in reversed(occurrence.children)]


class _Writer:
    """A scene on its way into an XCAF document."""

    def __init__(self, document: Any) -> None:
        tools, main = occ.XCAFDoc.XCAFDoc_DocumentTool, document.Main()
        self.shapes = tools.ShapeTool_s(main)
        self.colours = tools.ColorTool_s(main)
        self.layers = tools.LayerTool_s(main)
        # OpenCASCADE's writer gives triangles without normals some that make boxes look round.
        self.placed = PlacedShapes(normals=True)
        self._labels: dict[tuple[Part, bytes], Any] = {}
        self._assemblies: dict[tuple[int, bytes], Any] = {}

    def fill(self, scene: Scene) -> None:
        """Put the tree into the document; parents come before their children."""
        tops = scene.root.children if _stands_alone(scene.root) else [scene.root]
        same = _structures(scene.root)
        pending: list[tuple[Occurrence, Any, NDArray[numpy.float64]]] = [
            (top, None, numpy.eye(4)) for top in reversed(tops)
        ]
        while pending:
            occurrence, parent, carried = pending.pop()
            matrix = carried if occurrence.matrix is None else carried @ occurrence.matrix
            location, rest = self.placed.location(matrix)
            if parent is None and occurrence.matrix is not None:
                # What stands at the top of a document has no place of its own: its children take it over, and a part
                # gets one more assembly above it.
                if occurrence.part is None:
                    location, rest = occ.TopLoc.TopLoc_Location(), matrix
                else:
                    parent = self._assembly(occurrence.name)
            key = (same[id(occurrence)], rest.tobytes())
            known = key in self._assemblies
            product = self._assemblies[key] if known else self._product(occurrence, rest)
            if product is None:
                continue
            label = product if parent is None else self.shapes.AddComponent(parent, product, location)
            self._name(label, occurrence.name)
            self._tell(label, occurrence.metadata)
            if occurrence.children and not known:
                self._assemblies[key] = product
                pending += [(child, product, rest) for child in reversed(occurrence.children)]
        self.shapes.UpdateAssemblies()

    def _product(self, occurrence: Occurrence, rest: NDArray[numpy.float64]) -> Any:
        """The label of what an occurrence shows; of one that has children and a part too, the part is a child."""
        if occurrence.part is not None and not occurrence.children:
            return self._part(occurrence.part, occurrence.name, rest)
        assembly = self._assembly(str(occurrence.metadata.get("ProductName") or occurrence.name))
        if occurrence.part is not None and (part := self._part(occurrence.part, occurrence.name, rest)) is not None:
            self._name(self.shapes.AddComponent(assembly, part, occ.TopLoc.TopLoc_Location()), occurrence.name)
        return assembly

    def _assembly(self, name: str) -> Any:
        label = self.shapes.NewShape()
        self._name(label, name)
        return label

    def _part(self, part: Part, name: str, rest: NDArray[numpy.float64]) -> Any:
        """The label of a part, the same for all its instances; None when it has neither surfaces nor triangles."""
        key = (part, rest.tobytes())
        if key not in self._labels:
            found = self.placed.shape(part, rest)
            self._labels[key] = None if found is None else self.shapes.AddShape(found.shape, False)
            if found is not None:
                label = self._labels[key]
                self._name(label, part.name or name)
                self._colour(label, found.pieces, found.materials)
                self._tell(label, part.metadata)
        return self._labels[key]

    def _colour(self, label: Any, pieces: list[Any], materials: list[Material | None]) -> None:
        """Give a part a colour, or each of its pieces its own."""
        different = list(dict.fromkeys(materials))
        if len(different) == 1:
            self._paint(label, different[0])
            return
        for piece, material in zip(pieces, materials, strict=True):
            if material is not None:
                self._paint(self.shapes.AddSubShape(label, piece), material)

    def _paint(self, label: Any, material: Material | None) -> None:
        if material is None:
            return
        red, green, blue, opacity = (min(max(float(value), 0.0), 1.0) for value in material.base_colour)
        colour = occ.Quantity.Quantity_Color(red, green, blue, occ.Quantity.Quantity_TypeOfColor.Quantity_TOC_RGB)
        with_opacity = occ.Quantity.Quantity_ColorRGBA(colour, opacity if material.alpha_mode == "blend" else 1.0)
        self.colours.SetColor(label, with_opacity, occ.XCAFDoc.XCAFDoc_ColorType.XCAFDoc_ColorSurf)

    def _name(self, label: Any, name: str) -> None:
        if name:
            occ.TDataStd.TDataStd_Name.Set_s(label, occ.extended(name))

    def _tell(self, label: Any, metadata: dict[str, Value]) -> None:
        """Write metadata as properties, and a layer as a layer."""
        if layer := str(metadata.get("Layer", "")):
            self.layers.SetLayer(label, occ.extended(layer), False)
        told = {key: value for key, value in metadata.items() if key and key not in _OWN}
        if not told:
            return
        data = self.shapes.GetNamedProperties(label, True)
        for key, value in told.items():
            name = occ.extended(key)
            if isinstance(value, float):
                data.SetReal(name, value)
            elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
                data.SetInteger(name, value)
            else:
                data.SetString(name, occ.extended(str(value)))


def _stands_alone(root: Occurrence) -> bool:
    """Whether a root only holds what was at the top of a file: it says nothing, and its children have no place."""
    parts = [child.part for child in root.children if child.part is not None]
    return (
        root.part is None
        and root.matrix is None
        and bool(root.children)
        and len(set(parts)) == len(parts)
        and all(child.matrix is None for child in root.children)
        and not root.metadata
    )


def _structures(root: Occurrence) -> dict[int, int]:
    """For each occurrence, by its id, a number that it shares with those that hold the same."""
    known: dict[tuple[Any, ...], int] = {}
    found: dict[int, int] = {}
    for occurrence in reversed(list(root.walk())):
        children = tuple(
            (child.name, None if child.matrix is None else child.matrix.tobytes(), found[id(child)])
            for child in occurrence.children
        )
        key = (id(occurrence.part), repr(occurrence.metadata), children)
        found[id(occurrence)] = known.setdefault(key, len(known))
    return found
