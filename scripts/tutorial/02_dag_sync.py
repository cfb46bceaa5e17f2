#!/usr/bin/env python3
"""Split a file in parts, compute the CRC of each part in a task of its own, and merge them; the job waits for all."""

import random
import zlib
from pathlib import Path
from pixyz_worker.script import *

SAMPLE_SIZE = 1_000_000


def crc(pc: ProgramContext, params: dict):
    path = Path(params["path"])
    return {"part": path.name, "crc": f"{zlib.crc32(path.read_bytes()):08x}"}


def merge(pc: ProgramContext, params: list):
    # The params are what the tasks before it returned, in their order.
    return {each["part"]: each["crc"] for each in params}


# With wait=True main returns a handle instead of a result. The job stays RUNNING until the graph has ended, has one
# step for each of its tasks, and takes its result.
@pixyz_schedule(wait=True)
def main(pc: ProgramContext, params: dict):
    paths = split(pc, params.get("parts", 4))
    # A context says which entrypoint of this script to run. raw: a task returns its bare value, and not its record (a
    # dict with its id, times, ..., and the value as `result`). compute_only: it needs no folder of its own.
    task = pc.clone(entrypoint="crc", raw=True, compute_only=True)
    # Params travel to another process, maybe on another machine: send JSON, and absolute paths in the job's folder.
    crcs = [pixyz_execute.s({"path": path}, task) for path in paths]
    # merge has no params here, therefore the name: pc=. It gets the list of what the group before it returned.
    return chord(crcs)(pixyz_execute.s(pc=pc.clone(entrypoint="merge", raw=True, compute_only=True)))


def split(pc: ProgramContext, count: int):
    has_input = pc.get("input_file") is not None
    data = Path(pc.get_input_file()).read_bytes() if has_input else random.Random(2).randbytes(SAMPLE_SIZE)
    size = max(1, -(-len(data) // count))  # rounded up
    paths = []
    for start in range(0, len(data), size):
        path = Path(pc.get_output_dir(f"part_{len(paths)}.bin"))
        path.write_bytes(data[start : start + size])
        paths.append(str(path))
    return paths


if __name__ == "__main__":
    # python 02_dag_sync.py [INPUT]
    print(main(ProgramContext.from_local(__file__, *sys.argv[1:2]), {}).get())
