"""Turns between scenes whose up axes differ."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.scene import Axis

_FROM_Y = {
    # Where a scene that stands on y goes when it shall stand on another axis; x to the right stays so for z.
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}


def turn(standing: Axis, wanted: Axis) -> NDArray[numpy.float64]:
    """The (4, 4) matrix that turns what stands on one axis so that it stands on another."""
    matrix = numpy.eye(4)
    matrix[:3, :3] = numpy.array(_FROM_Y[wanted], float) @ numpy.array(_FROM_Y[standing], float).T
    return matrix
