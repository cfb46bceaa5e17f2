"""Signals to processes that are still who they were, and the end of a whole tree, however quick it forks."""

from __future__ import annotations

# What lies below `signal`, which takes a megabyte of enums.
import _signal
import os
import time
from collections.abc import Callable

from pixyz_ray.watchdog.process_tree import Key, Process, read_process

_PAUSE_S = 0.002
_LOOKS_THAT_FIND_NOTHING = 2


def send(process: Process, number: int) -> bool:
    """Send a signal to a process, never to another that got its number since; return whether it was there."""
    try:
        handle = os.pidfd_open(process.pid)
    except (OSError, AttributeError):
        # An old kernel: what is left is to look just before.
        return _is_same(process) and _kill(process.pid, number)
    try:
        if not _is_same(process):
            return False
        _signal.pidfd_send_signal(handle, number)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def kill_all(find: Callable[[], list[Process]], *, patience_s: float, group: int = 0) -> set[Key]:
    """Kill all that `find` finds until it finds nothing more; return what was killed.

    They are frozen before they are killed: of processes that fork, one killed makes room for the next.

    Args:
        find: looks for the processes.
        patience_s: seconds after which what is left is left: a process that hangs in the kernel does not die.
        group: a process group that is killed whole; nobody in it gets away by forking.
    """
    deadline = time.monotonic() + patience_s
    killed: set[Key] = set()
    nothing = 0
    while nothing < _LOOKS_THAT_FIND_NOTHING and time.monotonic() < deadline:
        # Looked at as a whole first: whose parent has died is harder to find.
        found = find()
        if group and any(process.group == group for process in found):
            _kill_group(group, _signal.SIGKILL)
        found = _freeze(find, found, deadline)
        for process in found:
            send(process, _signal.SIGKILL)
        killed.update(process.key for process in found)
        nothing = 0 if found else nothing + 1
        if found:
            time.sleep(_PAUSE_S)
    return killed


def _freeze(find: Callable[[], list[Process]], found: list[Process], deadline: float) -> list[Process]:
    """Stop those that were found and all others, until a look finds none that is new; return them."""
    frozen: dict[Key, Process] = {}
    leaders: set[int] = set()
    while new := [process for process in found if process.key not in frozen]:
        frozen.update((process.key, process) for process in new)
        leaders.update(process.pid for process in new)
        for process in new:
            # A group that one of them leads is theirs: the kernel stops it in one go.
            if process.group in leaders:
                _kill_group(process.group, _signal.SIGSTOP)
                leaders.discard(process.group)
            send(process, _signal.SIGSTOP)
        if time.monotonic() > deadline:
            break
        found = find()
    return list(frozen.values())


def _is_same(process: Process) -> bool:
    now = read_process(process.pid)
    return now is not None and now.start == process.start


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except OSError:
        return
