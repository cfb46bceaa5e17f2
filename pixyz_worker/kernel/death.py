"""Ending a helper process with the process that started it (Linux: prctl(2), PR_SET_PDEATHSIG)."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel end this process when its parent ends; elsewhere than on Linux it is left alone.

    Strictly it is the thread that started this process whose end counts, so that thread should wait for it. `parent`
    is the parent's process id, where it is known: a parent that ended before this call is noticed by that alone.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    expected = os.getppid() if parent is None else parent
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != expected:
        os._exit(1)
