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
    chain: int
    """Tasks of a chain whose steps are measured."""
    long_chain: int
    """Tasks of a chain that is measured as a whole."""
    group: int
    """Tasks of a group."""
    chord: int
    """Header tasks of a chord."""
    array_mb: int
    """MiB of the array that goes down a chain."""
    group_blocks: int
    """Blocks of each side with these graphs."""


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
    chain=100,
    long_chain=1000,
    group=10_000,
    chord=1000,
    array_mb=500,
    group_blocks=3,
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
    chain=50,
    long_chain=300,
    group=2000,
    chord=300,
    array_mb=100,
    group_blocks=2,
)
