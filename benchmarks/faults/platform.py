"""The platform that faults are made in: its processes, and how they are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from benchmarks.figures.startup import family
from benchmarks.platform import Ours
from pixyz_ray.client import Client, PlatformUnreachable, ServerBusy
from pixyz_ray.reaper import marked
from pixyz_ray.sandbox import ATTEMPT_MARK

WORKER, TRACKER, REPLICA = "ray::run_script", "ray::TrackerActor", "ray::ServeReplica"
"""How the titles begin of a worker that runs a job, of the tracker, and of the HTTP service."""
_WATCHDOG = "pixyz-watchdog"
_DRIVER = "pixyz_ray.cluster.driver"

T = TypeVar("T")


class Fragile(Ours):
    """One platform of our own, to be hurt.

    Args:
        folder: where its home is made.
        settings: lines of its configuration file.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder)
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.home / "pixyz-scheduler.conf").write_text(lines, encoding="utf-8")

    def client(self, *, patience: float = 60.0) -> Client:
        """Return a client of it; close it after use."""
        return Client(self.running.url, self.running.token, timeout=30.0, patience=patience)

    # --- Its processes -----------------------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Return all of them."""
        return list(family(self.running.session, self.running.pid))

    def titled(self, title: str) -> list[psutil.Process]:
        """Return those whose command line begins with a title."""
        return [one for one in set(marked(self.running.session)) if command_line(one)[:1] and title_of(one, title)]

    def programs(self, name: str) -> list[psutil.Process]:
        """Return those whose program is a file of that name."""
        found = set(marked(self.running.session))
        return [one for one in found if Path(next(iter(command_line(one)), "")).name == name]

    def supervisors(self) -> list[psutil.Process]:
        """Return the supervisor."""
        return [psutil.Process(self.running.pid)]

    def drivers(self) -> list[psutil.Process]:
        """Return the driver, which the supervisor has started."""
        found = psutil.Process(self.running.pid).children()
        return [one for one in found if _DRIVER in command_line(one)]

    def watchdogs(self) -> dict[int, int]:
        """Return the watchdogs: process id -> that of the worker that each one watches."""
        found = {}
        for process in set(marked(self.running.session)):
            with suppress(psutil.Error, ValueError, IndexError):
                if process.name() == _WATCHDOG:
                    found[process.pid] = int(process.cmdline()[-2])
        return found

    def cpu_percent(self, seconds: float) -> float:
        """Return what all of it takes of one core."""
        processes = self.processes()
        before = sum(map(_cpu_seconds, processes))
        time.sleep(seconds)
        return 100 * (sum(map(_cpu_seconds, processes)) - before) / seconds


def title_of(process: psutil.Process, title: str) -> bool:
    """Return whether a process's command line begins with a title."""
    return " ".join(command_line(process)).startswith(title)


def command_line(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing of one that is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(pid: int) -> bool:
    """Kill a process at once; return whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def of_attempts(uuid: str = "") -> Iterator[tuple[int, str]]:
    """Yield the processes that carry the mark of a job's attempt, all jobs' without an id, with that mark."""
    beginning = f"{ATTEMPT_MARK}={uuid}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                for entry in (folder / "environ").read_bytes().split(b"\0"):
                    if entry.startswith(beginning) and is_alive(int(folder.name)):
                        yield int(folder.name), entry.partition(b"=")[2].decode()


def patiently(ask: Callable[[], T], patience_s: float = 60.0) -> T:
    """Ask until the platform answers, which it does not while its parts are started again."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except (PlatformUnreachable, ServerBusy):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def wait_until(condition: Callable[[], T], what: str, patience_s: float = 60.0, every_s: float = 0.02) -> T:
    """Return the first true value of a condition.

    Raises:
        TimeoutError: there was none in time.
    """
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_s:g} s: {what}")
        time.sleep(every_s)
    return value


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
