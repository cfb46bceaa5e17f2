"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from pixyz_ray.version import VERSION

_PACKAGES = ("ray", "fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "httpx")
_COMMITS = 50


def describe(folder: Path) -> str:
    """Return the machine, the versions and the date as a Markdown list.

    Args:
        folder: folder on the disk that was measured.
    """
    system = platform.uname()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with Pixyz on Ray {VERSION}",
        f"{os.cpu_count()} cores of {_cpu_model()}, {psutil.virtual_memory().total / 1e9:.0f} GB of memory, "
        f"{system.system} {system.release}",
        f"disk: {_file_system(folder)}; writing 4 KiB and waiting until it is on disk: {_sync_ms(folder):.2f} ms",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        f"load average before the run: {load}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    inside = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(inside, key=lambda part: len(part.mountpoint)).fstype if inside else "unknown"


def _sync_ms(folder: Path) -> float:
    """Return the median time of a small durable write: no commit can be quicker."""
    path = folder / "sync"
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_COMMITS):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(seconds) * 1000
