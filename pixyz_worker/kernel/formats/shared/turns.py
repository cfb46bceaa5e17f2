"""Turns as matrices."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray


def turn(axis: NDArray[numpy.float64], angle: float) -> NDArray[numpy.float64]:
    """The (3, 3) matrix of a turn around an axis by an angle in radians (Rodrigues' formula); no axis is no turn."""
    length = float(numpy.linalg.norm(axis))
    if length == 0:
        return numpy.eye(3)
    x, y, z = axis / length
    cross = numpy.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    result: NDArray[numpy.float64] = numpy.eye(3) + numpy.sin(angle) * cross + (1 - numpy.cos(angle)) * cross @ cross
    return result
