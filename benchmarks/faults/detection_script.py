"""The script of the detection figures: attempts that wait to be killed, and attempts that do not want to end."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext

LONG_S = 120
STUBBORN = ("python_loop", "c_loop", "blocked_sigterm", "sleeping_child")
"""Entrypoints that do not end by themselves."""


def main(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Wait to be killed; the next attempt ends at once."""
    if not pc["retry"]:
        _ready(params)
        time.sleep(LONG_S)


def python_loop(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Compute for ever."""
    _ready(params)
    while True:
        pass


def c_loop(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Compute for ever in C, and never give the interpreter away."""
    _ready(params)
    sum(range(10**15))


def blocked_sigterm(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Let no signal through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    _ready(params)
    time.sleep(LONG_S)


def sleeping_child(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Wait for a child that sleeps."""
    child = subprocess.Popen(["sleep", str(LONG_S)])
    _ready(params)
    child.wait()


def _ready(params: dict[str, Any]) -> None:
    Path(params["ready"]).touch()
