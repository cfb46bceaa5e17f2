"""Lengths of the SDK's functions, in millimetres, and those of the kernel, in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

MM = 1e-3
"""Metres in a millimetre."""


def metres(millimetres: float) -> float:
    """A length of the SDK's in metres."""
    return float(millimetres) * MM


def metres_if_used(millimetres: float | None) -> float | None:
    """A length of the SDK's in metres; None where the SDK's -1, 0 or None say that it is not used."""
    return metres(millimetres) if millimetres is not None and millimetres > 0 else None


def matrix_in_mm(matrix: NDArray[Any] | None) -> list[list[float]]:
    """A (4, 4) matrix of the kernel as the SDK gives it: rows, with its shift in millimetres."""
    if matrix is None:
        return [[float(row == column) for column in range(4)] for row in range(4)]
    rows = [[float(value) for value in row] for row in matrix]
    for row in rows[:3]:
        row[3] /= MM
    return rows


def matrix_in_m(rows: Any) -> NDArray[Any]:
    """A matrix of the SDK's as the kernel keeps it; ValueError when it is not four rows of four numbers."""
    import numpy

    matrix = numpy.array(rows, dtype=numpy.float64)
    if matrix.shape != (4, 4) or not numpy.isfinite(matrix).all():
        raise ValueError("a matrix is four rows of four numbers")
    matrix[:3, 3] *= MM
    return matrix
