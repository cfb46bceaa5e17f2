#!/usr/bin/env python3
"""Tasks side by side, and their results in order."""

from pixyz_worker.script import *
from celery.result import allow_join_result


def square(pc: ProgramContext, params: dict):
    pc.progress_next(f"{params['n']} * {params['n']}")
    return params["n"] ** 2


def main(pc: ProgramContext, params: dict):
    task = pc.clone(entrypoint="square", compute_only=True)
    handle = group(pixyz_execute.s({"n": n}, task) for n in range(params.get("count", 5)))()
    # Who waits inside a task says so; here it is always allowed, and the cluster has room for those who wait.
    with allow_join_result():
        records = handle.get()
    # The context is not raw, so that each task returns its record: a dict with uuid, status, steps, ..., and `result`.
    return [record["result"] for record in records]


if __name__ == "__main__":
    print(main(ProgramContext.from_local(__file__), {}))
