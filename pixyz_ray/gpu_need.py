"""What a job needs of GPUs: how many cards, how much memory on a card, and whether it can do without."""

from __future__ import annotations

from dataclasses import dataclass

PREFER = "prefer"
"""Run on CPU where no machine has such a GPU."""
REQUIRE = "require"
"""Wait for a machine with such a GPU."""
GPU_MODES = (REQUIRE, PREFER)


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuNeed:
    """Need of a job for GPUs."""

    mode: str
    """`require` or `prefer`."""
    cards: float
    """Cards that it has for itself, or the fraction of one."""
    memory: int | None = None
    """Bytes that it needs on a card; they then decide about the fraction of a card."""
