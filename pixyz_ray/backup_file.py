"""The file of a backup of the job store, and its reading. Nothing in it is believed before all of it was read.

It is gzip of JSON lines: a header with format, schema and columns; a line per row; a last line with the number of rows
of each table and the SHA-256 of all lines before it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from pixyz_ray.store_errors import storable
from pixyz_ray.store_schema import GRAPHS, JOBS, SCHEMA_VERSION
from pixyz_worker.exception import PixyzException

FORMAT = "pixyz-backup"
FORMAT_VERSION = 1
TABLES: Sequence[Table] = (JOBS, GRAPHS)
_MAX_LINE_BYTES = 1 << 30
_MAX_INTEGER = 1 << 63
Report = Callable[[int, int], None]
"""Told how many rows are done, and how many there are."""


class BackupUnusable(PixyzException):
    """A backup cannot be made or restored; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backup:
    """What a backup is of."""

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


def read_backup(source: Path, report: Report = lambda done, total: None) -> Backup:
    """Return what a backup is of, after reading all of it.

    Args:
        source: the file.
        report: told how many bytes of the file are done, and how many there are.

    Raises:
        BackupUnusable: it is no backup, is damaged or not whole, or a newer version wrote it.
    """
    lines = _lines(source, report)
    header = _checked_header(source, next(lines, None))
    counts = dict.fromkeys(header["columns"], 0)
    end: dict[str, Any] | None = None
    for line in lines:
        if isinstance(line, dict):
            # Not the time to return: that nothing follows is seen by reading on.
            end = line
        elif _is_row(line, header["columns"]):
            counts[line[0]] += 1
        else:
            raise BackupUnusable(f"{source} is damaged: a row has not the columns of its table.")
    if end is None:
        raise BackupUnusable(f"{source} is not whole: its end is missing. Take another backup.")
    if end.get("rows") != counts:
        raise BackupUnusable(f"{source} is damaged: it has {counts} rows instead of {end.get('rows')}.")
    return Backup(**{name: header[name] for name in ("taken", "schema", "version", "columns")}, rows=counts)


def backup_rows(source: Path, backup: Backup) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (table, values) of a backup that was read before; texts are such as every database takes."""
    for line in _lines(source):
        if isinstance(line, list):
            values = (storable(value) if isinstance(value, str) else value for value in line[1:])
            yield line[0], dict(zip(backup.columns[line[0]], values, strict=True))


def _checked_header(source: Path, header: Any) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BackupUnusable(f"{source} is not a backup of a job store: `pixyz backup FILE` writes one.")
    if header.get("format_version") != FORMAT_VERSION or not 1 <= _whole(header.get("schema")) <= SCHEMA_VERSION:
        raise BackupUnusable(
            f"{source} was written by version {header.get('version')} (format {header.get('format_version')}, schema "
            f"{header.get('schema')}); this one reads format {FORMAT_VERSION}, schemas up to {SCHEMA_VERSION}. Upgrade."
        )
    known = {table.name: set(table.c.keys()) for table in TABLES}
    columns = header.get("columns")
    if not isinstance(columns, dict) or columns.keys() != known.keys() or not all(map(_are_names, columns.values())):
        raise BackupUnusable(f"{source} is damaged: its header does not name the tables and their columns.")
    if unknown := [name for table, names in columns.items() for name in names if name not in known[table]]:
        raise BackupUnusable(f"{source} has columns that this version does not know: {', '.join(unknown)}. Upgrade.")
    if not _is_time(header.get("taken")) or not isinstance(header.get("version"), str):
        raise BackupUnusable(f"{source} is damaged: its header does not say when it was taken, and by which version.")
    return header


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _is_time(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return False
    return True


def _is_row(line: Any, columns: Mapping[str, Sequence[str]]) -> bool:
    if not isinstance(line, list) or not line or not isinstance(line[0], str) or line[0] not in columns:
        return False
    return len(line) - 1 == len(columns[line[0]]) and all(map(_is_value, line[1:]))


def _is_value(value: Any) -> bool:
    """Return whether a column of a database can have a value."""
    if isinstance(value, int):
        return -_MAX_INTEGER <= value < _MAX_INTEGER
    return value is None or isinstance(value, str | float)


def _lines(source: Path, report: Report = lambda done, total: None) -> Iterator[Any]:
    """Yield the lines of a backup, the last one once its digest is found right.

    Raises:
        BackupUnusable: it cannot be read, is damaged or not whole.
    """
    digest, first, ended = hashlib.sha256(), True, False
    try:
        if not source.is_file():
            raise BackupUnusable(f"{source} is not a file.")
        total = source.stat().st_size
        with source.open("rb") as file, gzip.GzipFile(fileobj=file) as archive:
            while line := archive.readline(_MAX_LINE_BYTES):
                if ended:
                    raise BackupUnusable(f"{source} is damaged: something follows its end.")
                value = json.loads(line)
                if isinstance(value, dict) and not first:
                    ended = True
                    if value.get("sha256") != digest.hexdigest():
                        raise BackupUnusable(f"{source} is damaged: its digest is wrong. Use another backup.")
                first = False
                digest.update(line)
                report(file.tell(), total)
                yield value
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise BackupUnusable(f"{source} is damaged, not whole, or no backup: {error}.") from error
    except OSError as error:
        raise BackupUnusable(f"{source} cannot be read: {error.strerror or error}.") from error


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
