"""The point of a triangle that is nearest to another point."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float64]


def closest(points: NDArray[Any], corners: NDArray[Any]) -> tuple[Floats, Floats]:
    """Where each triangle is nearest to its point.

    Args:
        points: (k, 3).
        corners: the triangle for each point, (k, 3 corners, 3).

    Returns:
        Weights of the three corners that give the nearest point, (k, 3), and its squared distance, (k,).
    """
    start = corners[:, 0]
    along, across, to = corners[:, 1] - start, corners[:, 2] - start, points - start
    weights = _inside(along, across, to)
    outside = ~(weights.min(axis=1) >= 0)  # also where a triangle without an area gives no number
    if outside.any():
        weights[outside] = _on_edges(points[outside], corners[outside])
    gap = numpy.einsum("ij,ijk->ik", weights, corners) - points
    return weights, _dot(gap, gap)


def _inside(along: Floats, across: Floats, to: Floats) -> Floats:
    """Weights of the foot of the perpendicular in the triangle's plane; some are negative outside of it."""
    aa, ab, bb, pa, pb = (
        _dot(along, along),
        _dot(along, across),
        _dot(across, across),
        _dot(to, along),
        _dot(to, across),
    )
    with numpy.errstate(divide="ignore", invalid="ignore"):
        area = aa * bb - ab * ab
        second, third = (bb * pa - ab * pb) / area, (aa * pb - ab * pa) / area
    return numpy.stack([1 - second - third, second, third], axis=1)


def _on_edges(points: NDArray[Any], corners: NDArray[Any]) -> Floats:
    """Weights of the nearest point on the three edges."""
    best = numpy.zeros((len(points), 3))
    distance = numpy.full(len(points), numpy.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        edge, to = corners[:, second] - corners[:, first], points - corners[:, first]
        length = _dot(edge, edge)
        share = numpy.clip(_dot(to, edge) / numpy.where(length > 0, length, 1), 0, 1)
        gap = to - edge * share[:, None]
        nearer = _dot(gap, gap) < distance
        distance[nearer] = _dot(gap, gap)[nearer]
        best[nearer] = 0
        best[nearer, first], best[nearer, second] = (1 - share)[nearer], share[nearer]
    return best


def _dot(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    product: Floats = numpy.einsum("ij,ij->i", first, second)
    return product
