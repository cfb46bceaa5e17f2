"""How much is measured: for the table, or for a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Counts and sizes of one run."""

    blocks: int
    """Blocks of each side, taken in turn."""
    posts: int
    """Requests in a block of a latency figure."""
    gets: int
    """Requests in a block of a figure of reading."""
    load_s: float
    """Seconds of a block under load."""
    load_blocks: int
    """Blocks under load of each side."""
    stored: int
    """Jobs in the store for the figure of reading with many."""
    commands: int
    """Runs of each command."""
    starts: int
    """Starts of each side."""
    settle_s: float
    """Seconds between the first job and the look at what idles."""
    idle_s: float
    """Seconds that idling is watched."""
    transfer_bytes: int
    """Size of the large file."""
    transfers: int
    """Transfers of each side."""


FULL = Scale(
    blocks=7,
    posts=100,
    gets=300,
    load_s=4.0,
    load_blocks=5,
    stored=100_000,
    commands=9,
    starts=3,
    settle_s=10.0,
    idle_s=20.0,
    transfer_bytes=1 << 30,
    transfers=3,
)
QUICK = Scale(
    blocks=3,
    posts=40,
    gets=100,
    load_s=2.0,
    load_blocks=2,
    stored=5_000,
    commands=3,
    starts=1,
    settle_s=5.0,
    idle_s=5.0,
    transfer_bytes=64 << 20,
    transfers=2,
)
