"""A job's script: a chain whose nodes pass on a large value, and where each has run."""

from __future__ import annotations

import socket
from typing import Any

from pixyz_worker.script import ProgramContext, chain, pixyz_execute

_SIZE = 2_000_000


def first(pc: ProgramContext, params: Any) -> Any:
    """Make a value that Ray does not pass on inside its messages."""
    return {"numbers": [0], "hosts": [socket.gethostname()], "ballast": bytes(_SIZE)}


def following(pc: ProgramContext, params: Any) -> Any:
    """Add one number."""
    if len(params["ballast"]) != _SIZE:
        raise ValueError("a part of the value is missing")
    numbers, hosts = params["numbers"], params["hosts"]
    return {**params, "numbers": [*numbers, len(numbers)], "hosts": [*hosts, socket.gethostname()]}


def main(pc: ProgramContext, params: Any) -> Any:
    """Run the chain and return what its last node has."""

    def task(entrypoint: str, *values: Any) -> Any:
        return pixyz_execute.s(*values, pc=pc.clone(entrypoint=entrypoint, raw=True, compute_only=True))

    nodes = [task("first", None), *[task("following")] * (params["length"] - 1)]
    value = chain(nodes)().get(timeout=60)
    return {"numbers": value["numbers"], "hosts": value["hosts"]}
