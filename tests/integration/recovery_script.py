"""A job's script for the tests of recovery: each entrypoint leaves beats in a book, for as long as it lives."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext

PATIENCE_S = 90
EVERY_S = 0.02


def beat(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Write into the book that this attempt lives."""
    entry = {"name": params["name"], "attempt": pc["retry"] + 1, "pid": os.getpid(), "time": time.time()}
    with Path(params["book"]).open("ab", buffering=0) as book:
        book.write(json.dumps(entry).encode() + b"\n")


def main(pc: ProgramContext, params: dict[str, Any]) -> str:
    """Live for a moment."""
    beat(pc, params)
    Path(pc.get_output_dir("out.txt")).write_text(params["name"], encoding="utf-8")
    return str(params["name"])


def gated(pc: ProgramContext, params: dict[str, Any]) -> str:
    """Live until a file is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not Path(params["gate"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        beat(pc, params)
        time.sleep(EVERY_S)
    return str(params["name"])


def stubborn(pc: ProgramContext, params: dict[str, Any]) -> str:
    """The same, deaf to being asked to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    return gated(pc, params)


def fails_thrice(pc: ProgramContext, params: dict[str, Any]) -> int:
    """Fail in the first three attempts."""
    beat(pc, params)
    if pc["retry"] < 3:
        raise ValueError("not yet")
    return int(pc["retry"])


def fills(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Write more than there is room for."""
    beat(pc, params)
    Path(pc.get_output_dir("large.bin")).write_bytes(bytes(params["bytes"]))
