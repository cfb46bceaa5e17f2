#!/usr/bin/env python3
"""A chain over two queues: the first step computes on the cpu, the second one draws where there is a GPU.

`main` waits for the picture; `main_async` (exec -e main_async) only starts the chain.
"""

import math
from pathlib import Path
from pixyz_worker.script import *


def heights(pc: ProgramContext, params: dict):
    size = params["size"]
    pc.progress_next(f"Computing {size} x {size} heights in the queue {pc['queue']}")
    line = [math.sin(2 * math.pi * x / size) for x in range(size)]
    # What the next step has to know goes on with the result.
    return {"picture": params["picture"], "rows": [[x * y for x in line] for y in line]}


def draw(pc: ProgramContext, params: dict):
    rows = params["rows"]
    pc.progress_next(f"Drawing {params['picture']} in the queue {pc['queue']}")
    pixels = bytes(round(127.5 * (1 + height)) for row in rows for height in row)
    Path(params["picture"]).write_bytes(b"P5 %d %d 255\n" % (len(rows[0]), len(rows)) + pixels)
    return {"picture": Path(params["picture"]).name, "queue": pc["queue"]}


def start(pc: ProgramContext, params: dict):
    # A task's own output folder is another one than main's, so main says where its picture is to be.
    first = {"size": params.get("size", 64), "picture": pc.get_output_dir("picture.pgm")}
    return chain(
        pixyz_execute.s(first, pc.clone(entrypoint="heights", raw=True, compute_only=True)).set(queue="cpu"),
        # The params are the result of the step before, therefore only pc=.
        pixyz_execute.s(pc=pc.clone(entrypoint="draw", raw=True, compute_only=True)).set(queue="gpu"),
    ).apply_async()


@pixyz_schedule(wait=True)
def main(pc: ProgramContext, params: dict):
    return start(pc, params)


def main_async(pc: ProgramContext, params: dict):
    return start(pc, params).as_tuple()


if __name__ == "__main__":
    print("waited for:", main(ProgramContext.from_local(__file__), {}).get())
    print("ids to follow:", main_async(ProgramContext.from_local(__file__), {}))
