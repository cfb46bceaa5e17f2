"""Checks of the job store for the operator; they change nothing.

`pixyz up` warns of an empty store with a share that has jobs; `pixyz doctor` names records that cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, inspect, make_url, select

from pixyz_ray.record_errors import UnreadableRecord
from pixyz_ray.retention import has_jobs
from pixyz_ray.setting_sources import Note
from pixyz_ray.settings import Settings
from pixyz_ray.store import StoreUnusable
from pixyz_ray.store_schema import GRAPHS, JOBS, connected
from pixyz_ray.stored import stored_graph, stored_job

_PORTION = 500


@dataclass(kw_only=True, slots=True)
class StoreReport:
    """Result of reading a store."""

    jobs: int = 0
    """Records of jobs that were read."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Jobs and graphs whose records cannot be read, by id, and why."""
    complete: bool = True
    """Whether all records were read within the time limit."""
    exists: bool = True
    """Whether there is a store; the first start makes one."""


def store_file(url: str) -> Path | None:
    """Return the file of a SQLite store; None for another database, or one in memory."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def check_store(url: str, patience_s: float) -> StoreReport:
    """Read the records of a store, newest first.

    Args:
        url: SQLAlchemy URL of the store.
        patience_s: seconds after which the rest is left unread.

    Raises:
        StoreUnusable: the store does not answer.
    """
    report = StoreReport()
    deadline = time.monotonic() + patience_s
    with _reading(url) as connection:
        report.exists = connection is not None
        for table, decode in ((JOBS, stored_job), (GRAPHS, stored_graph)):
            if connection is not None and _has(connection, table):
                _check_table(connection, table, decode, report, deadline)
    return report


def _check_table(
    connection: Connection, table: Table, decode: Callable[[Any], object], report: StoreReport, deadline: float
) -> None:
    query = select(table).order_by(table.c.seq.desc()).limit(_PORTION)
    rows = connection.execute(query).all()
    while rows:
        for row in rows:
            report.jobs += table is JOBS
            try:
                decode(row)
            except UnreadableRecord as error:
                report.unreadable[row.uuid] = str(error)
        if time.monotonic() > deadline:
            report.complete = False
            return
        rows = connection.execute(query.where(table.c.seq < rows[-1].seq)).all()


def store_notes(settings: Settings) -> list[Note]:
    """Return notes for the operator before a start; none if the store does not answer."""
    try:
        with _reading(settings.job_store_url) as connection:
            empty = (
                connection is None
                or not _has(connection, JOBS)
                or connection.execute(select(JOBS.c.seq).limit(1)).first() is None
            )
    except StoreUnusable:
        # The tracker reports that when it starts.
        return []
    if not (empty and has_jobs(settings.share_path)):
        return []
    return [
        Note(
            found=f"The job store is empty, but SHARE_PATH {settings.share_path} has folders of jobs. None is removed.",
            remedy="If the store was lost, restore it before new jobs come: pixyz down; pixyz restore FILE. "
            "Else remove the folders, or set another SHARE_PATH.",
        )
    ]


def _has(connection: Connection, table: Table) -> bool:
    """Return whether a table exists with all columns of this version; an older store is migrated at the start."""
    there = inspect(connection)
    if not there.has_table(table.name):
        return False
    return {column["name"] for column in there.get_columns(table.name)} >= set(table.c.keys())


@contextmanager
def _reading(url: str) -> Iterator[Connection | None]:
    """Yield a connection for reading; None if the store's file does not exist."""
    file = store_file(url)
    if file is not None and not file.is_file():
        yield None
        return
    with connected(url, "read") as engine, engine.connect() as connection:
        yield connection
