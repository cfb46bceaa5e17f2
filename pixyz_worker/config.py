"""Settings of the platform that scripts may read: `config.share_dir`, `config.process_path`, ...

Each name is read from the environment when it is used; importing this module reads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_worker.exception import InvalidBackendParameter

__all__ = ["cleanup_delay", "debug", "log_level", "process_path", "share_dir", "supported_archive", "version"]

if TYPE_CHECKING:
    cleanup_delay: int = 0
    debug: bool = False
    log_level: str = ""
    process_path: str = ""
    share_dir: str = ""
    supported_archive: dict[str, str] = {}
    version: str = ""

_YES = frozenset({"1", "true", "yes", "on"})
_ATTEMPT = "PIXYZ_ATTEMPT"


def _share_dir() -> str:
    """Return the folder of all jobs: SHARE_PATH, else the parent of the running job's folder, else the default."""
    if given := os.environ.get("SHARE_PATH"):
        return str(Path(given).absolute())
    # A worker whose settings are in a file has no SHARE_PATH; a job begins in its own folder.
    job, folder = os.environ.get(_ATTEMPT, "").partition("/")[0], Path.cwd()
    if job and job in (folder.name, *(parent.name for parent in folder.parents)):
        while folder.name != job:
            folder = folder.parent
        return str(folder.parent)
    home = os.environ.get("PIXYZ_HOME")
    return str((Path(home).expanduser().absolute() if home else Path.home() / ".pixyz") / "share")


def _process_path() -> str:
    return os.environ.get("PROCESS_PATH") or str(Path(__file__).resolve().parents[1] / "processes")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pixyz-ray")
    except PackageNotFoundError:  # run from its sources
        return "0"


def _flag(name: str) -> Callable[[], bool]:
    return lambda: os.environ.get(name, "").strip().lower() in _YES


def _number(name: str, default: int) -> Callable[[], int]:
    def read() -> int:
        text = os.environ.get(name) or str(default)
        try:
            return int(float(text))
        except (ValueError, OverflowError):
            raise InvalidBackendParameter(f"{name} must be a number, not {text!r}") from None

    return read


def _text(name: str, default: str | None) -> Callable[[], str | None]:
    return lambda: os.environ.get(name) or default


_READ: Mapping[str, Callable[[], Any]] = {
    "api_port": _number("API_PORT", 8001),
    "cleanup_delay": _number("CLEANUP_DELAY", 86400),
    "cleanup_enabled": _flag("CLEANUP_ENABLED"),
    "debug": _flag("DEBUG"),
    "disable_pixyz": _flag("DISABLE_PIXYZ"),
    "license_acquire_at_start": _flag("LICENSE_ACQUIRE_AT_START"),
    "license_flexlm": _flag("LICENSE_FLEXLM"),
    "license_host": _text("LICENSE_HOST", None),
    "license_port": _number("LICENSE_PORT", 27000),
    "log_level": _text("LOG_LEVEL", "INFO"),
    "process_path": _process_path,
    "retry_time_limit": _number("PIXYZ_RETRY_TIME_LIMIT", 3600),
    "share_dir": _share_dir,
    "supported_archive": lambda: {"zip": "zip"},
    "time_limit": _number("PIXYZ_TIME_LIMIT", 2400),
    "version": _version,
}
_GONE: Mapping[str, str] = {
    "concurrency": "the platform runs as many tasks as CONCURRENT_TASKS and its queues say; see `pixyz queue`",
    "max_solo_tasks": "the platform replaces its workers by itself; operators set MAX_TASKS_BEFORE_SHUTDOWN",
    "pool_type": "there are no pools of Celery; each task runs in a process of its own",
    "queue_name": "workers serve all queues; `pixyz queue` shows them",
}


def __getattr__(name: str) -> Any:
    """Read a setting now."""
    if name in _READ:
        return _READ[name]()
    advice = f": {_GONE[name]}" if name in _GONE else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{advice}", name=name)


def __dir__() -> list[str]:
    return sorted(_READ)
