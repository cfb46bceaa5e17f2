"""Which occurrences and parts an algorithm works on, and how a tree is tidied after some of them are gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.scene import Occurrence, Part, tops

Matrix = NDArray[numpy.float64]


def placed(occurrences: Iterable[Occurrence]) -> Iterator[tuple[Occurrence, Matrix]]:
    """The occurrences that show a part, these and all below them, each with its place in the whole tree, (4, 4)."""
    for top in tops(occurrences):
        pending = [(top, numpy.eye(4) if top.parent is None else top.parent.world())]
        while pending:
            occurrence, above = pending.pop()
            matrix = above if occurrence.matrix is None else above @ occurrence.matrix
            if occurrence.part is not None:
                yield occurrence, matrix
            pending.extend((child, matrix) for child in reversed(occurrence.children))


def instances(occurrences: Iterable[Occurrence]) -> list[Occurrence]:
    """The occurrences that show a part: these and all below them, each once, in the order of the tree."""
    return [found for top in tops(occurrences) for found in top.walk() if found.part is not None]


def parts(occurrences: Iterable[Occurrence]) -> dict[Part, list[Occurrence]]:
    """The different parts of these occurrences and all below, each with those of the occurrences that show it."""
    found: dict[Part, list[Occurrence]] = {}
    for occurrence in instances(occurrences):
        if occurrence.part is not None:
            found.setdefault(occurrence.part, []).append(occurrence)
    return found


def mark_changed(occurrences: Iterable[Occurrence]) -> None:
    """Tell the scenes of these occurrences that something in them was changed."""
    for scene in dict.fromkeys(occurrence.owner() for occurrence in occurrences):
        if scene is not None:
            scene.changed()


def common_ancestor(occurrences: Sequence[Occurrence]) -> Occurrence:
    """The lowest occurrence that all of these are below; a single occurrence that shows no part is its own.

    Raises ValueError when there are none, or when they are of different trees.
    """
    chosen = tops(occurrences)
    if not chosen:
        raise ValueError("there is no occurrence to work on")
    path = _path(chosen[0])
    depth = {occurrence: number for number, occurrence in enumerate(path)}
    lowest = len(path) - 1
    for occurrence in chosen[1:]:
        above: Occurrence | None = occurrence
        while above is not None and above not in depth:
            above = above.parent
        if above is None:
            raise ValueError("the occurrences are of different trees")
        lowest = min(lowest, depth[above])
    found = path[lowest]
    return found.parent if found.part is not None and found.parent is not None else found


def _path(occurrence: Occurrence) -> list[Occurrence]:
    """The occurrence and all above it, from the root."""
    path: list[Occurrence] = []
    above: Occurrence | None = occurrence
    while above is not None:
        path.append(above)
        above = above.parent
    return path[::-1]


def clear_out(emptied: Iterable[Occurrence], keep: Occurrence | None = None) -> int:
    """Take out those of the occurrences that hold nothing, and the groups above that are empty then; return how many.

    Roots, `keep`, and what carries annotations stay. Animations lose what moved an occurrence that is gone.
    """
    gone = {occurrence for occurrence in emptied if _is_empty(occurrence, keep)}
    scenes = dict.fromkeys(occurrence.owner() for occurrence in gone)
    count = 0
    while gone:
        count += len(gone)
        above = dict.fromkeys(occurrence.parent for occurrence in gone if occurrence.parent is not None)
        for occurrence in gone:
            occurrence.parent = None
        for group in above:
            group.children[:] = [child for child in group.children if child not in gone]
        gone = {group for group in above if _is_empty(group, keep)}
    for scene in scenes:
        for animation in [] if scene is None else list(scene.animations):
            left = [channel for channel in animation.channels if channel.target.owner() is scene]
            if scene is not None and animation.channels and not left:
                scene.animations.remove(animation)
            animation.channels[:] = left
    return count


def _is_empty(occurrence: Occurrence, keep: Occurrence | None) -> bool:
    holds = occurrence.part is not None or occurrence.children or occurrence.annotations
    return not holds and occurrence.parent is not None and occurrence is not keep
