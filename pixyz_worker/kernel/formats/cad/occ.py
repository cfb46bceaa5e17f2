"""OpenCASCADE (the extra `cad`), imported once for all modules that use it.

Importing this module raises UnsupportedFormat with a sentence where the package or a system library is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pixyz_worker.exception import PixyzException, UnsupportedFormat
from pixyz_worker.kernel import system_libraries


def _sentence(error: ImportError) -> str:
    if missing := system_libraries.missing_in(error):
        return f"{system_libraries.needs('Exact CAD surfaces need', missing)}."
    if error.name == "OCP":
        return "OpenCASCADE is not installed here: it comes with the extra 'cad'. pip install 'pixyz-ray[cad]'"
    return f"OpenCASCADE (cadquery-ocp-novtk) cannot be loaded: {error}."


try:
    from OCP import (
        CDF,
        TDF,
        BinTools,
        Bnd,
        BRep,
        BRepBndLib,
        BRepBuilderAPI,
        BRepClass3d,
        BRepGProp,
        BRepLib,
        BRepMesh,
        BRepTools,
        GProp,
        IFSelect,
        IGESCAFControl,
        IGESControl,
        IMeshTools,
        Interface,
        Message,
        Poly,
        Quantity,
        ShapeAnalysis,
        ShapeBuild,
        ShapeFix,
        ShapeUpgrade,
        STEPCAFControl,
        STEPConstruct,
        STEPControl,
        TCollection,
        TDataStd,
        TDocStd,
        TopAbs,
        TopExp,
        TopLoc,
        TopoDS,
        XCAFApp,
        XCAFDoc,
        XmlDrivers,
        collections,
        gp,
    )
except ImportError as error:
    raise UnsupportedFormat(_sentence(error)) from error

__all__ = [
    "CDF",
    "TDF",
    "BRep",
    "BRepBndLib",
    "BRepBuilderAPI",
    "BRepClass3d",
    "BRepGProp",
    "BRepLib",
    "BRepMesh",
    "BRepTools",
    "BinTools",
    "Bnd",
    "GProp",
    "IFSelect",
    "IGESCAFControl",
    "IGESControl",
    "IMeshTools",
    "Interface",
    "Message",
    "Poly",
    "Quantity",
    "STEPCAFControl",
    "STEPConstruct",
    "STEPControl",
    "ShapeAnalysis",
    "ShapeBuild",
    "ShapeFix",
    "ShapeUpgrade",
    "TCollection",
    "TDataStd",
    "TDocStd",
    "TopAbs",
    "TopExp",
    "TopLoc",
    "TopoDS",
    "XCAFApp",
    "XCAFDoc",
    "XmlDrivers",
    "attribute",
    "collections",
    "document",
    "entry",
    "explained",
    "extended",
    "faces",
    "gp",
    "quietly",
    "shape_map",
    "string",
]

# Settings (Interface_Static) are there, and can be set, only after this.
STEPCAFControl.STEPCAFControl_Controller.Init_s()
IGESControl.IGESControl_Controller.Init_s()

FACE, EDGE = TopAbs.TopAbs_ShapeEnum.TopAbs_FACE, TopAbs.TopAbs_ShapeEnum.TopAbs_EDGE


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever OpenCASCADE raises into ValueError('WHAT: its words')."""
    try:
        yield
    except (ValueError, OSError, MemoryError, PixyzException):
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{what}: {words}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Keep OpenCASCADE's reports of progress and its warnings off standard output; its errors are still printed."""
    printers = list(Message.Message.DefaultMessenger_s().Printers())
    levels = [printer.GetTraceLevel() for printer in printers]
    for printer in printers:
        printer.SetTraceLevel(Message.Message_Gravity.Message_Fail)
    try:
        yield
    finally:
        for printer, level in zip(printers, levels, strict=True):
            printer.SetTraceLevel(level)


def document() -> Any:
    """A new, empty XCAF document."""
    made = TDocStd.TDocStd_Document(extended("BinXCAF"))
    XCAFApp.XCAFApp_Application.GetApplication_s().InitDocument(made)
    return made


def attribute(label: Any, kind: Any, identity: Any = None) -> Any:
    """The attribute of a kind that a label has, None when it has none; identity where a label may have several."""
    # The binding's FindAttribute gives empty attributes of some kinds, and crashes for others.
    iterator = TDF.TDF_AttributeIterator(label)
    while iterator.More():
        found = iterator.Value()
        if isinstance(found, kind) and (identity is None or found.ID().IsSame(identity)):
            return found
        iterator.Next()
    return None


def entry(label: Any) -> str:
    """The place of a label in its document, such as '0:1:1:2'."""
    text = TCollection.TCollection_AsciiString()
    TDF.TDF_Tool.Entry_s(label, text)
    return str(text.ToCString())


def extended(text: str) -> Any:
    """OpenCASCADE's own string of a text, beyond ASCII too."""
    return TCollection.TCollection_ExtendedString(text, True)


def string(value: Any) -> str:
    """The text of OpenCASCADE's strings; empty for a null one."""
    if value is None:
        return ""
    return str(value.ToExtString() if hasattr(value, "ToExtString") else value.ToCString())


def shape_map(shape: Any, kind: Any) -> Any:
    """The different sub-shapes of one kind, as an indexed map that counts from 1."""
    found = collections.IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher()
    TopExp.TopExp.MapShapes_s(shape, kind, found)
    return found


def faces(shape: Any) -> list[Any]:
    """The different faces of a shape, in the order in which colours and triangles are kept."""
    found = shape_map(shape, FACE)
    return [TopoDS.TopoDS.Face(found.FindKey(number)) for number in range(1, found.Extent() + 1)]
