"""`pxz.view`: pictures. A viewer shows GPU scenes from one camera; angles are degrees, sizes are pixels.

Where a viewer is wanted, 0, -1 or nothing mean the one that was made last.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel.pxz import selection
from pixyz_worker.kernel.pxz.current import current

if TYPE_CHECKING:
    from pixyz_worker.kernel.pictures.viewer import GpuScene, Viewer

__all__ = [
    "CameraType",
    "addGPUScene",
    "createGPUScene",
    "createViewer",
    "destroyGPUScene",
    "destroyViewer",
    "fitCamera",
    "getViewerProperty",
    "getViewerSize",
    "removeGPUScene",
    "resizeViewer",
    "setViewerProperty",
    "takeScreenshot",
]


class CameraType(IntEnum):
    """Whether what is far away looks smaller."""

    Perspective = 0
    Orthographic = 1


def createViewer(width: int, height: int, *options: Any) -> Viewer:
    """A viewer whose pictures have this size; destroy it after use."""
    from pixyz_worker.kernel.pictures.viewer import Viewer

    viewer = Viewer(width, height)
    current().viewers.append(viewer)
    return viewer


def destroyViewer(viewer: Any = None) -> None:
    """Give back what a viewer holds."""
    chosen = _viewer(viewer)
    chosen.destroy()
    viewers = current().viewers
    viewers[:] = [one for one in viewers if one is not chosen]


def createGPUScene(roots: Any, *options: Any) -> GpuScene:
    """Occurrences with all below them, for viewers to show as they are when it is first drawn."""
    from pixyz_worker.kernel.pictures.viewer import GpuScene

    return GpuScene(tuple(selection.occurrences(roots)))


def destroyGPUScene(scene: GpuScene) -> None:
    """Let no viewer show a scene any more."""
    for viewer in current().viewers:
        viewer.remove(scene)


def addGPUScene(scene: GpuScene, viewer: Any = None, *options: Any) -> None:
    """Let a viewer show a scene too."""
    from pixyz_worker.kernel.pictures.viewer import GpuScene

    if not isinstance(scene, GpuScene):
        raise PixyzException(f"A GPU scene is what createGPUScene gives, not {type(scene).__name__}.")
    _viewer(viewer).add(scene)


def removeGPUScene(scene: GpuScene, viewer: Any = None) -> None:
    """Let a viewer show a scene no longer."""
    _viewer(viewer).remove(scene)


def setViewerProperty(propertyName: str, propertyValue: Any, viewer: Any = None) -> None:
    """Set a property of a viewer, as text.

    ShowBackground, ShowEdges and AmbientOcclusion are "True" or "False"; BackgroundColor and EdgesColor are like
    "[1, 1, 1]"; AntiAliasing is 1 to 4; PointSize is in pixels; Renderer is auto, vtk or embree. Others are kept.
    """
    _viewer(viewer).set(propertyName, propertyValue)


def getViewerProperty(propertyName: str, viewer: Any = None) -> str:
    """A property of a viewer, as text."""
    return _viewer(viewer).get(propertyName)


def getViewerSize(viewer: Any = None) -> tuple[int, int]:
    """Width and height of a viewer's pictures."""
    chosen = _viewer(viewer)
    return chosen.width, chosen.height


def resizeViewer(width: int, height: int, viewer: Any = None) -> None:
    """Give a viewer's pictures another size; fit the camera again afterwards."""
    chosen = _viewer(viewer)
    other = type(chosen)(width, height)
    chosen.width, chosen.height = other.width, other.height


def fitCamera(
    direction: Sequence[float],
    type: int = CameraType.Perspective,
    fov: float = 40.0,
    occurrences: Any = None,
    viewer: Any = None,
) -> None:
    """Look along a direction, y up, so that all that a viewer shows fills the picture, or some occurrences do.

    (0, 0, -1) looks from the front, (-1, 0, 0) from the right, (0, -1, 0) from above. fov is the angle between the
    upper and the lower edge of the picture.
    """
    kind = CameraType(type)
    chosen = None if selection.is_everything(occurrences) else selection.occurrences(occurrences)
    one, two, three = (float(part) for part in direction)
    camera = _viewer(viewer)
    if kind is CameraType.Perspective:
        camera.fit_camera((one, two, three), "perspective", float(fov), chosen)
    else:
        camera.fit_camera((one, two, three), "orthographic", float(fov), chosen)


def takeScreenshot(fileName: Any, viewer: Any = None) -> None:
    """Write what a viewer shows as .png or .jpg."""
    _viewer(viewer).take_screenshot(fileName)


def _viewer(given: Any) -> Viewer:
    """The viewer that is meant; PixyzException when it is none, or destroyed."""
    viewers = current().viewers
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given in (0, -1)):
        if not viewers:
            raise PixyzException("There is no viewer: make one with createViewer.")
        given = viewers[-1]
    if not any(one is given for one in viewers):
        raise PixyzException("This is no viewer that createViewer gave, or it was destroyed.")
    viewer: Viewer = given
    return viewer
