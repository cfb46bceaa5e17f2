"""Errors of the job store: an outage, after which a call may be repeated, or a row that the database refuses."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from pixyz_worker.exception import InternalError

_DATA_CLASSES = ("22", "23", "54")
"""SQLSTATE classes of errors of the data: data exception, integrity constraint violation, program limit exceeded."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NOT_ENCODED = (ValueError, OverflowError, TypeError, RecursionError)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DAMAGE_ADVICE = (
    "the file is damaged: stop the platform, move it away with its -wal and -shm, and restore a backup with  "
    "pixyz restore FILE"
)


class StoreUnusable(InternalError):
    """The database cannot be opened or does not answer; the same call may succeed later."""


class StoreFull(StoreUnusable):
    """The disk of the job store has no room left."""


class StoreRefused(InternalError):
    """The database works and refuses the data; the same call would fail again."""


def is_refusal(error: BaseException, dbapi: Any) -> bool:
    """Return whether an error says that the data are at fault, and not the database or the connection to it.

    Args:
        error: what a call of the driver or of SQLAlchemy raised.
        dbapi: the driver's module, with the exception classes of PEP 249.
    """
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state:
        return str(state)[:2] in _DATA_CLASSES
    return isinstance(cause, (dbapi.DataError, dbapi.IntegrityError, *_NOT_ENCODED))


def first_line(error: BaseException) -> str:
    """Return the first line of a driver's error message, without the statement that SQLAlchemy adds.

    Damage, unlike an outage, does not go away by itself: the message says what to do.
    """
    cause = getattr(error, "orig", None) or error
    lines = str(cause).splitlines()
    line = lines[0].strip() if lines else type(error).__name__
    code = getattr(cause, "sqlite_errorcode", None)
    return line if code is None or code & 0xFF not in _DAMAGED else f"{line}; {_DAMAGE_ADVICE}"


def storable(text: str | None) -> str | None:
    """Return a text that every database accepts: NUL and lone surrogates become U+FFFD, the replacement character."""
    return text if text is None else _UNSTORABLE.sub("\ufffd", text)
