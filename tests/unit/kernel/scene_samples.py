"""A scene that uses everything that a scene can hold, and whether two scenes are alike in all of it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy

from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Channel, Occurrence, Part, Scene


def ball(count: int) -> Mesh:
    """So many vertices and twice as many triangles, at random places."""
    dice = numpy.random.default_rng(1)
    return make_mesh(dice.random((count, 3)), dice.integers(0, count, (2 * count, 3)))


def full_scene() -> Scene:
    """Two parts, one shown twice, with every array, materials that share an image, animations and variants."""
    picture = Image(name="Bild Ä.png", data=b"\x89PNG picture", mime="image/png")
    worn = Texture(image=picture, wrap=("clamp", "mirror"), offset=(0.5, 0.25), scale=(2.0, 3.0), rotation=0.1)
    extensions = {"KHR_materials_clearcoat": {"clearcoatFactor": 0.5, "deep": [{"a": None}]}}
    red = Material(
        name="rot", base_colour=(1.0, 0.1, 0.2, 0.5), metalness=0.25, roughness=0.75, emission=(0.1, 0.2, 0.3),
        base_colour_texture=worn, metal_rough_texture=Texture(image=picture), normal_texture=worn,
        occlusion_texture=worn, emission_texture=worn, alpha_mode="mask", alpha_cutoff=0.3, double_sided=False,
        extensions=extensions,
    )  # fmt: skip
    blue = Material(name="blue")
    box = make_mesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 1, 2], [0, 2, 3], [0, 3, 1]],
        normals=[[0, 0, 1]] * 4,
        uvs=[[0, 0], [1, 0], [0, 1], [1, 1]],
        colours=[[1, 2, 3, 4]] * 4,
        materials=(red, None, blue),
        triangle_materials=[0, 2, 1],
    )
    box.variants = ({"worn": blue, "bare": None}, {}, {"worn": red})
    cloud = make_mesh([[5, 5, 5], [6, 6, 6]], materials=(blue,))
    shared = Part(name="box", mesh=box, metadata={"mass": 1.5, "steel": True, "count": 3, "note": "größer"})
    shift = numpy.eye(4)
    shift[:3, 3] = (1, 2, 3)
    left = Occurrence(name="left", part=shared)
    right = Occurrence(name="right", part=shared, matrix=shift, visible=False, metadata={"id": "0815"})
    pmi = (AnnotationGroup(name="datums", annotations=("A", "B")), AnnotationGroup(name="none"))
    points = Occurrence(name="points", part=Part(name="points", mesh=cloud), annotations=pmi)
    group = Occurrence(name="Gruppe \u2713", matrix=shift @ shift, children=[left, right])
    turn = Channel(
        target=right,
        path="rotation",
        times=numpy.array([0, 1], numpy.float32),
        values=numpy.array([[0, 0, 0, 1], [1, 0, 0, 0]] * 3, numpy.float32),
        interpolation="CUBICSPLINE",
    )
    return Scene(
        name="Szene",
        root=Occurrence(name="root", children=[group, points]),
        unit_m=0.001,
        up="z",
        animations=[Animation(name="turns", channels=[turn]), Animation(name="empty")],
        variants=["worn", "bare"],
    )


def same(one: Scene, other: Scene) -> None:
    """Assert that two scenes are alike: values, arrays and their kinds, and what shares what."""
    for key in ("name", "unit_m", "up", "variants"):
        assert getattr(one, key) == getattr(other, key), key
    trees = list(one.root.walk()), list(other.root.walk())
    assert _told(one, trees[0]) == _told(other, trees[1])
    for pair in zip(one.parts(), other.parts(), strict=True):
        _same_mesh(pair[0].mesh, pair[1].mesh)


def _same_mesh(one: Mesh | None, other: Mesh | None) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    for name in ("positions", "triangles", "normals", "uvs", "colours", "triangle_materials"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), name
            assert (ours == theirs).all(), name


def _told(scene: Scene, tree: list[Occurrence]) -> list[Any]:
    """All of a scene but its meshes' arrays, with numbers for what is shared."""
    numbers: dict[int, int] = {}
    materials = [m for part in scene.parts() if part.mesh for m in (*part.mesh.materials, *_varied(part.mesh))]

    def number(thing: Any) -> int | None:
        return None if thing is None else numbers.setdefault(id(thing), len(numbers))

    told: list[Any] = []
    for occurrence in tree:
        matrix = None if occurrence.matrix is None else numpy.asarray(occurrence.matrix).tolist()
        groups = [(group.name, group.annotations) for group in occurrence.annotations]
        told.append((number(occurrence), number(occurrence.parent), number(occurrence.part), occurrence.name))
        told.append((matrix, occurrence.visible, occurrence.metadata, groups))
    for part in scene.parts():
        told.append((part.name, part.metadata, number(part.mesh)))
        if part.mesh is not None:
            told.append([number(material) for material in part.mesh.materials])
            told.append([{key: number(m) for key, m in variant.items()} for variant in part.mesh.variants])
    told += [_material(material, number) for material in materials if material is not None]
    for animation in scene.animations:
        told.append(animation.name)
        for channel in animation.channels:
            told.append((number(channel.target), channel.path, channel.interpolation))
            told.append((numpy.asarray(channel.times).tolist(), numpy.asarray(channel.values).tolist()))
    return told


def _varied(mesh: Mesh) -> list[Material | None]:
    return [material for variant in mesh.variants for material in variant.values()]


def _material(material: Material, number: Any) -> dict[str, Any]:
    told = {field.name: getattr(material, field.name) for field in fields(material)}
    for key, value in told.items():
        if isinstance(value, Texture):
            image = value.image
            told[key] = (number(image), image.name, image.data, image.mime, value.wrap, value.offset, value.scale)
            told[key] += (value.rotation,)
    return told
