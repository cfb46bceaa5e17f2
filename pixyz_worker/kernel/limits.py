"""What one file may cost: limits from the environment, read when a file is opened.

The platform hands its settings of these names on to its workers; on a workstation the defaults hold. 0 is no limit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from math import inf
from typing import Self

from pixyz_worker.exception import InvalidBackendParameter

FREE_BYTES = 64 * 2**20
"""Bytes that any archive may unpack to, whatever its own size: small text compresses very well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits in force. A field's upper-case name is its name in the environment."""

    max_import_seconds: float = 1800.0
    """Seconds that reading one file may take in a process of its own."""
    max_import_bytes: int = 16 * 2**30
    """Bytes of memory that a process which reads one file may take."""
    max_triangles: int = 500_000_000
    """Triangles (or points) that one file may have."""
    max_image_pixels: int = 1 << 28
    """Pixels that one picture of a file may have."""
    max_archive_entries: int = 100_000
    """Files and folders that an archive may hold."""
    max_archive_bytes: int = 64 * 2**30
    """Bytes that an archive may unpack to."""
    max_archive_ratio: float = 1000.0
    """How many times its own size an archive may unpack to; 64 MiB are free."""

    @classmethod
    def from_environment(cls) -> Self:
        """The limits as the environment has them now."""
        given = {}
        for field in fields(cls):
            if text := os.environ.get(field.name.upper(), "").strip():
                given[field.name] = _number(field.name.upper(), text, whole=isinstance(field.default, int))
        return cls(**given)  # type: ignore[arg-type]

    def unpacked_bytes(self, packed: float) -> float:
        """The most bytes that an archive of so many bytes may unpack to; infinite without a limit."""
        by_ratio = max(FREE_BYTES, self.max_archive_ratio * packed) if self.max_archive_ratio else inf
        return min(self.max_archive_bytes or inf, by_ratio)


def _number(name: str, text: str, *, whole: bool) -> float:
    try:
        value = float(text)
        if not 0 <= value < float("inf"):
            raise ValueError
    except ValueError:
        raise InvalidBackendParameter(f"{name} must be a number, 0 or more, not {text!r}") from None
    return int(value) if whole else value
