"""Jobs for a disk that fills up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext


def main(pc: ProgramContext, params: Any) -> str:
    """Return at once."""
    return "done"


def gated(pc: ProgramContext, params: dict[str, Any]) -> str:
    """Wait for a file, then print, write and return as many bytes as asked for."""
    deadline = time.monotonic() + 90
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if params.get("prints"):
        print("x" * params["prints"], flush=True)
    if params.get("writes"):
        Path(pc.get_output_dir("big.bin")).write_bytes(bytes(params["writes"]))
    return "y" * int(params.get("returns", 1))
