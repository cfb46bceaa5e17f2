"""The root of a scene in formats that have several nodes at the top."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from pixyz_worker.kernel.scene import Occurrence, Scene

Node = TypeVar("Node", bound=Hashable)

MAX_OCCURRENCES = 1_000_000
"""Occurrences that one file may unfold to: nodes that show other nodes multiply."""


def top_occurrences(scene: Scene) -> list[Occurrence]:
    """What a writer puts at the top: the root, or its children where it only holds them together."""
    root = scene.root
    plain = root.part is None and root.matrix is None and root.visible and not root.metadata and not root.annotations
    return root.children if plain and len(root.children) > 1 else [root]


def root_of(tops: list[Occurrence], name: str) -> Occurrence:
    """The root for what a reader found at the top: the only one, or one above them of that name."""
    if len(tops) == 1:
        return tops[0]
    root = Occurrence(name=name)
    for top in tops:
        root.add(top)
    return root


def check_writable(scene: Scene, *, triangles: bool = True) -> None:
    """Refuse, with a ValueError, to write a scene of nothing, or of points into a format of triangles."""
    meshes = [part.mesh for part in scene.parts() if part.mesh is not None]
    if not meshes:
        raise ValueError("there is no mesh and no point in the scene")
    if triangles and all(mesh.is_points for mesh in meshes):
        raise ValueError("the scene has only points, and this format stores triangles")


def check_unfolding(tops: Iterable[Node], below: Callable[[Node], Iterable[Node]]) -> None:
    """Refuse, with a ValueError, nodes that show themselves, or each other so often that the tree would be too large.

    Each node is looked at once, however often it is shown: a few nodes can stand for billions of occurrences.
    """
    sizes: dict[Node, int] = {}
    total = 0
    for top in tops:
        _measure(top, below, sizes)
        total += sizes[top]
        if total > MAX_OCCURRENCES:
            raise ValueError(f"it unfolds to more than {MAX_OCCURRENCES} occurrences")


def _measure(top: Node, below: Callable[[Node], Iterable[Node]], sizes: dict[Node, int]) -> None:
    """Note how many occurrences a node and each node below it stand for."""
    open_nodes = {top}
    path: list[tuple[Node, Iterator[Node], int]] = [(top, iter(below(top)), 1)] if top not in sizes else []
    while path:
        node, rest, size = path.pop()
        child = next(rest, None)
        if child is None:
            sizes[node] = size
            open_nodes.discard(node)
            if path:
                above, others, before = path.pop()
                path.append((above, others, before + size))
        elif child in open_nodes:
            raise ValueError("one of its nodes shows itself, by way of others or at once")
        elif child in sizes:
            path.append((node, rest, size + sizes[child]))
        else:
            open_nodes.add(child)
            path += [(node, rest, size), (child, iter(below(child)), 1)]
