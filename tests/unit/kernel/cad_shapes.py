"""Shapes and STEP files made with OpenCASCADE, for tests that know what has to come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pixyz_worker.kernel.brep import OccBrep
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

RED, GREEN, BLUE = (0.5, 0.0, 0.0), (0.0, 0.25, 0.0), (0.0, 0.0, 0.75)


def box(*size: float) -> Any:
    """A box in millimetres with a corner at the origin."""
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox

    return BRepPrimAPI_MakeBox(*size).Shape()


def sphere(radius: float) -> Any:
    """A sphere around the origin, in millimetres."""
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeSphere

    return BRepPrimAPI_MakeSphere(radius).Shape()


def loose(faces: Sequence[Any], gap: float = 0.0) -> Any:
    """Faces that share nothing, each moved a little further up than the one before."""
    from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
    from OCP.gp import gp_Trsf, gp_Vec

    from pixyz_worker.kernel.formats.cad import occ

    builder, whole = occ.BRep.BRep_Builder(), occ.TopoDS.TopoDS_Compound()
    builder.MakeCompound(whole)
    for number, face in enumerate(faces):
        move = gp_Trsf()
        move.SetTranslation(gp_Vec(0, 0, gap * number))
        builder.Add(whole, BRepBuilderAPI_Transform(face, move, True).Shape())
    return whole


def shown(shape: Any, **looks: Any) -> Scene:
    """A scene with one part."""
    part = Part(name="part", brep=OccBrep(shape, **looks))
    root = Occurrence(name="scene", children=[Occurrence(name="one", part=part)])
    return Scene(name="scene", root=root, unit_m=0.001, up="z")


def colour(values: tuple[float, float, float], name: str = "") -> Material:
    """A material of a linear colour."""
    return Material(name=name, base_colour=(*values, 1.0))


class Document:
    """An XCAF document that a test fills, and writes as STEP."""

    def __init__(self) -> None:
        from pixyz_worker.kernel.formats.cad import occ

        self.occ = occ
        self.document = occ.document()
        tools, main = occ.XCAFDoc.XCAFDoc_DocumentTool, self.document.Main()
        self.shapes = tools.ShapeTool_s(main)
        self.colours = tools.ColorTool_s(main)
        self.layers = tools.LayerTool_s(main)
        self.tolerances = tools.DimTolTool_s(main)

    def part(self, shape: Any, name: str) -> Any:
        """The label of a new part."""
        return self.named(self.shapes.AddShape(shape, False), name)

    def assembly(self, name: str) -> Any:
        """The label of a new assembly."""
        return self.named(self.shapes.NewShape(), name)

    def put(self, assembly: Any, product: Any, name: str, *at: float) -> Any:
        """The label of an instance of a product in an assembly, at a place in millimetres."""
        from OCP.gp import gp_Trsf, gp_Vec

        move = gp_Trsf()
        move.SetTranslation(gp_Vec(*(at or (0, 0, 0))))
        return self.named(self.shapes.AddComponent(assembly, product, self.occ.TopLoc.TopLoc_Location(move)), name)

    def named(self, label: Any, name: str) -> Any:
        """The label, with a name."""
        self.occ.TDataStd.TDataStd_Name.Set_s(label, self.occ.extended(name))
        return label

    def paint(self, label: Any, values: tuple[float, float, float]) -> None:
        """Give a label a linear colour."""
        quantity = self.occ.Quantity
        made = quantity.Quantity_Color(*values, quantity.Quantity_TypeOfColor.Quantity_TOC_RGB)
        self.colours.SetColor(label, made, self.occ.XCAFDoc.XCAFDoc_ColorType.XCAFDoc_ColorSurf)

    def write(self, path: Path, *, multi: str | None = None, unit: str = "MM") -> Path:
        """Write the document as STEP; multi is the beginning of the names of the files of its parts."""
        occ = self.occ
        self.shapes.UpdateAssemblies()
        with occ.quietly():
            occ.Interface.Interface_Static.SetCVal_s("write.step.unit", unit)
            occ.Interface.Interface_Static.SetIVal_s("write.step.schema", 5)
            writer = occ.STEPCAFControl.STEPCAFControl_Writer()
            writer.SetDimTolMode(True)
            as_is = occ.STEPControl.STEPControl_StepModelType.STEPControl_AsIs
            assert writer.Transfer(self.document, as_is, multi)
            writer.Write(str(path))
            occ.Interface.Interface_Static.SetCVal_s("write.step.unit", "MM")
        return path


def find(scene: Scene, name: str) -> Occurrence:
    """The first occurrence of a name."""
    return next(occurrence for occurrence in scene.root.walk() if occurrence.name == name)


def face_look(brep: OccBrep, chosen: Callable[[tuple[float, float, float]], bool]) -> set[Material | None]:
    """The materials of the faces whose centre of area, in millimetres, is chosen."""
    from pixyz_worker.kernel.formats.cad import occ

    found = set()
    for number, face in enumerate(occ.faces(brep.shape)):
        properties = occ.GProp.GProp_GProps()
        occ.BRepGProp.BRepGProp.SurfaceProperties_s(face, properties)
        centre = properties.CentreOfMass()
        if chosen((centre.X(), centre.Y(), centre.Z())):
            found.add(brep.materials[0 if brep.face_materials is None else int(brep.face_materials[number])])
    return found
