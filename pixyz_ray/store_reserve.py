"""Reserve: disk space beside a SQLite store, released when its disk is full.

The remedies (cancelling, pinning and removing jobs) and the ends of running jobs have to be written too.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)
RESERVE_BYTES = 8 * 2**20
"""Size of the reserve of a store."""
_LOOK_EVERY_S = 1.0
_DISK_FULL = "53100"
"""PostgreSQL's code for a disk without room."""


class Reserve:
    """A file that occupies disk space until it is needed.

    Args:
        store: file of the store; None for a store without a file, which has no reserve.
        size: bytes to keep.
    """

    def __init__(self, store: Path | None, size: int = RESERVE_BYTES) -> None:
        self._file = None if store is None else store.with_name(f"{store.name}-reserve")
        self._size = size
        self._looked = -_LOOK_EVERY_S
        self._is_kept = False

    @property
    def is_missing(self) -> bool:
        """Whether the disk had no room for it at the last check."""
        return self._file is not None and not self._is_kept

    def keep(self) -> bool:
        """Make the file if it is missing and twice its size is free; return whether it exists."""
        if self._file is None:
            return False
        try:
            if self._file.exists() and self._file.stat().st_size == self._size:
                self._is_kept = True
            elif shutil.disk_usage(self._file.parent).free >= 2 * self._size:
                _take_up(self._file, self._size)
                self._is_kept = True
        except OSError:
            # Another process has taken the space meanwhile.
            self._release()
        return self._is_kept

    def make_room(self, error: BaseException) -> bool:
        """Release the reserve if an error says that the disk is full; return whether there was one."""
        if not is_full(error) or not self._release():
            return False
        _log.error("the disk of the job store is full: no job is accepted until there is room again")
        return True

    def problem(self, trim: Callable[[], None]) -> str | None:
        """Return a message if the disk is full, or None; check at most once a second whether it still is.

        Args:
            trim: releases disk space that the store does not need any more.
        """
        if self._file is None or self._is_kept:
            return None
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._looked = time.monotonic()
            trim()
            if self.keep():
                _log.warning("the disk of the job store has room again: jobs are accepted")
                return None
        free = 0
        with suppress(OSError):
            free = shutil.disk_usage(self._file.parent).free
        return (
            f"The disk of the job store is full: {free} bytes are left. Free some space, or remove jobs; "
            "the platform then continues by itself."
        )

    def _release(self) -> bool:
        self._is_kept = False
        try:
            if self._file is not None:
                self._file.unlink()
                return True
        except OSError:
            pass
        return False


def _take_up(file: Path, size: int) -> None:
    """Make a file of a size whose blocks are allocated.

    Raises:
        OSError: there is not enough space.
    """
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)


def is_full(error: BaseException) -> bool:
    """Return whether an error of the driver, or of SQLAlchemy around it, says that the disk of a store is full."""
    cause = getattr(error, "orig", None) or error
    if getattr(cause, "sqlstate", None) == _DISK_FULL:
        return True
    code = getattr(cause, "sqlite_errorcode", None)
    # The index of the write-ahead log could not grow: only want of room does that.
    return code is not None and (code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE)
