"""Graphs in which the platform is killed: the script that starts them, and what each of them does."""

from __future__ import annotations

from dataclasses import dataclass

SCRIPT = '''
import time
from pathlib import Path
from pixyz_worker.script import *


def ran(about):
    """Leave a line for each run."""
    with Path(about["dir"], about["name"] + ".runs").open("a") as file:
        file.write("ran\\n")


def wait_at_gate(about):
    deadline = time.monotonic() + 120
    while "gate" in about and not Path(about["dir"], about["gate"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        time.sleep(0.02)


def text(value):
    return "+".join(map(text, value)) if isinstance(value, list) else str(value or "")


def node(pc, params):
    about = pc["data"]
    ran(about)
    wait_at_gate(about)
    if about.get("fails"):
        raise ValueError("as it should")
    return about["name"] + "(" + text(params) + ")"


def make_array(pc, params):
    import numpy
    ran(pc["data"])
    return numpy.arange(1000)


def use_array(pc, params):
    ran(pc["data"])
    wait_at_gate(pc["data"])
    return int(params.sum())


def task(pc, params, name, entrypoint="node", **about):
    data = {"dir": params["dir"], "name": name, **about}
    context = pc.clone(entrypoint=entrypoint, raw=True, compute_only=True, data=data, params=None)
    return pixyz_execute.s(pc=context).set(queue="control")


def gated(pc, params, name, **about):
    return task(pc, params, name, gate="gate", **about)


def detached(pc, params):
    ran(params)
    return chain(task(pc, params, "a"), gated(pc, params, "b"), task(pc, params, "c"))().as_tuple()


@pixyz_schedule(wait=True)
def waiting(pc, params):
    ran(params)
    return chord([task(pc, params, "x"), gated(pc, params, "y")])(task(pc, params, "body"))


def getting(pc, params):
    ran(params)
    handle = chain(task(pc, params, "p"), gated(pc, params, "q"))()
    return {"value": handle.get(), "ids": handle.as_list()}


def changing(pc, params):
    ran(params)
    again = pc["retry"] > 0
    first = task(pc, params, "new") if again else task(pc, params, "old", gate="never")
    return chain(first, task(pc, params, "after"))().get()


def failing(pc, params):
    ran(params)
    return chain(group(task(pc, params, "f", fails=True), gated(pc, params, "g")), task(pc, params, "h"))().as_tuple()


def cancelled(pc, params):
    ran(params)
    return chain(task(pc, params, "k", gate="never"), task(pc, params, "l"))().as_tuple()


def linked(pc, params):
    ran(params)
    first = task(pc, params, "l1")
    first.link(gated(pc, params, "l2"))
    return first.on_error(task(pc, params, "l3")).apply_async().as_tuple()


def broken(pc, params):
    ran(params)
    first = gated(pc, params, "b1", fails=True).set(link=task(pc, params, "b2"))
    return first.on_error(task(pc, params, "b3")).apply_async().as_tuple()


def late(pc, params):
    ran(params)
    return task(pc, params, "d1").apply_async(countdown=20, link=task(pc, params, "d2")).as_tuple()


def expiring(pc, params):
    ran(params)
    return task(pc, params, "e1").apply_async(countdown=600, expires=20).as_tuple()


def arrays(pc, params):
    ran(params)
    return [
        chain(
            task(pc, params, "make" + n, entrypoint="make_array"),
            gated(pc, params, "use" + n, entrypoint="use_array"),
        )().as_tuple()
        for n in "12"
    ]


def forsaken(pc, params):
    ran(params)
    return chain(task(pc, params, "v", gate="never"), task(pc, params, "z"))().as_tuple()


def unheard(pc, params):
    ran(params)
    return chain(task(pc, params, "s", gate="unheard"), task(pc, params, "t"))().as_tuple()
'''


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one of the scripts above does."""

    ended: str = ""
    """Tasks that have run when the blow comes, and are not run again."""
    at_gate: str = ""
    """Tasks that run then, and are run again."""
    later: str = ""
    """Tasks that run after it."""
    never: str = ""
    """Tasks that are not run."""
    states: tuple[str, ...] = ()
    """States of its nodes in the middle; `open` where a node has not ended."""
    lasts: bool | None = False
    """Whether the job lasts as long as its graph; None where it may have ended after the blow."""


CASES = {
    "detached": Case(ended="a", at_gate="b", later="c", states=("SUCCESS", "open", "open")),
    "waiting": Case(ended="x", at_gate="y", later="body", states=("SUCCESS", *["open"] * 3), lasts=True),
    "getting": Case(ended="p", at_gate="q getting", states=("SUCCESS", "open"), lasts=True),
    "sent": Case(ended="w1", at_gate="w2", later="w3 w4", states=("SUCCESS", *["open"] * 4), lasts=True),
    "changing": Case(at_gate="changing", later="new after", lasts=None),
    "failing": Case(ended="f", at_gate="g", never="h", states=("FAILURE", "open", "FAILURE", "FAILURE")),
    "cancelled": Case(ended="k", never="l", states=("REVOKED", "REVOKED")),
    "linked": Case(ended="l1", at_gate="l2", never="l3", states=("SUCCESS", "open", "REVOKED")),
    "broken": Case(at_gate="b1", later="b3", never="b2", states=("open", "open", "open")),
    "late": Case(later="d1 d2"),
    "expiring": Case(never="e1"),
    "arrays": Case(ended="make1 make2", at_gate="use1"),
    "unheard": Case(ended="s", later="t"),
    "forsaken": Case(ended="v", never="z"),
}
FEW = ("detached", "waiting", "getting")
NOT_AWAITED = (
    "linked",
    "broken",
    "late",
    "expiring",
    "detached",
    "failing",
    "cancelled",
    "arrays",
    "unheard",
    "forsaken",
)
