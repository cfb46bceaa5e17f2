"""Colours and visual materials of an XCAF document, down to single faces. XCAF's colours are linear already."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.cad import occ
from pixyz_worker.kernel.material import Material


class Looks:
    """The materials of one document; equal colours give the same Material."""

    def __init__(self, document: Any) -> None:
        kinds = occ.XCAFDoc.XCAFDoc_ColorType
        self._kinds = (kinds.XCAFDoc_ColorSurf, kinds.XCAFDoc_ColorGen)
        visual = occ.XCAFDoc.XCAFDoc_DocumentTool.VisMaterialTool_s(document.Main())
        found = occ.collections.Sequence_TDF_Label()
        visual.GetMaterials(found)
        self._has_visual = found.Length() > 0
        self._known: dict[tuple[Any, ...], Material] = {}

    def of(self, label: Any) -> Material | None:
        """What a label itself says of its look, None for nothing."""
        if self._has_visual and (found := self._visual(label)) is not None:
            return found
        colour = occ.Quantity.Quantity_ColorRGBA()
        for kind in self._kinds:
            if occ.XCAFDoc.XCAFDoc_ColorTool.GetColor_s(label, kind, colour):
                return self._material(_linear(colour))
        return None

    def of_faces(
        self, product: Any, shape: Any, base: Material | None
    ) -> tuple[tuple[Material | None, ...], NDArray[numpy.uint16] | None]:
        """Materials, and the place among them of each face as occ.faces() lists them; None when all have the first.

        What a face itself has wins over what its shell or its body has, and that over the base of the part.
        """
        labels = occ.collections.Sequence_TDF_Label()
        occ.XCAFDoc.XCAFDoc_ShapeTool.GetSubShapes_s(product, labels)
        coloured = [(occ.XCAFDoc.XCAFDoc_ShapeTool.GetShape_s(label), self.of(label)) for label in labels]
        coloured = [(piece, material) for piece, material in coloured if material is not None and not piece.IsNull()]
        if not coloured:
            return (base,), None
        places: dict[Material | None, int] = {base: 0}
        every = occ.shape_map(shape, occ.FACE)
        numbers = numpy.zeros(every.Extent(), dtype=numpy.uint16)
        # Kinds of shapes count from compounds down to vertices: what is larger comes first.
        for piece, material in sorted(coloured, key=lambda pair: int(pair[0].ShapeType().value)):
            place = places.setdefault(material, min(len(places), 65535))
            for face in occ.faces(piece):
                if number := every.FindIndex(face):
                    numbers[number - 1] = place
        used, compact = numpy.unique(numbers, return_inverse=True)
        materials = list(places)
        return tuple(materials[number] for number in used), compact.astype(numpy.uint16)

    def _visual(self, label: Any) -> Material | None:
        found = occ.XCAFDoc.XCAFDoc_VisMaterialTool.GetShapeMaterial_s(label)
        if found is None or found.IsEmpty():
            return None
        base, pbr = _linear(found.BaseColor()), found.ConvertToPbrMaterial()
        given = found.HasPbrMaterial()
        metalness, roughness = (float(pbr.Metallic), float(pbr.Roughness)) if given else (0.0, 0.9)
        return self._material(base, name=occ.string(found.RawName()), metalness=metalness, roughness=roughness)

    def _material(
        self, colour: tuple[float, ...], *, name: str = "", metalness: float = 0.0, roughness: float = 0.9
    ) -> Material:
        key = (colour, name, metalness, roughness)
        if key not in self._known:
            made = Material(
                base_colour=(colour[0], colour[1], colour[2], colour[3]),
                metalness=metalness,
                roughness=roughness,
                alpha_mode="blend" if colour[3] < 1 else "opaque",
            )
            made.name = name or made.hex
            self._known[key] = made
        return self._known[key]


def _linear(colour: Any) -> tuple[float, float, float, float]:
    rgb = colour.GetRGB()
    return (float(rgb.Red()), float(rgb.Green()), float(rgb.Blue()), float(colour.Alpha()))
