"""Where a picture is taken from: one camera, with the same meaning for both renderers.

A camera lives in a frame whose y axis points up; lengths are metres there. It looks along `direction`, `right` runs
to the right of the picture and `up` to its top.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy
from numpy.typing import ArrayLike, NDArray

Kind = Literal["perspective", "orthographic"]
MARGIN = 0.04
"""The share of half the picture that fit() leaves free on each side that decides."""
_CHUNK = 1 << 18
_CLOSEST = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """A place, a direction and a lens."""

    position: tuple[float, float, float]
    """Where it stands, in metres."""
    direction: tuple[float, float, float]
    """Where it looks, of length 1."""
    up: tuple[float, float, float]
    """What is up in the picture, of length 1, at a right angle to direction."""
    width: int
    """Pixels of the picture, from left to right."""
    height: int
    """Pixels of the picture, from top to bottom."""
    kind: Kind = "perspective"
    """Whether what is far away looks smaller."""
    fov_deg: float = 40.0
    """Angle between the top and the bottom edge of a perspective picture, in degrees."""
    span_m: float = 1.0
    """Metres between the top and the bottom edge of an orthographic picture."""
    near: float = 0.01
    """Distance along direction before which nothing is drawn, in metres."""
    far: float = 1000.0
    """Distance along direction behind which nothing is drawn, in metres."""

    @property
    def axes(self) -> NDArray[numpy.float64]:
        """Rows right, up and backward of the camera's own frame, (3, 3); it looks along its negative z axis."""
        return _axes(self.direction, self.up)

    @property
    def slopes(self) -> tuple[float, float]:
        """Half the width and half the height of the picture: tangents of a perspective one, else metres."""
        half = math.tan(math.radians(self.fov_deg) / 2) if self.kind == "perspective" else self.span_m / 2
        return half * self.width / self.height, half

    def project(self, points: ArrayLike) -> NDArray[numpy.float64]:
        """Pixels from the left, pixels from the top, and the distance along direction, of (n, 3) points: (n, 3)."""
        seen = (numpy.asarray(points, numpy.float64).reshape(-1, 3) - self.position) @ self.axes.T
        depth = -seen[:, 2]
        wide, high = self.slopes
        divisor = depth if self.kind == "perspective" else 1.0
        return numpy.stack(
            [
                (seen[:, 0] / (divisor * wide) + 1) * self.width / 2,
                (1 - seen[:, 1] / (divisor * high)) * self.height / 2,
                depth,
            ],
            axis=1,
        )

    def moved(self, scale: float, shift: Sequence[float] | NDArray[Any]) -> Camera:
        """The camera in a frame in which each point is scale * point + shift."""
        place = numpy.asarray(self.position) * scale + numpy.asarray(shift)
        return replace(
            self, position=_triple(place), span_m=self.span_m * scale, near=self.near * scale, far=self.far * scale
        )


def fit(
    direction: Sequence[float],
    points: NDArray[Any] | Iterable[NDArray[Any]],
    *,
    fov_deg: float = 40.0,
    width: int,
    height: int,
    kind: Kind = "perspective",
    up: Sequence[float] | None = None,
    margin: float = MARGIN,
) -> Camera:
    """The camera that looks along a direction and shows all of some points as large as they can be.

    points are metres, (n, 3), or several such arrays; without any, the cube from -0.5 to 0.5 is shown. At least two
    opposite edges of the picture, less the margin, are touched, unless a wide lens would have to come closer to the
    first point than a thousandth of the size of all. Without `up`, y is up; who looks along y has z up or down, as if
    the camera had been tilted there from the front. Raises ValueError for a direction of no length, an angle outside 0
    to 180 degrees, and a picture of no pixels.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels cannot be made")
    if not 0 < fov_deg < 180:
        raise ValueError(f"a camera cannot see {fov_deg:g} degrees: the angle lies between 0 and 180")
    if not 0 <= margin < 1:
        raise ValueError(f"a margin of {margin:g} leaves no picture")
    forward = _unit(direction)
    axes = _axes(forward, _upright(forward) if up is None else up)
    high_slope = math.tan(math.radians(fov_deg) / 2) * (1 - margin) if kind == "perspective" else 0.0
    slopes = (high_slope * width / height, high_slope)
    bounds = _bounds(points, axes, slopes)
    (left, right), (low, high) = (_lens(bounds[2 * n], bounds[2 * n + 1], slopes[n]) for n in range(2))
    front, back = bounds[4]
    size = max(*numpy.ptp(bounds[4:], axis=1).tolist(), 1e-12)
    if kind == "perspective":
        # Not closer than _CLOSEST: a single point, or a line seen from its end, has no width to fill.
        depth = min((right - left) / (2 * slopes[0]), (high - low) / (2 * slopes[1]), front - size * _CLOSEST)
    else:
        depth = front - size * 0.05
    place = axes.T @ numpy.array([(left + right) / 2, (low + high) / 2, -depth])
    return Camera(
        position=_triple(place),
        direction=_triple(forward),
        up=_triple(axes[1]),
        width=width,
        height=height,
        kind=kind,
        fov_deg=fov_deg,
        span_m=max((right - left) * height / width, high - low, size * 1e-6) / (1 - margin),
        near=max(float(front - depth) * 0.9, size * 1e-4),
        far=float(back - depth) * 1.1 + size * 1e-3,
    )


def _bounds(
    points: NDArray[Any] | Iterable[NDArray[Any]], axes: NDArray[numpy.float64], slopes: tuple[float, float]
) -> NDArray[numpy.float64]:
    """Least and greatest values over all points, (7, 2).

    Of right - depth * slope, right + depth * slope, up - depth * slope, up + depth * slope, depth, right, and up.
    """
    right, up, backward = axes
    rows = [right + backward * slopes[0], right - backward * slopes[0]]
    rows += [up + backward * slopes[1], up - backward * slopes[1], -backward, right, up]
    ends = numpy.tile([numpy.inf, -numpy.inf], (len(rows), 1))
    for array in [points] if isinstance(points, numpy.ndarray) else points:
        for start in range(0, len(array), _CHUNK):
            seen = numpy.asarray(array[start : start + _CHUNK], numpy.float64) @ numpy.stack(rows, axis=1)
            ends[:, 0] = numpy.minimum(ends[:, 0], seen.min(axis=0))
            ends[:, 1] = numpy.maximum(ends[:, 1], seen.max(axis=0))
    if not numpy.isfinite(ends).all():
        corners = numpy.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        return _bounds(corners, axes, slopes)
    return ends


def _lens(minus: NDArray[numpy.float64], plus: NDArray[numpy.float64], slope: float) -> tuple[float, float]:
    """Two values whose middle is where the camera stands across, and whose difference is 2 * slope * its depth.

    A point (x, depth) is seen when |x - cx| <= (depth - cz) * slope, that is when cx - cz * slope is at least
    x - depth * slope and cx + cz * slope at most x + depth * slope. Without a slope these are the plain bounds.
    """
    return (float(minus[1]), float(plus[0])) if slope else (float(minus[0]), float(minus[1]))


def _upright(forward: NDArray[numpy.float64]) -> tuple[float, float, float]:
    return (0.0, 0.0, math.copysign(1.0, forward[1])) if abs(forward[1]) > 1 - 1e-9 else (0.0, 1.0, 0.0)


def _axes(direction: ArrayLike, up: ArrayLike) -> NDArray[numpy.float64]:
    forward = _unit(direction)
    right = numpy.cross(forward, numpy.asarray(up, numpy.float64))
    if numpy.linalg.norm(right) < 1e-9:
        raise ValueError("a camera cannot look where its top points")
    right = _unit(right)
    return numpy.stack([right, numpy.cross(right, forward), -forward])


def _unit(vector: ArrayLike) -> NDArray[numpy.float64]:
    values = numpy.asarray(vector, numpy.float64).reshape(3)
    length = float(numpy.linalg.norm(values))
    if not (math.isfinite(length) and length > 0):
        raise ValueError("a direction needs a length")
    return values / length


def _triple(values: NDArray[Any]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
