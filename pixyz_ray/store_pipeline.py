"""PipelineWriter: the changes of a JobStore on PostgreSQL, a whole batch in one round trip.

The rows of a statement travel as arrays, and the statements of a transaction in libpq's pipeline mode: the server
executes what lies between two Sync messages as one transaction. In the tracker, every answer that is waited for also
costs the interpreter's lock, which the event loop holds; with a round trip for each row, that was the limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, Engine, Float, Integer, Table
from sqlalchemy.engine.interfaces import Compiled

from pixyz_ray.store_fence import CHECK_POSTGRES
from pixyz_ray.store_schema import GRAPHS, JOBS, VERSIONS
from pixyz_ray.store_writer import GRAPH_COLUMNS, JOB_COLUMNS, Work, Writer

_ROWS = 1000
"""Rows in one statement."""
_PARTS = 4
"""Statements in one round trip; each statement of a larger transaction has a deadline of its own."""


class PipelineWriter(Writer):
    """Writes rows through psycopg 3, all of one call in one transaction.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._arrays: Mapping[Compiled, str] = {
            self._put: _insert(JOBS, JOB_COLUMNS, _replacement(JOB_COLUMNS)),
            self._add_graph: _insert(GRAPHS, GRAPH_COLUMNS, "DO NOTHING"),
            self._end_graph: f"UPDATE {GRAPHS.name} SET ended = true, stopped = ended_graph.at FROM "
            "unnest(%(key)b::text[], %(at)b::float8[]) AS ended_graph (key, at) WHERE uuid = ended_graph.key",
            self._forget_job: f"DELETE FROM {JOBS.name} WHERE uuid = ANY(%(key)b::text[]) RETURNING state",
            self._forget_graphs: f"DELETE FROM {GRAPHS.name} WHERE root = ANY(%(key)b::text[])",
            self._forget_graph: f"DELETE FROM {GRAPHS.name} WHERE uuid = ANY(%(key)b::text[])",
            self._ping: f"UPDATE {VERSIONS.name} SET version = version",
        }

    def _carry_out(self, work: Work) -> list[str]:
        parts = list(self._parts(work))
        try:
            driver: Any = self._connection.driver_connection
            # Statements outside a transaction are one between two Syncs; BEGIN would cost a round trip.
            if not driver.autocommit:
                driver.autocommit = True
            with driver.pipeline() if len(parts) <= _PARTS else driver.transaction():
                cursors = [self._send(driver, sql, rows) for sql, rows in parts]
        except BaseException:
            self._roll_back()
            raise
        # The first one is the check's.
        answering = [cursor for cursor in cursors[self._epoch is not None :] if cursor.description is not None]
        return [str(answer[0]) for cursor in answering for answer in cursor.fetchall()]

    def _parts(self, work: Work) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the statements of a transaction and their parameters."""
        if self._epoch is not None:
            yield CHECK_POSTGRES, {"epoch": self._epoch}
        for statement, rows in work:
            for start in range(0, len(rows), _ROWS):
                some = rows[start : start + _ROWS]
                yield self._arrays[statement], {name: [row[name] for row in some] for name in some[0]}

    def _send(self, driver: Any, sql: str, parameters: Mapping[str, Any]) -> Any:
        self.busy_since = time.monotonic()
        cursor = driver.cursor()
        cursor.execute(sql, parameters)
        return cursor


def _insert(table: Table, columns: Sequence[str], on_conflict: str) -> str:
    """Return the statement that inserts rows from arrays, a parameter for each column."""
    arrays = ", ".join(f"%({name})b::{_type(table, name)}[]" for name in columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT (uuid) {on_conflict}"
    )


def _replacement(columns: Sequence[str]) -> str:
    return "DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in columns if name != "uuid")


def _type(table: Table, column: str) -> str:
    kinds = {Float: "float8", Integer: "int", Boolean: "bool"}
    return next((name for kind, name in kinds.items() if isinstance(table.c[column].type, kind)), "text")
