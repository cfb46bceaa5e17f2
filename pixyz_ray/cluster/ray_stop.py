"""End the Ray that this user has started for the platform on this machine, and no other.

    python -m pixyz_ray.cluster.ray_stop

`ray stop` ends every Ray that it may send signals to. The platform's Ray has a temporary folder of its own, which is on
the command line of each of its processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import home
from pixyz_ray.reaper import send_signal, still_alive

_GRACE_S = 10.0
_KILLED_WITHIN_S = 5.0
_ORDER = ("raylet", "", "gcs_server")
"""Names of the programs in the order in which they are ended; the empty one stands for all others."""


def stop_ray(folder: Path, *, grace_s: float = _GRACE_S) -> int:
    """End the Ray processes of one temporary folder: SIGTERM, then SIGKILL.

    First the raylet, which takes its workers with it, and the control service last: the others answer SIGTERM only
    while it is there.

    Args:
        folder: Ray's temporary folder.
        grace_s: seconds that each group gets before it is killed.

    Returns:
        How many processes there were.
    """
    found = _of_folder(folder)
    for name in _ORDER:
        _end([process for process, kind in found if kind == name], grace_s)
    return len(found)


def _of_folder(folder: Path) -> list[tuple[psutil.Process, str]]:
    """Return this user's processes whose command line names a session in that folder, with their place in `_ORDER`."""
    mark = f"{folder}/session_"
    found = []
    for process in psutil.process_iter():
        try:
            if process.uids().effective != os.geteuid() or process.pid == os.getpid():
                continue
            if any(mark in word for word in process.cmdline()):
                name = process.name()
                found.append((process, name if name in _ORDER else ""))
        except psutil.Error:
            continue
    return found


def _end(processes: Sequence[psutil.Process], grace_s: float) -> None:
    for process in processes:
        send_signal(process, kill=False)
    alive = still_alive(processes, grace_s)
    for process in alive:
        send_signal(process, kill=True)
    still_alive(alive, _KILLED_WITHIN_S)


def main() -> None:
    """Run as a program."""
    # The same folder as in RAY_TMPDIR of pixyz_ray.cluster.environment; Ray adds its own name.
    count = stop_ray(ray_folder(home()).parent / "ray")
    print(f"{count} processes of Ray were ended." if count else "No Ray of the platform runs here.")


if __name__ == "__main__":
    main()
