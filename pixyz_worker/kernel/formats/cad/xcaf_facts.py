"""What an XCAF document says beside shapes: names, layers, properties, physical materials, and annotations (PMI)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pixyz_worker.kernel.formats.cad import occ
from pixyz_worker.kernel.formats.cad.xcaf_properties import read_properties
from pixyz_worker.kernel.scene import AnnotationGroup, Occurrence, Value

_UNNAMED = "DGT:"
"""How OpenCASCADE begins the names that it makes up for annotations."""


def label_name(label: Any) -> str:
    """The name of a label; empty when it has none."""
    name = occ.attribute(label, occ.TDataStd.TDataStd_Name)
    return "" if name is None else occ.string(name.Get()).strip()


class Facts:
    """Properties of the labels of one document, as metadata."""

    def __init__(self, document: Any) -> None:
        tool, main = occ.XCAFDoc.XCAFDoc_DocumentTool, document.Main()
        self._properties = read_properties(document)
        self._layers = tool.LayerTool_s(main)

    def of(self, label: Any) -> dict[str, Value]:
        """What a label says: user-defined properties, layers, physical material, validation properties."""
        named = self._properties.get(occ.entry(label), {}) if self._properties else {}
        physical = _physical(label)
        if physical.get("Material") in named:  # OpenCASCADE's reader takes some properties for materials
            physical = {}
        return {**named, **self._layer(label), **physical, **_validation(label)}

    def _layer(self, label: Any) -> dict[str, Value]:
        found = occ.collections.Sequence_TDF_Label()
        if not self._layers.GetLayers(label, found) or not found.Length():
            return {}
        return {"Layer": ", ".join(label_name(layer) for layer in found)}


def _physical(label: Any) -> dict[str, Value]:
    node = occ.attribute(label, occ.TDataStd.TDataStd_TreeNode, occ.XCAFDoc.XCAFDoc.MaterialRefGUID_s())
    if node is None or not node.HasFather():
        return {}
    material = occ.attribute(node.Father().Label(), occ.XCAFDoc.XCAFDoc_Material)
    if material is None:
        return {}
    found: dict[str, Value] = {"Material": occ.string(material.GetName())}
    if material.GetDensity() > 0:
        found["Density"] = float(material.GetDensity())
    return found


def _validation(label: Any) -> dict[str, Value]:
    """The validation properties that a STEP file names, in millimetres (ISO 10303-59)."""
    found: dict[str, Value] = {}
    for name, kind in (("Volume", occ.XCAFDoc.XCAFDoc_Volume), ("Area", occ.XCAFDoc.XCAFDoc_Area)):
        if (attribute := occ.attribute(label, kind)) is not None:
            found[name] = float(attribute.Get())
    if (centroid := occ.attribute(label, occ.XCAFDoc.XCAFDoc_Centroid)) is not None:
        point = centroid.Get()
        found["Centroid"] = f"{point.X():g}, {point.Y():g}, {point.Z():g}"
    return found


def own_annotations(document: Any, first: dict[str, Occurrence], root: Occurrence) -> None:
    """Give the first occurrence of each product its dimensions, tolerances, datums and notes; the root the others."""
    found: dict[int, tuple[Occurrence, dict[str, list[str]]]] = {}
    for kind, label, text in _annotations(document):
        owner = _owner(label, first) or root
        _, groups = found.setdefault(id(owner), (owner, {}))
        groups.setdefault(kind, []).append(text)
    for owner, groups in found.values():
        owner.annotations = tuple(
            AnnotationGroup(name=name, annotations=tuple(texts)) for name, texts in groups.items()
        )


def _annotations(document: Any) -> Iterator[tuple[str, Any, str]]:
    tools = occ.XCAFDoc.XCAFDoc_DocumentTool
    tolerances = tools.DimTolTool_s(document.Main())
    kinds = (
        ("Dimensions", tolerances.GetDimensionLabels, _dimension),
        ("Geometric tolerances", tolerances.GetGeomToleranceLabels, _tolerance),
        ("Datums", tolerances.GetDatumLabels, _datum),
        ("Notes", tools.NotesTool_s(document.Main()).GetNotes, _note),
    )
    for kind, labels_of, text_of in kinds:
        labels = occ.collections.Sequence_TDF_Label()
        labels_of(labels)
        for number, label in enumerate(labels, start=1):
            yield kind, label, text_of(label) or label_name(label) or f"{kind} {number}"


def _owner(label: Any, first: dict[str, Occurrence]) -> Occurrence | None:
    """The occurrence of the product that an annotation is about: its shape is the product's, or within it."""
    one, other = occ.collections.Sequence_TDF_Label(), occ.collections.Sequence_TDF_Label()
    if not occ.XCAFDoc.XCAFDoc_DimTolTool.GetRefShapeLabel_s(label, one, other):
        return None
    for shape in (*one, *other):
        while not shape.IsNull() and not shape.IsRoot():
            if found := first.get(occ.entry(shape)):
                return found
            shape = shape.Father()
    return None


def _object(label: Any, kind: Any) -> Any:
    attribute = occ.attribute(label, kind)
    return None if attribute is None else attribute.GetObject()


def _words(value: Any) -> str:
    """An enumerator in words: XCAFDimTolObjects_DimensionType_Size_Diameter becomes 'size diameter'."""
    return str(value.name).split("Type_", 1)[-1].replace("_", " ").lower()


def _named(found: Any, text: str) -> str:
    names = (occ.string(found.GetSemanticName()), occ.string(found.GetPresentationName()))
    name = next((name for name in names if name and not name.startswith(_UNNAMED)), "")
    return f"{name}: {text}" if name else text


def _dimension(label: Any) -> str:
    found = _object(label, occ.XCAFDoc.XCAFDoc_Dimension)
    if found is None:
        return ""
    text = f"{_words(found.GetType())} {found.GetValue():g}"
    if found.IsDimWithRange():
        text = f"{_words(found.GetType())} {found.GetLowerBound():g} to {found.GetUpperBound():g}"
    elif found.IsDimWithPlusMinusTolerance():
        text += f" +{found.GetUpperTolValue():g}/-{abs(found.GetLowerTolValue()):g}"
    return _named(found, text)


def _tolerance(label: Any) -> str:
    found = _object(label, occ.XCAFDoc.XCAFDoc_GeomTolerance)
    return "" if found is None else _named(found, f"{_words(found.GetType())} {found.GetValue():g}")


def _datum(label: Any) -> str:
    found = _object(label, occ.XCAFDoc.XCAFDoc_Datum)
    return "" if found is None else _named(found, occ.string(found.GetName()))


def _note(label: Any) -> str:
    comment = occ.attribute(label, occ.XCAFDoc.XCAFDoc_NoteComment)
    return "" if comment is None else occ.string(comment.Comment())
