"""Starting this process's watchdog, and what the process has to be for that: leader of a group, home of orphans."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pixyz_ray.watchdog.process_tree import ATTEMPT_MARK

_ROOT = str(Path(__file__).resolve().parents[2])
# Two forks, so that it is nobody's child. What it imports comes after: the worker waits for the forks alone.
_START = (
    "import os, sys; os.fork() and os._exit(0); sys.path.append(sys.argv[1]); "
    "from pixyz_ray.watchdog.watchdog import main; main(*map(int, sys.argv[2:]))"
)
_PR_SET_CHILD_SUBREAPER = 36


def start_watchdog(page: int) -> int:
    """Start a watchdog; return a descriptor that hangs up when it dies.

    Args:
        page: descriptor of the page that it is to share.
    """
    # Until this process gathers orphans: the watchdog must not become its child.
    _gather_orphans(wanted=False)
    alive, held = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    itself = _handle_of_this_process()
    command = [sys.executable, "-I", "-S", "-c", _START, _ROOT, str(page), str(os.getpid()), str(itself)]
    try:
        # If there is no watchdog, the next attempt tries again.
        with suppress(OSError):
            subprocess.run(
                command,
                # Whoever looks for an attempt's processes must not find it.
                env={name: value for name, value in os.environ.items() if name != ATTEMPT_MARK},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[descriptor for descriptor in (page, itself, held) if descriptor >= 0],
                start_new_session=True,
            )
    finally:
        os.close(held)
        if itself >= 0:
            os.close(itself)
        _gather_orphans(wanted=True)
    return alive


def own_group() -> int:
    """Make this process the leader of its own group; return the group, or 0 where it may not have one."""
    with suppress(OSError):
        os.setpgid(0, 0)
    group = os.getpgrp()
    return group if group == os.getpid() else 0


def _handle_of_this_process() -> int:
    try:
        return os.pidfd_open(os.getpid())
    except (OSError, AttributeError):
        return -1


def _gather_orphans(*, wanted: bool) -> None:
    """Have what the script's children leave behind become this process's children, so that it is found."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
