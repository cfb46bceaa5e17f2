"""Everything a script needs: `from pixyz_worker.script import *`."""

from __future__ import annotations

import os
import sys

from pixyz_worker import compat
from pixyz_worker.canvas import chain, chord, chunks, group
from pixyz_worker.license import License
from pixyz_worker.local import LocalPixyzTask
from pixyz_worker.pc import ProgramContext
from pixyz_worker.share import PiXYZSession, pixyz_schedule
from pixyz_worker.tasks import pixyz_execute, subtask_async

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
