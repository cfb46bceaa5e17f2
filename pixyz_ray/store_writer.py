"""Writer: the changes of the JobStore, on the driver's own connection, with statements that are compiled once.

Two writes stand in the way of every job. SQLAlchemy's own way takes 0.4 ms of each on a machine that was idle, this one
0.15.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, bindparam, delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.exc import SQLAlchemyError

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job
from pixyz_ray.records import encode_job
from pixyz_ray.retention import age_of
from pixyz_ray.store_errors import OTHER_PRIMARY, is_refusal, sqlstate, storable
from pixyz_ray.store_fence import (
    CHECK_POSTGRES,
    CHECK_SQLITE,
    EVICT_POSTGRES,
    LOCK_POSTGRES,
    OLD_EPOCH,
    RENEW_POSTGRES,
    WAIT_S,
    Claimant,
    FileLock,
    claim,
    fenced,
)
from pixyz_ray.store_schema import GRAPHS, IMPATIENT_MS, JOBS, VERSIONS

JOB_COLUMNS = (
    "uuid",
    "state",
    "requested",
    "name",
    "alias",
    "process",
    "script",
    "progress",
    "error",
    "waits",
    "stopped",
    "expires",
    "record",
    "result",
)
GRAPH_COLUMNS = ("uuid", "parent", "root", "ended", "record")
Work = Sequence[tuple[Compiled, Sequence[Mapping[str, Any]]]]
"""Statements of one transaction, each with its rows."""
_END_GRAPH = update(GRAPHS).where(GRAPHS.c.uuid == bindparam("key")).values(ended=True, stopped=bindparam("at"))
_FORGET_JOB = delete(JOBS).where(JOBS.c.uuid == bindparam("key")).returning(JOBS.c.state)
_FORGET_GRAPHS = delete(GRAPHS).where(GRAPHS.c.root == bindparam("key"))
_FORGET_GRAPH = delete(GRAPHS).where(GRAPHS.c.uuid == bindparam("key"))
_PING = update(VERSIONS).values(version=VERSIONS.c.version)
_EVICTED_WITHIN_S = 2.0
_PAUSE_S = 0.02


class Writer:
    """Writes rows, all of one call in one transaction, a statement for each row.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection = engine.raw_connection()
        self._put = _upsert(engine).compile(engine, column_keys=list(JOB_COLUMNS))
        self._add_graph = _insert_graph(engine).compile(engine, column_keys=list(GRAPH_COLUMNS))
        self._end_graph, self._forget_job, self._forget_graphs, self._forget_graph, self._ping = (
            statement.compile(engine) for statement in (_END_GRAPH, _FORGET_JOB, _FORGET_GRAPHS, _FORGET_GRAPH, _PING)
        )
        dbapi: Any = engine.dialect.dbapi
        self._dbapi = dbapi
        self.errors: tuple[type[Exception], ...] = (
            dbapi.Error,
            SQLAlchemyError,
            ValueError,
            OverflowError,
            TypeError,
            RecursionError,
        )
        self._lost = False
        self._claimant: Claimant | None = None
        self._epoch: int | None = None
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        self._lock = FileLock(Path(file)) if file and file != ":memory:" else None
        self.busy_since: float | None = None
        """When the statement that is being carried out was begun, by time.monotonic; None between statements."""
        if engine.dialect.name == "sqlite":
            self._connection.cursor().execute(f"PRAGMA busy_timeout={IMPATIENT_MS}")

    def claim(self, holder: str, wait_s: float = WAIT_S) -> None:
        """Claim the store for a tracker: from now on, each transaction checks that no other one has (see store_fence).

        Raises:
            StoreInUse: the tracker of another platform is connected.
        """
        self._claimant = Claimant(holder)
        self._epoch = claim(self._engine, self._claimant, self._take_lock, wait_s=wait_s)
        if not self._take_lock():
            # Only now: a tracker whose claim still counts would do the same to this one.
            self._evict(holder)

    def _evict(self, owner: str) -> None:
        """End the connection that has the store's lock, if the store is the owner's, and take the lock.

        Its machine may be cut off, so that the server does not know. Without the lock the epoch protects alone.

        Args:
            owner: name of a platform, or token of a tracker.
        """
        if self._engine.dialect.name != "postgresql":
            return
        deadline = time.monotonic() + _EVICTED_WITHIN_S
        with suppress(*self.errors):
            if self._ask(EVICT_POSTGRES, {"owner": owner}):
                while not self._take_lock() and time.monotonic() < deadline:
                    time.sleep(_PAUSE_S)

    def _take_lock(self) -> bool:
        """Take the store's lock for the current connection, or process; return whether no other tracker has it."""
        if self._lock is not None:
            return self._lock.take()
        return self._engine.dialect.name != "postgresql" or bool(self._ask(LOCK_POSTGRES))

    def _ask(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Return the first value that a statement answers, outside the transactions of changes."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, parameters or {})
            row = cursor.fetchone()
            self._connection.commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            cursor.close()
        return None if row is None else row[0]

    def write(self, jobs: Iterable[Job], graphs: Iterable[Graph], ended_graphs: Iterable[str]) -> None:
        """Add or change jobs; add graphs; end graphs."""
        now = time.time()
        self._execute(
            (self._add_graph, [_graph_row(graph) for graph in graphs]),
            (self._put, [_job_row(job) for job in jobs]),
            (self._end_graph, [{"key": uuid, "at": now} for uuid in ended_graphs]),
        )

    def forget(self, uuids: Sequence[str], root: str | None) -> list[str]:
        """Remove jobs, and the graphs under a root; return the states of the jobs that there were."""
        return self._execute(
            (self._forget_job, [{"key": uuid} for uuid in uuids]),
            (self._forget_graphs, [] if root is None else [{"key": root}]),
        )

    def take_back(self, jobs: Iterable[Job], graphs: Iterable[Graph]) -> None:
        """Make sure that new jobs and graphs are not in the store, whatever became of the adding transaction.

        A server whose connection was cut may still execute it. Inserting the rows again waits for that transaction;
        then they are removed.
        """
        job_rows, graph_rows = [_job_row(job) for job in jobs], [_graph_row(graph) for graph in graphs]
        self._execute(
            (self._add_graph, graph_rows),
            (self._put, job_rows),
            (self._forget_job, [{"key": row["uuid"]} for row in job_rows]),
            (self._forget_graph, [{"key": row["uuid"]} for row in graph_rows]),
        )

    def ping(self) -> None:
        """Write a statement that changes nothing, to test the store."""
        self._execute((self._ping, [{}]))

    def is_refusal(self, error: BaseException) -> bool:
        """Return whether an error is one of the data (see store_errors)."""
        return is_refusal(error, self._dbapi)

    def cut_off(self) -> None:
        """Abort a call of another thread by closing its connection to a server."""
        with suppress(Exception):
            shut_down_socket(self._connection.driver_connection)

    def close(self) -> None:
        """Close the connection."""
        self._lose()
        if self._lock is not None:
            self._lock.release()

    def _execute(self, *work: tuple[Compiled, Sequence[Mapping[str, Any]]]) -> list[str]:
        """Carry out statements in one transaction; return what they answer, a text each."""
        self.busy_since = time.monotonic()
        try:
            if self._lost:
                self._reconnect()
            return self._carry_out(work)
        except self.errors as error:
            if sqlstate(error) == OLD_EPOCH:
                raise fenced() from error
            if sqlstate(error) in OTHER_PRIMARY:
                # The primary is another server now: its name has to be resolved again.
                self._lose()
            raise
        finally:
            self.busy_since = None

    def _reconnect(self) -> None:
        self._connection = self._engine.raw_connection()
        self._lost = False
        if self._claimant is None or self._lock is not None:
            return
        try:
            if not self._take_lock():
                # The server has not noticed that the last connection is gone.
                self._evict(self._claimant.token)
            epoch = self._ask(RENEW_POSTGRES, {"token": self._claimant.token})
        except self.errors:
            self._lose()
            raise
        if epoch is None:
            # The lock is the successor's.
            self._lose()
            raise fenced()
        self._epoch = int(epoch)

    def _carry_out(self, work: Work) -> list[str]:
        answers: list[str] = []
        cursor = self._connection.cursor()
        try:
            if self._epoch is not None and self._lock is None:
                cursor.execute(CHECK_POSTGRES, {"epoch": self._epoch})
            for statement, rows in work:
                for row in rows:
                    self.busy_since = time.monotonic()
                    cursor.execute(statement.string, _arguments(statement, row))
                    if cursor.description is not None:
                        answers.extend(str(answer[0]) for answer in cursor.fetchall())
            self.busy_since = time.monotonic()
            # Once the transaction has SQLite's lock, nobody else can claim the store before its end.
            if self._epoch is not None and self._lock is not None and not self._is_current(cursor):
                raise fenced()
            self._connection.commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            cursor.close()
        return answers

    def _is_current(self, cursor: Any) -> bool:
        return cursor.execute(CHECK_SQLITE, (self._epoch,)).fetchone() is not None

    def _roll_back(self) -> None:
        try:
            self._connection.rollback()
        except self.errors:
            # A database server has gone, and with it the connection; the next call makes another.
            self._lose()

    def _lose(self) -> None:
        """Close the connection, not back to a pool; the next change makes another."""
        if not self._lost:
            self._lost = True
            self._connection.invalidate()


def shut_down_socket(connection: Any) -> None:
    """Shut down a driver connection's socket, which ends a call that waits for an answer in another thread."""
    if not hasattr(connection, "fileno"):
        return
    # It may be closed at this very moment, and then there is nothing left to do.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _insert_graph(engine: Engine) -> Any:
    """Return the statement that adds a graph; one that exists already, after a commit in doubt, is left unchanged."""
    dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
    return dialect.insert(GRAPHS).on_conflict_do_nothing(index_elements=["uuid"])


def _upsert(engine: Engine) -> Any:
    """Return the statement that adds a job or, where it is known, changes it."""
    dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(JOBS)
    changed = {name: statement.excluded[name] for name in JOB_COLUMNS if name != "uuid"}
    return statement.on_conflict_do_update(index_elements=["uuid"], set_=changed)


def _arguments(statement: Compiled, row: Mapping[str, Any]) -> Any:
    """Return a row as the driver wants it: by place or by name."""
    fixed = {name: value for name, value in statement.params.items() if name not in row and value is not None}
    row = {**fixed, **row} if fixed else row
    places = getattr(statement, "positiontup", None)
    return row if places is None else tuple(row[name] for name in places)


def _job_row(job: Job) -> dict[str, Any]:
    # JSON in ASCII: a script's text may hold half a character, which no database takes.
    age = age_of(job)
    return {
        "uuid": job.uuid,
        "state": str(job.state),
        "requested": job.requested,
        "name": storable(job.name),
        "alias": storable(job.alias),
        "process": storable(job.process),
        "script": storable(job.script),
        "progress": job.progress,
        "error": storable(job.error),
        "waits": job.waits,
        "stopped": age.stopped,
        "expires": age.expires,
        "record": json.dumps(encode_job(job)),
        "result": None if job.result is None else json.dumps(job.result),
    }


def _graph_row(graph: Graph) -> dict[str, Any]:
    return {
        "uuid": graph.uuid,
        "parent": graph.parent_id,
        "root": graph.root_id,
        "ended": False,
        "record": graph.text,
    }
