"""How the supervisor is to stop: a file in the platform's home that is written before it gets SIGTERM.

A signal carries no options. A supervisor that finds no request of its own stops at once. Only the standard library is
imported, since the command line uses it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pixyz_ray.home import write_private

_NAME = "stop.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRequest:
    """How a supervisor is to stop."""

    pid: int = 0
    """Its process id: a request for an earlier one is ignored."""
    drain_s: float = 0.0
    """Seconds to wait for running attempts."""
    leave: bool = False
    """Whether tracker and HTTP service stay on the cluster, for another supervisor to take over."""
    upgrade: bool = False
    """Whether another supervisor takes its place, as the errors of interrupted attempts then say."""


def write_stop_request(request: StopRequest, folder: Path) -> None:
    """Write a request into the platform's home."""
    write_private(folder / _NAME, json.dumps(asdict(request)))


def take_stop_request(pid: int, folder: Path) -> StopRequest:
    """Return the request for a supervisor and remove it; without one, to stop at once."""
    path = folder / _NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        request = StopRequest(**{field.name: data[field.name] for field in fields(StopRequest)})
    except (OSError, ValueError, KeyError, TypeError):
        return StopRequest(pid=pid)
    if request.pid != pid:
        return StopRequest(pid=pid)
    with contextlib.suppress(OSError):
        path.unlink()
    return request
