#!/usr/bin/env python3
"""One task in each of five queues, side by side."""

import platform
from pixyz_worker.script import *

QUEUES = ["cpu", "gpu", "gpuhigh", "control", "zip"]


def where(pc: ProgramContext, params: dict):
    pc.progress_next(f"Running in the queue {pc['queue']}")
    return {"queue": pc["queue"], "host": platform.node()}


@pixyz_schedule(wait=True)
def main(pc: ProgramContext, params: dict):
    task = pc.clone(entrypoint="where", raw=True, compute_only=True)
    # What is set on a signature is stronger than @pixyz_schedule(queue=...) on its entrypoint.
    return group(pixyz_execute.s({}, task).set(queue=queue) for queue in QUEUES)()


if __name__ == "__main__":
    for answer in main(ProgramContext.from_local(__file__), {}).get():
        print(answer)
