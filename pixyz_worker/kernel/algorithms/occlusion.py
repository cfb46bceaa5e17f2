"""What nobody can see from outside, taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import measures, selection
from pixyz_worker.kernel.algorithms.submesh import submesh
from pixyz_worker.kernel.algorithms.visibility import Surfaces, seen_from_outside
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence, Part, tops

_OPAQUE = 1.0
"""Opacity below which a material lets light through, and hides nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OcclusionReport:
    """What remove_occluded() did; triangles are counted with instances."""

    triangles_before: int
    """Triangles before."""
    triangles_after: int
    """Triangles after."""
    occurrences_removed: int
    """Occurrences that showed something, and are gone."""
    parts_changed: int
    """Parts that lost some of their triangles."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Entry:
    """A mesh in its place."""

    occurrence: Occurrence
    """What shows it."""
    part: Part
    """The part that holds it."""
    mesh: Mesh
    """Its triangles."""
    matrix: NDArray[numpy.float64]
    """Its place in the world, (4, 4)."""


def remove_occluded(
    occurrences: Sequence[Occurrence],
    *,
    level: Literal["occurrences", "triangles"] = "triangles",
    views: int = 26,
    resolution: int = 1024,
) -> OcclusionReport:
    """Take out what is hidden behind the rest of the occurrences and all below, from wherever one looks.

    A triangle of a part with several instances stays if it is seen in one of them. What is transparent hides
    nothing. Hidden occurrences neither hide anything nor are taken out; the same holds for points.

    Args:
        occurrences: where to work; they alone hide each other.
        level: whether single triangles go, or only occurrences of which nothing is seen.
        views: from how many directions one looks.
        resolution: rays across the whole scene in each view.
    """
    if level not in ("occurrences", "triangles"):
        raise ValueError(f"occurrences or triangles can be taken out, not {level!r}")
    if views < 1 or resolution < 1:
        raise ValueError("there must be one view and one ray at least")
    before = measures.polygon_count(occurrences)
    entries = [
        _Entry(occurrence=occurrence, part=occurrence.part, mesh=occurrence.part.mesh, matrix=matrix)
        for occurrence, matrix in selection.placed(occurrences)
        if occurrence.part and occurrence.part.mesh and not occurrence.part.mesh.is_points and occurrence.shown()
    ]
    changed = 0
    emptied: list[Occurrence] = []
    if entries:
        seen = seen_from_outside(_surfaces(entries, level), views=views, resolution=resolution)
        if not seen.all():
            selection.mark_changed(occurrences)
        if level == "occurrences":
            emptied = [entry.occurrence for entry, is_seen in zip(entries, seen, strict=True) if not is_seen]
        else:
            changed, emptied = _cut(entries, seen)
    top = list(tops(occurrences))
    for occurrence in emptied:
        occurrence.part = None
    selection.clear_out(emptied)
    return OcclusionReport(
        triangles_before=before,
        triangles_after=measures.polygon_count(top),
        occurrences_removed=len(emptied),
        parts_changed=changed,
    )


def _surfaces(entries: Sequence[_Entry], level: str) -> Surfaces:
    """The triangles of all entries in the world; each belongs to one thing that is seen or not."""
    points = [entry.mesh.positions @ entry.matrix[:3, :3].T + entry.matrix[:3, 3] for entry in entries]
    starts = numpy.cumsum([0, *(len(each) for each in points)])
    triangles = [entry.mesh.triangles + start for entry, start in zip(entries, starts[:-1], strict=True)]
    if level == "occurrences":
        things = [numpy.full(len(each), number) for number, each in enumerate(triangles)]
    else:
        first = _first_triangles(entries)
        things = [first[entry.part] + numpy.arange(len(entry.mesh.triangles)) for entry in entries]
    return Surfaces(
        points=numpy.concatenate(points),
        triangles=numpy.concatenate(triangles),
        things=numpy.concatenate(things),
        opaque=numpy.concatenate([_opaque(entry.mesh) for entry in entries]),
    )


def _first_triangles(entries: Sequence[_Entry]) -> dict[Part, int]:
    """The number of the first triangle of each part, where the triangles of all parts are counted through."""
    first: dict[Part, int] = {}
    count = 0
    for entry in entries:
        if entry.part not in first:
            first[entry.part] = count
            count += len(entry.mesh.triangles)
    return first


def _opaque(mesh: Mesh) -> NDArray[numpy.bool_]:
    marks = numpy.array([_hides(material) for material in mesh.materials])
    if mesh.triangle_materials is None:
        return numpy.full(len(mesh.triangles), marks[0])
    return marks[mesh.triangle_materials]


def _hides(material: Material | None) -> bool:
    return material is None or (material.alpha_mode == "opaque" and material.base_colour[3] >= _OPAQUE)


def _cut(entries: Sequence[_Entry], seen: NDArray[numpy.bool_]) -> tuple[int, list[Occurrence]]:
    """Leave each part the triangles that are seen; how many parts changed, and the occurrences that show no more."""
    shown: dict[Part, list[_Entry]] = {}
    for entry in entries:
        shown.setdefault(entry.part, []).append(entry)
    considered = {entry.occurrence for entry in entries}
    elsewhere = _shown_elsewhere(entries, considered)
    changed = 0
    emptied: list[Occurrence] = []
    for part, first in _first_triangles(entries).items():
        mesh = shown[part][0].mesh
        kept = seen[first : first + len(mesh.triangles)]
        if kept.all():
            continue
        changed += 1
        if not kept.any():
            emptied += [entry.occurrence for entry in shown[part]]
        elif part in elsewhere:
            # Others show the whole of it: these get a part of their own.
            own = Part(name=part.name, mesh=submesh(mesh, kept), metadata=dict(part.metadata))
            for entry in shown[part]:
                entry.occurrence.part = own
        else:
            part.mesh = submesh(mesh, kept)
    return changed, emptied


def _shown_elsewhere(entries: Sequence[_Entry], considered: set[Occurrence]) -> set[Part]:
    """Parts that occurrences which were not looked at show too."""
    scenes = dict.fromkeys(entry.occurrence.owner() for entry in entries)
    found = (occurrence for scene in scenes if scene is not None for occurrence in scene.instances())
    return {occurrence.part for occurrence in found if occurrence.part is not None and occurrence not in considered}
