"""Steps that pre-built processes share: read a file, repair, tessellate, merge and turn what is in it.

They call the names of `pxz`: where the Pixyz SDK is installed it does the work, elsewhere our own kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_worker import compat
from pixyz_worker.kernel import sdk
from pixyz_worker.parameters import Fineness

if TYPE_CHECKING:
    from pixyz_worker.kernel.options import Tessellation

_MOST_TOLERANCE_MM = 0.1
_TOLERANCE_SHARE = 1e-5


def pxz() -> Any:
    """The package pxz with all its modules: the SDK's, or ours."""
    from importlib import import_module

    compat.install()
    package = import_module("pxz")
    for name in ("algo", "core", "geom", "io", "material", "scene", "view"):
        import_module(f"pxz.{name}")
    return package


def check_writable(extension: str) -> None:
    """Raise UnsupportedFormat when nothing here writes a format, before a file is read in vain."""
    if sdk.genuine() is None:
        from pixyz_worker.kernel import formats

        formats.find(f".{extension}", to="written").load_writer()


def imported(path: str | Path, *, fineness: Fineness | None = None, unit_m: float | None = None) -> Any:
    """Read a file and return its root.

    fineness is for formats that are tessellated while they are read; unit_m is metres in one unit of a file that
    names none, and counts for our own kernel alone.
    """
    from pixyz_worker import io
    from pixyz_worker.kernel.options import ReadOptions

    if fineness is None:
        return io.importScene(path, options=ReadOptions(unit_m=unit_m))
    return io.importScene(path, options=ReadOptions(unit_m=unit_m, tessellation=_tessellation(fineness)))


def tessellated(root: Any, fineness: Fineness) -> None:
    """Give parts with exact surfaces their triangles; those that have some keep them."""
    algo = pxz().algo
    algo.tessellateRelativelyToAABB([root], fineness.sag_mm, fineness.sag_ratio, -1, fineness.angle_deg)


def repaired(root: Any, fineness: Fineness) -> None:
    """Repair exact surfaces, tessellate them, and repair the triangles."""
    algo = pxz().algo
    tolerance = tolerance_mm(root)
    algo.repairCAD([root], tolerance, orient=False)
    tessellated(root, fineness)
    algo.repairMesh([root], tolerance, crackNonManifold=False, orient=False)


def merged(hidden: int) -> None:
    """Let everything be one part for each material, with equal materials and images made one before.

    hidden is what becomes of hidden parts: 0 destroys them, 1 shows them, 2 merges them separately.
    """
    scene = pxz().scene
    scene.mergeImages([])
    scene.mergeMaterials([], False)
    scene.mergePartOccurrencesByMaterials([], True, hidden, True)


def decimated(target: list[Any]) -> None:
    """Take triangles away from everything; see algo.decimateTarget."""
    pxz().algo.decimateTarget([], target)


def diagonal_mm(root: Any) -> float:
    """Diagonal of the box around a root, in millimetres."""
    box = pxz().scene.getAABB([root])
    sides = (box.high.x - box.low.x, box.high.y - box.low.y, box.high.z - box.low.z)
    return float(sum(side * side for side in sides) ** 0.5)


def tolerance_mm(root: Any) -> float:
    """How far apart what belongs together may lie, in millimetres: 0.1, and less in what is small."""
    return min(_MOST_TOLERANCE_MM, diagonal_mm(root) * _TOLERANCE_SHARE)


def stand(root: Any, axis: str, extension: str) -> None:
    """Turn what was read so that it stands on an axis, "y" or "z", in a file of some format.

    What does not say its own axis counts as standing on y.
    """
    if sdk.genuine() is not None:
        if axis == "z":
            pxz().scene.applyTransformation(root, [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
        return
    from pixyz_worker.kernel import formats
    from pixyz_worker.kernel.axes import turn
    from pixyz_worker.kernel.pxz import selection

    top = selection.one(root)
    scene = top.owner()
    if scene is None:
        return
    standing = scene.up or "y"
    wanted: Any = axis
    if standing != axis:
        move = turn(standing, wanted)
        top.matrix = move if top.matrix is None else move @ top.matrix
        scene.changed()
    # A format that fixes the axis would be turned back by its writer, so the scene claims to stand as it wants.
    scene.up = formats.find(extension).up or wanted


def _tessellation(fineness: Fineness) -> Tessellation:
    from pixyz_worker.kernel.pxz.algo import tessellation_of

    return tessellation_of(fineness.sag_mm, fineness.sag_ratio, fineness.angle_deg)
