#!/usr/bin/env python3
"""Build samples/bracket_assembly.step, the STEP assembly that the demo and the tests convert.

The file is kept in the repository, so nobody needs this script to use the project. To build it again:

    python3 -m venv cad
    cad/bin/pip install cadquery-ocp-novtk==8.0.1   # also needs libGL.so.1 (libgl1 on Debian)
    cad/bin/python scripts/build_samples.py samples

Lengths are millimetres. Two runs differ in nothing but the order of the colour entities.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

from OCP.BRepAlgoAPI import BRepAlgoAPI_Common, BRepAlgoAPI_Cut, BRepAlgoAPI_Fuse
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeFace, BRepBuilderAPI_MakePolygon
from OCP.BRepFilletAPI import BRepFilletAPI_MakeChamfer, BRepFilletAPI_MakeFillet
from OCP.BRepPrimAPI import (
    BRepPrimAPI_MakeBox,
    BRepPrimAPI_MakeCone,
    BRepPrimAPI_MakeCylinder,
    BRepPrimAPI_MakePrism,
)
from OCP.gp import gp_Ax1, gp_Ax2, gp_Dir, gp_Pnt, gp_Trsf, gp_Vec
from OCP.IFSelect import IFSelect_RetDone
from OCP.Quantity import Quantity_Color, Quantity_TOC_sRGB
from OCP.STEPCAFControl import STEPCAFControl_Writer
from OCP.TCollection import TCollection_ExtendedString
from OCP.TDataStd import TDataStd_Name
from OCP.TDocStd import TDocStd_Document
from OCP.TopAbs import TopAbs_EDGE
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS, TopoDS_Shape
from OCP.XCAFDoc import XCAFDoc_ColorSurf, XCAFDoc_DocumentTool

NAME = "bracket_assembly"
PLATE_THICKNESS = 12.0
FOOT_THICKNESS = 10.0
BORE_HEIGHT = 60.0
BOLT_ROWS = (-28.0, 0.0, 28.0)
BOLT_OFFSET = 70.0


def cylinder(x: float, y: float, z: float, radius: float, height: float, axis: gp_Dir | None = None) -> TopoDS_Shape:
    """A cylinder that starts at a point and goes along an axis (default: up)."""
    frame = gp_Ax2(gp_Pnt(x, y, z), axis or gp_Dir(0, 0, 1))
    return BRepPrimAPI_MakeCylinder(frame, radius, height).Shape()


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> TopoDS_Shape:
    """A box between two corners, given as one pair for each axis."""
    return BRepPrimAPI_MakeBox(gp_Pnt(x[0], y[0], z[0]), gp_Pnt(x[1], y[1], z[1])).Shape()


def fuse(*shapes: TopoDS_Shape) -> TopoDS_Shape:
    """The union of shapes."""
    whole = shapes[0]
    for shape in shapes[1:]:
        whole = BRepAlgoAPI_Fuse(whole, shape).Shape()
    return whole


def cut(body: TopoDS_Shape, *tools: TopoDS_Shape) -> TopoDS_Shape:
    """A body without the tools."""
    for tool in tools:
        body = BRepAlgoAPI_Cut(body, tool).Shape()
    return body


def edges(shape: TopoDS_Shape) -> list[Any]:
    """The edges of a shape, each once."""
    explorer, found = TopExp_Explorer(shape, TopAbs_EDGE), []
    while explorer.More():
        edge = explorer.Current()
        if not any(edge.IsSame(other) for other in found):
            found.append(edge)
        explorer.Next()
    return found


def centre(edge: TopoDS_Shape) -> tuple[float, float, float]:
    """The centre of an edge's length."""
    from OCP.BRepGProp import BRepGProp
    from OCP.GProp import GProp_GProps

    properties = GProp_GProps()
    BRepGProp.LinearProperties_s(edge, properties)
    point = properties.CentreOfMass()
    return (point.X(), point.Y(), point.Z())


def near(point: tuple[float, float, float], wanted: tuple[float, float, float]) -> bool:
    """Whether two points are the same for our purpose."""
    return math.dist(point, wanted) < 0.01


def hexagon(across_flats: float, z: float, height: float) -> TopoDS_Shape:
    """A hexagonal prism around the z axis."""
    radius = across_flats / math.sqrt(3.0)
    polygon = BRepBuilderAPI_MakePolygon()
    for corner in range(6):
        angle = math.radians(60.0 * corner)
        polygon.Add(gp_Pnt(radius * math.cos(angle), radius * math.sin(angle), z))
    polygon.Close()
    face = BRepBuilderAPI_MakeFace(polygon.Wire()).Face()
    return BRepPrimAPI_MakePrism(face, gp_Vec(0, 0, height)).Shape()


def bevelled(shape: TopoDS_Shape, across_flats: float, top: float) -> TopoDS_Shape:
    """A hexagonal head whose upper corners are turned off at 30 degrees."""
    inner, depth = across_flats * 0.475, 40.0
    outer = inner + depth / math.tan(math.radians(30.0))
    frame = gp_Ax2(gp_Pnt(0, 0, top - depth), gp_Dir(0, 0, 1))
    return BRepAlgoAPI_Common(shape, BRepPrimAPI_MakeCone(frame, outer, inner, depth).Shape()).Shape()


def base_plate() -> TopoDS_Shape:
    """The plate that carries everything: rounded corners, six bolt holes, a slot."""
    plate = box((-95, 95), (-55, 55), (0, PLATE_THICKNESS))
    corners = BRepFilletAPI_MakeFillet(plate)
    for edge in edges(plate):
        x, y, z = centre(edge)
        if near((abs(x), abs(y), z), (95, 55, PLATE_THICKNESS / 2)):
            corners.Add(12.0, TopoDS.Edge(edge))
    holes = [cylinder(x, y, -1, 5.5, 20) for x in (-BOLT_OFFSET, BOLT_OFFSET) for y in BOLT_ROWS]
    slot = [box((-20, 20), (-8, 8), (-1, 20)), cylinder(-20, 0, -1, 8, 21), cylinder(20, 0, -1, 8, 21)]
    return cut(corners.Shape(), *holes, *slot)


def bracket() -> TopoDS_Shape:
    """A bearing bracket: a foot with three holes, an upright with a round head and a bore."""
    along = gp_Dir(1, 0, 0)
    body = fuse(
        box((0, 45), (-40, 40), (0, FOOT_THICKNESS)),
        box((0, 12), (-30, 30), (FOOT_THICKNESS - 1, BORE_HEIGHT)),
        cylinder(0, 0, BORE_HEIGHT, 30, 12, along),
    )
    rounded = BRepFilletAPI_MakeFillet(body)
    for edge in edges(body):
        if near(centre(edge), (12, 0, FOOT_THICKNESS)):
            rounded.Add(6.0, TopoDS.Edge(edge))
    holes = [cylinder(30, y, -1, 5.5, 20) for y in BOLT_ROWS]
    return cut(rounded.Shape(), cylinder(-1, 0, BORE_HEIGHT, 10, 20, along), *holes)


def shaft() -> TopoDS_Shape:
    """A stepped shaft along x with chamfered ends and a collar."""
    along = gp_Dir(1, 0, 0)
    body = fuse(cylinder(-70, 0, 0, 10, 140, along), cylinder(-38, 0, 0, 15, 76, along))
    ends = BRepFilletAPI_MakeChamfer(body)
    for edge in edges(body):
        x, y, z = centre(edge)
        if near((abs(x), y, z), (70, 0, 0)):
            ends.Add(1.5, TopoDS.Edge(edge))
    return ends.Shape()


def bolt() -> TopoDS_Shape:
    """A hexagon bolt M10: the head sits on z = 0, the shank goes down."""
    head = bevelled(hexagon(16.0, 0.0, 6.4), 16.0, 6.4)
    return fuse(head, cylinder(0, 0, -37, 5, 37.5))


def nut() -> TopoDS_Shape:
    """A hexagon nut M10 from z = 0 to 8."""
    return cut(bevelled(hexagon(16.0, 0.0, 8.0), 16.0, 8.0), cylinder(0, 0, -1, 5, 10))


def washer() -> TopoDS_Shape:
    """A washer from z = 0 to 2."""
    return cut(cylinder(0, 0, 0, 10, 2), cylinder(0, 0, -1, 5.25, 4))


def placed(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, *, turned: tuple[gp_Dir, float] | None = None
) -> TopLoc_Location:
    """A location: an optional turn (axis, degrees) around the origin, then a shift."""
    shift = gp_Trsf()
    shift.SetTranslation(gp_Vec(x, y, z))
    if turned is not None:
        turn = gp_Trsf()
        turn.SetRotation(gp_Ax1(gp_Pnt(0, 0, 0), turned[0]), math.radians(turned[1]))
        shift.Multiply(turn)
    return TopLoc_Location(shift)


class Assembly:
    """An XCAF document under construction: named, coloured parts, and assemblies of located components."""

    def __init__(self) -> None:
        """Start an empty document."""
        self.document = TDocStd_Document(TCollection_ExtendedString("BinXCAF"))
        self.shapes = XCAFDoc_DocumentTool.ShapeTool_s(self.document.Main())
        self.colours = XCAFDoc_DocumentTool.ColorTool_s(self.document.Main())

    def part(self, name: str, shape: TopoDS_Shape, colour: str) -> Any:
        """Add a part with a name and an sRGB colour like '#c0c0c0'."""
        label = self.shapes.AddShape(shape, False)
        red, green, blue = (int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
        self.colours.SetColor(label, Quantity_Color(red, green, blue, Quantity_TOC_sRGB), XCAFDoc_ColorSurf)
        return self.named(label, name)

    def group(self, name: str, components: list[tuple[str, Any, TopLoc_Location]]) -> Any:
        """Add an assembly of (instance name, part or assembly, location)."""
        label = self.shapes.NewShape()
        for instance, child, location in components:
            self.named(self.shapes.AddComponent(label, child, location), instance)
        return self.named(label, name)

    @staticmethod
    def named(label: Any, name: str) -> Any:
        """Name a label."""
        TDataStd_Name.Set_s(label, TCollection_ExtendedString(name, True))
        return label

    def write(self, path: Path) -> None:
        """Write the document as STEP, with a fixed header so that each run gives the same bytes."""
        self.shapes.UpdateAssemblies()
        writer = STEPCAFControl_Writer()
        writer.SetColorMode(True)
        writer.SetNameMode(True)
        writer.Transfer(self.document)
        if writer.Write(str(path)) != IFSelect_RetDone:
            raise SystemExit(f"OpenCASCADE could not write {path}")
        text = path.read_text(encoding="utf-8")
        header = (
            f"FILE_NAME('{NAME}.step','2026-01-01T00:00:00',('Pixyz on Ray'),('Pixyz on Ray'),"
            "'Open CASCADE Technology','scripts/build_samples.py','');"
        )
        text = re.sub(r"FILE_NAME\(.*?\);", header, text, count=1, flags=re.DOTALL)
        path.write_text(text, encoding="utf-8")


def build(path: Path) -> None:
    """Assemble the parts and write the file."""
    up, over = gp_Dir(0, 0, 1), gp_Dir(1, 0, 0)
    scene = Assembly()
    plate = scene.part("Base plate", base_plate(), "#7d8a96")
    holder = scene.part("Lagerbock Größe 40", bracket(), "#e07b1a")
    axle = scene.part("Shaft Ø20", shaft(), "#b3261e")
    screw = scene.part("Bolt M10x35", bolt(), "#2f5fa8")
    ring = scene.part("Washer M10", washer(), "#d9d9d9")
    hexnut = scene.part("Nut M10", nut(), "#c9a227")
    under = -(FOOT_THICKNESS + PLATE_THICKNESS)
    fastener = scene.group(
        "Bolt set M10",
        [
            ("Washer", ring, placed()),
            ("Bolt", screw, placed(z=2)),
            ("Nut", hexnut, placed(z=under, turned=(over, 180.0))),
        ],
    )
    sets = [(x, y) for x in (-BOLT_OFFSET, BOLT_OFFSET) for y in BOLT_ROWS]
    top = PLATE_THICKNESS + FOOT_THICKNESS
    scene.group(
        "Bracket assembly",
        [
            ("Base plate", plate, placed()),
            ("Lagerbock links", holder, placed(-40, 0, PLATE_THICKNESS, turned=(up, 180.0))),
            ("Lagerbock rechts", holder, placed(40, 0, PLATE_THICKNESS)),
            ("Shaft Ø20", axle, placed(0, 0, PLATE_THICKNESS + BORE_HEIGHT)),
            *((f"Bolt set {n}", fastener, placed(x, y, top)) for n, (x, y) in enumerate(sets, 1)),
        ],
    )
    scene.write(path)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "samples")
    folder.mkdir(parents=True, exist_ok=True)
    build(folder / f"{NAME}.step")
    print(f"{folder / NAME}.step: {(folder / f'{NAME}.step').stat().st_size} bytes")
