"""`pxz.algo`: repair, tessellation, decimation and what else changes shapes. Lengths are millimetres, angles degrees.

Functions that take occurrences work on all parts below them, each once; an empty list means everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from numbers import Real
from typing import Any, Literal

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel.options import Tessellation
from pixyz_worker.kernel.pxz import selection
from pixyz_worker.kernel.pxz.lengths import metres, metres_if_used
from pixyz_worker.kernel.scene import Occurrence

__all__ = [
    "SelectionLevel",
    "createNormals",
    "decimateTarget",
    "deleteSmallParts",
    "explodeConnectedMeshes",
    "explodePartByMaterials",
    "removeOccludedGeometries",
    "repairCAD",
    "repairMesh",
    "tessellate",
    "tessellateRelativelyToAABB",
]

_ANY_ANGLE_DEG = 45.0
"""Where no angle is asked for, small round things stay round by this one."""
_SHARP_DEG = 45.0


class SelectionLevel(IntEnum):
    """What removeOccludedGeometries removes."""

    Parts = 0
    Patches = 1
    Polygons = 2


def repairCAD(occurrences: Any, tolerance: float, orient: bool = True) -> None:
    """Repair exact surfaces: faces and their borders, sewing within the tolerance, and with orient their sides.

    Parts without exact surfaces stay as they are.
    """
    if _has_breps(tops := selection.occurrences(occurrences)):
        from pixyz_worker.kernel.algorithms import cad_repair

        cad_repair.repair_cad(tops, metres(_positive("tolerance", tolerance)), orient=bool(orient))


def repairMesh(occurrences: Any, tolerance: float, crackNonManifold: bool = True, orient: bool = True) -> None:
    """Repair triangles: join vertices within the tolerance, remove degenerate and doubled triangles.

    With crackNonManifold, surfaces that meet at an edge of more than two triangles come apart there; with orient,
    triangles are turned so that neighbours agree on the front.
    """
    if tops := selection.occurrences(occurrences):
        from pixyz_worker.kernel.algorithms import mesh_repair

        allowed = metres(_positive("tolerance", tolerance))
        mesh_repair.repair_mesh(tops, allowed, crack_non_manifold=bool(crackNonManifold), orient=bool(orient))


def tessellate(
    occurrences: Any,
    maxSag: float,
    maxLength: float = -1,
    maxAngle: float = -1,
    createNormals: bool = True,
    uvMode: Any = 0,
    uvChannel: int = 0,
    uvPadding: float = 0.0,
    createTangents: bool = False,
    createFreeEdges: bool = False,
    keepBRepShape: bool = True,
    overrideExistingTessellation: bool = False,
) -> None:
    """Give parts with exact surfaces their triangles, at most maxSag off the surface; -1 is "not used".

    Parts that have triangles keep them unless overrideExistingTessellation. Without keepBRepShape the exact surfaces
    are forgotten afterwards. No texture coordinates, tangents or free edges are made.
    """
    how = tessellation_of(maxSag, -1, maxAngle, maxLength)
    _tessellate(occurrences, how, overrideExistingTessellation, createNormals, keepBRepShape)


def tessellateRelativelyToAABB(
    occurrences: Any,
    maxSag: float,
    sagRatio: float,
    maxLength: float = -1,
    maxAngle: float = -1,
    createNormals: bool = True,
    uvMode: Any = 0,
    uvChannel: int = 0,
    uvPadding: float = 0.0,
    createTangents: bool = False,
    createFreeEdges: bool = False,
    keepBRepShape: bool = True,
    overrideExistingTessellation: bool = False,
) -> None:
    """The same as tessellate, where the sag is at most sagRatio times the diagonal of the part's box, and maxSag."""
    how = tessellation_of(maxSag, sagRatio, maxAngle, maxLength)
    _tessellate(occurrences, how, overrideExistingTessellation, createNormals, keepBRepShape)


def decimateTarget(
    occurrences: Any,
    TargetStrategy: Sequence[Any],
    UVImportance: Any = 0,
    protectTopology: bool = False,
    iterativeThreshold: int = 5_000_000,
    processMeshIndependently: bool = False,
) -> None:
    """Take triangles away until a target is reached: ["triangleCount", 500000], or ["ratio", 50] for half of them.

    The count is that of all instances together. With processMeshIndependently each part gets its share of its own.
    Open borders and seams of textures stay where they are; the other arguments mean nothing here.
    """
    kind, value = _target(TargetStrategy)
    if tops := selection.occurrences(occurrences):
        from pixyz_worker.kernel.algorithms import decimation

        if kind == "ratio":
            decimation.decimate(tops, ratio=float(value) / 100, each=bool(processMeshIndependently))
        else:
            decimation.decimate(tops, count=int(value), each=bool(processMeshIndependently))


def createNormals(
    occurrences: Any, sharpEdge: float = -1, override: bool = True, useAreaWeighting: bool = True
) -> None:
    """Give vertices their normals; edges sharper than sharpEdge degrees (45 when it is -1) stay sharp."""
    if tops := selection.occurrences(occurrences):
        from pixyz_worker.kernel.algorithms import normals

        normals.create_normals(tops, sharp_deg=_angle(sharpEdge, _SHARP_DEG), again=bool(override))


def removeOccludedGeometries(
    occurrences: Any,
    level: int = SelectionLevel.Parts,
    resolution: int = 1024,
    sphereCount: int = 26,
    fovX: float = 90,
    considerTransparentOpaque: bool = True,
    adjacencyDepth: int = 1,
) -> None:
    """Remove what is seen from nowhere around: whole parts, or with level Patches or Polygons single triangles.

    It is looked from sphereCount directions (at most 26) with resolution x resolution rays.
    """
    if tops := selection.occurrences(occurrences):
        from pixyz_worker.kernel.algorithms import occlusion

        what: Literal["occurrences", "triangles"] = "occurrences" if int(level) == 0 else "triangles"
        views = max(1, min(int(sphereCount), 26))
        occlusion.remove_occluded(tops, level=what, views=views, resolution=int(resolution))


def deleteSmallParts(occurrences: Any, maxSize: float = -1, maxRatio: float = -1) -> int:
    """Delete part occurrences whose box has a diagonal below maxSize, or below maxRatio of everything's diagonal.

    Returns how many were deleted. The SDK has no function of this name.
    """
    tops = selection.occurrences(occurrences)
    if not tops:
        return 0
    from pixyz_worker.kernel.algorithms import pruning

    ratio = float(maxRatio) if maxRatio > 0 else None
    return pruning.delete_small_parts(tops, size_m=metres_if_used(maxSize), ratio=ratio)


def explodePartByMaterials(occurrences: Any) -> list[Occurrence]:
    """Cut parts with several materials into one part for each; returns the new occurrences."""
    return _explode(occurrences, "material")


def explodeConnectedMeshes(occurrences: Any) -> list[Occurrence]:
    """Cut parts into one part for each piece that hangs together; returns the new occurrences."""
    return _explode(occurrences, "connected")


def tessellation_of(maxSag: float, sagRatio: float, maxAngle: float, maxLength: float = -1) -> Tessellation:
    """How closely the SDK's arguments ask surfaces to be followed; -1 is "not used".

    Raises PixyzException when none of them is used.
    """
    given = {"maxSag": maxSag, "sagRatio": sagRatio, "maxAngle": maxAngle, "maxLength": maxLength}
    for name, value in given.items():
        if value is not None and not _is_number(value):
            raise PixyzException(f"{name} must be a number, or -1 where it is not used, not {value!r}.")
    if not any(value is not None and value > 0 for value in given.values()):
        raise PixyzException("A tessellation needs a sag, a length or an angle above 0.")
    return Tessellation(
        sag_m=metres_if_used(maxSag),
        sag_ratio=float(sagRatio) if sagRatio is not None and sagRatio > 0 else None,
        angle_deg=_angle(maxAngle),
        length_m=metres_if_used(maxLength),
    )


def _explode(occurrences: Any, by: Literal["material", "connected"]) -> list[Occurrence]:
    if not (tops := selection.occurrences(occurrences)):
        return []
    from pixyz_worker.kernel.algorithms import merging

    return merging.explode_parts(tops, by)


def _tessellate(occurrences: Any, how: Tessellation, again: bool, normals: bool, keep: bool) -> None:
    tops = selection.occurrences(occurrences)
    if not _can_be_tessellated(tops):
        return
    from pixyz_worker.kernel.algorithms import tessellation

    tessellation.tessellate(tops, how, again=bool(again), normals=bool(normals))
    if not keep:
        for part in {occurrence.part for top in tops for occurrence in top.walk()}:
            if part is not None and part.mesh is not None:
                part.brep = None


def _can_be_tessellated(tops: list[Occurrence]) -> bool:
    """Whether there is anything to do: exact surfaces, or a file that can be read again."""
    if _has_breps(tops):
        return True
    owners = [top.owner() for top in tops]
    return any(owner is not None and owner.remesh is not None for owner in owners)


def _has_breps(tops: list[Occurrence]) -> bool:
    return any(below.part is not None and below.part.brep is not None for top in tops for below in top.walk())


def _angle(degrees: float, otherwise: float = _ANY_ANGLE_DEG) -> float:
    return float(degrees) if degrees is not None and degrees > 0 else otherwise


def _is_number(value: Any) -> bool:
    """Whether it is a number, numpy's too."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _positive(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value < float("inf"):
        raise PixyzException(f"{name} must be a length in millimetres, 0 or more, not {value!r}.")
    return float(value)


def _target(strategy: Any) -> tuple[str, float]:
    """The kind and the number of a target; PixyzException says how one looks."""
    if isinstance(strategy, list | tuple) and len(strategy) == 2:
        kind, value = strategy
        number = _is_number(value)
        if kind == "triangleCount" and number and 0 < value < float("inf"):
            return kind, value
        if kind == "ratio" and number and 0 < value <= 100:
            return kind, value
    raise PixyzException(f'A target is ["triangleCount", NUMBER] or ["ratio", PERCENT], not {strategy!r}.')
