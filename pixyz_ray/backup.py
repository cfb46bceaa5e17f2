"""Backup and restore of the job store: one file for SQLite and PostgreSQL alike, and from one to the other.

The format of the file is that of backup_file.py. Rows are read in one transaction that sees one moment, so
that every job that was accepted before is in it, while the platform goes on. The files of jobs are not in it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Column, Connection, Engine, delete, func, insert, select, text

from pixyz_ray.backup_file import (
    FORMAT,
    FORMAT_VERSION,
    TABLES,
    Backup,
    BackupUnusable,
    Report,
    backup_rows,
    read_backup,
)
from pixyz_ray.storage import is_uuid
from pixyz_ray.store_check import store_file
from pixyz_ray.store_errors import shown_url
from pixyz_ray.store_schema import JOBS, SCHEMA_VERSION, VERSIONS, connected, migrate, open_database
from pixyz_ray.supervisor_lock import if_free
from pixyz_ray.version import VERSION

_ROWS = 500


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
    _check_target(target)
    if target.exists() and not force:
        raise BackupUnusable(f"{target} exists already. Choose another name, or replace it with --force.")
    source = store_file(url)
    if source is not None and not source.is_file():
        raise BackupUnusable(
            f"There is no job store at {source}: nothing to back up. Is PIXYZ_HOME or JOB_STORE_URL set?"
        )
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with connected(url, "read or written") as engine, _snapshot(engine) as connection:
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


def _check_target(target: Path) -> None:
    """Refuse to put a file in place of a device, a FIFO or a folder: nobody means that by --force."""
    try:
        kind = target.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(kind):
        raise BackupUnusable(f"{target} is not a file. Name a file; to send it elsewhere, copy it from there.")


def _write(connection: Connection, file: IO[bytes], report: Report) -> Backup:
    found = connection.execute(select(func.max(VERSIONS.c.version))).scalar()
    if found != SCHEMA_VERSION:
        raise BackupUnusable(
            f"The store has schema {found}, this version knows {SCHEMA_VERSION}. Use the version of the platform that "
            "wrote it, or start this one once."
        )
    total = sum(int(connection.execute(select(func.count()).select_from(table)).scalar() or 0) for table in TABLES)
    columns = {table.name: table.c.keys() for table in TABLES}
    header = {"taken": time.time(), "schema": found, "version": VERSION, "columns": columns}
    digest = hashlib.sha256()
    counts: dict[str, int] = {}
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as archive:

        def put(value: Any) -> None:
            line = json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
            digest.update(line)
            archive.write(line)

        put({"format": FORMAT, "format_version": FORMAT_VERSION, **header})
        for table in TABLES:
            counts[table.name] = 0
            rows = connection.execution_options(yield_per=_ROWS).execute(select(table).order_by(table.c.seq))
            for row in rows:
                put([table.name, *map(_cell, table.c, row)])
                counts[table.name] += 1
                if sum(counts.values()) % _ROWS == 0:
                    report(sum(counts.values()), total)
        put({"rows": counts, "sha256": digest.hexdigest()})
    report(total, total)
    return Backup(**header, rows=counts)


def _cell(column: Column[Any], value: Any) -> Any:
    """Return a value of a row as any database takes it; a damaged one must not keep all others from being restored."""
    kind = column.type.python_type
    if value is None or isinstance(value, kind) or (kind is float and isinstance(value, int)):
        return value
    if kind is str:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return None if column.nullable else kind(0)


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
    with connected(url, "read or written") as engine, engine.begin() as connection:
        _check_unused(connection)
        replaced = int(connection.execute(select(func.count()).select_from(JOBS)).scalar() or 0)
        if replaced and not force:
            raise BackupUnusable(
                f"The job store {shown_url(url)} has {replaced} jobs. Back it up, and replace them with --force."
            )
        for table in (*TABLES, VERSIONS):
            connection.execute(delete(table))
        connection.execute(insert(VERSIONS), {"version": backup.schema})
        _insert(connection, source, backup, report)
        _continue_numbers(connection)
        migrate(connection)
    return backup, replaced


def _insert(connection: Connection, source: Path, backup: Backup, report: Report) -> None:
    total = sum(backup.rows.values())
    pending: dict[str, list[dict[str, Any]]] = {table.name: [] for table in TABLES}
    for done, (name, values) in enumerate(backup_rows(source, backup), 1):
        pending[name].append(values)
        if len(pending[name]) == _ROWS:
            _put(connection, pending)
            report(done, total)
    _put(connection, pending)
    report(total, total)


def _put(connection: Connection, pending: Mapping[str, list[dict[str, Any]]]) -> None:
    for table in TABLES:
        if pending[table.name]:
            connection.execute(insert(table), pending[table.name])
            pending[table.name].clear()


def _continue_numbers(connection: Connection) -> None:
    """Continue the sequence numbers after the restored rows; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        for table in TABLES:
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


# --- The share -------------------------------------------------------------------------------------------------------


def compare_share(url: str, share: Path) -> tuple[int, int]:
    """Return the number of jobs without a folder on the share, and of folders without a job in the store.

    Raises:
        OSError: the share cannot be read.
    """
    there = {name for name in os.listdir(share) if is_uuid(name)}  # noqa: PTH208 - names are all that is wanted
    known, missing = set[str](), 0
    with connected(url, "read or written") as engine, engine.connect() as connection:
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
