"""Pictures of occurrences: which renderer draws them.

    with open_renderer(set_up([root])) as renderer:
        pixels = renderer.draw(camera, Look())

"vtk" draws in a child process with VTK, on the GPU where there is one, and needs the extra `render`; "embree" casts
rays on the processor and needs nothing more. "auto" takes VTK where it is installed and works here, else rays: what
goes wrong with VTK is said once in the log.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy
from numpy.typing import NDArray

from pixyz_worker.exception import InternalError, InvalidBackendParameter
from pixyz_worker.kernel.formats.table import is_here, lack_of
from pixyz_worker.kernel.pictures.camera import Camera
from pixyz_worker.kernel.pictures.look import Look, Renderer
from pixyz_worker.kernel.pictures.stage import Stage

RendererName = Literal["auto", "vtk", "embree"]


@contextmanager
def open_renderer(stage: Stage, name: RendererName = "auto") -> Iterator[Renderer]:
    """A renderer for one stage, closed at the end; see make_renderer."""
    renderer = make_renderer(stage, name)
    try:
        yield renderer
    finally:
        renderer.close()


def make_renderer(stage: Stage, name: RendererName = "auto") -> Renderer:
    """A renderer for one stage, which draws any number of pictures of it; close() it afterwards.

    Raises InvalidBackendParameter for a name that is none of the three, or "vtk" where it is not installed. With
    "vtk", draw() raises InternalError when VTK does not work here.
    """
    if name not in get_args(RendererName):
        raise InvalidBackendParameter(f"{name!r} is no renderer; there are {', '.join(get_args(RendererName))}.")
    lacking = None if name == "embree" else lack_of("render")
    if name == "vtk" and lacking:
        raise InvalidBackendParameter(f"The VTK renderer cannot be used. {lacking}")
    if name == "auto" and lacking and is_here("vtkmodules"):
        _report(lacking)
    if name == "embree" or (name == "auto" and (lacking or _broken.reason)):
        from pixyz_worker.kernel.pictures.raycaster import RayCaster

        return RayCaster(stage)
    from pixyz_worker.kernel.pictures.vtk_renderer import VtkRenderer

    return VtkRenderer(stage) if name == "vtk" else _Careful(stage)


class _Broken:
    """Why VTK does not work on this machine, once that was seen: it is not tried again by this process."""

    reason: str = ""


_broken = _Broken()


class _Careful:
    """VTK until it fails, rays from then on."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._renderer = make_renderer(stage, "vtk")

    def draw(self, camera: Camera, look: Look) -> NDArray[numpy.uint8]:
        """A picture, by one or the other."""
        try:
            return self._renderer.draw(camera, look)
        except InternalError as error:
            _report(str(error))
            self._renderer.close()
            self._renderer = make_renderer(self._stage, "embree")
            return self._renderer.draw(camera, look)

    def close(self) -> None:
        """Give back what the renderer holds."""
        self._renderer.close()


@functools.cache
def _report(reason: str) -> None:
    """Say once why rays are cast from now on."""
    _broken.reason = reason
    logging.getLogger(__name__).warning("%s Pictures are drawn by casting rays instead.", reason)
