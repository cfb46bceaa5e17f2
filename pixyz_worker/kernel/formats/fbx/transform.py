"""Matrices as FBX has them: translation, rotation around x, y and z, and scale, in this order from the parent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

_SKEW = 1e-6
Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """The place of a model in its parent."""

    translation: Triple = (0.0, 0.0, 0.0)
    """In the unit of the file."""
    rotation_deg: Triple = (0.0, 0.0, 0.0)
    """Angles around x, then y, then z, in degrees."""
    scale: Triple = (1.0, 1.0, 1.0)
    """Along its own axes."""
    geometric_deg: Triple = (0.0, 0.0, 0.0)
    """Turn of its own shape alone, before all that; children do not take part in it."""


def decomposed(matrix: NDArray[numpy.float64]) -> tuple[Transform, NDArray[numpy.float64] | None]:
    """A (4, 4) matrix as a Transform, and the (4, 4) turn that its children have to begin with, None for none.

    A matrix that skews is no product of translation, rotation and scale, but it is one of these and another rotation
    (singular value decomposition). The shape takes that as its geometric rotation; children take it over.
    """
    linear = numpy.asarray(matrix[:3, :3], float)
    translation = _triple(matrix[:3, 3])
    lengths = numpy.linalg.norm(linear, axis=0)
    units = linear / numpy.where(lengths > 0, lengths, 1)
    if lengths.min() > 0 and numpy.abs(units.T @ units - numpy.eye(3)).max() < _SKEW:
        if numpy.linalg.det(units) < 0:
            units, lengths = units * (-1, 1, 1), lengths * (-1, 1, 1)
        return Transform(translation=translation, rotation_deg=_angles(units), scale=_triple(lengths)), None
    left, values, right = numpy.linalg.svd(linear)
    if numpy.linalg.det(left) < 0:
        left, values = left * (-1, 1, 1), values * (-1, 1, 1)
    if numpy.linalg.det(right) < 0:
        right, values = right * ((-1,), (1,), (1,)), values * (-1, 1, 1)
    rest = numpy.eye(4)
    rest[:3, :3] = right
    transform = Transform(
        translation=translation,
        rotation_deg=_angles(left),
        scale=_triple(values),
        geometric_deg=_angles(right),
    )
    return transform, rest


def _angles(rotation: NDArray[numpy.float64]) -> Triple:
    """The angles of a (3, 3) rotation that is one around x, then one around y, then one around z."""
    flat = math.hypot(rotation[0, 0], rotation[1, 0])
    y = math.atan2(-rotation[2, 0], flat)
    if flat > 1e-9:
        x, z = math.atan2(rotation[2, 1], rotation[2, 2]), math.atan2(rotation[1, 0], rotation[0, 0])
    else:
        x, z = math.atan2(-rotation[1, 2], rotation[1, 1]), 0.0
    degrees = [math.degrees(angle) for angle in (x, y, z)]
    return (degrees[0], degrees[1], degrees[2])


def _triple(values: NDArray[numpy.float64]) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
