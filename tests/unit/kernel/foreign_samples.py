"""samples.assembly() in the formats that we only read, written without our writers."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy

from pixyz_worker.kernel.axes import turn
from pixyz_worker.kernel.formats import lack_of
from pixyz_worker.kernel.mesh import Mesh, moved
from pixyz_worker.kernel.scene import Axis
from tests.unit.kernel import samples


def instances(up: Axis) -> Iterator[tuple[str, str, Mesh]]:
    """Name, material and placed mesh of each instance, in metres."""
    for occurrence in samples.assembly().instances():
        assert occurrence.part is not None and occurrence.part.mesh is not None
        material = occurrence.part.mesh.materials[0]
        assert material is not None
        yield occurrence.name, material.name, moved(occurrence.part.mesh, turn("y", up) @ occurrence.world())


def write_dxf(path: Path) -> None:
    """A 3DFACE for each triangle, on a layer of the instance's name."""
    lines = ["0", "SECTION", "2", "ENTITIES"]
    for name, _, mesh in instances("z"):
        for triangle in mesh.positions[mesh.triangles]:
            lines += ["0", "3DFACE", "8", name]
            for corner, point in enumerate((*triangle, triangle[2])):
                for axis, value in enumerate(point):
                    lines += [str(10 * (axis + 1) + corner), f"{value:.6f}"]
    path.write_text("\n".join([*lines, "0", "ENDSEC", "0", "EOF", ""]), encoding="utf-8")


def write_x3d(path: Path) -> None:
    """The box as a Box, the ball once and used again, below a moved group."""
    ball = samples.assembly().parts()[1].mesh
    assert ball is not None
    points = ", ".join(" ".join(f"{value:.6f}" for value in point) for point in ball.positions)
    index = " ".join(str(number) for number in ball.triangles.ravel())
    red, blue = (" ".join(f"{level / 255:.4f}" for level in colour) for colour in (samples.RED, samples.BLUE))
    path.write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<X3D profile="Interchange" version="3.3"><Scene>
 <Transform DEF="Kasten Ä"><Shape DEF="Kasten Ä.1">
  <Appearance><Material diffuseColor="{red}"/></Appearance><Box size="2 3 4"/></Shape></Transform>
 <Transform DEF="Gruppe" translation="0 4 0">
  <Transform DEF="ball left" translation="-3 0 0"><Shape DEF="ball">
   <Appearance><Material diffuseColor="{blue}"/></Appearance>
   <IndexedTriangleSet index="{index}"><Coordinate point="{points}"/></IndexedTriangleSet></Shape></Transform>
  <Transform DEF="ball right" translation="3 0 0"><Shape USE="ball"/></Transform>
 </Transform>
</Scene></X3D>
""",
        encoding="utf-8",
    )


def _chunk(kind: int, content: bytes) -> bytes:
    return struct.pack("<HI", kind, len(content) + 6) + content


def write_3ds(path: Path) -> None:
    """Objects at their places with a material each; names are bytes."""
    parts = b""
    for name, colour in (("red", samples.RED), ("blue", samples.BLUE)):
        parts += _chunk(0xAFFF, _chunk(0xA000, name.encode() + b"\0") + _chunk(0xA020, _chunk(0x0011, bytes(colour))))
    for name, material, mesh in instances("z"):
        count = len(mesh.triangles)
        corners = numpy.concatenate([mesh.triangles, numpy.full((count, 1), 7)], axis=1).astype("<u2")
        group = material.encode() + b"\0" + struct.pack("<H", count) + numpy.arange(count, dtype="<u2").tobytes()
        faces = struct.pack("<H", count) + corners.tobytes() + _chunk(0x4130, group)
        points = struct.pack("<H", len(mesh.positions)) + mesh.positions.astype("<f4").tobytes()
        shape = _chunk(0x4100, _chunk(0x4110, points) + _chunk(0x4120, faces))
        parts += _chunk(0x4000, name.encode() + b"\0" + shape)
    path.write_bytes(_chunk(0x4D4D, _chunk(0x0002, struct.pack("<I", 3)) + _chunk(0x3D3D, parts)))


def write_iges(path: Path) -> None:
    """A box and two balls as exact surfaces, in millimetres."""
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox, BRepPrimAPI_MakeSphere
    from OCP.gp import gp_Pnt
    from OCP.IGESCAFControl import IGESCAFControl_Writer
    from OCP.Quantity import Quantity_Color, Quantity_TOC_sRGB
    from OCP.TCollection import TCollection_ExtendedString
    from OCP.TDataStd import TDataStd_Name
    from OCP.TDocStd import TDocStd_Document
    from OCP.XCAFDoc import XCAFDoc_ColorSurf, XCAFDoc_DocumentTool

    document = TDocStd_Document(TCollection_ExtendedString("XmlOcaf"))
    shapes = XCAFDoc_DocumentTool.ShapeTool_s(document.Main())
    paints = XCAFDoc_DocumentTool.ColorTool_s(document.Main())
    solids = [
        ("Kasten", BRepPrimAPI_MakeBox(gp_Pnt(-1000, -2000, -1500), 2000, 4000, 3000).Shape(), samples.RED),
        ("ball left", BRepPrimAPI_MakeSphere(gp_Pnt(-3000, 0, 4000), 500).Shape(), samples.BLUE),
        ("ball right", BRepPrimAPI_MakeSphere(gp_Pnt(3000, 0, 4000), 500).Shape(), samples.BLUE),
    ]
    for name, solid, colour in solids:
        label = shapes.AddShape(solid, False)
        TDataStd_Name.Set_s(label, TCollection_ExtendedString(name, True))
        paint = Quantity_Color(*(level / 255 for level in colour), Quantity_TOC_sRGB)
        paints.SetColor(label, paint, XCAFDoc_ColorSurf)
    writer = IGESCAFControl_Writer()
    writer.Transfer(document)
    writer.Write(str(path))


def write_3dxml(path: Path) -> None:
    """Two shapes in millimetres, products that show them, and a group."""
    space = 'xmlns="http://www.3ds.com/xsd/3DXML" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    product = [f'<Reference3D xsi:type="Reference3DType" id="{n}" name="{name}"/>' for n, name in enumerate(
        ("two parts", "Gruppe", "Kasten Ä", "ball"), start=1
    )]  # fmt: skip
    places = [
        (11, "Kasten Ä", 1, 3, "0 0 0"),
        (12, "Gruppe", 1, 2, "0 0 4000"),
        (13, "ball left", 2, 4, "-3000 0 0"),
        (14, "ball right", 2, 4, "3000 0 0"),
    ]
    for number, name, above, of, place in places:
        links = f"<IsAggregatedBy>{above}</IsAggregatedBy><IsInstanceOf>{of}</IsInstanceOf>"
        matrix = f"<RelativeMatrix>1 0 0 0 1 0 0 0 1 {place}</RelativeMatrix>"
        product.append(f'<Instance3D id="{number}" name="{name}">{links}{matrix}</Instance3D>')
    for number, above in ((21, 3), (22, 4)):
        file = f'associatedFile="urn:3DXML:rep{number}.3drep"'
        links = f"<IsAggregatedBy>{above}</IsAggregatedBy><IsInstanceOf>{number}</IsInstanceOf>"
        product.append(f'<ReferenceRep id="{number}" name="rep" format="TESSELLATED" {file}/>')
        product.append(f'<InstanceRep id="{number + 100}" name="rep.1">{links}</InstanceRep>')
    structure = f'<ProductStructure root="1">{"".join(product)}</ProductStructure>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Manifest.xml", f"<Manifest {space}><Root>main.3dxml</Root></Manifest>")
        archive.writestr("main.3dxml", f"<Model_3dxml {space}>{structure}</Model_3dxml>")
        for number, part, colour in zip((21, 22), samples.assembly().parts(), (samples.RED, samples.BLUE), strict=True):
            assert part.mesh is not None
            archive.writestr(f"rep{number}.3drep", _rep(space, moved(part.mesh, turn("y", "z")), colour))


def _rep(space: str, mesh: Mesh, colour: tuple[int, int, int]) -> str:
    red, green, blue = (level / 255 for level in colour)
    paint = f'<Color xsi:type="RGBAColorType" red="{red}" green="{green}" blue="{blue}" alpha="1"/>'
    points = ", ".join(" ".join(f"{value * 1000:.4f}" for value in point) for point in mesh.positions)
    numbers = " ".join(str(number) for number in mesh.triangles.ravel())
    faces = f'<Faces><SurfaceAttributes>{paint}</SurfaceAttributes><Face triangles="{numbers}"/></Faces>'
    buffer = f"<VertexBuffer><Positions>{points}</Positions></VertexBuffer>"
    inner = f'<Rep xsi:type="PolygonalRepType" id="2">{faces}{buffer}</Rep>'
    return f'<XMLRepresentation {space}><Root xsi:type="BagRepType" id="1">{inner}</Root></XMLRepresentation>'


def write_ifc(path: Path) -> None:
    """A piece of furniture, and two of one type in a storey that lies higher; in millimetres."""
    from ifcopenshell.api import aggregate, context, geometry, project, root, spatial, style, type, unit

    file = project.create_file(version="IFC4")
    top = root.create_entity(file, ifc_class="IfcProject", name="two parts")
    unit.assign_unit(file, length={"is_metric": True, "raw": "MILLIMETERS"})
    model = context.add_context(file, context_type="Model")
    body = context.add_context(
        file, context_type="Model", context_identifier="Body", target_view="MODEL_VIEW", parent=model
    )
    building = root.create_entity(file, ifc_class="IfcBuilding", name="Haus")
    aggregate.assign_object(file, products=[building], relating_object=top)
    types = []
    for part, colour in zip(samples.assembly().parts(), (samples.RED, samples.BLUE), strict=True):
        assert part.mesh is not None
        mesh = moved(part.mesh, turn("y", "z"))
        shape = geometry.add_mesh_representation(
            file, context=body, vertices=[mesh.positions.tolist()], faces=[mesh.triangles.tolist()]
        )
        red, green, blue = (level / 255 for level in colour)
        paint = style.add_style(file, name=part.name)
        look = {"SurfaceColour": {"Name": None, "Red": red, "Green": green, "Blue": blue}, "Transparency": 0.0}
        look["ReflectanceMethod"] = "FLAT"  # type: ignore[assignment]
        style.add_surface_style(file, style=paint, ifc_class="IfcSurfaceStyleRendering", attributes=look)
        style.assign_representation_styles(file, shape_representation=shape, styles=[paint])
        types.append(root.create_entity(file, ifc_class="IfcFurnitureType", name=part.name))
        geometry.assign_representation(file, product=types[-1], representation=shape)
    for name, kind, storey, place in (
        ("Kasten Ä", types[0], "Erdgeschoss", (0, 0, 0)),
        ("ball left", types[1], "Gruppe", (-3, 0, 4)),
        ("ball right", types[1], "Gruppe", (3, 0, 4)),
    ):
        found = [entity for entity in file.by_type("IfcBuildingStorey") if entity.Name == storey]
        level = found[0] if found else root.create_entity(file, ifc_class="IfcBuildingStorey", name=storey)
        aggregate.assign_object(file, products=[level], relating_object=building)
        thing = root.create_entity(file, ifc_class="IfcFurniture", name=name)
        type.assign_type(file, related_objects=[thing], relating_type=kind)
        spatial.assign_container(file, products=[thing], relating_structure=level)
        geometry.edit_object_placement(file, product=thing, matrix=samples.shift(*place), is_si=True)
    file.write(str(path))


WRITERS: dict[str, Callable[[Path], None]] = {
    "dxf": write_dxf,
    "x3d": write_x3d,
    "3ds": write_3ds,
    "iges": write_iges,
    "3dxml": write_3dxml,
    "ifc": write_ifc,
}
"""By extension, what writes the assembly."""
EXTRAS = {"iges": "cad", "ifc": "ifc"}
"""By extension, the extra of the project that a writer needs."""


def lack_of_writer(extension: str) -> str | None:
    """What is missing here to write a sample; None when it can be written."""
    return lack_of(EXTRAS[extension]) if extension in EXTRAS else None
