"""The tables of the JobStore, its database, and how a store of an older version is brought up to date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from pixyz_ray.jobs import TERMINAL
from pixyz_ray.private_files import tighten
from pixyz_ray.records import alias_of
from pixyz_ray.store_errors import StoreUnusable, first_line, shown_url

SCHEMA_VERSION = 4
_DATED = 3
"""First version that has the time of a job's end in a column."""
IMPATIENT_MS = 200
"""How long a statement waits for a SQLite file that another process has locked: the tracker stands still meanwhile."""
_OPENING_S = 10.0
_CONNECT_S = 2
"""Seconds that connecting to a database server may take."""
_UNHEARD_MS = 5000
"""Milliseconds for which sent data may stay unacknowledged before the connection counts as lost."""
_STATEMENT_MS = 10_000
"""Milliseconds that a database server may work at a statement, so that statements waiting for a lock do not pile up."""
_SESSION = {
    "statement_timeout": _STATEMENT_MS,
    "idle_in_transaction_session_timeout": _STATEMENT_MS,
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": _UNHEARD_MS,
}
_PORTION = 1000

METADATA = MetaData()
# SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
JOBS = Table(
    "jobs",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("requested", Float, nullable=False),
    # A label for people; the caller's own name is the alias.
    Column("name", Text, nullable=False),
    Column("alias", Text),
    Column("process", Text),
    Column("script", Text),
    Column("progress", Integer),
    Column("error", Text),
    # What a job that waits to be given to Ray waits with; NULL for one that does not.
    Column("waits", Text),
    # When a job ended whose files may be removed one day, and when that is if the operator's delay does not rule.
    Column("stopped", Float),
    Column("expires", Float),
    Column("record", Text, nullable=False),
    Column("result", Text),
)
GRAPHS = Table(
    "graphs",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("parent", String(36), nullable=False, index=True),
    Column("root", String(36), nullable=False, index=True),
    Column("ended", Boolean, nullable=False, index=True),
    Column("stopped", Float),
    Column("record", Text, nullable=False),
)
VERSIONS = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))
# One row: the tracker that may write. Older versions do not know it, and need not.
WRITER = Table(
    "store_writer",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("since", Float, nullable=False),
)
WAITING = JOBS.c.waits.is_not(None)
AGEING = JOBS.c.stopped.is_not(None)
_INDEXES = (
    Index("jobs_by_state", JOBS.c.state, JOBS.c.seq),
    Index("jobs_that_wait", JOBS.c.seq, sqlite_where=WAITING, postgresql_where=WAITING),
    Index("jobs_by_age", JOBS.c.expires, JOBS.c.stopped, sqlite_where=AGEING, postgresql_where=AGEING),
)
_ADDED = {
    "jobs": {
        "waits": "TEXT",
        "stopped": "DOUBLE PRECISION",
        "expires": "DOUBLE PRECISION",
        "alias": "TEXT",
        "process": "TEXT",
        "script": "TEXT",
    },
    "graphs": {"stopped": "DOUBLE PRECISION"},
}
"""Columns that version 2 did not have; waits, stopped and expires came with version 3, the others with version 4."""


def open_database(url: str) -> Engine:
    """Return a database whose tables are those of this version.

    Raises:
        StoreUnusable: it cannot be opened, or a newer version of the platform wrote it.
    """
    try:
        engine = make_engine(url, writes=True)
        _check_encoding(engine)
        # What was cut short is done again: each step looks at what is there already.
        _add_columns(engine)
        METADATA.create_all(engine)
        for index in _INDEXES:
            index.create(engine, checkfirst=True)
        with engine.begin() as connection:
            migrate(connection)
    except SQLAlchemyError as error:
        raise StoreUnusable(f"The job store {shown_url(url)} cannot be opened: {first_line(error)}.") from error
    return engine


def _check_encoding(engine: Engine) -> None:
    """Refuse a PostgreSQL database that is not in UTF-8: it cannot take every text, or takes bytes that are none.

    Raises:
        StoreUnusable: it is in another encoding.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise StoreUnusable(
            f"The database of the job store {shown_url(engine.url)} has the encoding {encoding}; the platform needs "
            "UTF8. Create one:  createdb --encoding=UTF8 --template=template0 NAME"
        )


def _add_columns(engine: Engine) -> None:
    with engine.begin() as connection:
        there = inspect(connection)
        for table, columns in _ADDED.items():
            if not there.has_table(table):
                continue
            known = {column["name"] for column in there.get_columns(table)}
            for name, kind in columns.items():
                if name not in known:
                    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def migrate(connection: Connection) -> None:
    """Bring the rows of a store of an older version up to date, in the caller's transaction.

    Raises:
        StoreUnusable: a newer version of the platform wrote it.
    """
    found = connection.execute(select(func.max(VERSIONS.c.version))).scalar()
    if found is None:
        connection.execute(insert(VERSIONS), {"version": SCHEMA_VERSION})
    elif found > SCHEMA_VERSION:
        raise StoreUnusable(
            f"The job store {shown_url(connection.engine.url)} was written by a newer version of the platform "
            f"(schema {found}, this one knows {SCHEMA_VERSION}). Upgrade, or use another store."
        )
    elif found < SCHEMA_VERSION:
        if found < _DATED:
            _date_ended_jobs(connection)
        _name_jobs(connection)
        connection.execute(update(VERSIONS).values(version=SCHEMA_VERSION))


def _date_ended_jobs(connection: Connection) -> None:
    """Fill in when jobs ended that an older version wrote; those of a graph go with the job above it."""
    ended = select(JOBS.c.seq, JOBS.c.requested, JOBS.c.record).where(JOBS.c.state.in_([str(s) for s in TERMINAL]))
    date = update(JOBS).where(JOBS.c.seq == bindparam("row")).values(stopped=bindparam("at"))
    after = -1
    while rows := connection.execute(ended.where(JOBS.c.seq > after).order_by(JOBS.c.seq).limit(_PORTION)).all():
        after = rows[-1].seq
        records = [(row, record) for row in rows if (record := _record(row)) is not None]
        dated = [
            {"row": row.seq, "at": record.get("stopped") or row.requested}
            for row, record in records
            if record.get("home") is None
        ]
        if dated:
            connection.execute(date, dated)


def _name_jobs(connection: Connection) -> None:
    """Fill in alias, process and script of jobs that an older version wrote."""
    names: dict[str, Any] = {
        "alias": bindparam("to_alias"),
        "process": bindparam("to_process"),
        "script": bindparam("to_script"),
    }
    change = update(JOBS).where(JOBS.c.seq == bindparam("row")).values(names)
    after = -1
    query = select(JOBS.c.seq, JOBS.c.record).order_by(JOBS.c.seq).limit(_PORTION)
    while rows := connection.execute(query.where(JOBS.c.seq > after)).all():
        after = rows[-1].seq
        records = [(row.seq, record) for row in rows if (record := _record(row)) is not None]
        values = [
            {
                "row": seq,
                "to_alias": alias_of(record),
                "to_process": record["process"],
                "to_script": record["script"],
            }
            for seq, record in records
            if {"name", "process", "script"} <= record.keys()
        ]
        if values:
            connection.execute(change, values)


def _record(row: Any) -> dict[str, Any] | None:
    """Return a row's record; None when it cannot be read, which must not keep the others from being migrated."""
    try:
        record = json.loads(row.record)
    except (ValueError, TypeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


@contextmanager
def connected(url: str, doing: str) -> Iterator[Engine]:
    """Yield an engine for a URL (see make_engine) and dispose of it afterwards.

    Args:
        url: SQLAlchemy URL.
        doing: what cannot be done if the database fails, as a participle, for the error message.

    Raises:
        StoreUnusable: the database failed, in the body too.
    """
    try:
        engine = make_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise StoreUnusable(f"The job store {shown_url(url)} cannot be {doing}: {first_line(error)}.") from error


def make_engine(url: str, *, writes: bool = False) -> Engine:
    """Return an engine for a URL, without checking the tables. A SQLite file's folder is made if it is missing.

    Args:
        url: SQLAlchemy URL.
        writes: whether it is for writing: a standby, which can only be read, is not connected to.

    Raises:
        StoreUnusable: the driver of the database is not installed.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _server_engine(parsed, writes)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Earlier versions left them world-readable.
        for suffix in ("", "-wal", "-shm"):
            tighten(Path(parsed.database + suffix))
    engine = create_engine(url, connect_args={"timeout": _OPENING_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # One flipped bit in a text would make every query fail that comes across it: it is to spoil one record alone.
        connection.text_factory = _text
        # NORMAL commits without waiting for the disk: `sync` waits, where that matters, while other work goes on.
        # A short log is written again from its start sooner, and a commit into a file that does not grow is quicker.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY", "wal_autocheckpoint=300"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _server_engine(url: URL, writes: bool) -> Engine:
    if url.drivername == "postgresql":
        # SQLAlchemy's default is another driver.
        url = url.set(drivername="postgresql+psycopg")
    try:
        # The store keeps its two connections itself; a pooled one could hang inside the pool.
        return create_engine(url, poolclass=NullPool, connect_args=_patience(url, writes))
    except ImportError as error:
        raise StoreUnusable(
            f"The job store {shown_url(url)} needs the package {url.get_driver_name()}: pip install "
            "'pixyz-ray[postgres]', and write postgresql+psycopg://... in JOB_STORE_URL."
        ) from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _patience(url: URL, writes: bool) -> dict[str, Any]:
    """Return libpq's options that limit waiting for a server and choose one, except those that the URL sets."""
    if url.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    wanted: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "tcp_user_timeout": _UNHEARD_MS,
        "keepalives_idle": 10,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        # In the server's list of sessions.
        "application_name": "pixyz",
        # Else texts of a database in SQL_ASCII are bytes.
        "client_encoding": "utf8",
    }
    if writes:
        wanted["target_session_attrs"] = "read-write"
    return {name: value for name, value in wanted.items() if name not in url.query}


def limit_statements(engine: Engine) -> None:
    """Limit, for new connections to a database server, the time of each statement and of noticing that we are gone.

    A transaction of a platform whose machine was cut off holds locks until the server has noticed.
    """
    if engine.dialect.name != "postgresql":
        return

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for name, value in _SESSION.items():
            cursor.execute(f"SET {name} = {value}")
        connection.commit()
