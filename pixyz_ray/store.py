"""JobStore: the durable record of every job. One process writes (the tracker); what it has committed survives it.

SQLite in WAL mode by default, PostgreSQL by URL. What a list shows has columns of its own, so that listing never
reads results.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.exc import SQLAlchemyError

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import TERMINAL, Job, JobState
from pixyz_ray.records import decode_job, encode_job
from pixyz_worker.exception import InternalError

SCHEMA_VERSION = 2

_metadata = MetaData()
# SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
_jobs = Table(
    "jobs",
    _metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("requested", Float, nullable=False),
    Column("name", Text, nullable=False),
    Column("progress", Integer),
    Column("error", Text),
    Column("record", Text, nullable=False),
    Column("result", Text),
)
Index("jobs_by_state", _jobs.c.state, _jobs.c.seq)
_graphs = Table(
    "graphs",
    _metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("parent", String(36), nullable=False, index=True),
    Column("root", String(36), nullable=False, index=True),
    Column("ended", Boolean, nullable=False, index=True),
    Column("record", Text, nullable=False),
)
_versions = Table("schema_version", _metadata, Column("version", Integer, primary_key=True))

_ROW_COLUMNS = ("uuid", "state", "requested", "name", "progress", "error", "record", "result")
_GRAPH_COLUMNS = ("uuid", "parent", "root", "ended", "record")
_ADD_GRAPH = insert(_graphs)
_END_GRAPH = update(_graphs).where(_graphs.c.uuid == bindparam("key")).values(ended=True)
_MANY = 500
"""Ids in one query; databases bound the number of a statement's parameters."""
_BY_UUID = select(_jobs.c.record, _jobs.c.result).where(_jobs.c.uuid == bindparam("key"))
_SEQ_OF = select(_jobs.c.seq).where(_jobs.c.uuid == bindparam("key"))
_LISTED = select(_jobs.c.uuid, _jobs.c.name, _jobs.c.state, _jobs.c.progress, _jobs.c.error)
_STATE_NAMES = ("uuid", "name", "status", "progress", "error")
_STATE_SQL = "SELECT uuid, name, state, progress, error FROM jobs WHERE uuid = ?"
_LIVE = select(_jobs.c.record, _jobs.c.result).where(_jobs.c.state.not_in([str(s) for s in TERMINAL]))


class StoreUnusable(InternalError):
    """The database cannot be opened or does not answer."""


class JobStore:
    """Job records in a database.

    Args:
        url: SQLAlchemy URL. A SQLite file's folder is made when it is missing.

    Raises:
        StoreUnusable: it cannot be opened, or a newer version of the platform wrote it.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        try:
            self._engine = _make_engine(url)
            _metadata.create_all(self._engine)
            self._check_version()
            # Connections for good: the tracker is the only writer and a checkout costs as much as a query.
            self._connection: Connection = self._engine.connect()
            # A connection serves one thread at a time; graphs are prepared beside the event loop.
            self._reading = Lock()
            self._writer = _Writer(self._engine)
            self._log = self._open_log()
        except SQLAlchemyError as error:
            raise StoreUnusable(f"The job store {self._url!r} cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the database."""
        if self._log is not None:
            os.close(self._log)
        self._writer.close()
        self._connection.close()
        self._engine.dispose()

    def write(self, jobs: Iterable[Job], graphs: Iterable[Graph] = (), ended_graphs: Iterable[str] = ()) -> None:
        """Add or change jobs, and graphs, in one transaction. When it returns, no death of a process can take it back.

        Raises:
            StoreUnusable: nothing of it was written.
        """
        try:
            self._writer.write(
                [_row(job) for job in jobs],
                [_graph_row(graph) for graph in graphs],
                [{"key": uuid} for uuid in ended_graphs],
            )
        except self._writer.errors as error:
            raise StoreUnusable(f"The job store did not take a change: {error}") from error

    def sync(self) -> None:
        """Return when all that was written is on the disk itself, so that no power cut can take it back either.

        May be called from another thread.

        Raises:
            StoreUnusable: it cannot be told.
        """
        if self._log is None:
            return
        try:
            os.fdatasync(self._log)
        except OSError as error:
            raise StoreUnusable(f"The job store cannot be brought to the disk: {error}") from error

    def get(self, uuid: str) -> Job | None:
        """Return one job, or None."""
        rows = self._read(_BY_UUID, {"key": uuid})
        return _job(rows[0]) if rows else None

    def live(self) -> list[Job]:
        """Return the jobs that have not ended, oldest first."""
        return [_job(row) for row in self._read(_LIVE.order_by(_jobs.c.seq))]

    def get_many(self, uuids: Sequence[str]) -> dict[str, Job]:
        """Return those jobs that are there, by id."""
        found: dict[str, Job] = {}
        for start in range(0, len(uuids), _MANY):
            some = _jobs.c.uuid.in_(uuids[start : start + _MANY])
            rows = self._read(select(_jobs.c.record, _jobs.c.result).where(some))
            found.update((job.uuid, job) for job in map(_job, rows))
        return found

    def known(self, uuids: Sequence[str]) -> list[str]:
        """Return those ids that are a job's already."""
        found: list[str] = []
        for start in range(0, len(uuids), _MANY):
            rows = self._read(select(_jobs.c.uuid).where(_jobs.c.uuid.in_(uuids[start : start + _MANY])))
            found.extend(row.uuid for row in rows)
        return found

    def graph(self, uuid: str) -> Graph:
        """Return one graph."""
        return self._read_graphs(_graphs.c.uuid == uuid)[0]

    def live_graphs(self) -> list[Graph]:
        """Return the graphs that have not ended, oldest first."""
        return self._read_graphs(_graphs.c.ended.is_(False))

    def graphs_of(self, parent: str) -> list[Graph]:
        """Return the graphs that a job's script started, oldest first."""
        return self._read_graphs(_graphs.c.parent == parent)

    def graphs_under(self, root: str) -> list[Graph]:
        """Return the graphs that a job started, itself or through what it started, oldest first."""
        return self._read_graphs(_graphs.c.root == root)

    def _read_graphs(self, which: ColumnElement[bool]) -> list[Graph]:
        query = select(_graphs.c.uuid, _graphs.c.parent, _graphs.c.root, _graphs.c.record)
        rows = self._read(query.where(which).order_by(_graphs.c.seq))
        return [Graph(row.uuid, row.parent, row.root, json.loads(row.record)) for row in rows]

    def page(self, *, state: JobState | None, limit: int, after: str | None) -> list[dict[str, Any]]:
        """Return JobStates of the REST contract, newest first.

        Args:
            state: only jobs in this state.
            limit: how many at most.
            after: only jobs older than this one; an unknown id gives an empty page.
        """
        query = _LISTED.order_by(_jobs.c.seq.desc()).limit(limit)
        if state is not None:
            query = query.where(_jobs.c.state == str(state))
        if after is not None:
            found = self._read(_SEQ_OF, {"key": after})
            if not found:
                return []
            query = query.where(_jobs.c.seq < found[0].seq)
        return [dict(zip(_STATE_NAMES, row, strict=True)) for row in self._read(query)]

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        rows = self._read(select(_jobs.c.state, func.count()).group_by(_jobs.c.state))
        return {str(state): int(count) for state, count in (tuple(row) for row in rows)}

    def _read(self, query: Select[Any], values: dict[str, Any] | None = None) -> Sequence[Row[Any]]:
        try:
            # Autobegin opens a transaction for a read too: close it, or SQLite's log can never be trimmed.
            with self._reading, self._connection.begin():
                return self._connection.execute(query, values or {}).all()
        except SQLAlchemyError as error:
            raise StoreUnusable(f"The job store does not answer: {error}") from error

    def _open_log(self) -> int | None:
        """Return a descriptor of SQLite's write-ahead log; None for a database that syncs each commit by itself."""
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            return None
        return os.open(f"{self._url.database}-wal", os.O_RDWR)

    def _check_version(self) -> None:
        with self._engine.begin() as connection:
            found = connection.execute(select(func.max(_versions.c.version))).scalar()
            if found is None:
                connection.execute(insert(_versions), {"version": SCHEMA_VERSION})
            elif found > SCHEMA_VERSION:
                raise StoreUnusable(
                    f"The job store {self._url!r} was written by a newer version of the platform "
                    f"(schema {found}, this one knows {SCHEMA_VERSION}). Upgrade, or use another store."
                )


class EndedJobs:
    """Reads the jobs that have ended beside the tracker, in the process that wants to know.

    They never change again, and a look into SQLite's file takes a tenth of the time of asking the tracker. It is only
    that: where the store is not a file of this machine, or the job has not ended, there is nothing to see.

    Args:
        url: SQLAlchemy URL of the store.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._path = Path(parsed.database).absolute() if parsed.database else None
        self._usable = parsed.get_backend_name() == "sqlite" and self._path is not None
        self._connection: sqlite3.Connection | None = None

    def state(self, uuid: str) -> dict[str, Any] | None:
        """Return the JobState of a job that has ended; None where that cannot be told."""
        if not self._usable:
            return None
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro" if self._path else "", uri=True)
            row = self._connection.execute(_STATE_SQL, (uuid,)).fetchone()
        except sqlite3.Error:
            return None
        if row is None or not JobState(row[2]).terminal:
            return None
        return dict(zip(_STATE_NAMES, row, strict=True))

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Writer:
    """Writes rows on the driver's own connection, with statements that SQLAlchemy has compiled once.

    Two writes stand in the way of every job. SQLAlchemy's own way takes 0.4 ms of each on a machine that was idle,
    this one 0.15.
    """

    def __init__(self, engine: SqlEngine) -> None:
        self._connection = engine.raw_connection()
        self._put = _upsert(engine).compile(engine, column_keys=list(_ROW_COLUMNS))
        self._add_graph = _ADD_GRAPH.compile(engine, column_keys=list(_GRAPH_COLUMNS))
        self._end_graph = _END_GRAPH.compile(engine)
        dbapi = engine.dialect.dbapi
        assert dbapi is not None
        self.errors: tuple[type[Exception], ...] = (dbapi.Error, ValueError, OverflowError)

    def write(
        self,
        jobs: Sequence[Mapping[str, Any]],
        graphs: Sequence[Mapping[str, Any]],
        ended_graphs: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write rows in one transaction."""
        cursor = self._connection.cursor()
        try:
            for statement, rows in (
                (self._add_graph, graphs),
                (self._put, jobs),
                (self._end_graph, ended_graphs),
            ):
                for row in rows:
                    cursor.execute(statement.string, _arguments(statement, row))
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            cursor.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _upsert(engine: SqlEngine) -> Any:
    """Return the statement that adds a job or, where it is known, changes it."""
    dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_jobs)
    changed = {name: statement.excluded[name] for name in _ROW_COLUMNS if name != "uuid"}
    return statement.on_conflict_do_update(index_elements=["uuid"], set_=changed)


def _arguments(statement: Compiled, row: Mapping[str, Any]) -> Any:
    """Return a row as the driver wants it: by place or by name."""
    fixed = {name: value for name, value in statement.params.items() if name not in row and value is not None}
    row = {**fixed, **row} if fixed else row
    places = getattr(statement, "positiontup", None)
    return row if places is None else tuple(row[name] for name in places)


def _make_engine(url: str) -> SqlEngine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(url, connect_args={"timeout": 10, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # NORMAL commits without waiting for the disk: `sync` waits, where that matters, while other work goes on.
        # A short log is written again from its start sooner, and a commit into a file that does not grow is quicker.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY", "wal_autocheckpoint=300"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _row(job: Job) -> dict[str, Any]:
    # JSON in ASCII: a script's text may hold half a character, which no database takes.
    return {
        "uuid": job.uuid,
        "state": str(job.state),
        "requested": job.requested,
        "name": job.name,
        "progress": job.progress,
        "error": job.error,
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


def _job(row: Row[Any]) -> Job:
    return decode_job(json.loads(row.record), None if row.result is None else json.loads(row.result))
