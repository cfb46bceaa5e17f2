"""The tree of a CAD file: an XCAF document of OpenCASCADE as occurrences of parts that keep their exact surfaces."""

from __future__ import annotations

import re
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.formats.cad import faceted, occ
from pixyz_worker.kernel.formats.cad.xcaf_facts import Facts, label_name, own_annotations
from pixyz_worker.kernel.formats.cad.xcaf_looks import Looks
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.scene import Occurrence, Part

MAX_OCCURRENCES = 2_000_000
"""Assemblies within assemblies multiply; beyond this many occurrences a file is an attack, not a model."""
_NUMBERED = re.compile(r"NAUO\d+|(=>)?\[[\d:]+\]|\d*")
"""Names that a translator gave an instance which had none."""


def read_tree(document: Any, name: str) -> Occurrence:
    """The root of the tree of a document; ValueError when it has no shape."""
    reader = _Reader(document)
    root = Occurrence(name=name)
    free = occ.collections.Sequence_TDF_Label()
    reader.shapes.GetFreeShapes(free)
    reader.fill(root, list(free))
    if not reader.parts:
        raise ValueError("there is no shape in it")
    own_annotations(document, reader.first, root)
    return root


class _Reader:
    """What is shared while one document is read."""

    def __init__(self, document: Any) -> None:
        self.shapes = occ.XCAFDoc.XCAFDoc_DocumentTool.ShapeTool_s(document.Main())
        self.looks = Looks(document)
        self.facts = Facts(document)
        self.parts: dict[tuple[str, Material | None], Part | None] = {}
        self.first: dict[str, Occurrence] = {}
        """The first occurrence of each product, by the product's label."""

    def fill(self, root: Occurrence, labels: list[Any]) -> None:
        """Put the occurrences of labels, and all below them, below a root."""
        pending: list[tuple[Any, Occurrence, Material | None]] = [(label, root, None) for label in reversed(labels)]
        count = 0
        while pending:
            label, parent, inherited = pending.pop()
            count += 1
            if count > MAX_OCCURRENCES:
                raise ValueError(f"it has more than the {MAX_OCCURRENCES} occurrences that are allowed")
            product = self._product(label)
            occurrence = parent.add(self._occurrence(label, product))
            self.first.setdefault(occ.entry(product), occurrence)
            given = self.looks.of(label)
            if occ.XCAFDoc.XCAFDoc_ShapeTool.IsAssembly_s(product):
                below = given or self.looks.of(product) or inherited
                pending += [(child, occurrence, below) for child in reversed(self._children(product))]
            else:
                own = None if label.IsEqual(product) else given
                occurrence.part = self._part(product, own or self.looks.of(product) or inherited)

    def _product(self, label: Any) -> Any:
        referred = occ.TDF.TDF_Label()
        found = occ.XCAFDoc.XCAFDoc_ShapeTool.GetReferredShape_s(label, referred)
        return referred if found else label

    def _children(self, product: Any) -> list[Any]:
        found = occ.collections.Sequence_TDF_Label()
        occ.XCAFDoc.XCAFDoc_ShapeTool.GetComponents_s(product, found)
        return list(found)

    def _occurrence(self, label: Any, product: Any) -> Occurrence:
        name, is_instance = label_name(label), not label.IsEqual(product)
        if _NUMBERED.fullmatch(name):
            name = label_name(product) or name
        location = occ.XCAFDoc.XCAFDoc_ShapeTool.GetLocation_s(label) if is_instance else occ.TopLoc.TopLoc_Location()
        assembly = occ.XCAFDoc.XCAFDoc_ShapeTool.IsAssembly_s(product)
        metadata = self.facts.of(product) if assembly else {}
        return Occurrence(
            name=name,
            matrix=None if location.IsIdentity() else matrix(location),
            visible=occ.XCAFDoc.XCAFDoc_ColorTool.IsVisible_s(label),
            metadata={**metadata, **(self.facts.of(label) if is_instance else {})},
        )

    def _part(self, product: Any, base: Material | None) -> Part | None:
        """The part of a product in a base colour; occurrences that look the same share it."""
        key = (occ.entry(product), base)
        if key not in self.parts:
            shape = occ.XCAFDoc.XCAFDoc_ShapeTool.GetShape_s(product)
            self.parts[key] = None if shape is None or shape.IsNull() else self._made(product, shape, base)
        return self.parts[key]

    def _made(self, product: Any, shape: Any, base: Material | None) -> Part:
        materials, numbers = self.looks.of_faces(product, shape, base)
        brep = OccBrep(shape, materials=materials, face_materials=numbers)
        part = Part(name=label_name(product), metadata=self.facts.of(product))
        if faceted.is_faceted(shape):
            part.mesh = faceted.mesh_of(brep)
        else:
            part.brep = brep
        return part


def matrix(location: Any) -> NDArray[numpy.float64]:
    """The (4, 4) matrix of a location, in metres."""
    trsf, made = location.Transformation(), numpy.eye(4)
    for row in range(3):
        made[row] = [trsf.Value(row + 1, column + 1) for column in range(4)]
    made[:3, 3] *= MILLIMETRE
    return made
