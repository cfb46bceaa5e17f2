"""`pxz.scene`: the tree of occurrences, what is in it, and how large it is. Lengths are millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Literal

from pixyz_worker.console import say
from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session
from pixyz_worker.kernel.pxz import selection
from pixyz_worker.kernel.pxz.component import Component, ComponentType, components
from pixyz_worker.kernel.pxz.geom import AABB, Point3
from pixyz_worker.kernel.pxz.lengths import MM, matrix_in_m, matrix_in_mm
from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Occurrence, Scene

__all__ = [
    "ComponentType",
    "MergeHiddenPartsMode",
    "applyTransformation",
    "createOccurrence",
    "deleteOccurrences",
    "getAABB",
    "getAnnotationGroups",
    "getAnnotations",
    "getBRepInfos",
    "getChildren",
    "getComponent",
    "getGlobalMatrix",
    "getLocalMatrix",
    "getOccurrenceName",
    "getParent",
    "getPartOccurrences",
    "getPolygonCount",
    "getRoot",
    "getTessellationInfos",
    "getVertexCount",
    "listAnimations",
    "listComponent",
    "listVariants",
    "mergeImages",
    "mergeMaterials",
    "mergePartOccurrences",
    "mergePartOccurrencesByMaterials",
    "setLocalMatrix",
    "setOccurrenceName",
]


class MergeHiddenPartsMode(IntEnum):
    """What becomes of hidden parts when parts are merged."""

    Destroy = 0
    MakeVisible = 1
    MergeSeparately = 2


_HIDDEN: tuple[Literal["destroy", "show", "separate"], ...] = ("destroy", "show", "separate")


# --- The tree --------------------------------------------------------------------------------------------------------


def getRoot() -> Scene:
    """The root of everything that was imported; an empty one is made when nothing was."""
    whole = session.whole()
    if whole is None:
        whole = Scene(name="Root", root=Occurrence(name="Root"))
        session.add(whole)
    return whole


def getChildren(occurrence: Any = None) -> list[Occurrence]:
    """The occurrences right below one."""
    return list(selection.one(_or_root(occurrence)).children)


def getParent(occurrence: Any) -> Occurrence | None:
    """The occurrence above one; None above the root."""
    return selection.one(occurrence).parent


def getOccurrenceName(occurrence: Any) -> str:
    """The name of an occurrence."""
    return selection.one(occurrence).name


def setOccurrenceName(occurrence: Any, name: str) -> None:
    """Give an occurrence another name."""
    chosen = selection.one(occurrence)
    chosen.name = str(name)
    _changed([chosen])


def getPartOccurrences(fromOcc: Any = None) -> list[Occurrence]:
    """The occurrences that show a part, instances each, below one or in everything."""
    return selection.parts(fromOcc)


def createOccurrence(name: str, parent: Any = None) -> Occurrence:
    """A new group below an occurrence, or below the root."""
    above = selection.one(_or_root(parent))
    made = above.add(Occurrence(name=str(name)))
    _changed([above])
    return made


def deleteOccurrences(occurrences: Any) -> None:
    """Take occurrences, with all below them, out of the tree; of a root, what is below it."""
    if isinstance(occurrences, list | tuple | set | frozenset) and not occurrences:
        return
    for occurrence in selection.occurrences(occurrences):
        above = occurrence.parent
        for child in [*occurrence.children] if above is None else [occurrence]:
            child.remove()
        _changed([occurrence if above is None else above])


def getGlobalMatrix(occurrence: Any) -> list[list[float]]:
    """The place of an occurrence in the world: four rows of four numbers."""
    return matrix_in_mm(selection.one(occurrence).world())


def getLocalMatrix(occurrence: Any) -> list[list[float]]:
    """The place of an occurrence in its parent: four rows of four numbers."""
    return matrix_in_mm(selection.one(occurrence).matrix)


def setLocalMatrix(occurrence: Any, matrix: Sequence[Sequence[float]]) -> None:
    """Put an occurrence at a place in its parent."""
    chosen = selection.one(occurrence)
    chosen.matrix = matrix_in_m(matrix)
    _changed([chosen])


def applyTransformation(occurrence: Any, matrix: Sequence[Sequence[float]]) -> None:
    """Move an occurrence by a matrix, in the frame of its parent."""
    chosen, move = selection.one(occurrence), matrix_in_m(matrix)
    chosen.matrix = move if chosen.matrix is None else move @ chosen.matrix
    _changed([chosen])


# --- Measures --------------------------------------------------------------------------------------------------------


def getAABB(occurrences: Any = None) -> AABB:
    """The box along the axes around occurrences, exact also for turned instances; zeros when there is nothing."""
    if not (tops := selection.occurrences(occurrences)):
        return AABB()
    from pixyz_worker.kernel.algorithms import measures

    box = measures.bounds(tops)
    if box is None:
        return AABB()
    low, high = (Point3(*(float(value) / MM for value in corner)) for corner in box)
    return AABB(low, high)


def getBRepInfos(root: Any = None) -> dict[str, Any]:
    """Figures of the exact surfaces: counts of the different parts, and `total...` with every instance.

    area2Dsum is in square millimetres. All are 0 where there are no exact surfaces; a line says so where the file
    has some, and the extra `cad` is not installed.
    """
    from pixyz_worker.kernel.algorithms import brep_measures
    from pixyz_worker.kernel.formats.table import lack_of

    tops = selection.occurrences(root)
    if any(owner is not None and owner.remesh is not None for owner in (top.owner() for top in tops)):
        lacking = lack_of("cad") or "Read the file where the extra 'cad' is: pip install 'pixyz-ray[cad]'"
        say(f"Exact surfaces are not counted. {lacking}")
    infos = brep_measures.brep_infos(tops)
    return {
        "partCount": infos.part_count,
        "totalPartCount": infos.total_part_count,
        "vertexCount": infos.vertex_count,
        "totalVertexCount": _total(infos, "vertex_count"),
        "edgeCount": infos.edge_count,
        "totalEdgeCount": _total(infos, "edge_count"),
        "faceCount": infos.face_count,
        "totalFaceCount": _total(infos, "face_count"),
        "openShellCount": infos.open_shell_count,
        "totalOpenShellCount": _total(infos, "open_shell_count"),
        "bodyCount": infos.body_count,
        "totalBodyCount": infos.total_body_count,
        "area2Dsum": infos.area_m2 / MM**2,
        "boundaryCount": infos.boundary_count,
        "boundaryEdgeCount": infos.boundary_edge_count,
    }


def getTessellationInfos(root: Any = None) -> dict[str, int]:
    """Figures of the triangles: counts of the different parts, and `total...` with every instance."""
    from pixyz_worker.kernel.algorithms import measures

    infos = measures.mesh_infos(selection.occurrences(root))
    return {
        "partCount": infos.part_count,
        "totalPartCount": infos.total_part_count,
        "vertexCount": infos.vertex_count,
        "totalVertexCount": infos.total_vertex_count,
        "edgeCount": infos.edge_count,
        "totalEdgeCount": infos.total_edge_count,
        "polygonCount": infos.polygon_count,
        "totalPolygonCount": infos.total_polygon_count,
        "patchCount": infos.patch_count,
        "totalPatchCount": infos.total_patch_count,
        "boundaryCount": infos.boundary_count,
        "boundaryEdgeCount": infos.boundary_edge_count,
        "nonManifoldEdgeCount": infos.non_manifold_edge_count,
    }


def getPolygonCount(
    occurrences: Any = None,
    asTriangleCount: bool = False,
    countOnceEachInstance: bool = False,
    countHidden: bool = False,
) -> int:
    """How many triangles occurrences have; instances count each unless countOnceEachInstance."""
    parts = _counted(occurrences, countOnceEachInstance, countHidden)
    return sum(len(part.mesh.triangles) for part in parts if part.mesh is not None)


def getVertexCount(
    occurrences: Any = None,
    countOnceEachInstance: bool = False,
    countHidden: bool = False,
    countPoints: bool = False,
    countMergedVertices: bool = False,
) -> int:
    """How many vertices occurrences have; points count as vertices too."""
    parts = _counted(occurrences, countOnceEachInstance, countHidden)
    return sum(len(part.mesh.positions) for part in parts if part.mesh is not None)


# --- Components ------------------------------------------------------------------------------------------------------


def listComponent(componentType: int, occurrences: Any = None) -> list[Component]:
    """The components of a kind in everything that was imported; see ComponentType."""
    kind = ComponentType(componentType)
    return [found for top in selection.occurrences(occurrences) for found in components(top, kind)]


def getComponent(occurrence: Any, componentType: int) -> Component | None:
    """The component of a kind that an occurrence carries itself; None when it has none."""
    chosen = selection.one(occurrence)
    found = next(components(chosen, ComponentType(componentType)), None)
    return found if found is not None and found.occurrence is chosen else None


def getAnnotationGroups(pmiComponent: Component) -> list[AnnotationGroup]:
    """The groups of annotations of a PMI component."""
    if not isinstance(pmiComponent, Component):
        raise PixyzException("Annotation groups belong to a component that listComponent(ComponentType.PMI) gave.")
    return list(pmiComponent.occurrence.annotations)


def getAnnotations(group: AnnotationGroup) -> list[str]:
    """The annotations of a group, as texts."""
    if not isinstance(group, AnnotationGroup):
        raise PixyzException("Annotations belong to a group that getAnnotationGroups gave.")
    return list(group.annotations)


def listAnimations() -> list[Animation]:
    """The animations of everything that was imported."""
    return [animation for scene in session.scenes() for animation in _decoded(scene).animations]


def listVariants() -> list[str]:
    """The names of the variants of everything that was imported, each once."""
    return list(dict.fromkeys(variant for scene in session.scenes() for variant in _decoded(scene).variants))


# --- Merging ---------------------------------------------------------------------------------------------------------


def mergeMaterials(occurrences: Any = None, *options: Any) -> int:
    """Let materials that look the same be one; returns how many went."""
    if not (tops := selection.occurrences(occurrences)):
        return 0
    from pixyz_worker.kernel.algorithms import merging

    return merging.merge_materials(tops)


def mergeImages(occurrences: Any = None, *options: Any) -> int:
    """Let images with the same content be one; returns how many went."""
    if not (tops := selection.occurrences(occurrences)):
        return 0
    from pixyz_worker.kernel.algorithms import merging

    return merging.merge_images(tops)


def mergePartOccurrencesByMaterials(
    partOccurrences: Any = None,
    mergeNoMaterials: bool = True,
    mergeHiddenPartsMode: int = MergeHiddenPartsMode.MergeSeparately,
    combineMeshes: bool = True,
) -> list[Occurrence]:
    """Merge parts so that there is one for each material; returns the new occurrences.

    Without mergeNoMaterials, parts without any material stay as they are. An empty list means all parts.
    """
    chosen = selection.occurrences(partOccurrences)
    if not mergeNoMaterials:
        chosen = [part for part in selection.parts(partOccurrences) if _has_material(part)]
    if not chosen:
        return []
    from pixyz_worker.kernel.algorithms import merging

    return merging.merge_parts_by_materials(chosen, hidden=_HIDDEN[MergeHiddenPartsMode(mergeHiddenPartsMode)])


def mergePartOccurrences(
    partOccurrences: Any = None, mergeHiddenPartsMode: int = MergeHiddenPartsMode.MergeSeparately
) -> list[Occurrence]:
    """Merge parts into one; returns it in a list. Hidden parts are merged like all others."""
    if not (chosen := selection.occurrences(partOccurrences)):
        return []
    from pixyz_worker.kernel.algorithms import merging

    return [merging.merge_parts(chosen)]


def _or_root(given: Any) -> Any:
    return getRoot() if selection.is_everything(given) else given


def _changed(occurrences: list[Occurrence]) -> None:
    for occurrence in occurrences:
        if (owner := occurrence.owner()) is not None:
            owner.changed()


def _decoded(scene: Scene) -> Scene:
    """A scene whose GLB was taken apart: only then are its animations and variants known."""
    _ = scene.root
    return scene


def _total(infos: Any, name: str) -> int:
    """A count with every instance, where the kernel has it."""
    return int(getattr(infos, f"total_{name}", getattr(infos, name)))


def _counted(occurrences: Any, once: bool, hidden: bool) -> list[Any]:
    shown = [below for below in selection.parts(occurrences) if hidden or below.shown()]
    parts = [below.part for below in shown]
    return list(dict.fromkeys(parts)) if once else parts


def _has_material(occurrence: Occurrence) -> bool:
    mesh = occurrence.part.mesh if occurrence.part is not None else None
    return mesh is not None and any(material is not None for material in mesh.materials)
