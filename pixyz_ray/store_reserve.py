"""Reserve: room beside a SQLite store, given free when its disk is full.

What helps then, to cancel, pin and remove jobs, and the ends of those that run, has to be written down too.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 8 * 2**20
_LOOK_EVERY_S = 1.0
_DISK_FULL = "53100"
"""PostgreSQL's code for a disk without room."""


class Reserve:
    """A file that takes up room until that is needed.

    Args:
        store: file of the store.
        size: bytes to keep.
    """

    def __init__(self, store: Path, size: int = RESERVE_BYTES) -> None:
        self._file = store.with_name(f"{store.name}-reserve")
        self._size = size
        self._looked = -_LOOK_EVERY_S
        self.is_kept = False
        """Whether the room is there to be used."""

    def keep(self) -> bool:
        """Make the file where it is missing and the disk has room for twice as much; return whether it is there."""
        try:
            if self._file.exists() and self._file.stat().st_size == self._size:
                self.is_kept = True
            elif shutil.disk_usage(self._file.parent).free >= 2 * self._size:
                self._make()
                self.is_kept = True
        except OSError:
            # There is no room after all: whoever was quicker has it.
            self.release()
        return self.is_kept

    def _make(self) -> None:
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, self._size)
        finally:
            os.close(handle)

    def release(self) -> bool:
        """Give the room free; return whether there was any."""
        self.is_kept = False
        try:
            self._file.unlink()
        except OSError:
            return False
        return True

    def is_due(self) -> bool:
        """Return whether it is time to look whether the room can be kept again."""
        due = time.monotonic() - self._looked >= _LOOK_EVERY_S
        if due:
            self._looked = time.monotonic()
        return due

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        with suppress(OSError):
            return shutil.disk_usage(self._file.parent).free
        return 0


def is_full(error: BaseException) -> bool:
    """Return whether an error of the driver, or of SQLAlchemy around it, says that the disk of a store is full."""
    cause = getattr(error, "orig", None) or error
    if getattr(cause, "sqlstate", None) == _DISK_FULL:
        return True
    code = getattr(cause, "sqlite_errorcode", None)
    # The index of the write-ahead log could not grow: only want of room does that.
    return code is not None and (code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE)
