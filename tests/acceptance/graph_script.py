"""A job's script: an entrypoint for each graph that the tests follow, and the tasks that these are made of."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery.result import result_from_tuple

from pixyz_worker.exception import PixyzTimeout
from pixyz_worker.script import ProgramContext, chain, chord, chunks, group, pixyz_execute, pixyz_schedule

PATIENCE_S = 90


def task(pc: ProgramContext, entrypoint: str, *params: Any, **context: Any) -> Any:
    """Make a signature of a raw task, which is fed when it has no params."""
    context = {"raw": True, "compute_only": True, "input_file": None, **context}
    return pixyz_execute.s(*params, pc=pc.clone(entrypoint=entrypoint, **context))


def wait_at(gate: str) -> None:
    """Return once a file is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not Path(gate).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        time.sleep(0.01)


# --- Tasks -----------------------------------------------------------------------------------------------------------


def add(pc: ProgramContext, params: Any) -> Any:
    """Count on."""
    return params + 1


def total(pc: ProgramContext, params: Any) -> Any:
    """Sum up."""
    return sum(params)


def told(pc: ProgramContext, params: Any) -> Any:
    """Leave progress, a line and a file."""
    pc.progress_set_total(1)
    pc.progress_next("telling")
    print("told", params)
    Path(pc.get_output_dir("told.txt")).write_text(str(params))
    return params


def boom(pc: ProgramContext, params: Any) -> Any:
    """Fail, as soon as a file is there that the params name."""
    if params:
        wait_at(params)
    raise ValueError("bad part")


def gated(pc: ProgramContext, params: Any) -> Any:
    """Wait until the gate is open, and leave the process's id beside it meanwhile."""
    unfinished = Path(f"{params['gate']}.{params['n']}.new")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(unfinished.with_suffix(""))
    wait_at(params["gate"])
    return params["n"]


def crash(pc: ProgramContext, params: Any) -> Any:
    """Die of a fault in native code the first times."""
    tries = Path(params["tries"])
    if tries.exists() and len(tries.read_text()) >= params["times"]:
        return 10
    with tries.open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("it should be dead")


def queue(pc: ProgramContext, params: Any) -> Any:
    """Tell where it runs."""
    return pc["queue"]


def content(pc: ProgramContext, params: Any) -> Any:
    """Read the input."""
    return Path(pc.get_input_file()).read_text()


def array(pc: ProgramContext, params: Any) -> Any:
    """Make a large array."""
    import numpy

    return numpy.arange(params, dtype="float64")


def doubled(pc: ProgramContext, params: Any) -> Any:
    """Double an array."""
    return params * 2


def table(pc: ProgramContext, params: Any) -> Any:
    """Make an Arrow table."""
    import pyarrow

    return pyarrow.table({"n": range(params)})


def rows(pc: ProgramContext, params: Any) -> Any:
    """Tell what arrived."""
    return [type(params).__name__, params.num_rows]


# --- Graphs ----------------------------------------------------------------------------------------------------------


def two_gates(pc: ProgramContext, params: Any) -> Any:
    """Make: count, then two that wait at the gate side by side, then two steps more."""
    at_gate = group(pixyz_execute.si({**params, "n": n}, task(pc, "gated").pc) for n in range(2))
    return chain(task(pc, "add", 1), at_gate, task(pc, "total"), task(pc, "add"))


def followed(pc: ProgramContext, params: Any) -> Any:
    """Hand out the ids of a graph of each kind."""
    parts = group(task(pc, "told", n, compute_only=False) for n in range(2))
    return chain(parts, task(pc, "total"), group(task(pc, "add"), chain(group()))).apply_async().as_tuple()


def failing_chord(pc: ProgramContext, params: Any) -> Any:
    """Hand out the ids of a chord with a member that fails."""
    members = [task(pc, "add", 1), task(pc, "boom", None), task(pc, "gated", {**params, "n": 0})]
    return chain(chord(members, task(pc, "total")), task(pc, "add")).apply_async().as_tuple()


def fail_fast(pc: ProgramContext, params: Any) -> Any:
    """Hand out the ids of a group that ends with the first failure."""
    members = group(task(pc, "gated", {**params, "n": 0}), task(pc, "boom", f"{params['gate']}.0"))
    return (members | task(pc, "total")).set(fail_fast=True).apply_async().as_tuple()


def exceptions(pc: ProgramContext, params: Any) -> Any:
    """Look at failures with the handle's own means."""
    messages: list[Any] = []
    handle = group(task(pc, "add", 1), task(pc, "boom", None), task(pc, "add", 2))()
    values = handle.get(timeout=PATIENCE_S, propagate=False, on_message=messages.append)
    try:
        handle.get(timeout=PATIENCE_S)
    except ValueError as error:
        raised = str(error)
    late = task(pc, "boom", None).set(queue="gpuhigh", time_limit=0.5)
    slow = pixyz_execute.s({**params, "n": 0}, late.pc.clone(entrypoint="gated")).set(queue="gpuhigh", time_limit=0.5)
    timed_out = slow.apply_async().get(timeout=PATIENCE_S, propagate=False)
    return {
        "values": [repr(value) for value in values],
        "raised": raised,
        "messages": [[message["task_id"], message["status"]] for message in messages],
        "ids": [member.id for member in handle.results],
        "counts": [handle.completed_count(), handle.ready(), handle.successful(), handle.failed(), handle.state],
        "timed out": isinstance(timed_out, PixyzTimeout),
    }


@pixyz_schedule(wait=True)
def with_crash(pc: ProgramContext, params: Any) -> Any:
    """Wait for a chord with a member that dies."""
    return chord([task(pc, "crash", params), task(pc, "add", 1)], task(pc, "total"))()


@pixyz_schedule(wait=True)
def awaited_gates(pc: ProgramContext, params: Any) -> Any:
    """Wait for a graph that stops in its middle."""
    return two_gates(pc, params)()


@pixyz_schedule(wait=True, timeout=1)
def impatient(pc: ProgramContext, params: Any) -> Any:
    """Wait for a graph that takes longer."""
    return two_gates(pc, params)()


def unattended_gates(pc: ProgramContext, params: Any) -> Any:
    """Hand out the ids of a graph that stops in its middle."""
    return two_gates(pc, params)().as_tuple()


def revoking(pc: ProgramContext, params: Any) -> Any:
    """Cancel a graph in its middle; what it comes to is its handles' states, the last one's first."""
    handle = two_gates(pc, params)()
    for n in range(2):
        wait_at(f"{params['gate']}.{n}")
    handle.revoke()
    error = handle.get(timeout=PATIENCE_S, propagate=False)
    states = [pc.AsyncResult(id).state for id in handle.as_list()]
    return {"ids": handle.as_list(), "states": states, "error": str(error)}


@pixyz_schedule(wait=True)
def long_chain(pc: ProgramContext, params: Any) -> Any:
    """Wait for a chain of so many steps."""
    return chain([task(pc, "add", 0), *[task(pc, "add")] * (params["n"] - 1)])()


def long_ids(pc: ProgramContext, params: Any) -> Any:
    """Return the handle of a long chain, whose ids nest too deeply for JSON."""
    return chain([task(pc, "add", 0), *[task(pc, "add")] * (params["n"] - 1)])()


@pixyz_schedule(wait=True)
def big_chord(pc: ProgramContext, params: Any) -> Any:
    """Wait for a wide chord."""
    return chord([task(pc, "add", n) for n in range(params["n"])])(task(pc, "total"))


def arrays(pc: ProgramContext, params: Any) -> Any:
    """Pass arrays on, and get one."""
    handle = chain(task(pc, "array", 1_000_000), task(pc, "doubled"), task(pc, "doubled"))()
    last = handle.get(timeout=PATIENCE_S)
    both = group(task(pc, "array", 3), task(pc, "array", 4))().get(timeout=PATIENCE_S)
    return {"last": float(last[-1]), "type": type(last).__name__, "both": [len(each) for each in both]}


def tables(pc: ProgramContext, params: Any) -> Any:
    """Pass a table on."""
    return chain(task(pc, "table", 1000), task(pc, "rows"))().get(timeout=PATIENCE_S)


@pixyz_schedule(wait=True)
def mapped(pc: ProgramContext, params: Any) -> Any:
    """Map a task over items."""
    return chunks(task(pc, "add"), range(5), 2)()


@pixyz_schedule(wait=True)
def nesting(pc: ProgramContext, params: Any) -> Any:
    """Wait for a graph with a node that waits for a graph of its own."""
    return chain(task(pc, "add", 1), task(pc, "nested"), task(pc, "add"))()


@pixyz_schedule(wait=True)
def nested(pc: ProgramContext, params: Any) -> Any:
    """Wait for a graph; its result goes on to the next node."""
    return chord([task(pc, "add", params), task(pc, "add", params)])(task(pc, "total"))


def split(pc: ProgramContext, params: Any) -> Any:
    """Give each line of the input to a task as its own input."""
    tasks = [task(pc, "content", None, input_file=pc.get_input_file())]
    for n, line in enumerate(Path(pc.get_input_file()).read_text().splitlines()):
        part = Path(pc.get_output_dir(f"part_{n}.txt"))
        part.write_text(line)
        tasks.append(task(pc, "content", None, input_file=str(part), compute_only=n == 0))
    return group(tasks)().get(timeout=PATIENCE_S)


def options(pc: ProgramContext, params: Any) -> Any:
    """Hand out the ids of tasks with options of their own and of what is around them."""
    own = [task(pc, "queue", None).set(queue="gpuhigh", time_limit=5), task(pc, "queue", None)]
    return group(own).set(queue="control", time_limit=7).apply_async().as_tuple()


def ask(pc: ProgramContext, params: Any) -> Any:
    """Ask for tasks of another job, by one id and by all."""
    handle = pc.AsyncResult(params["id"])
    whole = result_from_tuple(json.loads(json.dumps(params["ids"])))
    return {
        "value": handle.get(timeout=PATIENCE_S),
        "state": handle.state,
        "whole": whole.get(timeout=PATIENCE_S),
        "flat": whole.as_list(),
        "unknown": pc.AsyncResult(params["unknown"]).state,
    }


@pixyz_schedule(wait=True)
def wait(pc: ProgramContext, params: Any) -> Any:
    """Wait for tasks without a process."""
    return group(task(pc, "add", n) for n in range(2))()


def get(pc: ProgramContext, params: Any) -> Any:
    """Wait in the process: for a task of another job, then for tasks of its own."""
    pc.AsyncResult(params["for"]).get(timeout=PATIENCE_S)
    return group(task(pc, "add", n) for n in range(2))().get(timeout=PATIENCE_S)
