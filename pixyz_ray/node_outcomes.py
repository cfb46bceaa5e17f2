"""What workers leave of the nodes of a graph: a line for each in a file of their own, in the folder of the job above.

A file for each node would be the dearest part of a short one.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import suppress
from typing import Any

from pixyz_ray.storage import JobFolder

_HOST = socket.gethostname()


def leave_outcome(home: JobFolder, uuid: str, attempt: int, outcome: str) -> None:
    """Leave a node's outcome, given as JSON; half a line, after a crash or on a full disk, counts as nothing.

    Args:
        home: folder of the job above the graph.
        uuid: the node.
        attempt: number of its run.
        outcome: JSON text without a line break.

    Raises:
        OSError: it cannot be written, or not all of it.
    """
    # Half a line may stand before it: that must not take this one along.
    line = f'\n{{"uuid": "{uuid}", "attempt": {attempt}, "outcome": {outcome}}}\n'.encode("ascii")
    folder = f"{home.name}/outcomes"
    name = f"{folder}/{_HOST}-{os.getpid()}.jsonl"
    try:
        file = os.open(name, _APPEND, 0o644)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(folder)  # noqa: PTH102 - beside the call above
        file = os.open(name, _APPEND, 0o644)
    try:
        if os.write(file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    finally:
        os.close(file)


def find_outcome(home: JobFolder, uuid: str, attempt: int) -> dict[str, Any] | None:
    """Return what a worker left of a node's attempt, or None when it left nothing."""
    start = f'{{"uuid": "{uuid}", "attempt": {attempt}, '.encode("ascii")
    for path in sorted((home.path / "outcomes").glob("*.jsonl")):
        with suppress(OSError), path.open("rb") as file:
            for line in file:
                if line.startswith(start):
                    with suppress(ValueError):
                        outcome = json.loads(line)["outcome"]
                        return outcome if isinstance(outcome, dict) else None
    return None


_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
