"""The four pictures of generate_thumbnails, timed without the import."""

from __future__ import annotations

import time
from pathlib import Path

from pixyz_worker.kernel.algorithms import tessellation
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.pictures.viewer import GpuScene, Viewer
from pixyz_worker.thumbnails import VIEWS

SIDE = 512
"""Pixels of each side."""


def four(source: Path, folder: Path, renderer: str) -> float:
    """Take the pictures of a file into a folder; returns the seconds from the scene in memory to the last PNG."""
    scene = read_scene(source)
    tessellation.ensure(scene)
    began = time.perf_counter()
    viewer = Viewer(SIDE, SIDE)
    viewer.add(GpuScene((scene.root,)))
    viewer.set("ShowBackground", "False")
    viewer.set("Renderer", renderer)
    for name, (direction, fov_deg) in VIEWS.items():
        viewer.fit_camera(direction, "perspective", fov_deg)
        viewer.take_screenshot(folder / f"{name}.png")
    viewer.destroy()
    return time.perf_counter() - began
