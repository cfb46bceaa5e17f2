"""The SDK for scripts that run on a workstation and, unchanged, on a cluster.

Importing it costs nothing: its names are looked up when they are first used, its modules too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixyz_worker import io as io
    from pixyz_worker.function import task as task
    from pixyz_worker.logger import get_logger as get_logger
    from pixyz_worker.script import License as License
    from pixyz_worker.script import LocalPixyzTask as LocalPixyzTask
    from pixyz_worker.script import PiXYZSession as PiXYZSession
    from pixyz_worker.script import ProgramContext as ProgramContext
    from pixyz_worker.script import chain as chain
    from pixyz_worker.script import chord as chord
    from pixyz_worker.script import chunks as chunks
    from pixyz_worker.script import group as group
    from pixyz_worker.script import pixyz_execute as pixyz_execute
    from pixyz_worker.script import pixyz_schedule as pixyz_schedule
    from pixyz_worker.script import subtask_async as subtask_async

_SCRIPT = (
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
)
"""Names of `from pixyz_worker.script import *`."""

_SOURCES = {
    **dict.fromkeys(_SCRIPT, "script"),
    "task": "function",
    "get_logger": "logger",
    # What old scripts have by `from pixyz_worker import *` beside those.
    **dict.fromkeys(("app", "cleanup_share_file", "package", "sleep"), "celery_tasks"),
    "TaskProgress": "progress",
    **dict.fromkeys(("ExternalPythonCode", "SignalSafeExecution"), "extcode"),
    **dict.fromkeys(
        ("cleanup_delay", "debug", "log_level", "process_path", "share_dir", "supported_archive", "version"), "config"
    ),
    **dict.fromkeys(
        (
            "ExecuteIfEnabled",
            "FileInputTemporary",
            "StorageOutputManager",
            "StorageSharedManager",
            "StorageTemporaryManager",
        ),
        "storage",
    ),
}
"""Modules that define the names; the rest of `from pixyz_worker import *` is that of exception.py and share.py."""


def __getattr__(name: str) -> Any:
    """Look up a name of the surface, or a module of this package, when it is first used."""
    from importlib import import_module

    if name == "__all__":
        lists = [import_module(f"{__name__}.{module}").__all__ for module in ("exception", "share")]
        return sorted({*_SOURCES, "io", *lists[0], *lists[1]})
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    if name in _SOURCES:
        module = import_module(f"{__name__}.{_SOURCES[name]}")
        # TaskProgress is the old name of Progress.
        return getattr(module, "Progress" if name == "TaskProgress" else name)
    if name in ("exception", "share"):
        return import_module(f"{__name__}.{name}")
    for source in ("exception", "share"):
        if name in (module := import_module(f"{__name__}.{source}")).__all__:
            return getattr(module, name)
    return _submodule(name)


def _submodule(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name not in (__name__, f"{__name__}.{name}"):
            raise  # it is there, and lacks something itself
        from pixyz_worker.old_modules import MODULES

        advice = f": {MODULES[name]}" if name in MODULES else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{advice}", name=name) from None
