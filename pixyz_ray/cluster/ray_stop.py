"""End the Ray that this user has started for the platform on this machine, and no other.

    python -m pixyz_ray.cluster.ray_stop

`ray stop` ends every Ray that it may send signals to. The platform's Ray has a temporary folder of its own, which is on
the command line of each of its processes. Workers write a title over theirs, so those that have outlived their raylet
are found by their log files, which are in that folder too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import home
from pixyz_ray.reaper import send_signal, still_alive

_GRACE_S = 10.0
_KILLED_WITHIN_S = 5.0
_ORDER = ("raylet", "", "gcs_server")
"""Names of the programs in the order in which they are ended; the empty one stands for all others."""
_WORKER_TITLE = "ray::"
_RAYLET = "raylet"
_WATCHDOG = "pixyz-watchdog"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """What was ended."""

    processes: int
    """Processes of Ray, without workers, which end with their raylet."""
    orphans: int
    """Workers that had outlived their raylet."""

    def __str__(self) -> str:
        if not self.processes and not self.orphans:
            return "No Ray of the platform runs here."
        processes, workers = _counted(self.processes, "process", "es"), _counted(self.orphans, "worker")
        said = [f"{processes} of Ray"] if self.processes else []
        said += [f"{workers} that had outlived an earlier Ray"] if self.orphans else []
        return f"Ended: {' and '.join(said)}."


def stop_ray(folder: Path, *, grace_s: float = _GRACE_S) -> Stopped:
    """End the Ray processes of one temporary folder: SIGTERM, then SIGKILL.

    First the raylet, which takes its workers with it, and the control service last: the others answer SIGTERM only
    while it is there. Workers whose raylet had died before are ended too.

    Args:
        folder: Ray's temporary folder.
        grace_s: seconds that each group gets before it is killed.
    """
    found = _of_folder(folder)
    workers = [*_workers(folder)]
    orphans = [*filter(_is_orphan, workers)]
    for name in _ORDER:
        _end([process for process, kind in found if kind == name], grace_s)
    watchdogs = [watchdog for worker in workers for watchdog in _watchdogs(worker.pid)]
    for worker in orphans:
        # Nobody is there with whom it could end in order.
        send_signal(worker, kill=True)
    # Watchdogs first end what the script of their worker has left running.
    alive = still_alive([*workers, *watchdogs], grace_s)
    for process in alive:
        send_signal(process, kill=True)
    still_alive(alive, _KILLED_WITHIN_S)
    return Stopped(processes=len(found), orphans=len(orphans))


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


def _workers(folder: Path) -> Iterator[psutil.Process]:
    """Yield this user's workers of sessions in that folder."""
    for process in psutil.process_iter():
        try:
            if process.uids().effective != os.geteuid() or not _title(process).startswith(_WORKER_TITLE):
                continue
            if _has_open(process.pid, f"{folder}/session_"):
                yield process
        except psutil.Error:
            continue


def _watchdogs(worker: int) -> Iterator[psutil.Process]:
    """Yield the watchdogs of a worker, which are nobody's children; its id is the last but one of their arguments."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == _WATCHDOG and process.cmdline()[-2:-1] == [str(worker)]:
                yield process


def _has_open(pid: int, mark: str) -> bool:
    """Return whether a process has a file open whose path begins with a text; files that were removed count too."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()).startswith(mark):
                    return True
    return False


def _is_orphan(worker: psutil.Process) -> bool:
    """Return whether a worker has outlived its raylet."""
    with suppress(psutil.Error):
        return not any(parent.name() == _RAYLET for parent in worker.parents())
    return False


def _title(process: psutil.Process) -> str:
    return (process.cmdline() or [""])[0]


def _counted(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


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
    print(stop_ray(ray_folder(home()).parent / "ray"))


if __name__ == "__main__":
    main()
