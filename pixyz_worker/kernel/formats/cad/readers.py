"""STEP, IGES and BRep with their exact surfaces, through OpenCASCADE (the extra `cad`). Nothing is tessellated here."""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixyz_worker.file_names import is_remote
from pixyz_worker.kernel import isolation
from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.formats.cad import faceted, occ
from pixyz_worker.kernel.formats.cad.xcaf_tree import read_tree
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

_UNITS = {
    "metre": 1.0,
    "decimetre": 0.1,
    "centimetre": 0.01,
    "millimetre": 0.001,
    "micrometre": 1e-6,
    "kilometre": 1000.0,
    "inch": 0.0254,
    "foot": 0.3048,
    "mile": 1609.344,
    "mil": 2.54e-5,
}
_TEXT = b"CASCADE Topology"
_ANNOUNCED = re.compile(
    rb"^(?:(?:Locations|Curve2ds|Curves|Polygon3D|PolygonOnTriangulations|Surfaces|Triangulations|TShapes) +(\d{1,18})"
    rb"|7 [01] [01] \d+ (\d{1,18}) \d+ |9 [01] [01] [01] [01] \d+ \d+ (\d{1,18}) (\d{1,18}) \d+ \d+ )",
    re.MULTILINE,
)
"""What a BRep text announces: the entries of its tables, and the poles of B-spline curves and surfaces."""
_REFERS = (b"DOCUMENT_FILE", b"EXTERNAL_")
"""What stands in a STEP file that names other files."""


def read_step(path: Path, *, name: str) -> Scene:
    """A STEP file, with the files beside it that it refers to; ValueError says what is wrong with it."""
    with _document() as document:
        reader = _step_reader(path)
        _keep_inside(reader, path)
        unit = _step_unit(reader)
        with occ.explained("OpenCASCADE cannot make shapes of it"):
            if not reader.Transfer(document):
                raise ValueError("OpenCASCADE finds no shape in it")
        del reader  # it holds the whole text of the file
        return Scene(name=name, root=read_tree(document, name), unit_m=unit, up="z")


def read_iges(path: Path, *, name: str) -> Scene:
    """An IGES file; ValueError says what is wrong with it."""
    with _document() as document, occ.explained("OpenCASCADE cannot make shapes of it"):
        reader = occ.IGESCAFControl.IGESCAFControl_Reader()
        if reader.ReadFile(str(path)) != occ.IFSelect.IFSelect_ReturnStatus.IFSelect_RetDone:
            raise ValueError("its text is damaged or cut off")
        unit = float(reader.IGESModel().GlobalSection().UnitValue()) * MILLIMETRE
        if not reader.Transfer(document):
            raise ValueError("OpenCASCADE finds no shape in it")
        return Scene(name=name, root=read_tree(document, name), unit_m=unit, up="z")


def read_brep(path: Path, options: ReadOptions) -> Scene:
    """A BRep file of OpenCASCADE, text or binary: one shape, in millimetres.

    OpenCASCADE makes room for whatever a text announces, and looks for it long after the text has ended. So what
    tables and splines cannot hold is refused, and a text with other numbers that large is read in a process of its own.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        sound = _TEXT not in text[:4096] or _is_sound(text)
    return parse_brep(path, options) if sound else isolation.read(f"{__name__}:parse_brep", path, options)


def _is_sound(text: mmap.mmap) -> bool:
    """Whether no number of a BRep text is larger than the text; ValueError when one has to be smaller."""
    for found in _ANNOUNCED.finditer(text):
        count = math.prod(int(number) for number in found.groups() if number)
        if count > len(text):
            raise ValueError(f"it announces {count} things in a place, more than it has bytes for")
    large = re.compile(rb"(?<![\w.+-])\d{%d,18}(?![\w.])" % len(str(len(text))))
    return all(int(found[0]) <= len(text) for found in large.finditer(text))


def parse_brep(path: Path, options: ReadOptions) -> Scene:
    """What read_brep does, in this process, whatever the text is like."""
    shape, name = occ.TopoDS.TopoDS_Shape(), path.stem
    with path.open("rb") as file:
        head = file.read(4096)
    with occ.quietly(), occ.explained("its text is damaged or cut off"):
        if b"Open CASCADE Topology" in head[:64]:
            occ.BinTools.BinTools.Read_s(shape, str(path))
        elif b"DBRep_DrawableShape" in head or _TEXT in head:
            occ.BRepTools.BRepTools.Read_s(shape, str(path), occ.BRep.BRep_Builder())
        else:
            raise ValueError("it does not begin like a BRep file")
    if shape.IsNull():
        raise ValueError("its text is damaged or cut off")
    part, brep = Part(name=name), OccBrep(shape)
    if faceted.is_faceted(shape):
        part.mesh = faceted.mesh_of(brep)
    else:
        part.brep = brep
    root = Occurrence(name=name, children=[Occurrence(name=name, part=part)])
    return Scene(name=name, root=root, unit_m=MILLIMETRE, up="z")


@contextmanager
def _document() -> Iterator[Any]:
    """A document to read into, in millimetres."""
    statics = occ.Interface.Interface_Static
    with occ.quietly():
        document = occ.document()
        statics.SetCVal_s("xstep.cascade.unit", "MM")
        statics.SetIVal_s("read.step.tessellated", 2)  # triangles only where there is no exact surface
        yield document


def _step_reader(path: Path) -> Any:
    with occ.explained("its text is damaged"):
        reader = occ.STEPCAFControl.STEPCAFControl_Reader()
        reader.SetProductMetaMode(True)
        if reader.ReadFile(str(path)) != occ.IFSelect.IFSelect_ReturnStatus.IFSelect_RetDone:
            raise ValueError("its text is damaged or cut off")
    return reader


def _keep_inside(reader: Any, path: Path) -> None:
    """Refuse a file that refers, itself or through others, to files outside its folder: OpenCASCADE would open them."""
    folder, seen, pending = path.parent.resolve(), {path.resolve()}, _references(reader)
    while pending:
        name = pending.pop()
        if is_remote(name):
            raise ValueError(f"it refers to {name!r}, which is outside its folder")
        found = (folder / name).resolve()
        if not found.exists() or found in seen:
            continue
        seen.add(found)
        if not found.is_relative_to(folder) or not found.is_file():
            raise ValueError(f"it refers to {name!r}, which is outside its folder")
        text = found.read_bytes()
        if any(mark in text for mark in _REFERS):
            inner = Path(name).parent
            pending += [str(inner / further) for further in _references(_step_reader(found))]


def _references(reader: Any) -> list[str]:
    """The names of other files that a loaded STEP file refers to."""
    found = occ.STEPConstruct.STEPConstruct_ExternRefs(reader.Reader().WS())
    with occ.explained("its references to other files make no sense"):
        found.LoadExternRefs()
        names = [found.FileName(number) for number in range(1, found.NbExternRefs() + 1)]
    return [name for name in names if name]


def _step_unit(reader: Any) -> float:
    """Metres in the unit of length that a STEP file names first; a millimetre when it is none that is known."""
    texts = [occ.collections.Sequence_TCollection_AsciiString() for _ in range(3)]
    reader.Reader().FileUnits(*texts)
    names = [occ.string(name).strip().lower() for name in texts[0]]
    return next((_UNITS[name] for name in names if name in _UNITS), MILLIMETRE)
