"""Movements of USD prims: transforms with time samples become channels; other animations are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
from numpy.typing import NDArray
from pxr import Gf, UsdGeom

from pixyz_worker.kernel.scene import Animation, Channel, Occurrence

MAX_KEYS = 1_000_000
"""Key frames that are read of one file."""


def animations_of(stage: Any, places: Mapping[Any, Occurrence], unit: float) -> list[Animation]:
    """One animation with all transforms that move, and one without channels for each animation of a skeleton.

    places has the occurrence of each prim by its path; lengths are in `unit` metres.
    """
    channels: list[Channel] = []
    rate, keys = stage.GetTimeCodesPerSecond() or 24.0, 0
    for path, occurrence in places.items():
        movable = UsdGeom.Xformable(stage.GetPrimAtPath(path))
        if not movable or not movable.TransformMightBeTimeVarying():
            continue
        times = movable.GetTimeSamples()
        keys += len(times)
        if keys > MAX_KEYS:
            raise ValueError(f"it has more than {MAX_KEYS} key frames")
        matrices = numpy.array([numpy.array(movable.GetLocalTransformation(time)).T for time in times])
        if len(times) > 1 and numpy.isfinite(matrices).all():
            matrices[:, :3, 3] *= unit
            channels += _channels(occurrence, numpy.array(times) / rate, matrices)
    found = [Animation(name=stage.GetPseudoRoot().GetName() or "animation", channels=channels)] if channels else []
    skeletons = [prim for prim in stage.Traverse() if prim.GetTypeName() == "SkelAnimation"]
    return found + [Animation(name=prim.GetName()) for prim in skeletons]


def _channels(target: Occurrence, times: NDArray[Any], matrices: NDArray[numpy.float64]) -> list[Channel]:
    """Translation, rotation and scale over time, for those of the three that change or are not trivial."""
    scales = numpy.linalg.norm(matrices[:, :3, :3], axis=1)
    scales[:, 0] *= numpy.where(numpy.linalg.det(matrices[:, :3, :3]) < 0, -1, 1)
    turns = matrices[:, :3, :3] / numpy.where(scales == 0, 1, scales)[:, None, :]
    values = {"translation": matrices[:, :3, 3], "rotation": _quaternions(turns), "scale": scales}
    return [
        Channel(target=target, path=path, times=times.astype(numpy.float32), values=found.astype(numpy.float32))
        for path, found in values.items()
    ]


def _quaternions(turns: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """Unit quaternions (x, y, z, w) of rotation matrices, (n, 3, 3); each on the side of the one before."""
    found = numpy.empty((len(turns), 4))
    for row, turn in enumerate(turns):
        quaternion = Gf.Matrix3d(turn.T).ExtractRotation().GetQuat()
        found[row] = (*quaternion.GetImaginary(), quaternion.GetReal())
    sides = numpy.sign(numpy.einsum("ij,ij->i", found[1:], found[:-1]))
    found[1:] *= numpy.cumprod(numpy.where(sides < 0, -1, 1))[:, None]
    return found
