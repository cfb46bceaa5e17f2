"""Ending a helper process with the process that started it, whatever ends that one.

Linux does it by itself (prctl(2), PR_SET_PDEATHSIG), and so does Windows for what process_tree.py has put into a job
object. Elsewhere a thread of the helper looks a few times a second whether its parent is still there.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_LOOK_S = 0.25


def die_with_parent(parent: int | None = None) -> None:
    """Have this process ended when its parent ends.

    Strictly, on Linux it is the thread that started this process whose end counts, so that thread should wait for it.

    Args:
        parent: the parent's process id, where it is known: a parent that ended before this call is noticed by that
            alone.
    """
    if sys.platform == "win32":
        return
    expected = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    else:
        threading.Thread(target=_watch, args=(expected,), daemon=True, name="pixyz-parent").start()
    if os.getppid() != expected:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
