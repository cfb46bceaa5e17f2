"""IFC: a small house of two storeys, in a national grid too, and files that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Scene

FAR = (612_345.678, 5_812_345.678, 34.5)
"""A place as national grids have them, in metres."""


@pytest.fixture(autouse=True)
def ifc(need_extra: Callable[[str], None]) -> None:
    """All of this needs ifcopenshell."""
    need_extra("ifc")


def house(path: Path, origin: tuple[float, float, float] = (0, 0, 0), schema: str = "IFC4") -> None:
    """Two storeys with a red wall of one type each and a room; in the upper one, a wall with a hole; in millimetres."""
    from ifcopenshell.api import (
        aggregate,
        context,
        feature,
        geometry,
        owner,
        project,
        pset,
        root,
        spatial,
        style,
        type,
        unit,
    )

    file = project.create_file(version=schema)
    if schema == "IFC2X3":  # where everything has an owner
        who = {"person": owner.add_person(file), "organisation": owner.add_organisation(file)}
        owner.add_person_and_organisation(file, **who)
        owner.add_application(file)
    new = root.create_entity
    top = new(file, ifc_class="IfcProject", name="Projekt Ü")
    unit.assign_unit(file, length={"is_metric": True, "raw": "MILLIMETERS"})
    model = context.add_context(file, context_type="Model")
    body = context.add_context(
        file, context_type="Model", context_identifier="Body", target_view="MODEL_VIEW", parent=model
    )

    def put(entity: Any, x: float = 0, y: float = 0, z: float = 0) -> None:
        matrix = numpy.eye(4)
        matrix[:3, 3] = numpy.add(origin, (x, y, z))
        geometry.edit_object_placement(file, product=entity, matrix=matrix, is_si=True)

    def shape(entity: Any, length: float, height: float, thickness: float) -> Any:
        made = geometry.add_wall_representation(file, context=body, length=length, height=height, thickness=thickness)
        geometry.assign_representation(file, product=entity, representation=made)
        return made

    site, building = new(file, ifc_class="IfcSite", name="Site"), new(file, ifc_class="IfcBuilding", name="House")
    aggregate.assign_object(file, products=[site], relating_object=top)
    aggregate.assign_object(file, products=[building], relating_object=site)
    put(site)
    put(building)
    kind = new(file, ifc_class="IfcWallType", name="Outer wall")
    paint = style.add_style(file, name="Red paint")
    colour = {"SurfaceColour": {"Name": None, "Red": 0.8, "Green": 0.2, "Blue": 0.2}, "Transparency": 0.0}
    style.add_surface_style(
        file, style=paint, ifc_class="IfcSurfaceStyleRendering", attributes=colour | {"ReflectanceMethod": "FLAT"}
    )
    style.assign_representation_styles(file, shape_representation=shape(kind, 5, 3, 0.2), styles=[paint])
    for number in range(2):
        storey = new(file, ifc_class="IfcBuildingStorey", name=f"Storey {number}")
        aggregate.assign_object(file, products=[storey], relating_object=building)
        put(storey, z=3 * number)
        wall = new(file, ifc_class="IfcWall", name=f"Wall {number}")
        type.assign_type(file, related_objects=[wall], relating_type=kind)
        spatial.assign_container(file, products=[wall], relating_structure=storey)
        put(wall, x=1, z=3 * number)
        properties = pset.add_pset(file, product=wall, name="Pset_WallCommon")
        pset.edit_pset(file, pset=properties, properties={"FireRating": "2HR", "IsExternal": True})
        room = new(file, ifc_class="IfcSpace", name=f"Room {number}")
        aggregate.assign_object(file, products=[room], relating_object=storey)
        shape(room, 4, 3, 4)
        put(room, x=1, z=3 * number)
        if number == 0:
            chair = new(file, ifc_class="IfcFurnishingElement", name="Chair")
            spatial.assign_container(file, products=[chair], relating_structure=room)
            shape(chair, 0.5, 0.5, 0.5)
            put(chair, x=2, y=2)
    pierced = new(file, ifc_class="IfcWall", name="With a hole")
    spatial.assign_container(file, products=[pierced], relating_structure=storey)
    shape(pierced, 5, 3, 0.2)
    put(pierced, y=4, z=3)
    hole = new(file, ifc_class="IfcOpeningElement", name="Hole")
    shape(hole, 1, 1, 0.4)
    put(hole, x=1, y=3.9, z=4)
    feature.add_feature(file, feature=hole, element=pierced)
    file.write(str(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The house, as a file."""
    pytest.importorskip("ifcopenshell")
    path = tmp_path_factory.mktemp("ifc") / "house.ifc"
    house(path)
    return path


def named(scene: Scene) -> dict[str, Occurrence]:
    """The occurrences by name."""
    return {occurrence.name: occurrence for occurrence in scene.root.walk()}


def parse(path: Path) -> Scene:
    """A file read in this process."""
    from pixyz_worker.kernel.formats.ifc import reader as ifc

    return ifc.parse(path, ReadOptions())


def above(occurrence: Occurrence) -> list[str]:
    """The names of an occurrence and of all above it."""
    names, current = list[str](), occurrence
    while current is not None:
        names.append(current.name)
        current = current.parent  # type: ignore[assignment]
    return names


def test_a_house(path: Path) -> None:
    """
    Given a house of two storeys.

    When it is read in a child process.
    Then project, site, building, storeys and walls are the tree, in metres, at their places, with their properties.
    """
    scene = read_scene(path)
    found = named(scene)
    assert (scene.unit_m, scene.up) == (0.001, "z")
    assert above(found["Wall 1"]) == ["Wall 1", "Storey 1", "House", "Site", "Projekt Ü"]
    assert numpy.allclose(found["Wall 1"].world()[:3, 3], (1, 0, 3))
    wall = found["Wall 0"]
    assert wall.part is not None and wall.part is found["Wall 1"].part and wall.part.mesh is not None
    assert numpy.allclose(wall.part.mesh.bounds, [(0, 0, 0), (5, 0.2, 3)])
    assert len(wall.part.mesh.triangles) == 12 and len(wall.part.mesh.positions) == 8
    told = wall.metadata
    assert (told["IfcClass"], told["Pset_WallCommon.FireRating"]) == ("IfcWall", "2HR")
    assert told["Pset_WallCommon.IsExternal"] is True and len(str(told["GlobalId"])) == 22
    assert [(material.name, material.srgb[:3]) for material in scene.materials()] == [("Red paint", (204, 51, 51))]


def test_openings_are_taken_off(path: Path) -> None:
    """
    Given a wall of 5 x 3 x 0.2 metres with a hole of one square metre.

    When it is read.
    Then its volume is that of the wall without the hole, and the hole is nothing by itself.
    """
    found = named(parse(path))
    part = found["With a hole"].part
    assert part is not None and part.mesh is not None and "Hole" not in found
    corners = part.mesh.positions[part.mesh.triangles].astype(float)
    volume = numpy.einsum("ij,ij->i", corners[:, 0], numpy.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx((5 * 3 - 1) * 0.2, rel=1e-4)


def test_rooms_are_hidden_but_not_what_stands_in_them(path: Path) -> None:
    """
    Given rooms, one with a chair in it.

    When they are read.
    Then their own shapes are not shown, and the chair is.
    """
    scene = parse(path)
    chair = named(scene)["Chair"]
    assert chair.shown() and "Room 0" in above(chair) and numpy.allclose(chair.world()[:3, 3], (2, 2, 0))
    rooms = [occurrence for occurrence in scene.instances() if occurrence.name.startswith("Room")]
    assert len(rooms) == 2 and not any(room.shown() for room in rooms)


@pytest.mark.parametrize("schema", ["IFC2X3", "IFC4X3"])
def test_other_editions(schema: str, tmp_path: Path) -> None:
    """
    Given the same house in an older and in a newer edition of IFC.

    When it is read.
    Then it has the same walls.
    """
    house(tmp_path / "house.ifc", schema=schema)
    found = named(parse(tmp_path / "house.ifc"))
    assert found["Wall 0"].part is not None and found["Wall 0"].part is found["Wall 1"].part
    assert above(found["Wall 1"])[-1] == "Projekt Ü"


def test_a_national_grid_loses_no_millimetre(tmp_path: Path) -> None:
    """
    Given the house thousands of kilometres from the origin.

    When it is read.
    Then its vertices are small numbers, and the places have all their digits.
    """
    house(tmp_path / "far.ifc", FAR)
    wall = named(parse(tmp_path / "far.ifc"))["Wall 1"]
    assert wall.part is not None and wall.part.mesh is not None
    assert numpy.abs(wall.part.mesh.positions).max() <= 5
    assert numpy.allclose(wall.world()[:3, 3], numpy.add(FAR, (1, 0, 3)), rtol=0, atol=1e-6)


def test_vertices_far_away_are_settled(tmp_path: Path, path: Path) -> None:
    """
    Given a wall whose points themselves are far from the origin of its place.

    When it is read.
    Then the offset is in its place, and no millimetre is lost.
    """
    import ifcopenshell

    file = ifcopenshell.open(str(path))
    (solid,) = [
        one for one in file.by_type("IfcExtrudedAreaSolid") if one.SweptArea.is_a("IfcArbitraryClosedProfileDef")
    ][:1]
    solid.Position = file.createIfcAxis2Placement3D(file.createIfcCartesianPoint([7e8, 7e8, 0.0]))
    file.write(str(tmp_path / "far.ifc"))
    moved = [one for one in parse(tmp_path / "far.ifc").instances() if one.world()[0, 3] > 6e5]
    assert moved
    for occurrence in moved:
        assert occurrence.part is not None and occurrence.part.mesh is not None
        assert numpy.abs(occurrence.part.mesh.bounds).max() < 10


def damaged(data: bytes) -> dict[str, tuple[bytes, str]]:
    """What may come in place of a house, and what is said of it."""
    loop = data.replace(b"IFCLOCALPLACEMENT($,", b"IFCLOCALPLACEMENT(#1,", 1)
    return {
        "garbage.ifc": (b"garbage", "does not begin as IFC"),
        "cut.ifc": (data[: len(data) // 2], "cut off"),
        "other.ifc": (data.replace(b"IFC4", b"AUTOMOTIVE_DESIGN", 1), "schema is AUTOMOTIVE_DESIGN"),
        "unknown.ifc": (data.replace(b"IFC4", b"IFC9", 1), "damaged"),
        "hollow.ifc": (data[: data.index(b"DATA;") + 5] + b"\nENDSEC;\nEND-ISO-10303-21;\n", "no shape|units"),
        "torn.ifc": (data.replace(b"IFCEXTRUDEDAREASOLID(", b"IFCNOSUCHTHING((((", 3), "."),
        "loop.ifc": (loop, "."),
    }


def test_damaged_files_end_in_a_sentence(path: Path, tmp_path: Path) -> None:
    """
    Given garbage, a file that is cut off, one of another schema, one without content, and torn ones.

    When they are read as a job reads them.
    Then each ends with a sentence that names the file; a torn one may still show the rest.
    """
    for name, (data, reason) in damaged(path.read_bytes()).items():
        (tmp_path / name).write_bytes(data)
        try:
            scene = read_scene(tmp_path / name)
        except FormatError as error:
            assert str(error).startswith(name) and str(error).endswith(".")
            assert re.search(reason, str(error)), str(error)
        else:
            assert reason == "." and scene.parts()
