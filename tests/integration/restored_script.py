"""Jobs for a platform whose store is tampered with while it is down."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext, chain, pixyz_execute, pixyz_schedule


def main(pc: ProgramContext, params: Any) -> str:
    """Return at once."""
    return "done"


def gated(pc: ProgramContext, params: dict[str, Any]) -> str:
    """Last until a file is there."""
    deadline = time.monotonic() + 90
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "done"


@pixyz_schedule(wait=True)
def graph(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Start two tasks, one after the other."""
    first = pixyz_execute.s(params, pc=pc.clone(entrypoint="gated", raw=True)).set(queue="control")
    return chain(first, pixyz_execute.s(pc=pc.clone(entrypoint="main", raw=True)).set(queue="control")).apply_async()
