"""Everything a script needs: `from pixyz_worker.script import *`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pixyz_worker import compat
from pixyz_worker.canvas import chain, chord, chunks, group
from pixyz_worker.license import License
from pixyz_worker.local import LocalPixyzTask
from pixyz_worker.pc import ProgramContext
from pixyz_worker.schedule import pixyz_schedule
from pixyz_worker.session import PiXYZSession
from pixyz_worker.tasks import pixyz_execute, subtask_async

if TYPE_CHECKING:
    from pixyz_worker.logger import get_logger as get_logger

__all__ = [
    "License",
    "LocalPixyzTask",
    "PiXYZSession",
    "ProgramContext",
    "chain",
    "chord",
    "chunks",
    "group",
    "os",
    "pixyz_execute",
    "pixyz_schedule",
    "subtask_async",
    "sys",
]

# The one import with an effect: the next line of a script may be `from celery import chain`. A program that uses the
# genuine celery may import this too, and keeps it, unless it is itself a script that somebody runs.
compat.install()
if compat.importer() == "__main__":
    compat.take_over()


def __getattr__(name: str) -> Any:
    """Fetch get_logger when it is used: what it needs would double the time of this import."""
    if name != "get_logger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from pixyz_worker.logger import get_logger

    return get_logger
