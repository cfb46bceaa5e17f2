"""A job's script for the tests of store outages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext

PATIENCE_S = 90


def main(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Take steps until a file is there, if one is named; then fail with a text, or return a value."""
    deadline = time.monotonic() + PATIENCE_S
    if gate := params.get("gate"):
        pc.progress_set_total(10_000)
        while not Path(gate).exists():
            assert time.monotonic() < deadline, "nobody opened the gate"
            pc.progress_next("waits")
            time.sleep(0.1)
    if text := params.get("error"):
        raise RuntimeError(text)
    return params.get("value")
