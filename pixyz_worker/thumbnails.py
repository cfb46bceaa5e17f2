"""Pictures and a light preview of a scene: what generate_thumbnails and thumbnail_chained share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixyz_worker import io
from pixyz_worker.description import described
from pixyz_worker.kernel import sdk
from pixyz_worker.parameters import QUALITIES, UNITS, Fineness, Parameters
from pixyz_worker.preparation import decimated, imported, merged, pxz, repaired

VIEWS: dict[str, tuple[tuple[float, float, float], float]] = {
    "iso": ((-0.5, -0.5, -1.0), 70.0),
    "x": ((0.0, 0.0, -1.0), 90.0),
    "y": ((-1.0, 0.0, 0.0), 90.0),
    "z": ((0.0, -1.0, 0.0), 90.0),
}
"""For each picture the direction in which the camera looks, where y is up, and its angle of view in degrees."""
PREVIEW = "preview.glb"
METADATA = "metadata.json"
PREVIEW_TRIANGLES = 500_000
"""Triangles that a preview has at most."""
STEPS = 4
"""Steps that prepare() announces."""
_HANDED_ON = "handed_on.pxz"
_MOST_PIXELS = 16_384
_RENDERERS = ("auto", "vtk", "embree")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """The parameters of both processes, checked."""

    width: int
    """Pixels of a picture, from left to right."""
    height: int
    """Pixels of a picture, from top to bottom."""
    fineness: Fineness
    """How closely triangles follow exact surfaces."""
    renderer: str
    """auto, vtk or embree."""
    unit_m: float | None
    """Metres in one unit of a file that names none."""

    @classmethod
    def of(cls, params: Any) -> Wishes:
        """Read params; PixyzException says what is wrong with them."""
        given = Parameters(params)
        width = given.whole("width", 512, low=1, most=_MOST_PIXELS)
        unit = given.choice("units", tuple(UNITS), None)
        wishes = cls(
            width=width,
            height=given.whole("height", width, low=1, most=_MOST_PIXELS),
            fineness=given.fineness(None) or QUALITIES["medium"],
            renderer=given.choice("renderer", _RENDERERS, "auto"),
            unit_m=None if unit is None else UNITS[unit],
        )
        given.say_unknown()
        return wishes

    def plain(self) -> dict[str, Any]:
        """The wishes as JSON; from_plain() reads them."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Wishes:
        """The wishes that plain() gave."""
        return cls(**{**plain, "fineness": Fineness(**plain["fineness"])})


def prepare(source: str, folder: Path, wishes: Wishes, step: Callable[[str], None]) -> tuple[Any, dict[str, Any]]:
    """Read a file, write metadata.json and preview.glb into a folder; returns the root and the metadata."""
    step(f"Importing {Path(source).name}")
    root = imported(source, fineness=wishes.fineness, unit_m=wishes.unit_m)
    step("Repairing and tessellating")
    repaired(root, wishes.fineness)
    step(f"Writing {METADATA}")
    metadata = described(root, source)
    (folder / METADATA).write_text(json.dumps(metadata, indent=2), encoding="utf-8")
    step(f"Writing {PREVIEW}")
    merged(hidden=0)
    decimated(["triangleCount", PREVIEW_TRIANGLES])
    io.exportScene(folder / PREVIEW)
    return pxz().scene.getRoot(), metadata


def draw(root: Any, folder: Path, wishes: Wishes, step: Callable[[str], None]) -> dict[str, str]:
    """Take the pictures of a root into a folder; returns the file of each."""
    package = pxz()
    view, geom = package.view, package.geom
    files = {}
    viewer = view.createViewer(wishes.width, wishes.height)
    try:
        gpu_scene = view.createGPUScene([root])
        view.addGPUScene(gpu_scene, viewer)
        view.setViewerProperty("ShowBackground", "False", viewer)
        if wishes.renderer != "auto" and sdk.genuine() is None:
            view.setViewerProperty("Renderer", wishes.renderer, viewer)
        for name, (direction, fov_deg) in VIEWS.items():
            files[name] = f"{name}.png"
            step(f"Rendering {files[name]}")
            view.fitCamera(geom.Point3(*direction), view.CameraType.Perspective, fov_deg, viewer=viewer)
            view.takeScreenshot(str(folder / files[name]), viewer)
    finally:
        view.destroyViewer(viewer)
    return files


def result(
    folder: Path, thumbs: dict[str, str], metadata: dict[str, Any], wishes: Wishes, began: float
) -> dict[str, Any]:
    """Return what both processes return.

    Args:
        folder: folder of the outputs.
        thumbs: file of each picture.
        metadata: figures of the input.
        wishes: the parameters.
        began: when the process began, in seconds since the epoch.
    """
    size = f"{wishes.width}x{wishes.height}"
    preview = {"file": PREVIEW, "size": size, "bytes": (folder / PREVIEW).stat().st_size}
    # Between the tasks of a chain the machine may change, and with it the clock.
    seconds = max(0.0, time.time() - began)
    return {"thumbs": thumbs, "preview": preview, "metadata": metadata, "process_duration": seconds}


def hand_on(root: Any, folder: Path) -> Any:
    """What the next task of a chain gets: the scene itself; with the SDK, whose scenes cannot be sent, a file."""
    if sdk.genuine() is None:
        return root
    path = folder / _HANDED_ON
    io.exportScene(path)
    return str(path)


def take_over(given: Any) -> Any:
    """The root of what hand_on() gave."""
    if not isinstance(given, str):
        return given
    root = io.importScene(given)
    Path(given).unlink()
    return root
