"""Operating-system processes: find those of one run of the platform by the mark in their environment, and end them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

SESSION_MARK = "PIXYZ_SESSION"
"""Variable that every process of a platform carries, so that `pixyz down` ends those and no others."""

_TRACKER = "ray::Tracker"
_WATCHDOG = "pixyz-watchdog"
_WATCHDOG_PATIENCE_S = 2.0
_LOOK_EVERY_S = 0.1
_POLL_S = 0.01


def marked(session: str) -> Iterator[psutil.Process]:
    """Yield the processes, this one excepted, that carry the mark of a run."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(SESSION_MARK) == session:
                yield process
                # A process that writes its title over its environment is found by its parent alone. This one may be a
                # child too: the supervisor that a driver has started when its own was killed.
                yield from (child for child in process.children(recursive=True) if child.pid != os.getpid())
        except psutil.Error:
            continue


def is_supervisor(pid: int) -> bool:
    """Return whether a process is there and is one of ours, not a stranger that got the same number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(map(_is_our_program, process.cmdline()))
    except psutil.Error:
        return False


def _is_our_program(word: str) -> bool:
    """Return whether a word of a command line names the command pixyz, or a module or a file of pixyz_ray.

    Other programs may lie in a folder whose name is like ours: /home/pixyz/venv/bin/python.
    """
    path = Path(word)
    return path.stem == "pixyz" or "pixyz_ray" in path.parts or word.partition(".")[0] == "pixyz_ray"


def end_marked(session: str, *, patience_s: float) -> int:
    """End every process of a run: SIGTERM, then SIGKILL after `patience_s` seconds. Return how many there were."""
    found = list(set(marked(session)))
    for process in found:
        send_signal(process, kill=False)
    alive = still_alive(found, patience_s)
    # Again from the start: a process that was just being forked is found only now.
    for process in {*alive, *marked(session)}:
        send_signal(process, kill=True)
    still_alive(alive, patience_s)
    return len(found)


def kill_marked(session: str, *, patience_s: float = 8.0) -> int:
    """Kill every process of a run, frozen ones too, and return how many there were.

    Args:
        session: mark of the run.
        patience_s: seconds after which it returns although some processes are still there.
    """
    began = time.monotonic()
    seen: set[psutil.Process] = set()
    while left := {process for process in marked(session) if _is_alive(process)}:
        after_s = time.monotonic() - began
        if after_s > patience_s:
            break
        seen |= left
        # The tracker first: it must not record the deaths of the others as failures of their jobs.
        for process in sorted(left, key=lambda one: not _title(one).startswith(_TRACKER)):
            # Watchdogs end what scripts have left running, and then leave by themselves.
            if after_s > _WATCHDOG_PATIENCE_S or not _is_watchdog(process):
                send_signal(process, kill=True)
        still_alive(left, _LOOK_EVERY_S)
    return len(seen)


def has_ended(process: psutil.Process, *, within_s: float) -> bool:
    """Return whether a process has ended, or does within some seconds; a zombie has."""
    return not still_alive([process], within_s)


def still_alive(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Wait until processes have ended; return those that have not in time.

    A zombie has ended, even where nobody fetches it: process 1 of a container may never do so.
    """
    deadline = time.monotonic() + patience_s
    while (alive := [one for one in processes if _is_alive(one)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _is_watchdog(process: psutil.Process) -> bool:
    try:
        return process.name() == _WATCHDOG
    except psutil.Error:
        return False


def send_signal(process: psutil.Process, *, kill: bool) -> None:
    """Send SIGKILL or SIGTERM to a process; one that has ended, or is somebody else's, is left alone."""
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return
