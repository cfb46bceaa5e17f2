#!/usr/bin/env python3
"""The graph of 02_dag_sync.py; the job ends at once, and its result is the ids of the tasks to follow."""

import random
import zlib
from pathlib import Path
from pixyz_worker.script import *

SAMPLE_SIZE = 1_000_000


def crc(pc: ProgramContext, params: dict):
    path = Path(params["path"])
    return {"part": path.name, "crc": f"{zlib.crc32(path.read_bytes()):08x}"}


def merge(pc: ProgramContext, params: list):
    return {each["part"]: each["crc"] for each in params}


def main(pc: ProgramContext, params: dict):
    paths = split(pc, params.get("parts", 4))
    task = pc.clone(entrypoint="crc", raw=True, compute_only=True)
    crcs = group(pixyz_execute.s({"path": path}, task) for path in paths)
    # A group followed by a task is a chord: the task gets the list.
    handle = chain(crcs, pixyz_execute.s(pc=pc.clone(entrypoint="merge", raw=True, compute_only=True))).apply_async()
    # The graph goes on without this job. Each id is that of a job, which the client can ask for:
    # ((id of merge, ((id of the group, None), [((id of a part, None), None), ...])), None)
    return handle.as_tuple()


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
    # python 02_dag_async.py [INPUT]
    from celery.result import result_from_tuple

    ids = main(ProgramContext.from_local(__file__, *sys.argv[1:2]), {})
    print("ids:", ids)
    print("result:", result_from_tuple(ids).get())
