"""What a script changes in its process is put back; where that leaves a trace, the process is not used again."""

from __future__ import annotations

import builtins
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pixyz_ray.process_state import ProcessState, on_spoiled


@pytest.fixture
def spoiled() -> Iterator[list[bool]]:
    """Takes note each time that the process is said to be spoiled."""
    noted: list[bool] = []
    on_spoiled(lambda: noted.append(True))
    yield noted
    on_spoiled(lambda: None)


def _refuse(*_: Any, **__: Any) -> None:
    raise RuntimeError("replaced")


def _mask() -> set[Any]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


HARMLESS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "umask": (lambda: os.umask(0o777), _umask),
    "a soft limit": (
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
        lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
    ),
    "a handler": (lambda: signal.signal(signal.SIGUSR1, _refuse), lambda: signal.getsignal(signal.SIGUSR1)),
    "a blocked signal": (lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}), _mask),
    "an alarm": (
        lambda: signal.setitimer(signal.ITIMER_REAL, 60),
        lambda: signal.getitimer(signal.ITIMER_REAL),
    ),
    "recursion": (lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 7), sys.getrecursionlimit),
    "the collector": (gc.disable, gc.isenabled),
    "a time-out of sockets": (lambda: socket.setdefaulttimeout(3), socket.getdefaulttimeout),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_given_a_state_of_the_process_when_a_script_changes_it_then_it_is_put_back_without_a_trace(
    case: str, spoiled: list[bool]
) -> None:
    """Given a setting, when it is changed and put back, then it is as before and the process can be used again."""
    change, look = HARMLESS[case]
    before, state = look(), ProcessState()
    change()
    assert look() != before
    state.put_back()
    assert (look(), spoiled) == (before, [])


REPLACED: dict[str, tuple[Any, str]] = {
    "a builtin": (builtins, "open"),
    "JSON": (json, "dumps"),
    "a system call": (os, "getcwd"),
    "the clock": (time, "monotonic"),
}


@pytest.mark.parametrize("case", REPLACED)
@pytest.mark.parametrize("removed", [False, True])
def test_given_a_library_when_a_script_replaces_a_part_of_it_then_it_is_put_back_and_the_process_is_spoiled(
    case: str, removed: bool, spoiled: list[bool]
) -> None:
    """Given a function that all need, when it is replaced or removed, then it is back, and others hear of it."""
    library, name = REPLACED[case]
    before, state = getattr(library, name), ProcessState()
    if removed:
        delattr(library, name)
    else:
        setattr(library, name, _refuse)
    state.put_back()
    assert (getattr(library, name), spoiled) == (before, [True])


def test_given_modules_when_a_script_forgets_them_all_then_they_are_known_again(spoiled: list[bool]) -> None:
    """Given a process, when a script clears sys.modules, then nobody imports anything a second time."""
    before, state = dict(sys.modules), ProcessState()
    sys.modules.clear()
    state.put_back()
    assert (sys.modules, spoiled) == (before, [True])


def test_given_nothing_changed_when_put_back_then_nothing_happens(spoiled: list[bool]) -> None:
    """Given a script that behaves, when it is over, then its process is used again; new names are no harm."""
    state = ProcessState()
    json.fault_of_nobody = 1  # type: ignore[attr-defined]
    state.put_back()
    assert spoiled == []
    del json.fault_of_nobody  # type: ignore[attr-defined]
