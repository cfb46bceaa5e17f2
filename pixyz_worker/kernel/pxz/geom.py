"""`pxz.geom`: points and boxes, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["AABB", "Point3", "Vector3"]


class Point3(list[float]):
    """A point: a list of three numbers that are also called x, y and z.

    >>> point = Point3(1, 2, 3)
    >>> point.z, point[2], list(point)
    (3.0, 3.0, [1.0, 2.0, 3.0])
    """

    __slots__ = ()

    def __init__(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        super().__init__((float(x), float(y), float(z)))

    @property
    def x(self) -> float:
        """Its first number."""
        return self[0]

    @x.setter
    def x(self, value: float) -> None:
        self[0] = float(value)

    @property
    def y(self) -> float:
        """Its second number."""
        return self[1]

    @y.setter
    def y(self, value: float) -> None:
        self[1] = float(value)

    @property
    def z(self) -> float:
        """Its third number."""
        return self[2]

    @z.setter
    def z(self, value: float) -> None:
        self[2] = float(value)


Vector3 = Point3
"""A direction, or a length along each axis; the same three numbers."""


@dataclass
class AABB:
    """A box along the axes."""

    low: Point3 = field(default_factory=Point3)
    """Its lowest corner."""
    high: Point3 = field(default_factory=Point3)
    """Its highest corner."""
