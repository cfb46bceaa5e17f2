"""A job's script for the tests of admission: each entrypoint notes in a book when it begins and ends, and where."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext, chain, group, pixyz_execute, pixyz_schedule

PATIENCE_S = 60


def note(params: dict[str, Any], what: str) -> None:
    """Write a line into the book, which many processes share."""
    entry = {"what": what, "name": params.get("name"), "time": time.time(), "pid": os.getpid()}
    with Path(params["book"]).open("ab", buffering=0) as book:
        book.write(json.dumps(entry).encode() + b"\n")


@contextmanager
def noted(params: dict[str, Any]) -> Iterator[None]:
    """Note the beginning and the end of what is done."""
    note(params, "begin")
    try:
        yield
    finally:
        note(params, "end")


def main(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Last for a moment."""
    with noted(params):
        time.sleep(params.get("seconds", 0))
    return os.getpid()


def gated(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Last until a file is there."""
    with noted(params):
        deadline = time.monotonic() + PATIENCE_S
        while not Path(params["gate"]).exists():
            if time.monotonic() > deadline:
                raise TimeoutError("nobody opened the gate")
            time.sleep(0.01)
    return os.getpid()


def fails(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Do what is wrong."""
    note(params, "begin")
    raise ValueError("as it should")


def crashes(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Take the process along."""
    note(params, "begin")
    import ctypes

    ctypes.string_at(0)


def lasts(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Do not end."""
    note(params, "begin")
    time.sleep(PATIENCE_S)


def twice(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Fail in the first two attempts."""
    note(params, "begin")
    if pc["retry"] < 2:
        raise ValueError("not yet")
    return int(pc["retry"])


@pixyz_schedule(pools={"catia": 1}, priority=7)
def scheduled(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Ask for a seat in the script itself."""
    with noted(params):
        return os.getpid()


# --- Processes -------------------------------------------------------------------------------------------------------


def leaves_module(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Leave something behind in a module of the standard library."""
    import colorsys

    colorsys.left_behind = True  # type: ignore[attr-defined]
    return os.getpid()


def finds_module(pc: ProgramContext, params: dict[str, Any]) -> list[Any]:
    """Return whether that is there."""
    return [os.getpid(), hasattr(sys.modules.get("colorsys"), "left_behind")]


def leaves_thread(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Leave a thread running."""
    threading.Thread(target=time.sleep, args=(PATIENCE_S,), daemon=True).start()
    return os.getpid()


def leaks(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Leave memory behind that nothing will free."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.memset(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(params["bytes"]))), 1, ctypes.c_size_t(params["bytes"]))
    return os.getpid()


# --- Graphs ----------------------------------------------------------------------------------------------------------


def seats(pc: ProgramContext, params: dict[str, Any]) -> list[Any]:
    """Run a group of tasks that need a seat each, then a chain of such."""
    task = pc.clone(entrypoint="main", raw=True, compute_only=True, queue="free")
    names = [{**params, "name": f"member {n}"} for n in range(5)]
    members = group(pixyz_execute.s(one, pc=task).set(pools={"catia": 1}) for one in names)().get()
    steps = [pixyz_execute.si({**params, "name": f"step {n}"}, task).set(pools=["catia"]) for n in range(3)]
    last = chain(*steps)().get()
    return [*members, last]


def parent(pc: ProgramContext, params: dict[str, Any]) -> list[Any]:
    """Wait for children on the same queue; a task that names none would run on another."""
    task = pc.clone(entrypoint="main", raw=True, compute_only=True, queue="one")
    return list(group(pixyz_execute.s({**params, "name": f"child {n}"}, pc=task) for n in range(2))().get())
