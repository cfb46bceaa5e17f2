"""A job's script: builds graphs from their descriptions, runs them, and tells how each of their nodes has ended.

A description is a tree of plain JSON, each node of one kind:

    {"task": entrypoint, "params": ..., "raw": bool, "immutable": bool, "data": ..., "own": {...}, "options": {...}}
    {"chain": [tree, ...]}
    {"group": [tree, ...]}
    {"chord": [[tree, ...], tree]}
    {"chunks": [tree, [item, ...], size]}

Each may have options. A task's params may be sent `"as": "tuple"` or `"set"`, and its context may be `"lost"`.
"""

from __future__ import annotations

from typing import Any

from pixyz_worker.exception import InvalidFile, PixyzFileNotFound
from pixyz_worker.script import ProgramContext, chain, chord, chunks, group, pixyz_execute, pixyz_schedule, sys

PATIENCE_S = 60


def ident(pc: ProgramContext, params: Any) -> Any:
    """Return what came."""
    return params


def add(pc: ProgramContext, params: Any) -> Any:
    """Work on a number; fail on much else, with Python's own error."""
    return params + 1


def pair(pc: ProgramContext, params: Any) -> Any:
    """Return a tuple, which JSON does not have."""
    return params, type(params).__name__


def odd(pc: ProgramContext, params: Any) -> Any:
    """Return what only goes on raw."""
    return {1, 2}


def change(pc: ProgramContext, params: Any) -> Any:
    """Change params in place, which nobody else may see."""
    if isinstance(params, list):
        params.append("changed")
    elif isinstance(params, dict):
        params["changed"] = True
    return params


def steps(pc: ProgramContext, params: Any) -> Any:
    """Show progress."""
    pc.progress_set_total(2)
    pc.progress_next("one")
    pc.progress_next("two")
    return params


def where(pc: ProgramContext, params: Any) -> Any:
    """Tell what arrived of the options, of the context, its own keys among it, and of the params of the job."""
    try:
        found: Any = pc.get_input_file()
    except Exception as error:
        found = type(error).__name__
    known = {"queue": pc["queue"] or "gpu", "data": pc["data"], "raw": pc["raw"], "entrypoint": pc["entrypoint"]}
    return {**known, "own": [pc.get("mark", "none"), pc.get("mark_too", "none")], "input": found, "params": params}


def long(pc: ProgramContext, params: Any) -> Any:
    """Return more than fits into a message."""
    return "x" * 300_000


def boom(pc: ProgramContext, params: Any) -> Any:
    """Fail."""
    raise ValueError(f"boom: {params!s:.9}.")


def key(pc: ProgramContext, params: Any) -> Any:
    """Fail with an error whose text is not its message."""
    raise KeyError("no such key")


def bad_file(pc: ProgramContext, params: Any) -> Any:
    """Fail with an error of the SDK."""
    raise InvalidFile("not a file:\nlook at it")


def silent(pc: ProgramContext, params: Any) -> Any:
    """Fail without a word."""
    raise RuntimeError


def leave(pc: ProgramContext, params: Any) -> Any:
    """End the process, as a script may."""
    sys.exit(3)


def leave_well(pc: ProgramContext, params: Any) -> Any:
    """End the process with nothing to complain of."""
    sys.exit()


@pixyz_schedule(wait=True)
def awaits(pc: ProgramContext, params: Any) -> Any:
    """Start a graph, whose result is this task's."""
    task = pc.clone(entrypoint="add", raw=False)
    if isinstance(params, list):
        return group(pixyz_execute.s(n, task) for n, _ in enumerate(params))()
    return chain(pixyz_execute.s(params, task), pixyz_execute.s(pc=task.clone(entrypoint="ident", raw=True)))()


def fetches(pc: ProgramContext, params: Any) -> Any:
    """Start a graph and wait for it."""
    task = pc.clone(entrypoint="add", raw=True)
    return group(pixyz_execute.s(n, task) for n in (1, params))().get(timeout=PATIENCE_S)


def hands_out(pc: ProgramContext, params: Any) -> Any:
    """Start a graph and return its handle."""
    return group(pixyz_execute.s(n, pc.clone(entrypoint="add")) for n in (1, 2))()


def build(pc: ProgramContext, tree: dict[str, Any]) -> Any:
    """Make the composition that a description means."""
    kind, what = next((kind, tree[kind]) for kind in ("task", "chain", "group", "chord", "chunks") if kind in tree)
    if kind == "task":
        own = tree.get("own", {})
        context = pc.clone(entrypoint=what, raw=tree.get("raw", False), data=tree.get("data"), compute_only=True, **own)
        context = None if tree.get("lost") else context
        make = pixyz_execute.si if tree.get("immutable") else pixyz_execute.s
        params = {"tuple": tuple, "set": set}[tree["as"]](tree["params"]) if "as" in tree else tree.get("params")
        made = make(params, context) if "params" in tree else make(pc=context)
    elif kind == "chord":
        made = chord([build(pc, each) for each in what[0]], build(pc, what[1]) if what[1] else None)
    elif kind == "chunks":
        made = chunks(build(pc, what[0]), what[1], what[2])
    else:
        made = {"chain": chain, "group": group}[kind](build(pc, each) for each in what)
    return made.set(**tree.get("options", {}))


def main(pc: ProgramContext, params: dict[str, Any]) -> list[Any]:
    """Run all graphs side by side, and tell how each has ended. Params of the job are `base`."""
    pc["params"] = params["base"]
    started = [start(pc, tree) for tree in params["trees"]]
    return [handle if isinstance(handle, dict) else told(pc, handle) for handle in started]


def start(pc: ProgramContext, tree: dict[str, Any]) -> Any:
    """Start a graph; return its handle, or why it was refused."""
    try:
        return build(pc, tree).apply_async()
    except Exception as error:
        return {"refused": shown(error)}


def told(pc: ProgramContext, handle: Any) -> dict[str, Any]:
    """Tell what a handle knows of its graph."""
    end = handle.get(timeout=PATIENCE_S, propagate=False)
    return {
        "ids": handle.as_tuple(),
        "list": handle.as_list(),
        "end": shown(end),
        "nodes": [told_of_node(pc, each) for each in walk(handle)],
        "result": shown(handle.result),
    }


def told_of_node(pc: ProgramContext, handle: Any) -> dict[str, Any]:
    """Tell what a handle of the graph, and one made of its id alone, know of a node."""
    alone = pc.AsyncResult(handle.id)
    return {
        "id": handle.id,
        "value": value_of(handle),
        "alone": value_of(alone),
        "text": alone.traceback,
        "states": [alone.state, handle.state, handle.ready(), handle.successful(), handle.failed()],
        "members": [each.id for each in getattr(handle, "results", ())],
        "children": sorted(len(child.as_list()) for child in handle.children),
    }


def value_of(handle: Any) -> Any:
    """Return what a handle gives, in time."""
    return shown(handle.get(timeout=PATIENCE_S, propagate=False))


def walk(handle: Any) -> Any:
    """Yield all handles that this one leads to."""
    while handle is not None:
        yield handle
        for member in getattr(handle, "results", ()):
            yield from walk(member)
        handle = handle.parent


def shown(value: Any) -> Any:
    """Return a value as JSON, without what differs from run to run."""
    if isinstance(value, PixyzFileNotFound):
        return {"set": "gone"}
    if isinstance(value, BaseException):
        return {"error": f"{type(value).__name__}: {value}"}
    if isinstance(value, set):
        return {"set": sorted(value)}
    if isinstance(value, tuple):
        return {"tuple": shown([*value])}
    if isinstance(value, list):
        return [shown(each) for each in value]
    if isinstance(value, dict) and {"uuid", "time_info", "steps"} <= value.keys():
        # Of tasks side by side, one or the other ends first.
        steps = sorted(step["info"].rpartition(":")[2] for step in value["steps"])
        times = [name for name, time in value["time_info"].items() if time]
        value = {**value, "name": "", "time_info": times, "steps": steps}
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    return value
