"""The lock of a home: one supervisor has it, or `pixyz down` while it clears up, so that neither surprises the other.

The file holds the process id of its owner, which `pixyz down` ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pixyz_ray.home import private_folder, read_platform
from pixyz_ray.private_files import check_owner
from pixyz_worker.exception import PixyzException

_RELEASED_WITHIN_S = 1.0
_TRY_EVERY_S = 0.02


class AlreadyRunning(PixyzException):
    """Another supervisor has this home."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock.

    Raises:
        AlreadyRunning: another process holds it.
    """
    with _open(folder) as file:
        # A supervisor that was just killed may hold it for a moment more, through a child that is being forked.
        deadline = time.monotonic() + _RELEASED_WITHIN_S
        while not _lock(file):
            if time.monotonic() > deadline:
                running = read_platform(folder)
                where = f" at {running.url}" if running else ""
                raise AlreadyRunning(f"The platform is up already{where}. Stop it with  pixyz down")
            time.sleep(_TRY_EVERY_S)
        _write_owner(file)
        yield


@contextmanager
def if_free(folder: Path) -> Iterator[int | None]:
    """Hold the lock if nobody has it: yield None then, else the process id of its owner (0 when that is not known)."""
    with _open(folder) as file:
        if not _lock(file):
            file.seek(0)
            text = file.read().strip()
            yield int(text) if text.isdigit() else 0
            return
        _write_owner(file)
        yield None


def _open(folder: Path) -> TextIO:
    check_owner(private_folder(folder))
    # Private from the beginning: `pixyz down` may be the first command in a home, with any umask.
    file = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    return os.fdopen(file, "a+", encoding="ascii")


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write_owner(file: TextIO) -> None:
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
