"""A helper process with its descendants: ended together, and bounded in memory, in the way of each system.

Linux      a process group; the helper bounds its own memory (isolated_reading.py), and death.py ends it with
           the process that started it
macOS      a process group; memory is looked at by `ps`, a few times a second
Windows    a job object, which bounds memory, and ends all that is in it when it is closed or its owner ends
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any, Protocol

_NO_WINDOW = 0x08000000  # CREATE_NO_WINDOW
_KILL_ON_CLOSE, _QUIET_CRASHES, _MEMORY_OF_ALL = 0x2000, 0x400, 0x200  # JOB_OBJECT_LIMIT_...
_EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation


class ProcessTree(Protocol):
    """A process that was started, and its descendants."""

    def is_too_large(self) -> bool:
        """Return whether it takes more memory than it may; False where the system enforces the limit."""

    def kill(self) -> None:
        """End it with its descendants. Call this before the process is waited for: its pid may be reused then."""


def window_options() -> dict[str, Any]:
    """Return the arguments of subprocess.Popen for a process that is to open no console window on Windows."""
    return {"creationflags": _NO_WINDOW} if sys.platform == "win32" else {}


def start_options() -> dict[str, Any]:
    """Return the arguments of subprocess.Popen that start a process which tree_of can end as a whole."""
    return window_options() if sys.platform == "win32" else {"process_group": 0}


def tree_of(child: subprocess.Popen[bytes], most_bytes: int) -> ProcessTree:
    """Return the tree of a process that was just started with start_options.

    Args:
        child: the process.
        most_bytes: memory that it may take; 0 is no limit.
    """
    if sys.platform == "win32":
        try:
            return _Job(child, most_bytes)
        except (OSError, AttributeError):  # a system without job objects, or one that refuses another
            return _Alone(child)
    return _Group(child, most_bytes)


class _Group:
    """A process group of POSIX."""

    def __init__(self, child: subprocess.Popen[bytes], most_bytes: int) -> None:
        self._pid, self._most_bytes = child.pid, most_bytes

    def is_too_large(self) -> bool:
        # Only Linux holds a process to its RLIMIT_DATA.
        return sys.platform != "linux" and self._most_bytes > 0 and _resident_bytes(self._pid) > self._most_bytes

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, 9)


def _resident_bytes(pid: int) -> int:
    """Return the resident memory of a process as ps shows it; 0 if unknown."""
    try:
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, timeout=5, check=False)
        return int(told.stdout) * 1024
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


class _Alone:
    """A single process, without control of its descendants and its memory."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def is_too_large(self) -> bool:
        return False

    def kill(self) -> None:
        self._child.kill()


class _Job:
    """A job object of Windows; raises OSError when none can be made."""

    def __init__(self, child: subprocess.Popen[bytes], most_bytes: int) -> None:
        self._child = child
        # Looked up here: other systems' ctypes has neither.
        self._kernel: Any = (
            vars(ctypes)["WinDLL"]("kernel32", use_last_error=True) if "WinDLL" in vars(ctypes) else None
        )
        if self._kernel is None:
            raise OSError("there are no job objects here")
        self._kernel.CreateJobObjectW.restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._kernel.CreateJobObjectW(None, None))
        try:
            self._limit(most_bytes)
            process = ctypes.c_void_p(int(vars(child)["_handle"]))
            self._check(self._kernel.AssignProcessToJobObject(self._handle, process))
        except BaseException:
            self._kernel.CloseHandle(self._handle)
            raise

    def is_too_large(self) -> bool:
        return False

    def kill(self) -> None:
        self._kernel.TerminateJobObject(self._handle, 1)
        self._kernel.CloseHandle(self._handle)

    def _limit(self, most_bytes: int) -> None:
        limits = _ExtendedLimits()
        limits.basic.flags = _KILL_ON_CLOSE | _QUIET_CRASHES | (_MEMORY_OF_ALL if most_bytes else 0)
        limits.job_memory = min(most_bytes, ctypes.c_size_t(-1).value)
        size = ctypes.sizeof(limits)
        self._check(self._kernel.SetInformationJobObject(self._handle, _EXTENDED_LIMITS, ctypes.byref(limits), size))

    def _check(self, done: int) -> None:
        if not done:
            raise OSError(vars(ctypes)["get_last_error"](), "a job object could not be made")


class _BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
    )


class _ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", _BasicLimits),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )
