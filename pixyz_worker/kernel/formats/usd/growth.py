"""How many prims a USD scene becomes when its references are followed, known before USD follows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pxr import Ar, Sdf

MAX_PRIMS = 2_000_000
"""Prims that references may multiply a scene to; USD makes all of them."""
MAX_SHOWN = 50_000_000
"""Prims that references and instances may multiply a scene to; USD keeps those of instances once."""
_ARCS = ("references", "payload", "inheritPaths", "specializes")

Node = tuple[int, str]
"""A prim as it is written: the number of its stack of layers, and its path."""


def check_growth(layers: list[Any]) -> None:
    """Refuse, with a ValueError, references that lead to themselves or make too many prims.

    Every layer that is referred to has to be among the layers.
    """
    graph, shared = _graph(layers)
    _measure(graph, MAX_PRIMS)
    if shared:
        _measure({node: below + shared.get(node, []) for node, below in graph.items()}, MAX_SHOWN)


def _measure(graph: dict[Node, list[Node]], most: int) -> None:
    """Find how many prims each node becomes; ValueError when these are too many, or without end."""
    sizes: dict[Node, int] = {}
    for start in graph:
        _measure_one(start, graph, sizes)
        if sizes[start] > most:
            raise ValueError(f"its references multiply it to more than {most} prims")


def _measure_one(start: Node, graph: dict[Node, list[Node]], sizes: dict[Node, int]) -> None:
    """Find the size of a node and of all below it, without recursion; 0 marks those on the way to the current one."""
    pending = [start]
    while pending:
        node = pending[-1]
        if node not in sizes:
            sizes[node] = 0
            for below in graph.get(node, ()):
                if sizes.get(below) == 0:
                    raise ValueError(f"{below[1]} in it refers to itself")
                if below not in sizes:
                    pending.append(below)
            continue
        pending.pop()
        if sizes[node] == 0:
            sizes[node] = 1 + sum(sizes[below] for below in graph.get(node, ()))


def _graph(layers: list[Any]) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    """For each prim its children and what it refers to, and, apart from these, what instances refer to."""
    places = {str(layer.resolvedPath): number for number, layer in enumerate(layers)}
    stacks = _stacks(layers, places)
    graph: dict[Node, list[Node]] = {}
    shared: dict[Node, list[Node]] = {}
    for number, layer in enumerate(layers):
        for spec in _specs(layer):
            node = (stacks[number], str(spec.path))
            graph.setdefault(node, []).extend((stacks[number], str(child.path)) for child in _children(spec))
            targets = list(_targets(spec, layer, stacks[number], (layers, places, stacks)))
            if targets:
                (shared if spec.instanceable else graph).setdefault(node, []).extend(targets)
    return graph, shared


def _stacks(layers: list[Any], places: dict[str, int]) -> list[int]:
    """For each layer the number of its stack: sublayers share their prims with the layer above them."""
    stacks = list(range(len(layers)))
    for number, layer in enumerate(layers):
        for asset in layer.subLayerPaths:
            other = places.get(_where(layer, asset))
            if other is not None and stacks[other] != stacks[number]:
                stacks = [stacks[number] if stack == stacks[other] else stack for stack in stacks]
    return stacks


def _specs(layer: Any) -> Iterator[Any]:
    pending = list(layer.rootPrims)
    while pending:
        spec = pending.pop()
        yield spec
        pending.extend(_children(spec))


def _children(spec: Any) -> list[Any]:
    """The prims below one, those of its variants included."""
    if not spec.HasInfo("variantSetNames"):
        return list(spec.nameChildren)
    variants = [variant.primSpec for variant_set in spec.variantSets for variant in variant_set.variantList]
    return [*spec.nameChildren, *variants]


def _targets(spec: Any, layer: Any, stack: int, known: tuple[list[Any], dict[str, int], list[int]]) -> Iterator[Node]:
    """What a prim refers to by composition arcs."""
    layers, places, stacks = known
    for arc in _ARCS:
        if not spec.HasInfo(arc):
            continue
        for item in spec.GetInfo(arc).GetAddedOrExplicitItems():
            if isinstance(item, Sdf.Path):
                yield stack, str(item)
                continue
            place = places.get(_where(layer, item.assetPath)) if item.assetPath else None
            if item.assetPath and place is None:
                continue  # not there; USD says so later
            target = layer if place is None else layers[place]
            path = str(item.primPath) if item.primPath else f"/{target.defaultPrim}"
            yield (stack if place is None else stacks[place]), path


def _where(layer: Any, asset: str) -> str:
    name = asset.partition(":SDF_FORMAT_ARGS:")[0]
    return str(Ar.GetResolver().Resolve(Sdf.ComputeAssetPathRelativeToLayer(layer, name)))
