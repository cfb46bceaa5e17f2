"""A timer that costs who sets it one system call and wakes nobody before it is due (Linux timerfd, timerfd_create(2)).

Waking a sleeping thread takes a tenth of a millisecond of the time of the one who wakes it, which a short script would
feel. Python has timerfd since 3.13 only, hence ctypes.
"""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_TFD_CLOEXEC = os.O_CLOEXEC
_NANOSECONDS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """One timer: set it in one thread, wait for it in another.

    Raises:
        OSError: this system has none.
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(None, use_errno=True)
            self._descriptor = int(library.timerfd_create(_CLOCK_MONOTONIC, _TFD_CLOEXEC))
            self._settime = library.timerfd_settime
        except AttributeError as error:
            raise OSError("this system has no timerfd") from error
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "no timerfd can be made")

    def set(self, seconds: float) -> None:
        """Let it be due in so many seconds; 0 stops it."""
        whole, part = divmod(int(seconds * _NANOSECONDS), _NANOSECONDS)
        spec = _TimerSpec(_Timespec(0, 0), _Timespec(whole, part))
        self._settime(self._descriptor, 0, ctypes.byref(spec), None)

    def wait(self) -> None:
        """Return when it is due."""
        os.read(self._descriptor, 8)
