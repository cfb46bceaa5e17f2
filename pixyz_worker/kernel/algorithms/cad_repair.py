"""Repair of exact surfaces: healing, sewing of faces that nearly meet, solids of closed shells (OpenCASCADE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.scene import Occurrence


def repair_cad(
    occurrences: Sequence[Occurrence], tolerance_m: float, *, orient: bool = True, unify: bool = False
) -> int:
    """Heal the exact surfaces below occurrences; returns how many parts were changed.

    Faces that are at most the tolerance apart are sewn together, closed shells become solids. `orient` makes the
    normals of shells agree, outwards where they bound a solid; `unify` joins neighbouring faces of one surface.
    The looks of faces are kept. Triangles that a part has already stay as they are. Parts without exact surfaces
    are passed over, without OpenCASCADE too. Raises ValueError when the tolerance is not positive.
    """
    if not tolerance_m > 0:
        raise ValueError("the tolerance has to be more than 0")
    every = (below.part for occurrence in occurrences for below in occurrence.walk())
    parts = list(dict.fromkeys(part for part in every if part is not None and isinstance(part.brep, OccBrep)))
    changed = 0
    for part in parts:
        assert isinstance(part.brep, OccBrep)
        repaired = _repaired(part.brep, tolerance_m / MILLIMETRE, orient=orient, unify=unify)
        if repaired is not None:
            part.brep = repaired
            changed += 1
    if changed:
        for owner in {id(owner): owner for top in occurrences if (owner := top.owner()) is not None}.values():
            owner.changed()
    return changed


def _repaired(brep: OccBrep, tolerance_mm: float, *, orient: bool, unify: bool) -> OccBrep | None:
    """The repaired surfaces; None when there was nothing to repair."""
    from pixyz_worker.kernel.formats.cad import occ

    work = _Work(brep)
    with occ.quietly(), occ.explained("OpenCASCADE cannot repair its surfaces"):
        work.heal(tolerance_mm)
        if _is_open(work.shape):
            work.sew(tolerance_mm)
        work.make_solids(orient=orient)
        if unify:
            work.unify()
    return work.result() if work.changed else None


class _Work:
    """A shape under repair, and what became of each of its faces."""

    def __init__(self, brep: OccBrep) -> None:
        from pixyz_worker.kernel.formats.cad import occ

        self.brep = brep
        self.shape = brep.shape
        self.changed = False
        self._faces = [[face] for face in occ.faces(self.shape)] if brep.face_materials is not None else []

    def heal(self, tolerance_mm: float) -> None:
        """Mend wires, gaps, and orders of edges within the tolerance."""
        from pixyz_worker.kernel.formats.cad import occ

        fix = occ.ShapeFix.ShapeFix_Shape(self.shape)
        fix.SetMaxTolerance(tolerance_mm)
        if fix.Perform():
            self.changed = True
            context = fix.Context()
            self._became(context.Apply)
            self.shape = fix.Shape()

    def sew(self, tolerance_mm: float) -> None:
        """Join faces whose edges meet within the tolerance."""
        from pixyz_worker.kernel.formats.cad import occ

        sewing = occ.BRepBuilderAPI.BRepBuilderAPI_Sewing(tolerance_mm)
        sewing.Add(self.shape)
        sewing.Perform()
        sewn = sewing.SewedShape()
        if sewn.IsNull() or _count(sewn, occ.FACE) < _count(self.shape, occ.FACE) - sewing.NbDeletedFaces():
            return
        if _count(sewn, occ.EDGE) < _count(self.shape, occ.EDGE):
            self.changed = True
            self._became(lambda face: sewing.ModifiedSubShape(face) if sewing.IsModifiedSubShape(face) else face)
            self.shape = sewn

    def make_solids(self, *, orient: bool) -> None:
        """Replace closed shells that bound nothing by solids; where asked, make shells agree about their outside."""
        from pixyz_worker.kernel.formats.cad import occ

        kinds = occ.TopAbs.TopAbs_ShapeEnum
        context = occ.ShapeBuild.ShapeBuild_ReShape()
        replaced = False
        for shell in _shells(self.shape):
            fixed = shell
            if orient:
                fix = occ.ShapeFix.ShapeFix_Shell(shell)
                if fix.FixFaceOrientation(shell):
                    fixed = fix.Shell()
            closed = fixed.ShapeType() == kinds.TopAbs_SHELL and occ.BRep.BRep_Tool.IsClosed_s(fixed)
            if closed and not _is_open(fixed):
                fixed = occ.ShapeFix.ShapeFix_Solid().SolidFromShell(occ.TopoDS.TopoDS.Shell(fixed))
            if not fixed.IsEqual(shell):
                context.Replace(shell, fixed)
                replaced = True
        if replaced:
            # Faces are only turned, never replaced, so their looks need no care here.
            self.shape, self.changed = context.Apply(self.shape), True

    def unify(self) -> None:
        """Join neighbouring faces that lie on one surface and look the same, and their edges."""
        from pixyz_worker.kernel.formats.cad import occ

        work = occ.ShapeUpgrade.ShapeUpgrade_UnifySameDomain(self.shape, True, True, False)
        for edge in self._borders():
            work.KeepShape(edge)
        work.Build()
        if _count(work.Shape(), occ.FACE) < _count(self.shape, occ.FACE):
            self.changed = True
            history = work.History()
            self._became(lambda face: next(iter(history.Modified(face)), face))
            self.shape = work.Shape()

    def result(self) -> OccBrep:
        """The repaired shape with the looks of its faces."""
        numbers = self._looks()
        return OccBrep(self.shape, materials=self.brep.materials, face_materials=numbers)

    def _became(self, change: Any) -> None:
        """Note what each face has become by a step."""
        from pixyz_worker.kernel.formats.cad import occ

        for number, faces in enumerate(self._faces):
            self._faces[number] = [new for face in faces for new in occ.faces(change(face))]

    def _looks(self) -> NDArray[numpy.uint16] | None:
        from pixyz_worker.kernel.formats.cad import occ

        if self.brep.face_materials is None:
            return None
        every = occ.shape_map(self.shape, occ.FACE)
        numbers = numpy.zeros(every.Extent(), dtype=numpy.uint16)
        for material, faces in zip(self.brep.face_materials, self._faces, strict=True):
            for face in faces:
                if place := every.FindIndex(face):
                    numbers[place - 1] = material
        return numbers

    def _borders(self) -> list[Any]:
        """The edges between faces that look different."""
        from pixyz_worker.kernel.formats.cad import occ

        looks = self._looks()
        if looks is None:
            return []
        edges = occ.collections.IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher()
        seen: dict[int, int] = {}
        borders: dict[int, Any] = {}
        for face, look in zip(occ.faces(self.shape), looks.tolist(), strict=True):
            own = occ.shape_map(face, occ.EDGE)
            for number in range(1, own.Extent() + 1):
                place = edges.Add(own.FindKey(number))
                if seen.setdefault(place, look) != look:
                    borders[place] = own.FindKey(number)
        return list(borders.values())


def _count(shape: Any, kind: Any) -> int:
    from pixyz_worker.kernel.formats.cad import occ

    return int(occ.shape_map(shape, kind).Extent())


def _is_open(shape: Any) -> bool:
    from pixyz_worker.kernel.algorithms.brep_measures import free_edge_count

    return free_edge_count(shape) > 0


def _shells(shape: Any) -> list[Any]:
    """The shells that bound no solid."""
    from pixyz_worker.kernel.formats.cad import occ

    kinds = occ.TopAbs.TopAbs_ShapeEnum
    found = list[Any]()
    explorer = occ.TopExp.TopExp_Explorer(shape, kinds.TopAbs_SHELL, kinds.TopAbs_SOLID)
    while explorer.More():
        found.append(occ.TopoDS.TopoDS.Shell(explorer.Current()))
        explorer.Next()
    return found
