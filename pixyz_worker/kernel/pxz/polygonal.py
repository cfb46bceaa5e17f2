"""`pxz.polygonal`: scripts import it; what they call of it needs the SDK."""

from __future__ import annotations

__all__: list[str] = []
