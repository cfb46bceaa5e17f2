"""How a file is read: what readers are told beside its path."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Tessellation:
    """How closely triangles follow exact surfaces.

    The sag is the largest distance between the two. The smaller of sag_m and sag_ratio holds where both are given.
    """

    sag_m: float | None = 1e-5
    """Largest sag, in metres; None leaves it to sag_ratio."""
    sag_ratio: float | None = None
    """Largest sag as a share of the diagonal of a part's bounding box; None leaves it to sag_m."""
    angle_deg: float = 28.6
    """Largest angle between the normals of triangles that meet, in degrees."""
    length_m: float | None = None
    """Longest edge of a triangle, in metres; None for any."""
    floor_m: float = 1e-9
    """Sag below which sag_ratio does not go, in metres."""

    def sag(self, diagonal_m: float) -> float:
        """The sag in metres for a shape whose bounding box has such a diagonal."""
        allowed = [self.sag_m, None if self.sag_ratio is None else self.sag_ratio * diagonal_m]
        return max(min((value for value in allowed if value is not None and value > 0), default=1e-5), self.floor_m)


USUAL = Tessellation(sag_m=1e-4, sag_ratio=2e-4, floor_m=1e-5)
"""What holds where nobody asks for another: 0.01 mm for what is up to 50 mm large, 0.1 mm from 500 mm on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """What a reader is told beside the path."""

    tessellation: Tessellation = USUAL
    """How closely exact surfaces are followed."""
    unit_m: float | None = None
    """Metres in one unit of a file that names no unit; None leaves it to the format."""
