"""Reader: one connection of the job store that only reads, for one thread at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select
from sqlalchemy.exc import SQLAlchemyError

from pixyz_ray.store_errors import StoreUnusable, first_line
from pixyz_ray.store_writer import shut_down_socket


class Reader:
    """Reads, and connects again after a failure where the database is a server.

    Args:
        engine: the database.
        is_remote: whether it is a server.
    """

    def __init__(self, engine: Engine, *, is_remote: bool) -> None:
        self._engine = engine
        self._is_remote = is_remote
        # For good: a checkout costs as much as a query.
        self._connection: Connection | None = engine.connect()
        # Graphs are prepared beside the event loop.
        self._lock = Lock()
        self.busy_since: float | None = None
        """When the current statement began, as time.monotonic()."""

    def read(self, query: Select[Any], values: dict[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Return the rows of a query.

        Raises:
            StoreUnusable: the database does not answer.
        """
        with self._lock:
            self.busy_since = time.monotonic()
            try:
                if self._connection is None:
                    self._connection = self._engine.connect()
                # Autobegin opens a transaction for a read too: close it, or SQLite's log can never be trimmed.
                with self._connection.begin():
                    return self._connection.execute(query, values or {}).all()
            except SQLAlchemyError as error:
                self._disconnect()
                raise StoreUnusable(f"The job store does not answer: {first_line(error)}.") from error
            finally:
                self.busy_since = None

    def set_pragma(self, text: str) -> None:
        """Run a PRAGMA of SQLite."""
        with self._lock:
            if self._connection is not None:
                # The block ends the transaction that SQLAlchemy begins for any statement, also where this one fails.
                with self._connection.begin():
                    self._connection.exec_driver_sql(f"PRAGMA {text}").fetchall()

    def cut_off(self) -> None:
        """Abort a read of another thread by closing its connection to a server; the next read reconnects."""
        connection = self._connection
        if self._is_remote and connection is not None:
            with suppress(Exception):
                shut_down_socket(connection.connection.driver_connection)

    def _disconnect(self) -> None:
        connection = self._connection
        if self._is_remote and connection is not None:
            self._connection = None
            with suppress(SQLAlchemyError):
                connection.invalidate()
            with suppress(SQLAlchemyError):
                connection.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
