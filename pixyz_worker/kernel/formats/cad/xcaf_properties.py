"""User-defined properties of an XCAF document.

OpenCASCADE's Python binding gives the value of a property whose name is known, but no names. OpenCASCADE writes the
names too when it stores a document as XML, so the properties alone are stored that way, and the names found in it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from pixyz_worker.kernel.formats.cad import occ
from pixyz_worker.kernel.scene import Value

_SPACE = "{http://www.opencascade.org/OCAF/XML}"
_MAX_WORDS = 64
"""A name of a property has fewer words than this."""


def read_properties(document: Any) -> dict[str, dict[str, Value]]:
    """The properties of each label that has some, by the label's entry."""
    shapes = occ.XCAFDoc.XCAFDoc_DocumentTool.ShapeTool_s(document.Main())
    found = [(occ.entry(label), shapes.GetNamedProperties(label)) for label in _labels(shapes)]
    found = [(entry, data) for entry, data in found if data is not None]
    if not found:
        return {}
    records = _records([data for _, data in found])
    return {entry: _values(data, records.get(number, [])) for number, (entry, data) in enumerate(found, start=1)}


def _labels(shapes: Any) -> list[Any]:
    """The labels of all products and of all instances within them."""
    products = occ.collections.Sequence_TDF_Label()
    shapes.GetShapes(products)
    labels = list(products)
    for product in list(labels):
        components = occ.collections.Sequence_TDF_Label()
        if occ.XCAFDoc.XCAFDoc_ShapeTool.GetComponents_s(product, components):
            labels += list(components)
    return labels


def _records(every: list[Any]) -> dict[int, list[str]]:
    """For each set of properties, counted from 1, texts that begin with a name, then a blank, then a value."""
    application = occ.TDocStd.TDocStd_Application()
    occ.XmlDrivers.XmlDrivers.DefineFormat_s(application)
    document = occ.TDocStd.TDocStd_Document(occ.extended("XmlOcaf"))
    application.InitDocument(document)
    occ.CDF.CDF_Application.Open(application, document)
    for number, data in enumerate(every, start=1):
        copy = occ.TDataStd.TDataStd_NamedData()
        document.Main().FindChild(number, True).AddAttribute(copy)
        data.Paste(copy, occ.TDF.TDF_RelocationTable())
    stream = io.BytesIO()
    application.SaveAs(document, stream)
    application.Close(document)
    try:
        tree = ElementTree.fromstring(stream.getvalue())
    except ElementTree.ParseError:  # a name with characters that XML cannot hold
        return {}
    found: dict[int, list[str]] = {}
    for label in tree.iter(f"{_SPACE}label"):
        for data in label.findall(f"{_SPACE}TDataStd_NamedData"):
            found[int(label.get("tag", "0"))] = [node.text or "" for node in data.findall(f"{_SPACE}string")]
    return found


def _values(data: Any, records: list[str]) -> dict[str, Value]:
    """Names and values, by name; a name may have blanks, so the data is asked whether it knows it."""
    kinds: tuple[tuple[Callable[[Any], bool], Callable[[Any], Value]], ...] = (
        (data.HasString, lambda key: _mended(occ.string(data.GetString(key)))),
        (data.HasReal, lambda key: float(data.GetReal(key))),
        (data.HasInteger, lambda key: int(data.GetInteger(key))),
    )
    found: dict[str, Value] = {}
    for record in records:
        words = record.split(" ")
        for count in range(1, min(len(words), _MAX_WORDS) + 1):
            name = " ".join(words[:count])
            key = occ.extended(name)
            if name not in found and (value := next((get(key) for has, get in kinds if has(key)), None)) is not None:
                found[name] = value
                break
    return dict(sorted(found.items()))


def _mended(text: str) -> str:
    """A text whose bytes in UTF-8 OpenCASCADE's STEP reader took for a letter each."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
