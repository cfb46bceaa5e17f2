"""Parts merged and taken apart; materials and images that are equal."""

from __future__ import annotations

from typing import Any, Literal

import numpy
import pytest

from pixyz_worker.kernel.algorithms import measures
from pixyz_worker.kernel.algorithms.merging import (
    explode_parts,
    merge_images,
    merge_materials,
    merge_parts,
    merge_parts_by_materials,
)
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Animation, Channel, Occurrence, Part, Scene
from tests.unit.kernel import known_shapes as shapes


def _painted(mesh: Mesh, material: Material | None, **more: Any) -> Mesh:
    return make_mesh(mesh.positions, mesh.triangles, materials=(material,), **more)


def _assembly() -> tuple[Scene, Material, Material]:
    """A red cube, and below a moved group a blue ball twice, the second one mirrored and hidden."""
    red, blue = Material(name="red"), Material(name="blue")
    cube = Part(name="cube", mesh=_painted(shapes.box(), red))
    ball = Part(name="ball", mesh=_painted(shapes.ball(detail=1), blue))
    mirror = shapes.place(3, 0, 0, turn=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    group = Occurrence(
        name="group",
        matrix=shapes.place(0, 5, 0),
        children=[Occurrence(part=ball), Occurrence(part=ball, matrix=mirror, visible=False)],
    )
    root = Occurrence(name="root", matrix=shapes.place(100, 0, 0), children=[Occurrence(part=cube), group])
    return Scene(name="s", root=root), red, blue


def test_merge_parts() -> None:
    """Given an assembly, when merged, then one part stands where all stood, mirrored ones with their front outside."""
    scene, red, blue = _assembly()
    before = measures.bounds([scene.root])

    result = merge_parts([scene.root])

    assert scene.root.children == [result]
    assert scene.root.matrix is not None
    assert measures.bounds([scene.root]) == pytest.approx(before, abs=1e-5)
    mesh = result.part.mesh if result.part else None
    assert mesh is not None
    assert mesh.materials == (red, blue)
    assert shapes.volume(mesh) == pytest.approx(1 + 2 * shapes.volume(shapes.ball(detail=1)), rel=1e-4)


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [
        ("destroy", [("red", True, 12), ("blue", True, 80)]),
        ("show", [("red", True, 12), ("blue", True, 160)]),
        ("separate", [("red", True, 12), ("blue", True, 80), ("blue", False, 80)]),
    ],
)
def test_merge_by_materials(hidden: Literal["destroy", "show", "separate"], expected: list[Any]) -> None:
    """Given hidden and visible parts, when merged by materials, then there is one part each, hidden ones by mode."""
    scene, *_ = _assembly()

    results = merge_parts_by_materials([scene.root], hidden=hidden)

    assert results == scene.root.children
    found = [(one.name, one.visible, len(one.part.mesh.triangles)) for one in results if one.part and one.part.mesh]
    assert found == expected


def test_merge_by_materials_of_several_in_one_part() -> None:
    """Given a part of two materials beside one of the first, when merged by materials, then there are two parts."""
    mesh = shapes.two_coloured(4)
    scene = shapes.scene(mesh, _painted(shapes.box(), mesh.materials[0]), make_mesh([[0, 0, 0]]))

    results = merge_parts_by_materials([scene.root])

    assert [result.name for result in results] == ["red", "blue", "points"]
    assert [len(result.part.mesh.triangles) for result in results if result.part and result.part.mesh] == [28, 16, 0]


def test_textures_and_normals_survive_merging() -> None:
    """Given a textured square and a plain cube of the same material, when merged, then the texture still lies right."""
    material = Material(name="wood")
    square = shapes.square(1)
    normals = numpy.tile(numpy.float32([0, 0, 1]), (4, 1))
    scene = shapes.scene(_painted(square, material, uvs=square.uvs, normals=normals), _painted(shapes.box(), material))

    mesh = merge_parts([scene.root]).part.mesh  # type: ignore[union-attr]

    assert mesh is not None
    assert mesh.uvs is not None
    assert mesh.normals is not None
    assert mesh.uvs[:4].tolist() == square.uvs.tolist()  # type: ignore[union-attr]
    assert numpy.linalg.norm(mesh.normals, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_merged_far_from_the_origin() -> None:
    """Given two cubes a thousand kilometres away, when merged, then they keep their exact size."""
    cube = Part(mesh=shapes.box())
    far = [Occurrence(part=cube, matrix=shapes.place(1e6 + shift, 0, 0)) for shift in (0, 3.3)]

    result = merge_parts([shapes.scene(*far).root])

    box = measures.bounds([result])
    assert box is not None
    assert box[1] - box[0] == pytest.approx([4.3, 1, 1], abs=1e-5)


def test_merging_a_branch_leaves_the_rest() -> None:
    """Given a group inside a scene, when it is merged, then other occurrences stay, and so does a moving one."""
    scene, *_ = _assembly()
    cube, group = scene.root.children
    scene.animations = [
        Animation(name="go", channels=[Channel(target=cube, path="translation", times=None, values=None)]),
        Animation(name="gone", channels=[Channel(target=group.children[0], path="scale", times=None, values=None)]),
    ]

    merge_parts([group])

    assert scene.root.children == [cube, group]
    assert len(group.children) == 1
    assert [animation.name for animation in scene.animations] == ["go"]


def test_nothing_to_merge() -> None:
    """Given a scene without a mesh, or occurrences of two trees, when merged, then it says so."""
    with pytest.raises(ValueError, match="no mesh"):
        merge_parts([Occurrence(children=[Occurrence()])])
    with pytest.raises(ValueError, match="different trees"):
        merge_parts([Occurrence(), Occurrence()])
    assert merge_parts_by_materials([Occurrence()]) == []


def test_equal_materials_become_one() -> None:
    """Given materials that differ by name alone, and one that differs by look, when merged, then two are left."""
    picture, same = Image(data=b"png", name="a"), Image(data=b"png", name="b")
    first = Material(name="a", base_colour_texture=Texture(image=picture), extensions={"x": {"y": [1]}})
    second = Material(name="b", base_colour_texture=Texture(image=same), extensions={"x": {"y": [1]}})
    other = Material(name="c", roughness=0.1)
    mesh = make_mesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0]],
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]],
        materials=(first, second, other),
        triangle_materials=[0, 1, 2],
    )
    scene = shapes.scene(mesh)

    assert merge_materials([scene.root]) == 1
    assert scene.materials() == [first, other]
    assert mesh.triangle_materials is not None
    assert mesh.triangle_materials.tolist() == [0, 0, 1]
    assert merge_materials([scene.root]) == 0


def test_equal_images_become_one() -> None:
    """Given three textures with two different pictures, when images are merged, then two images are left."""
    textures = [Texture(image=Image(data=data), wrap=("clamp", "clamp")) for data in (b"1", b"1", b"2")]
    materials = [Material(base_colour_texture=texture) for texture in textures]
    scene = shapes.scene(*(_painted(shapes.box(), material) for material in materials))

    assert merge_images([scene.root]) == 1
    shown = [material.base_colour_texture for material in materials]
    assert len({texture.image for texture in shown if texture}) == 2
    assert all(texture is not None and texture.wrap == ("clamp", "clamp") for texture in shown)


def test_explode_by_material() -> None:
    """Given a part of two materials shown twice, when exploded, then both show the same two new parts."""
    part = Part(name="square", mesh=shapes.two_coloured(4))
    scene = shapes.scene(part, part)

    made = explode_parts([scene.root], "material")

    assert [one.name for one in made] == ["red", "blue", "red", "blue"]
    assert made[0].part is made[2].part
    assert scene.triangle_count == 64


def test_explode_connected() -> None:
    """Given two separate cubes of single triangles in one part, when exploded, then each is a part of its own."""
    cube = shapes.soup(shapes.box())
    both = make_mesh(
        numpy.concatenate([cube.positions, cube.positions + numpy.float32(4)]),
        numpy.concatenate([cube.triangles, cube.triangles + len(cube.positions)]),
    )
    scene = shapes.scene(Part(name="twins", mesh=both), shapes.box())

    made = explode_parts([scene.root], "connected")

    assert [one.name for one in made] == ["twins 1", "twins 2"]
    assert [shapes.volume(one.part.mesh) for one in made if one.part and one.part.mesh] == pytest.approx([1, 1])
    assert explode_parts([scene.root], "connected") == []
