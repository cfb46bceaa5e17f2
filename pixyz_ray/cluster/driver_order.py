"""Orders of the supervisor to the driver process, and the options of `pixyz up`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pixyz_ray.settings import Settings

DRAIN_S = 60.0
"""Seconds that running attempts get when a tracker is replaced, by default."""
MAX_MESSAGE_BYTES = 1 << 17
"""Largest message to the supervisor, in bytes; the longest contains an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of `pixyz up`."""

    address: str | None = None
    """Ray cluster to join; one of our own is started when None."""
    num_cpus: int | None = None
    """CPUs offered to tasks."""
    dashboard: bool = False
    """Whether Ray's dashboard runs, which `ray job submit` needs."""
    insecure: bool = False
    """Whether a cluster that asks nobody for a token is joined."""
    replace: bool = False
    """Whether a tracker that is on the cluster already is replaced, although it is the same."""
    drain_s: float = DRAIN_S
    """Seconds that running attempts are given before a tracker is replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverOrder:
    """What the supervisor sends to the driver through its standard input."""

    settings: Settings
    options: Options
    folder: Path
    """The platform's home."""
    session: str
    """Mark of all processes of this run."""
    replacement: tuple[str, ...]
    """Command that starts another supervisor if this one is killed; empty in the foreground, where a process manager
    restarts the supervisor."""
    owns_serve_at: str | None = None
    """Cluster on which this home's platform has started Serve in an earlier run."""
