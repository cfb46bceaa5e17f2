"""A job's script whose tasks hand on a large value that is not JSON, and wait where the test wants them to."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext, chain, chord, pixyz_execute, pixyz_schedule

SIZE = 2_000_000
_PATIENCE_S = 120.0


def note(params: dict[str, Any], name: str) -> None:
    """Leave a line about this run: the machine."""
    file = os.open(Path(params["place"], name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(file, f"{socket.gethostname()}\n".encode())
    os.close(file)


def wait_for(params: dict[str, Any], name: str) -> None:
    """Wait until the test has made a file."""
    deadline = time.monotonic() + _PATIENCE_S
    while not Path(params["place"], name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} did not come")
        time.sleep(0.02)


def prevent_keeping() -> None:
    """Keep the value of the first attempt off the share, as if its machine were lost at once: a folder has its name."""
    Path("value.pickle").mkdir(exist_ok=True)


def first(pc: ProgramContext, params: Any) -> Any:
    """Make a value that Ray does not pass on inside its messages."""
    note(params, "first")
    prevent_keeping()
    return {"trail": ["first"], "ballast": bytes(SIZE), "params": params}


def second(pc: ProgramContext, params: Any) -> Any:
    """Hand on the value of the first task."""
    note(params["params"], "second")
    prevent_keeping()
    return {**params, "trail": [*params["trail"], "second"]}


def slow(pc: ProgramContext, params: Any) -> Any:
    """Hold a place until the test lets it go."""
    note(params, "slow")
    wait_for(params, "go")
    return {"trail": ["slow"], "ballast": bytes(SIZE), "params": params}


def last(pc: ProgramContext, params: Any) -> Any:
    """Return what came in, as JSON."""
    values = params if isinstance(params, list) else [params]
    note(values[0]["params"], "last")
    if any(value["ballast"] != bytes(SIZE) for value in values):
        raise ValueError("a part of the value is missing")
    return {"trails": [value["trail"] for value in values], "retry": pc["retry"]}


@pixyz_schedule(wait=True)
def main(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Start a chord whose header has a chain and a task that holds its place; the last task gets both values."""
    first = _task(pc, "first", params)
    quick = chain(first, _task(pc, "second")) if params.get("chain") else first
    return chord([quick, _task(pc, "slow", params)], _task(pc, "last"))()


def _task(pc: ProgramContext, entrypoint: str, *values: Any) -> Any:
    context = pc.clone(entrypoint=entrypoint, raw=True, compute_only=True)
    return pixyz_execute.s(*values, pc=context).set(queue="workers")


def asks(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Ask for the first value in the script, when the test says so; the body of the chord has not begun by then."""
    handle = chord([_task(pc, "first", params), _task(pc, "slow", params)], _task(pc, "last"))()
    wait_for(params, "ask")
    value = handle.parent.results[0].get()
    Path(params["place"], "go").touch()
    return {"asked": value["trail"], **handle.get()}


def quick(pc: ProgramContext, params: Any) -> Any:
    """Say where it ran."""
    return socket.gethostname()


def hold(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Hold a place in the first attempt; write whatever a job writes; say which attempt has come to its end."""
    attempt = pc["retry"] + 1
    own = Path(pc.get_output_dir("own.txt"))
    note(params, f"attempt-{attempt}")
    print(f"attempt {attempt} begins")
    while attempt == 1 and not Path(params["place"], "go").exists():
        own.write_text(f"attempt {attempt}")
        time.sleep(0.02)
    own.write_text(f"attempt {attempt}")
    print(f"attempt {attempt} ends")
    note(params, f"ended-{attempt}")
    return attempt
