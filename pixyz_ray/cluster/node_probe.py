"""The probe: a small Ray task that reports versions and resources of its machine. The registry (nodes.py) runs it.

Ray gets this module by value, so that it also runs on a machine where Pixyz on Ray is missing or has another version.
It imports nothing of the project but in functions, and where that fails the answer says so.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

_GPU_PATIENCE_S = 5.0
_SPILLING = "RAY_object_spilling_directory"
_SECRET = ("TOKEN", "PASSWORD", "SECRET", "KEY")


def probe(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this machine is and has.

    Args:
        order: `share` and `share_id`: the share that it should see; an empty id for none. `version`: of the platform.
            `session`: folder of Ray on this machine. `gate`: `keep`, `open`, or the fields of a Closed.
    """
    facts: dict[str, Any] = {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "ray": ray.__version__,
        "pixyz": _version(),
        "share": None,
        "gate": None,
        "share_disk": None,
        "spill_disk": _disk(os.environ.get(_SPILLING) or order["session"]),
        "memory": _memory(),
        "gpus": [],
        "workers": _workers(os.getppid()),
        "environment": _environment(os.getppid()),
    }
    if facts["pixyz"] == order["version"]:
        facts |= _of_platform(order)
    return facts


def _version() -> str | None:
    """Return the version of the platform that is installed here; None when there is none that can be imported."""
    try:
        from pixyz_ray.version import VERSION
    except ImportError:
        return None
    return VERSION


def _of_platform(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only a machine with the same version can report: its share and its gate, which is set as ordered."""
    from dataclasses import asdict

    from pixyz_ray.machine_gate import Closed, MachineGate
    from pixyz_ray.share_marker import ShareCheck

    gate = MachineGate(ray.get_runtime_context().get_node_id())
    wanted = order["gate"]
    if wanted == "open":
        gate.open()
    elif wanted != "keep":
        gate.close(Closed.from_plain(wanted))
    elif (found := gate.closed()) is not None:
        gate.close(found)
    closed = gate.closed()
    share = order["share"], order["share_id"]
    check = _CHECKS.setdefault(share, ShareCheck(*share, every_s=0.0))
    problem = check.problem() if order["share_id"] else None
    return {
        "share": problem,
        "gate": None if closed is None else asdict(closed),
        # A share that does not answer would not report how full it is either.
        "share_disk": _disk(order["share"]) if problem is None else None,
        "gpus": _gpus(),
    }


_CHECKS: dict[tuple[str, str], Any] = {}
"""Checks of shares in this process; one that hangs is not begun again."""


def _disk(folder: str) -> dict[str, Any] | None:
    path = Path(folder)
    with suppress(OSError):
        usage = shutil.disk_usage(next(each for each in (path, *path.parents) if each.exists()))
        return {"path": folder, "total": usage.total, "free": usage.free}
    return None


def _memory() -> dict[str, int] | None:
    """Return the machine's memory in bytes: in all, and available to new processes."""
    with suppress(OSError, ValueError, KeyError):
        rows = dict(row.split(":", 1) for row in Path("/proc/meminfo").read_text().splitlines())
        total, available = (int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        return {"total": total, "available": available}
    return None


def _gpus() -> list[dict[str, Any]]:
    """Return model and memory (bytes) of each NVIDIA GPU; none without NVML, or where its driver hangs."""
    from pixyz_ray.watchdog.nvml import Nvml

    found: list[dict[str, Any]] = []

    def read() -> None:
        with Nvml.opened() as nvml:
            found.extend(nvml.cards() if nvml is not None else ())

    # A driver that hangs must not keep the machine from running jobs on its CPUs, nor collect threads here.
    if not any(thread.is_alive() for thread in _READING):
        _READING[:] = [threading.Thread(target=read, daemon=True)]
        _READING[0].start()
        _READING[0].join(_GPU_PATIENCE_S)
    return list(found)


_READING: list[threading.Thread] = []
"""The thread of this process that reads GPUs, or has read them."""


def _workers(raylet: int) -> dict[str, int]:
    """Return how many workers of this machine are idle, and how many run a job."""
    titles = [_title(pid) for pid in _children(raylet)]
    return {
        "idle": sum(title == "ray::IDLE" for title in titles),
        "busy": sum(title.startswith("ray::run_script") for title in titles),
    }


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, ValueError):
                found += map(int, (thread / "children").read_text().split())
    return found


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode("utf-8", "replace").strip()
    return ""


def _environment(raylet: int) -> dict[str, str]:
    """Return Ray's variables in the environment of this machine's raylet, without secrets."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for entry in Path(f"/proc/{raylet}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.decode("utf-8", "replace").partition("=")
            if name.startswith("RAY_") and not any(word in name.upper() for word in _SECRET):
                found[name] = value
    return found
