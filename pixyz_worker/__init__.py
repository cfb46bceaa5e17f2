"""The SDK for scripts that run on a workstation and, unchanged, on a cluster.

Importing it costs nothing: its names are looked up when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixyz_worker import io
    from pixyz_worker.function import task
    from pixyz_worker.script import (
        License,
        LocalPixyzTask,
        PiXYZSession,
        ProgramContext,
        chain,
        chord,
        chunks,
        group,
        os,
        pixyz_execute,
        pixyz_schedule,
        subtask_async,
        sys,
    )

__all__ = [
    "License",
    "LocalPixyzTask",
    "PiXYZSession",
    "ProgramContext",
    "chain",
    "chord",
    "chunks",
    "group",
    "io",
    "os",
    "pixyz_execute",
    "pixyz_schedule",
    "subtask_async",
    "sys",
    "task",
]


def __getattr__(name: str) -> object:
    """Look a name of the script surface up; `io` and other submodules are left to the import system."""
    if name not in __all__ or name == "io":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "task":
        from pixyz_worker.function import task

        return task
    from pixyz_worker import script

    return getattr(script, name)
