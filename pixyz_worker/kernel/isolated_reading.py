"""The process that reads one file for isolation.py, and ends.

`python -m pixyz_worker.kernel.isolated_reading PARENT READER PATH RESULT OPTIONS` writes the scene to RESULT, and one
line of JSON to its standard output: {"read": true}, {"memory": true}, or "problem" with a sentence and its "kind".
What libraries print to either stream goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel.death import die_with_parent
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.options import ReadOptions, Tessellation


def main(parent: str, reader: str, path: str, result: str, told: str) -> None:
    """Do what the command line says; what cannot be read is told, not raised."""
    die_with_parent(int(parent))
    # Nothing but the answer goes to where the answer goes; what a library starts does not inherit this descriptor.
    answer = os.dup(1)
    os.dup2(2, 1)
    _restrict(Limits.from_environment().max_import_bytes)
    try:
        _convert(reader, Path(path), Path(result), json.loads(told))
        said: dict[str, Any] = {"read": True}
    except MemoryError:
        said = {"memory": True}
    except Exception as error:
        said = _problem(error, Path(path))
    os.write(answer, json.dumps(said).encode())


def _convert(reader: str, path: Path, result: Path, told: dict[str, Any]) -> None:
    options = ReadOptions(unit_m=told["unit_m"], tessellation=Tessellation(**told["tessellation"]))
    module, _, function = reader.partition(":")
    scene = getattr(importlib.import_module(module), function)(path, options)
    from pixyz_worker.kernel.formats.pxz import container as pxz_container

    pxz_container.write(scene, result, quiet=True)


def _problem(error: Exception, path: Path) -> dict[str, Any]:
    if isinstance(error, PixyzException):
        return {"problem": str(error), "kind": type(error).__name__}
    from pixyz_worker.kernel.formats.reading import problem_of
    from pixyz_worker.kernel.formats.table import find

    if not isinstance(error, ValueError):  # a fault of the reader, which its author wants to see in the log
        sys.excepthook(type(error), error, error.__traceback__)
    try:
        entry = find(path)
    except PixyzException:
        entry = None
    return {"problem": problem_of(error, entry)}


def _restrict(most_bytes: int) -> None:
    """Bound the memory that this process writes to: its own, not the files that it maps, nor what it only reserves.

    Where the system does not hold a process to that, process_tree.py does from outside, as far as it can.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if most_bytes and sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main(*sys.argv[1:6])
    # A library's own clean-up at the end is one more chance to crash, after the work is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
