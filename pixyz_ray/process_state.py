"""What a script may change in the process that runs it, put back when it is over: the next job must not find it.

That is in the way of every job, also of those that take two milliseconds: it takes some thirty microseconds.
"""

from __future__ import annotations

# What lies below `signal` and `socket`, which make an enum of every number.
import _signal
import _socket
import builtins
import gc
import io
import json
import json.decoder
import json.encoder
import os
import posixpath
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

_LIBRARIES = (builtins, os, posixpath, sys, io, json, json.decoder, json.encoder, threading, time, traceback, signal)
"""What the platform's own part of a job, and Ray's, cannot do without."""
_OWN = {"sys": frozenset({"stdin", "stdout", "stderr", "path", "argv"})}
"""Names that are put back elsewhere, or that everybody may change."""
_SIGNALS = tuple(sorted(set(range(1, _signal.NSIG)) & _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}))
_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CORE,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_STACK,
)
_TIMERS = (_signal.ITIMER_REAL, _signal.ITIMER_VIRTUAL, _signal.ITIMER_PROF)

_modules: dict[str, ModuleType] = {}
_on_spoiled: list[Callable[[], None]] = []


def on_spoiled(act: Callable[[], None]) -> None:
    """Have something done, in place of what was asked for before, once no other job should run in this process."""
    _on_spoiled[:] = [act]


class ProcessState:
    """What the process was like when it was made, just before a script runs."""

    def __init__(self) -> None:
        self._libraries = [(library, vars(library).copy()) for library in _LIBRARIES]
        if len(_modules) != len(sys.modules):
            _modules.clear()
            _modules.update(sys.modules)
        self._limits = [*map(resource.getrlimit, _LIMITS)]
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._priority = os.getpriority(os.PRIO_PROCESS, 0)
        self._depth = sys.getrecursionlimit()
        self._hooks = sys.gettrace(), sys.getprofile()
        self._collects = gc.isenabled()
        self._socket_timeout = _socket.getdefaulttimeout()
        self._has_signals = threading.current_thread() is threading.main_thread()
        self._handlers = [*map(_signal.getsignal, _SIGNALS)] if self._has_signals else []
        self._blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())

    def put_back(self) -> None:
        """Put back what was changed; what cannot be, or not without a trace, spoils the process."""
        # First what the rest needs.
        for library, before in self._libraries:
            if vars(library) != before:
                _put_back_names(library, before)
        if len(sys.modules) < len(_modules) or any(sys.modules.get(one.__name__) is not one for one in _LIBRARIES):
            sys.modules.update(_modules)
            _spoil()
        if (sys.gettrace(), sys.getprofile()) != self._hooks:
            sys.settrace(self._hooks[0])
            sys.setprofile(self._hooks[1])
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        if gc.isenabled() != self._collects:
            (gc.enable if self._collects else gc.disable)()
        _socket.setdefaulttimeout(self._socket_timeout)
        os.umask(self._umask)
        self._put_back_limits()
        if self._has_signals:
            self._put_back_signals()

    def _put_back_limits(self) -> None:
        if [*map(resource.getrlimit, _LIMITS)] != self._limits:
            for limit, before in zip(_LIMITS, self._limits, strict=True):
                _put_back_limit(limit, before)
        if os.getpriority(os.PRIO_PROCESS, 0) != self._priority:
            try:
                os.setpriority(os.PRIO_PROCESS, 0, self._priority)
            except OSError:
                _spoil()

    def _put_back_signals(self) -> None:
        for timer in _TIMERS:
            _signal.setitimer(timer, 0)
        handlers = [*map(_signal.getsignal, _SIGNALS)]
        if handlers != self._handlers:
            for number, now, before in zip(_SIGNALS, handlers, self._handlers, strict=True):
                if now != before:
                    _put_back_handler(number, before)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._blocked)


def _spoil() -> None:
    for act in _on_spoiled:
        act()


def _put_back_names(library: ModuleType, before: dict[str, Any]) -> None:
    """Put back what a script has replaced or removed in a library; what it has added is no harm."""
    names, own = vars(library), _OWN.get(library.__name__, frozenset())
    for name, value in before.items():
        if name not in own and names.get(name, names) is not value:
            names[name] = value
            _spoil()


def _put_back_limit(limit: int, before: tuple[int, int]) -> None:
    try:
        resource.setrlimit(limit, before)
    except (OSError, ValueError):
        # Only root raises a hard limit: the rest of this job does with what it has.
        _spoil()
        with suppress(OSError, ValueError):
            most = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (most, most))


def _put_back_handler(number: int, before: Any) -> None:
    if before is None:
        # It was native code's, and cannot be had back from here.
        _spoil()
        return
    with suppress(OSError, ValueError):
        _signal.signal(number, before)
