"""Viewers: what stands behind the names of pxz.view.

viewer = Viewer(512, 512)
viewer.add(GpuScene([scene.root]))
viewer.set("ShowBackground", "False")
viewer.fit_camera((-0.5, -0.5, -1), "perspective", 70)
viewer.take_screenshot("preview.png")
viewer.destroy()
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy
from numpy.typing import NDArray

from pixyz_worker.exception import InvalidBackendParameter, PixyzFileNotFound
from pixyz_worker.kernel.pictures.camera import Camera, Kind, fit
from pixyz_worker.kernel.pictures.look import Levels, Look, Renderer
from pixyz_worker.kernel.pictures.picture import RendererName, make_renderer
from pixyz_worker.kernel.pictures.stage import Stage, set_up
from pixyz_worker.kernel.scene import Occurrence

MOST_PIXELS = 16384
"""The longest side that a picture may have."""
_ISO = (-0.5, -0.5, -1.0)
_KINDS: dict[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
_PROPERTIES: dict[str, str] = {
    "ShowBackground": "True",
    "BackgroundColor": "[0.94, 0.95, 0.96, 1]",
    "ShowEdges": "False",
    "EdgesColor": "[0.15, 0.165, 0.19, 1]",
    "PointSize": "0",
    "AntiAliasing": "2",
    "AmbientOcclusion": "True",
    "Renderer": "auto",
}


@dataclass(frozen=True, eq=False, slots=True)
class GpuScene:
    """Occurrences that viewers can show, with all that is below them."""

    roots: tuple[Occurrence, ...]
    """The occurrences."""


class Viewer:
    """A picture's size, what it shows and how, and the camera."""

    def __init__(self, width: int, height: int) -> None:
        """Raises InvalidBackendParameter for a size that no picture can have."""
        for side in (width, height):
            if not 1 <= int(side) <= MOST_PIXELS:
                raise InvalidBackendParameter(
                    f"A viewer of {width} x {height} pixels cannot be made: sides are 1 to {MOST_PIXELS} pixels long."
                )
        self.width, self.height = int(width), int(height)
        self._scenes: list[GpuScene] = []
        self._properties = dict(_PROPERTIES)
        self._camera: Camera | None = None
        self._stage: Stage | None = None
        self._renderer: tuple[str, Renderer] | None = None

    def add(self, scene: GpuScene) -> None:
        """Show a scene too; what the viewer shows is set up anew for the next picture."""
        self._scenes.append(scene)
        self._forget()

    def remove(self, scene: GpuScene) -> None:
        """Show a scene no longer."""
        self._scenes = [other for other in self._scenes if other is not scene]
        self._forget()

    def set(self, name: str, value: Any) -> None:
        """Give a property a value; names that mean nothing here are kept, the SDK has many."""
        self._properties[name] = value if isinstance(value, str) else str(value)

    def get(self, name: str) -> str:
        """The value of a property; InvalidBackendParameter when it was never given one."""
        if name not in self._properties:
            known = ", ".join(sorted(self._properties))
            raise InvalidBackendParameter(f"The viewer has no property {name!r}; it has {known}.")
        return self._properties[name]

    def fit_camera(
        self,
        direction: Sequence[float],
        kind: Kind = "perspective",
        fov_deg: float = 40.0,
        occurrences: Sequence[Occurrence] | None = None,
    ) -> Camera:
        """Look along a direction, y up, so that all that is shown fills the picture, or some occurrences do.

        (0, 0, -1) looks from the front, (0, -1, 0) from above, (-1, 0, 0) from the right. The angle is that between
        the top and the bottom edge, in degrees. Raises InvalidBackendParameter for what no camera can do.
        """
        stage = self._set_up()
        shown = list(stage.shown(occurrences or None))
        try:
            inside = fit(direction, shown, fov_deg=fov_deg, width=self.width, height=self.height, kind=kind)
        except ValueError as error:
            raise InvalidBackendParameter(f"The camera cannot be placed: {error}.") from None
        self._camera = inside.moved(1 / stage.scale, -stage.shift / stage.scale)
        return self._camera

    def picture(self) -> NDArray[numpy.uint8]:
        """The picture, (height, width, 4): sRGB and straight opacity."""
        stage = self._set_up()
        camera = replace(self._camera or self.fit_camera(_ISO), width=self.width, height=self.height)
        wanted = self._properties["Renderer"]
        if self._renderer is None or self._renderer[0] != wanted:
            self._close()
            self._renderer = (wanted, make_renderer(stage, cast(RendererName, wanted)))
        return self._renderer[1].draw(camera, self._look())

    def take_screenshot(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture as PNG or, by its extension, as JPEG, which has no transparency and gets white instead.

        Raises InvalidBackendParameter for another extension, and PixyzFileNotFound when there is no such folder.
        """
        import PIL.Image

        target = Path(path)
        kind = _KINDS.get(target.suffix.lower())
        if kind is None:
            raise InvalidBackendParameter(f"{target.name} cannot be written: a screenshot is a .png or a .jpg file.")
        if not target.parent.is_dir():
            raise PixyzFileNotFound(f"There is no folder {target.parent} to write {target.name} into.")
        picture = PIL.Image.fromarray(self.picture())
        if kind == "JPEG":
            white = PIL.Image.new("RGBA", picture.size, (255, 255, 255, 255))
            picture = PIL.Image.alpha_composite(white, picture).convert("RGB")
            picture.save(target, kind, quality=92)
        else:
            picture.save(target, kind)
        return target

    def destroy(self) -> None:
        """Give back what the viewer holds; it shows nothing afterwards."""
        self._scenes.clear()
        self._forget()

    def _set_up(self) -> Stage:
        if self._stage is None:
            self._stage = set_up([root for scene in self._scenes for root in scene.roots])
        return self._stage

    def _forget(self) -> None:
        self._close()
        self._stage = None

    def _close(self) -> None:
        if self._renderer is not None:
            self._renderer[1].close()
            self._renderer = None

    def _look(self) -> Look:
        edges = self._levels("EdgesColor")
        return Look(
            background=self._levels("BackgroundColor") if self._truth("ShowBackground") else None,
            edges=self._truth("ShowEdges"),
            edge_colour=edges[:3],
            samples=min(max(int(self._number("AntiAliasing")), 1), 4),
            point_size=self._number("PointSize") or None,
            crevices=self._truth("AmbientOcclusion"),
        )

    def _truth(self, name: str) -> bool:
        text = self._properties[name].strip().lower()
        if text not in _TRUE + _FALSE:
            raise InvalidBackendParameter(f"The viewer's property {name} is True or False, not {text!r}.")
        return text in _TRUE

    def _number(self, name: str) -> float:
        text = self._properties[name].strip()
        try:
            value = float(text)
            if not 0 <= value < 1e4:
                raise ValueError
        except ValueError:
            raise InvalidBackendParameter(f"The viewer's property {name} is a number from 0, not {text!r}.") from None
        return value

    def _levels(self, name: str) -> Levels:
        """A colour, given as [red, green, blue] or [red, green, blue, opacity] from 0 to 1, as 8-bit values."""
        text = self._properties[name].strip()
        try:
            parts = [float(part) for part in json.loads(f"[{text.strip('[]()')}]")]
            if len(parts) not in (3, 4) or not all(0 <= part <= 1 for part in parts):
                raise ValueError
        except (ValueError, TypeError):
            raise InvalidBackendParameter(
                f"The viewer's property {name} is a colour like [0.2, 0.4, 1] or with an opacity, not {text!r}."
            ) from None
        red, green, blue, opacity = (round(part * 255) for part in (*parts, 1.0)[:4])
        return red, green, blue, opacity
