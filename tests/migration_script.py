"""A script as users of the old scheduler write them: each fact is a row of "What differs" in docs/migration.md.

Run locally and on a platform; it needs nothing of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import chord, group

from pixyz_worker.exception import InvalidBackendParameter, NotAvailable, PixyzSecurityViolation
from pixyz_worker.script import ProgramContext
from pixyz_worker.tasks import pixyz_execute


def echo(pc: ProgramContext, params: Any) -> Any:
    """Return the params."""
    return params


def queue(pc: ProgramContext, params: Any) -> Any:
    """Return the queue that the task runs on."""
    return pc["queue"]


def fail(pc: ProgramContext, params: Any) -> Any:
    """Fail."""
    raise ValueError("part 2 is broken")


def again(pc: ProgramContext, params: Any) -> Any:
    """Ask for a second attempt; return the number of attempts before this one."""
    if pc["task"].request.retries == 0:
        raise pc["task"].retry(countdown=0, max_retries=5)
    return pc["task"].request.retries


def refused(kind: type[Exception], call: Callable[[], object]) -> bool:
    """Return whether a call raises that kind of error."""
    try:
        call()
    except kind:
        return True
    return False


def archive(pc: ProgramContext, params: Any) -> Any:
    """Return what a script sees of an input that is an archive."""
    members = sorted(path.name for path in Path(pc.get_input_dir()).rglob("*") if path.is_file())
    return [Path(pc["input_file"]).name, Path(pc["data"]).name, members]


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Return the facts by the titles of their rows."""
    task = pc["task"]
    raw = pc.clone(entrypoint="echo", raw=True)
    value = pc.clone(entrypoint="echo").execute({"n": 1}).get()
    failed = pixyz_execute.s({}, pc.clone(entrypoint="fail")).on_error(pixyz_execute.s(pc=raw)).apply_async()
    failed.get(propagate=False)
    parts = [pixyz_execute.s(1, raw), pixyz_execute.s(2, pc.clone(entrypoint="fail"))]
    merged = chord(parts)(pixyz_execute.s(pc=raw))
    merged.get(propagate=False)
    nested = group(group(pixyz_execute.s(1, raw), pixyz_execute.s(2, raw)), pixyz_execute.s(3, raw))
    free, bound = pc.clone(entrypoint="queue", raw=True), pc.clone(entrypoint="queue", raw=True, queue="cpu")
    return {
        "Paths out of the folder": refused(PixyzSecurityViolation, lambda: pc.get_output_dir("../x")),
        "Local handles": ["status" in value, value["result"]["n"], raw.clone().execute({"n": 1}).get()["n"]],
        "retry": [
            refused(NotAvailable, lambda: task.retry(args=[1])),
            refused(NotAvailable, lambda: task.retry(throw=False)),
            pc.clone(entrypoint="again", raw=True).execute({}).get(),
        ],
        "update_state": [
            task.update_state(state="HALFWAY", meta={"done": 1}),
            refused(InvalidBackendParameter, lambda: task.update_state(state="SUCCESS")),
            refused(InvalidBackendParameter, lambda: task.update_state(meta={"long": "x" * 65536})),
        ],
        "A group in a group": nested().get(),
        "Task without a queue": [pixyz_execute.delay({}, one).get() for one in (free, bound)],
        "Params merge": [pixyz_execute.delay(given, raw).get() for given in ({"n": 1}, [1])],
        "Error callbacks": failed.children[0].get() == failed.id,
        "A failed member": [merged.state, "part 2 is broken" in merged.traceback],
    }
