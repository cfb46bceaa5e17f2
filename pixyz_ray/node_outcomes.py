"""Outcomes of the nodes of a graph: each worker appends a line per node to its own file, in the folder of the root job.

A file for each node would be the most expensive part of a short one.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import suppress
from typing import Any

from pixyz_ray.confined_files import made_folder, open_at, open_folder, open_to_append
from pixyz_ray.storage import MAX_OUTCOME_BYTES, JobFolder

_HOST = socket.gethostname()
_FOLDER = "outcomes"


def leave_outcome(home: JobFolder, uuid: str, attempt: int, outcome: str) -> None:
    """Append a node's outcome, given as JSON; an incomplete line, after a crash or on a full disk, is ignored.

    Args:
        home: folder of the job above the graph.
        uuid: the node.
        attempt: number of its run.
        outcome: JSON text without a line break.

    Raises:
        OSError: it cannot be written, or not all of it.
    """
    # Start with a line break: an incomplete line before this one must not spoil it.
    line = f'\n{{"uuid": "{uuid}", "attempt": {attempt}, "outcome": {outcome}}}\n'.encode("ascii")
    name = f"{_HOST}-{os.getpid()}.jsonl"
    with open_folder(home.name) as job, made_folder(job, _FOLDER) as folder:
        file = open_to_append(name, folder)
    try:
        if os.write(file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    finally:
        os.close(file)


def find_outcome(home: JobFolder, uuid: str, attempt: int, max_bytes: int = MAX_OUTCOME_BYTES) -> dict[str, Any] | None:
    """Return the outcome that a worker wrote for a node's attempt; None if there is none of at most `max_bytes`."""
    start = f'{{"uuid": "{uuid}", "attempt": {attempt}, '.encode("ascii")
    with suppress(OSError), open_folder(home.name, _FOLDER) as folder:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        for name in sorted(name for name in names if name.endswith(".jsonl")):
            with suppress(OSError), os.fdopen(open_at(folder, name), "rb") as file:
                while line := file.readline(max_bytes):
                    if line.startswith(start):
                        with suppress(ValueError, RecursionError):
                            outcome = json.loads(line)["outcome"]
                            return outcome if isinstance(outcome, dict) else None
    return None
