"""Errors of the job store: an outage, after which a call may be repeated, or a row that the database refuses."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from sqlalchemy import URL, make_url

from pixyz_worker.exception import InternalError

_DATA_CLASSES = ("22", "23", "54")
"""SQLSTATE classes of errors of the data: data exception, integrity constraint violation, program limit exceeded."""
OTHER_PRIMARY = ("25006", "57P01", "57P02")
"""SQLSTATEs of a server that is not the primary, or not for long: read-only transaction, shutdown, crash shutdown."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NOT_ENCODED = (ValueError, OverflowError, TypeError, RecursionError)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DAMAGE_ADVICE = (
    "the file is damaged: stop the platform, move it away with its -wal and -shm, and restore a backup with  "
    "pixyz restore FILE"
)
_ONLY_READABLE = (
    "the server is a standby or read-only: JOB_STORE_URL has to name the primary (with several hosts, the one that "
    "can be written is found)"
)
_ADVICE = {
    "25006": _ONLY_READABLE,
    "42501": "the user of JOB_STORE_URL needs USAGE and CREATE on the schema, and has to own its tables: "
    "GRANT USAGE, CREATE ON SCHEMA public TO the user",
    "53100": "the disk of the database server is full: free some space there; the platform then continues by itself",
    "53300": "raise max_connections of the server, or close other connections: the platform needs 3",
}
"""Advice by SQLSTATE."""
_SIGNS = (
    # Errors of connecting have no SQLSTATE in psycopg.
    (re.compile("too many clients|too many connections|remaining connection slots"), _ADVICE["53300"]),
    (re.compile("session is read-only|server is in hot standby"), _ONLY_READABLE),
    (re.compile("password authentication failed|no password supplied"), "check user and password in JOB_STORE_URL"),
    (re.compile('database ".*" does not exist'), "create it:  createdb --encoding=UTF8 NAME"),
    (re.compile("starting up|shutting down|recovery mode"), "the server is being started or stopped"),
    (re.compile("SSL|certificate"), "check sslmode, sslrootcert and sslcert in JOB_STORE_URL"),
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
    if state := sqlstate(error):
        return state[:2] in _DATA_CLASSES
    return isinstance(cause, (dbapi.DataError, dbapi.IntegrityError, *_NOT_ENCODED))


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of a driver, or of SQLAlchemy around it; None if it has none."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return None if state is None else str(state)


def first_line(error: BaseException) -> str:
    """Return the first line of a driver's error message, without the statement that SQLAlchemy adds.

    What does not go away by itself, unlike an outage, gets advice on what to do.
    """
    cause = getattr(error, "orig", None) or error
    lines = str(cause).splitlines()
    line = lines[0].strip() if lines else type(error).__name__
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _DAMAGED:
        return f"{line}; {_DAMAGE_ADVICE}"
    advice = _ADVICE.get(sqlstate(error) or "") or next(
        (text for sign, text in _SIGNS if sign.search(str(cause))), None
    )
    return line if advice is None else f"{line}; {advice}"


def shown_url(url: str | URL) -> str:
    """Return a database's URL for messages: without its password and its options, which may have passwords too."""
    return repr(make_url(url).set(query={}))


def storable(text: str | None) -> str | None:
    """Return a text that every database accepts: NUL and lone surrogates become U+FFFD, the replacement character."""
    return text if text is None else _UNSTORABLE.sub("\ufffd", text)
