"""Backup and restore of the job store: one file for SQLite and PostgreSQL alike, and from one to the other.

The file is gzip of JSON lines: a header with format, schema and columns; a line per row; a last line with the number
of rows of each table and the SHA-256 of all lines before it. Rows are read in one transaction that sees one moment, so
that every job that was accepted before is in it, while the platform goes on. The files of jobs are not in it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from pixyz_ray.storage import is_uuid
from pixyz_ray.store import StoreUnusable
from pixyz_ray.store_check import store_file
from pixyz_ray.store_schema import GRAPHS, JOBS, SCHEMA_VERSION, VERSIONS, make_engine, migrate, open_database
from pixyz_ray.supervisor_lock import if_free
from pixyz_ray.version import VERSION
from pixyz_worker.exception import PixyzException

FORMAT = "pixyz-backup"
FORMAT_VERSION = 1
_TABLES: Sequence[Table] = (JOBS, GRAPHS)
_ROWS = 500
_MAX_LINE_BYTES = 1 << 30
Report = Callable[[int, int], None]
"""Called with the number of rows done and the total."""


class BackupUnusable(PixyzException):
    """A backup cannot be made or restored; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backup:
    """Header of a backup."""

    taken: float
    """When it was taken, in seconds since the epoch."""
    schema: int
    """Schema version of the store."""
    version: str
    """Version of the platform that took it."""
    columns: Mapping[str, Sequence[str]]
    """Columns of the rows of each table."""
    rows: Mapping[str, int]
    """Number of rows of each table."""

    @property
    def jobs(self) -> int:
        """Number of jobs in it."""
        return self.rows[JOBS.name]


# --- Taking ----------------------------------------------------------------------------------------------------------


def take_backup(url: str, target: Path, *, force: bool = False, report: Report = lambda done, total: None) -> Backup:
    """Write a backup of a store, which may be in use; atomically (temporary file, fsync, rename).

    Args:
        url: SQLAlchemy URL of the store.
        target: file to write; only its owner may read it, since it has the params and results of all jobs.
        force: whether to replace an existing file.
        report: told of the progress.

    Raises:
        BackupUnusable: the file exists, there is no store, or the file cannot be written.
        StoreUnusable: the store does not answer.
    """
    if target.exists() and not force:
        raise BackupUnusable(f"{target} exists already. Choose another name, or replace it with --force.")
    source = store_file(url)
    if source is not None and not source.is_file():
        raise BackupUnusable(
            f"There is no job store at {source}: nothing to back up. Is PIXYZ_HOME or JOB_STORE_URL set?"
        )
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _connected(url) as engine, _snapshot(engine) as connection:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                backup = _write(connection, file, report)
                file.flush()
                os.fsync(file.fileno())
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise BackupUnusable(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return backup


def _write(connection: Connection, file: IO[bytes], report: Report) -> Backup:
    found = connection.execute(select(func.max(VERSIONS.c.version))).scalar()
    if found != SCHEMA_VERSION:
        raise BackupUnusable(
            f"The store has schema {found}, this version knows {SCHEMA_VERSION}. Use the version of the platform that "
            "wrote it, or start this one once."
        )
    total = sum(int(connection.execute(select(func.count()).select_from(table)).scalar() or 0) for table in _TABLES)
    columns = {table.name: table.c.keys() for table in _TABLES}
    header = {"taken": time.time(), "schema": found, "version": VERSION, "columns": columns}
    digest = hashlib.sha256()
    counts: dict[str, int] = {}
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as archive:

        def put(value: Any) -> None:
            line = json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
            digest.update(line)
            archive.write(line)

        put({"format": FORMAT, "format_version": FORMAT_VERSION, **header})
        for table in _TABLES:
            counts[table.name] = 0
            rows = connection.execution_options(yield_per=_ROWS).execute(select(table).order_by(table.c.seq))
            for row in rows:
                put([table.name, *row])
                counts[table.name] += 1
                if sum(counts.values()) % _ROWS == 0:
                    report(sum(counts.values()), total)
        put({"rows": counts, "sha256": digest.hexdigest()})
    report(total, total)
    return Backup(**header, rows=counts)


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """Yield a connection with a snapshot of the store; writers are not blocked."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # The driver does not begin a transaction for reads.
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")
        return
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        yield connection


@contextmanager
def platform_down(folder: Path) -> Iterator[None]:
    """Hold the supervisor's lock of a home, so that the platform is not started meanwhile.

    Args:
        folder: the platform's home.

    Raises:
        BackupUnusable: the platform is up.
    """
    with if_free(folder) as owner:
        if owner is not None:
            raise BackupUnusable("The platform is up. Stop it first:  pixyz down")
        yield


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_backup(source: Path, report: Report = lambda done, total: None) -> Backup:
    """Read and check a whole backup; return its header.

    Args:
        source: the file.
        report: told how many bytes of the file are done, and how many there are.

    Raises:
        BackupUnusable: it is not a backup, is damaged or incomplete, or a newer version wrote it.
    """
    lines = _lines(source, report)
    header = next(lines, None)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BackupUnusable(f"{source} is not a backup of a job store: `pixyz backup FILE` writes one.")
    if header.get("format_version") != FORMAT_VERSION or not 1 <= _whole(header.get("schema")) <= SCHEMA_VERSION:
        raise BackupUnusable(
            f"{source} was written by version {header.get('version')} (format {header.get('format_version')}, schema "
            f"{header.get('schema')}); this one reads format {FORMAT_VERSION}, schemas up to {SCHEMA_VERSION}. Upgrade."
        )
    known = {table.name: set(table.c.keys()) for table in _TABLES}
    columns = header.get("columns")
    if not isinstance(columns, dict) or columns.keys() != known.keys():
        raise BackupUnusable(f"{source} is damaged: its header does not name the tables.")
    if unknown := [name for table, names in columns.items() for name in names if name not in known[table]]:
        raise BackupUnusable(f"{source} has columns that this version does not know: {', '.join(unknown)}. Upgrade.")
    counts = dict.fromkeys(known, 0)
    for line in lines:
        if isinstance(line, dict):
            if line["rows"] != counts:
                raise BackupUnusable(f"{source} is damaged: it has {counts} rows instead of {line['rows']}.")
            fields = {name: header[name] for name in ("taken", "schema", "version", "columns")}
            return Backup(**fields, rows=counts)
        if not isinstance(line, list) or line[:1] == [] or len(line) - 1 != len(columns.get(line[0], ())):
            raise BackupUnusable(f"{source} is damaged: a row does not have the columns of its table.")
        counts[line[0]] += 1
    raise BackupUnusable(f"{source} is incomplete: its end is missing. Take another backup.")


def _rows(source: Path, backup: Backup) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (table, values) of a backup that was read before."""
    for line in _lines(source):
        if isinstance(line, list):
            yield line[0], dict(zip(backup.columns[line[0]], line[1:], strict=True))


def _lines(source: Path, report: Report = lambda done, total: None) -> Iterator[Any]:
    """Yield the lines of a backup; the last one after its digest was checked.

    Raises:
        BackupUnusable: it is damaged or incomplete.
    """
    digest, ended = hashlib.sha256(), False
    total = source.stat().st_size
    try:
        with source.open("rb") as file, gzip.GzipFile(fileobj=file) as archive:
            while line := archive.readline(_MAX_LINE_BYTES):
                if ended:
                    raise BackupUnusable(f"{source} is damaged: something follows its end.")
                value = json.loads(line)
                if isinstance(value, dict) and "sha256" in value:
                    ended = True
                    if value["sha256"] != digest.hexdigest():
                        raise BackupUnusable(f"{source} is damaged: its digest is wrong. Use another backup.")
                digest.update(line)
                report(file.tell(), total)
                yield value
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise BackupUnusable(f"{source} is damaged, incomplete, or not a backup: {error}.") from error


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


# --- Restoring -------------------------------------------------------------------------------------------------------


def restore_backup(
    url: str,
    source: Path,
    *,
    force: bool = False,
    checked: Report = lambda done, total: None,
    report: Report = lambda done, total: None,
) -> tuple[Backup, int]:
    """Restore a backup in one transaction; return its header and the number of jobs replaced.

    The platform must be down. The whole file is checked before the store is touched.

    Args:
        url: SQLAlchemy URL of the store, which may be of another kind than the one that was backed up.
        source: the backup.
        force: whether to replace the jobs of a store that is not empty.
        checked: told how many bytes of the file are checked.
        report: told how many rows are restored.

    Raises:
        BackupUnusable: the backup cannot be used, or the store is not empty.
        StoreUnusable: the store does not answer; it is unchanged.
    """
    backup = read_backup(source, checked)
    # A store of a newer version is refused here, before anything of it is replaced.
    open_database(url).dispose()
    with _connected(url) as engine, engine.begin() as connection:
        _check_unused(connection)
        replaced = int(connection.execute(select(func.count()).select_from(JOBS)).scalar() or 0)
        if replaced and not force:
            raise BackupUnusable(
                f"The job store {make_url(url)!r} has {replaced} jobs. Back it up, and replace them with --force."
            )
        for table in (*_TABLES, VERSIONS):
            connection.execute(delete(table))
        connection.execute(insert(VERSIONS), {"version": backup.schema})
        _insert(connection, source, backup, report)
        _continue_numbers(connection)
        migrate(connection)
    return backup, replaced


def _insert(connection: Connection, source: Path, backup: Backup, report: Report) -> None:
    total = sum(backup.rows.values())
    pending: dict[str, list[dict[str, Any]]] = {table.name: [] for table in _TABLES}
    for done, (name, values) in enumerate(_rows(source, backup), 1):
        pending[name].append(values)
        if len(pending[name]) == _ROWS:
            _put(connection, pending)
            report(done, total)
    _put(connection, pending)
    report(total, total)


def _put(connection: Connection, pending: Mapping[str, list[dict[str, Any]]]) -> None:
    for table in _TABLES:
        if pending[table.name]:
            connection.execute(insert(table), pending[table.name])
            pending[table.name].clear()


def _continue_numbers(connection: Connection) -> None:
    """Continue the sequence numbers after the restored rows; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        for table in _TABLES:
            highest = f"(SELECT COALESCE(MAX(seq), 0) + 1 FROM {table.name})"
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'seq'), {highest}, false)"))


def _check_unused(connection: Connection) -> None:
    """Refuse a PostgreSQL database with other connections: a platform on another machine may use it."""
    if connection.dialect.name != "postgresql":
        return
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    others = int(connection.execute(text(query + " AND backend_type = 'client backend'")).scalar() or 0)
    if others:
        raise BackupUnusable(
            f"{others} other connections use the database. Stop the platform that it belongs to:  pixyz down"
        )


@contextmanager
def _connected(url: str) -> Iterator[Engine]:
    try:
        engine = make_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise StoreUnusable(f"The job store {make_url(url)!r} cannot be read or written: {error}") from error


# --- The share -------------------------------------------------------------------------------------------------------


def compare_share(url: str, share: Path) -> tuple[int, int]:
    """Return the number of jobs without a folder on the share, and of folders without a job in the store.

    Raises:
        OSError: the share cannot be read.
    """
    there = {name for name in os.listdir(share) if is_uuid(name)}  # noqa: PTH208 - names are all that is wanted
    known, missing = set[str](), 0
    with _connected(url) as engine, engine.connect() as connection:
        for uuid, record in connection.execution_options(yield_per=_ROWS).execute(select(JOBS.c.uuid, JOBS.c.record)):
            if uuid in there:
                known.add(uuid)
            elif not _is_node(record):
                missing += 1
    return missing, len(there) - len(known)


def _is_node(record: str) -> bool:
    """Return whether a job is a node of a graph; not every node has a folder."""
    with suppress(ValueError, AttributeError, RecursionError):
        return json.loads(record).get("home") is not None
    return False


def _sync_folder(folder: Path) -> None:
    """Fsync a folder, so that a new name in it is durable; some file systems cannot."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
