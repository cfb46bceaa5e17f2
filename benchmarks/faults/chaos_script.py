"""The script of the chaos run's jobs. Each attempt writes its own token wherever it leaves something.

So a mixture of two attempts would be seen, and a line in the job's ledger, outside of the platform, tells of each
attempt that came to its end.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext, chain, chord, group, pixyz_execute, pixyz_schedule

RETRIES = 10
HEAVY_BYTES = 300_000
"""More than Ray sends along with its messages."""
SLEEP = ["sleep", "60"]


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Do what the kind of the job is, leave files, and return the token."""
    token = secrets.token_hex(8)
    globals()["do_" + params["kind"]](pc, params)
    for number in range(params.get("files", 0)):
        Path(pc.get_output_dir(f"part-{number}.txt")).write_text(token)
        time.sleep(0.02)
    _note(params, token)
    return {"n": params["n"], "token": token}


def do_nothing(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Do nothing."""


def do_sleep(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Sleep, in steps that are seen."""
    pc.progress_set_total(4)
    for number in range(4):
        pc.progress_next(f"sleeping, {number}")
        time.sleep(params["seconds"] / 4)


def do_loop(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Compute in C, without giving the interpreter away."""
    sum(range(int(params["seconds"] * 4e7)))


def do_child(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Start a process that would outlive the job by far."""
    child = subprocess.Popen(SLEEP)
    time.sleep(params["seconds"])
    child.terminate()
    child.wait()


def do_crash(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Die in the first attempt, as native code does."""
    mark = Path(params["ledger"] + ".crashed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)


@pixyz_schedule(wait=True)
def graph_waits(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Start a graph whose result is the job's; no process waits for it."""
    return _graph(pc, params)()


@pixyz_schedule(queue="control")
def graph_gets(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Start a graph and wait for it in the script."""
    return _graph(pc, params)().get()


def node(pc: ProgramContext, params: Any) -> int:
    """Return one more than what comes in, and leave two files."""
    token = secrets.token_hex(8)
    for name in ("first.txt", "last.txt"):
        Path(pc.get_output_dir(name)).write_text(token)
        time.sleep(0.05)
    return 1 + (sum(params) if isinstance(params, list) else params if isinstance(params, int) else 0)


def heavy(pc: ProgramContext, params: Any) -> dict[str, Any]:
    """Return a value that is not JSON, and that only the machine has which made it; count what comes in."""
    number = node(pc, params["number"] if isinstance(params, dict) else params)
    return {"number": number, "ballast": bytes(HEAVY_BYTES)}


def count(pc: ProgramContext, params: list[dict[str, Any]]) -> int:
    """Return the sum of what heavy tasks have counted."""
    if any(one["ballast"] != bytes(HEAVY_BYTES) for one in params):
        raise ValueError("a value has changed on its way")
    return node(pc, [one["number"] for one in params])


def _heavy_graph(pc: ProgramContext) -> Any:
    def task(entrypoint: str) -> Any:
        return pixyz_execute.s(pc=pc.clone(entrypoint=entrypoint, raw=True)).set(retries=RETRIES)

    return chord([chain(task("heavy"), task("heavy")), task("heavy")], task("count"))


def _graph(pc: ProgramContext, params: dict[str, Any]) -> Any:
    if params["shape"] == "heavy":
        return _heavy_graph(pc)
    context = pc.clone(entrypoint="node", raw=True)
    nodes = [pixyz_execute.s(pc=context).set(retries=RETRIES) for _ in range(3)]
    if params["shape"] == "chain":
        return chain(*nodes)
    return group(*nodes) if params["shape"] == "group" else chord(nodes[:2], nodes[2])


def _note(params: dict[str, Any], token: str) -> None:
    """Leave a line outside of the platform: this attempt has written all that it writes."""
    file = os.open(params["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, f"{token}\n".encode())
    os.close(file)
