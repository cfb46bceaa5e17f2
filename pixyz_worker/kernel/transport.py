"""Scenes on their way to another process: pickled without recursion, and with their arrays out of band.

With protocol 5 and a buffer callback (PEP 574), which is what Ray's object store uses, the arrays are not part of the
pickle: the process that receives the scene looks at them where they lie, read-only, without a copy. Parts, meshes and
materials are pickled as the objects that they are, so what is sent along with the scene stays the same objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import Any

import numpy

from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Axis, Channel, Occurrence, Part, Scene, Value

_OUT_OF_BAND = 5
Reduced = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedTree:
    """A tree of occurrences as lists, parents before their children; one entry for each occurrence."""

    names: list[str]
    """Its name."""
    parents: list[int]
    """Number of its parent; -1 for the root, which is the first."""
    matrices: Any
    """The matrices that there are, (k, 4, 4); one array, since a scene may have a hundred thousand."""
    placed: list[int]
    """Number of its matrix; -1 for none."""
    parts: list[Part | None]
    """Its part, or None."""
    visible: list[bool]
    """Whether it is shown."""
    metadata: list[dict[str, Value]]
    """Its properties."""
    annotations: list[tuple[AnnotationGroup, ...]]
    """Its product manufacturing information."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedScene:
    """A scene without references from its tree to itself."""

    name: str
    """Its name."""
    unit_m: float | None
    """Unit of the file that it came from."""
    up: Axis | None
    """The axis that points up."""
    glb: Any
    """The untouched GLB that it is, out of band where that is possible; None when it is a tree."""
    tree: PackedTree | None
    """Its tree; None when it is a GLB."""
    animations: list[tuple[str, list[tuple[int, str, Any, Any, str]]]]
    """Name and channels, whose targets are numbers of occurrences."""
    variants: list[str]
    """Names of its variants."""


def reduce_scene(scene: Scene, protocol: int) -> Reduced:
    """What Scene.__reduce_ex__ returns."""
    return unpack, (pack(scene, protocol),)


def reduce_occurrence(occurrence: Occurrence) -> Reduced:
    """What Occurrence.__reduce_ex__ returns: its place in its tree, which comes along, with the scene if it has one."""
    if occurrence.parent is None:
        if occurrence.scene is not None:
            return _root_of, (occurrence.scene,)
        return _grow, (pack_tree(occurrence),)
    way, top = [], occurrence
    while top.parent is not None:
        way.append(top.parent.children.index(top))
        top = top.parent
    return _at, (top, way[::-1])


def pack(scene: Scene, protocol: int = _OUT_OF_BAND) -> PackedScene:
    """A scene as lists and arrays; a scene that is an untouched GLB stays that."""
    source = scene.source
    if source is not None:
        glb = PickleBuffer(source) if protocol >= _OUT_OF_BAND else source
        return PackedScene(
            name=scene.name, unit_m=scene.unit_m, up=scene.up, glb=glb, tree=None, animations=[], variants=[]
        )
    places = {occurrence: number for number, occurrence in enumerate(scene.root.walk())}
    animations = [
        (
            animation.name,
            [
                (places[channel.target], channel.path, channel.times, channel.values, channel.interpolation)
                for channel in animation.channels
                if channel.target in places
            ],
        )
        for animation in scene.animations
    ]
    return PackedScene(
        name=scene.name,
        unit_m=scene.unit_m,
        up=scene.up,
        glb=None,
        tree=pack_tree(scene.root),
        animations=animations,
        variants=list(scene.variants),
    )


def unpack(packed: PackedScene) -> Scene:
    """The scene that was packed."""
    if packed.tree is None:
        return Scene(name=packed.name, unit_m=packed.unit_m, up=packed.up, glb=bytes(packed.glb))
    made = _occurrences(packed.tree)
    return Scene(
        name=packed.name,
        unit_m=packed.unit_m,
        up=packed.up,
        root=made[0],
        animations=[
            Animation(
                name=name,
                channels=[
                    Channel(target=made[target], path=path, times=times, values=values, interpolation=interpolation)
                    for target, path, times, values, interpolation in channels
                ],
            )
            for name, channels in packed.animations
        ],
        variants=packed.variants,
    )


def pack_tree(root: Occurrence) -> PackedTree:
    """An occurrence and all below it as lists."""
    every = list(root.walk())
    places = {occurrence: number for number, occurrence in enumerate(every)}
    matrices = [occurrence.matrix for occurrence in every if occurrence.matrix is not None]
    numbers = itertools.count()
    parents = (None if occurrence is root else occurrence.parent for occurrence in every)
    return PackedTree(
        names=[occurrence.name for occurrence in every],
        parents=[-1 if parent is None else places[parent] for parent in parents],
        matrices=numpy.array(matrices, numpy.float64).reshape(-1, 4, 4),
        placed=[-1 if occurrence.matrix is None else next(numbers) for occurrence in every],
        parts=[occurrence.part for occurrence in every],
        visible=[occurrence.visible for occurrence in every],
        metadata=[occurrence.metadata for occurrence in every],
        annotations=[occurrence.annotations for occurrence in every],
    )


def _occurrences(tree: PackedTree) -> list[Occurrence]:
    made: list[Occurrence] = []
    for number, parent in enumerate(tree.parents):
        occurrence = Occurrence(
            name=tree.names[number],
            matrix=None if tree.placed[number] < 0 else tree.matrices[tree.placed[number]],
            part=tree.parts[number],
            visible=tree.visible[number],
            metadata=tree.metadata[number],
            annotations=tree.annotations[number],
        )
        if parent >= 0:
            made[parent].add(occurrence)
        made.append(occurrence)
    return made


def _grow(tree: PackedTree) -> Occurrence:
    return _occurrences(tree)[0]


def _root_of(scene: Scene) -> Occurrence:
    return scene.root


def _at(top: Occurrence, way: list[int]) -> Occurrence:
    for place in way:
        top = top.children[place]
    return top
