"""What exact surfaces are made of: bodies, faces, edges, and the edges where they are open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.scene import Occurrence, Part


@dataclass(frozen=True, kw_only=True, slots=True)
class BrepInfos:
    """Counts over parts with exact surfaces. Each part counts once, in a `total_` with each of its instances."""

    part_count: int = 0
    """Parts that have exact surfaces."""
    total_part_count: int = 0
    """Instances of them."""
    vertex_count: int = 0
    """Vertices."""
    total_vertex_count: int = 0
    """Vertices, instances counted each."""
    edge_count: int = 0
    """Edges that have a length."""
    total_edge_count: int = 0
    """Edges, instances counted each."""
    face_count: int = 0
    """Faces."""
    total_face_count: int = 0
    """Faces, instances counted each."""
    body_count: int = 0
    """Solids, and shells and faces that bound none."""
    total_body_count: int = 0
    """Bodies, instances counted each."""
    open_shell_count: int = 0
    """Shells, and faces without a shell, that have free edges."""
    total_open_shell_count: int = 0
    """Open shells, instances counted each."""
    boundary_count: int = 0
    """Loops of free edges: edges with a face on one side alone."""
    boundary_edge_count: int = 0
    """Free edges."""
    area_m2: float = 0.0
    """Area of all faces in square metres, instances counted each, at the size that the parts themselves have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """The same for one shape; the names are those of BrepInfos."""

    vertex_count: int
    edge_count: int
    face_count: int
    body_count: int
    open_shell_count: int
    boundary_count: int
    boundary_edge_count: int
    area_m2: float


_TOTALS = ("vertex_count", "edge_count", "face_count", "body_count", "open_shell_count")


def brep_infos(occurrences: Sequence[Occurrence]) -> BrepInfos:
    """Count the exact surfaces below occurrences; all zeros where there are none, without OpenCASCADE too."""
    shown: dict[Part, int] = {}
    for occurrence in dict.fromkeys(below for top in occurrences for below in top.walk()):
        if occurrence.part is not None and isinstance(occurrence.part.brep, OccBrep):
            shown[occurrence.part] = shown.get(occurrence.part, 0) + 1
    found: dict[str, float] = {field.name: 0 for field in fields(BrepInfos)}
    for part, instances in shown.items():
        assert isinstance(part.brep, OccBrep)
        counts = _counts(part.brep)
        found["part_count"] += 1
        found["total_part_count"] += instances
        for field in fields(counts):
            found[field.name] += getattr(counts, field.name) * (instances if field.name == "area_m2" else 1)
        for name in _TOTALS:
            found[f"total_{name}"] += getattr(counts, name) * instances
    return BrepInfos(**found)  # type: ignore[arg-type]


def free_edge_count(shape: Any) -> int:
    """How many edges of a TopoDS_Shape have a face on one side alone."""
    return len(_free_edges(shape)[0])


def _counts(brep: OccBrep) -> _Counts:
    from pixyz_worker.kernel.formats.cad import occ

    shape, kinds = brep.shape, occ.TopAbs.TopAbs_ShapeEnum
    free, edges = _free_edges(shape)
    shells = _outside(shape, kinds.TopAbs_SHELL, kinds.TopAbs_SOLID)
    loose = _outside(shape, kinds.TopAbs_FACE, kinds.TopAbs_SHELL)
    solids = occ.shape_map(shape, kinds.TopAbs_SOLID).Extent()
    every = occ.shape_map(shape, kinds.TopAbs_SHELL)
    sheets = [every.FindKey(number) for number in range(1, every.Extent() + 1)] + loose
    properties = occ.GProp.GProp_GProps()
    with occ.explained("the area of its surfaces cannot be told"):
        occ.BRepGProp.BRepGProp.SurfaceProperties_s(shape, properties)
    return _Counts(
        vertex_count=occ.shape_map(shape, kinds.TopAbs_VERTEX).Extent(),
        edge_count=edges,
        face_count=occ.shape_map(shape, kinds.TopAbs_FACE).Extent(),
        body_count=solids + len(shells) + len(loose),
        open_shell_count=sum(free_edge_count(sheet) > 0 for sheet in sheets),
        boundary_count=_loops(free),
        boundary_edge_count=len(free),
        area_m2=abs(float(properties.Mass())) * MILLIMETRE**2,
    )


def _free_edges(shape: Any) -> tuple[list[Any], int]:
    """The edges with a face on one side alone, and the number of all edges; those without a length do not count."""
    from pixyz_worker.kernel.formats.cad import occ

    kinds = occ.TopAbs.TopAbs_ShapeEnum
    found = occ.collections.IndexedDataMap_TopoDS_Shape_List_TopoDS_Shape_TopTools_ShapeMapHasher()
    # A seam is met twice on its one face, and so counts as closed.
    occ.TopExp.TopExp.MapShapesAndAncestors_s(shape, kinds.TopAbs_EDGE, kinds.TopAbs_FACE, found)
    free, count = list[Any](), 0
    for number in range(1, found.Extent() + 1):
        edge = occ.TopoDS.TopoDS.Edge(found.FindKey(number))
        if occ.BRep.BRep_Tool.Degenerated_s(edge):
            continue
        count += 1
        if found.FindFromIndex(number).Size() == 1:
            free.append(edge)
    return free, count


def _outside(shape: Any, kind: Any, holder: Any) -> list[Any]:
    """The different sub-shapes of a kind that are in no sub-shape of another kind."""
    from pixyz_worker.kernel.formats.cad import occ

    found = occ.collections.IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher()
    explorer = occ.TopExp.TopExp_Explorer(shape, kind, holder)
    while explorer.More():
        found.Add(explorer.Current())
        explorer.Next()
    return [found.FindKey(number) for number in range(1, found.Extent() + 1)]


def _loops(edges: list[Any]) -> int:
    """How many groups of edges hang together at their vertices."""
    from pixyz_worker.kernel.formats.cad import occ

    above: dict[int, int] = {}
    vertices = occ.collections.IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher()

    def top(number: int) -> int:
        while above.setdefault(number, number) != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for edge in edges:
        ends = [vertices.Add(occ.TopExp.TopExp.FirstVertex_s(edge)), vertices.Add(occ.TopExp.TopExp.LastVertex_s(edge))]
        above[top(ends[0])] = top(ends[1])
    return len({top(number) for number in list(above)})
