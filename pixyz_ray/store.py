"""JobStore: the durable record of every job. One process writes (the tracker); what it has committed survives it.

SQLite in WAL mode by default, PostgreSQL by URL. What a list shows has columns of its own, so that listing never
reads results.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Row, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from pixyz_ray.ended_jobs import EndedJobs
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.record_errors import UnknownJob, UnreadableRecord, unreadable
from pixyz_ray.storage import is_uuid
from pixyz_ray.store_errors import StoreFull, StoreRefused, StoreUnusable, first_line, shown_url
from pixyz_ray.store_fence import WAIT_S, StoreFenced, StoreInUse
from pixyz_ray.store_queries import (
    BY_UUID,
    DUE_BY_DELAY,
    DUE_BY_ITSELF,
    GRAPH,
    JOB,
    LISTED,
    LISTED_NAMES,
    LIVE,
    SEQ_OF,
    WAITING_JOBS,
)
from pixyz_ray.store_reader import Reader
from pixyz_ray.store_reserve import Reserve, is_full
from pixyz_ray.store_schema import GRAPHS, IMPATIENT_MS, JOBS, limit_statements, open_database
from pixyz_ray.store_writer import Writer
from pixyz_ray.stored import (
    NOT_READABLE,
    UNKNOWN_STATE,
    RecordReader,
    is_listed,
    is_waits,
    spoilt_item,
    stored_graph,
    stored_job,
)

__all__ = ["EndedJobs", "JobStore", "StoreFenced", "StoreFull", "StoreInUse", "StoreRefused", "StoreUnusable"]

T = TypeVar("T")

_MANY = 500
"""Ids in one query; databases bound the number of a statement's parameters."""
_STATES = frozenset(map(str, JobState))
_PORTION = 5000


class JobStore:
    """Job records in a database.

    Args:
        url: SQLAlchemy URL. A SQLite file's folder is made when it is missing.
        holder: name of the platform whose tracker writes; the store is claimed for it (see store_fence). None for a
            reader, or a store that nobody else uses.
        wait_s: seconds to wait for the tracker of another platform to disconnect.

    Raises:
        StoreUnusable: it cannot be opened, or a newer version of the platform wrote it.
    """

    def __init__(self, url: str, *, holder: str | None = None, wait_s: float = WAIT_S) -> None:
        self._url = make_url(url)
        self._records = RecordReader()
        self.unreadable = self._records.unreadable
        """Jobs and graphs whose records cannot be read, by id, and why; the records are left unchanged."""
        file = self._url.database if self._url.get_backend_name() == "sqlite" else None
        self._reserve = Reserve(Path(file) if file and file != ":memory:" else None)
        try:
            self._engine = self._open(url)
            limit_statements(self._engine)
            self._reader = Reader(self._engine, is_remote=self.is_remote)
            self._writer = _writer(self._engine)
            self._log = self._open_log()
            if self._log is not None:
                self._reader.set_pragma(f"busy_timeout={IMPATIENT_MS}")
        except SQLAlchemyError as error:
            raise StoreUnusable(
                f"The job store {shown_url(self._url)} cannot be opened: {first_line(error)}."
            ) from error
        self._reserve.keep()
        if holder is not None:
            self._claim(holder, wait_s)

    def _claim(self, holder: str, wait_s: float) -> None:
        try:
            self._writer.claim(holder, wait_s)
        except StoreInUse:
            self.close()
            raise
        except self._writer.errors as error:
            self.close()
            raise StoreUnusable(
                f"The job store {shown_url(self._url)} cannot be claimed: {first_line(error)}."
            ) from error

    def _open(self, url: str) -> Engine:
        """Open the database; if its disk is full, release the reserve and try again."""
        try:
            return open_database(url)
        except StoreUnusable as error:
            cause = error.__cause__
            if cause is None or not self._reserve.make_room(cause):
                raise
        return open_database(url)

    def close(self) -> None:
        """Close the database."""
        if self._log is not None:
            os.close(self._log)
        self._writer.close()
        self._reader.close()
        self._engine.dispose()

    def write(self, jobs: Iterable[Job], graphs: Iterable[Graph] = (), ended_graphs: Iterable[str] = ()) -> None:
        """Add or change jobs, and graphs, in one transaction. When it returns, no death of a process can take it back.

        Raises:
            StoreRefused: one of the rows cannot be written; none was.
            StoreUnusable: nothing was written; after a lost connection, that is not certain.
        """
        jobs, graphs, ended_graphs = list(jobs), list(graphs), list(ended_graphs)
        self._change(lambda: self._writer.write(jobs, graphs, ended_graphs))

    def take_back(self, jobs: Iterable[Job], graphs: Iterable[Graph] = ()) -> None:
        """Make sure that new jobs and graphs are not in the store, after a write whose outcome is unknown.

        Raises:
            StoreUnusable: it is still not known.
        """
        self._change(lambda: self._writer.take_back(jobs, graphs))

    def ping(self) -> None:
        """Write a statement that changes nothing, to test the store.

        Raises:
            StoreUnusable: the store takes no changes now.
        """
        self._change(self._writer.ping)

    @property
    def is_remote(self) -> bool:
        """Whether the database is a server, which may not answer, rather than a file."""
        return self._url.get_backend_name() != "sqlite"

    def cut_off_writer(self) -> None:
        """Abort a write of another thread by closing its connection to a server; the next write reconnects."""
        self._writer.cut_off()

    def cut_off_reader(self) -> None:
        """Abort a read of another thread by closing its connection to a server; the next read reconnects."""
        self._reader.cut_off()

    def unanswered_s(self, *, writing: bool) -> float:
        """Return for how many seconds the current statement of the writer, or of the reader, has been running."""
        since = self._writer.busy_since if writing else self._reader.busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _change(self, work: Callable[[], T]) -> T:
        """Change the store; if its disk is full, release the reserve and try again."""
        try:
            return work()
        except self._writer.errors as error:
            if not self._reserve.make_room(error):
                raise self._trouble(error) from error
        try:
            return work()
        except self._writer.errors as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> StoreUnusable | StoreRefused:
        """Return the platform's error for a driver error in a change."""
        if is_full(error):
            return StoreFull(f"The disk of the job store is full: {first_line(error)}.")
        kind = StoreRefused if self._writer.is_refusal(error) else StoreUnusable
        return kind(f"The job store did not take a change: {first_line(error)}.")

    # --- A full disk -------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether its disk was full at the last check."""
        return self._reserve.is_missing

    def room_problem(self) -> str | None:
        """Return a message if the store's disk is full, or None."""
        return self._reserve.problem(self._trim_log)

    def _trim_log(self) -> None:
        """Truncate SQLite's write-ahead log to free disk space."""
        with suppress(SQLAlchemyError, StoreUnusable):
            self._reader.set_pragma("wal_checkpoint(TRUNCATE)")

    @property
    def needs_sync(self) -> bool:
        """Whether a commit may be lost in a power cut until `sync` returns; a server fsyncs each commit itself."""
        return self._log is not None

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
        """Return one job, or None.

        Raises:
            UnreadableRecord: its record cannot be read.
        """
        rows = self._reader.read(BY_UUID, {"key": uuid})
        return self._records.read(stored_job, rows[0]) if rows else None

    def live(self) -> list[Job]:
        """Return the readable jobs that have not ended and do not wait to be given to Ray, oldest first."""
        if unknown := self.counts().keys() - _STATES:
            # The query for those that have not ended does not find these.
            self._records.read_all(stored_job, self._reader.read(select(*JOB).where(JOBS.c.state.in_(unknown))))
        return self._records.read_all(stored_job, self._reader.read(LIVE.order_by(JOBS.c.seq)))

    def waiting(self) -> Iterator[tuple[str, float, str]]:
        """Yield (id, when it was requested, `Job.waits`) of the jobs that wait to be given to Ray, oldest first."""
        after = -1
        while rows := self._reader.read(WAITING_JOBS.where(JOBS.c.seq > after).limit(_PORTION)):
            yield from ((row.uuid, row.requested, waits) for row in rows if (waits := self._waits(row)) is not None)
            after = rows[-1].seq

    def _waits(self, row: Row[Any]) -> str | None:
        """Return a job's `waits` from its column, else from its record; None if neither can be read."""
        if is_waits(row.waits):
            return str(row.waits)
        try:
            job = self.get(row.uuid)
        except UnreadableRecord:
            return None
        return None if job is None else job.waits

    def expired(self, now: float, delay_s: float, limit: int) -> list[str]:
        """Return jobs that may be removed: ended long enough ago, with all that they started, and not kept for longer.

        Args:
            now: seconds since the epoch.
            delay_s: how long a job is kept that says nothing of it.
            limit: how many at most.
        """
        found = [row.uuid for row in self._reader.read(DUE_BY_DELAY, {"time": now - delay_s, "limit": limit})]
        if len(found) < limit:
            found += [row.uuid for row in self._reader.read(DUE_BY_ITSELF, {"time": now, "limit": limit - len(found)})]
        return found

    def nodes_under(self, root: str) -> list[str]:
        """Return the nodes of all graphs that a job started, itself or through what it started.

        Raises:
            UnreadableRecord: the nodes of one of the graphs cannot be read.
        """
        return [
            id
            for row in self._reader.read(GRAPH.where(GRAPHS.c.root == root))
            for id in self._records.read(_node_ids, row)
        ]

    def has_live_graphs(self, root: str) -> bool:
        """Return whether something lives that a job started, itself or through what it started."""
        return bool(
            self._reader.read(select(GRAPHS.c.seq).where(GRAPHS.c.root == root, GRAPHS.c.ended.is_(False)).limit(1))
        )

    def forget(self, uuids: Sequence[str], root: str | None = None) -> dict[str, int]:
        """Remove jobs, at most some hundreds, in one transaction; return how many there were in each state.

        Args:
            uuids: the jobs.
            root: job whose graphs are removed too; last, since they tell which nodes are left to remove.

        Raises:
            StoreUnusable: nothing was removed.
        """
        return dict(Counter(self._change(lambda: self._writer.forget(uuids, root))))

    def get_many(self, uuids: Sequence[str]) -> dict[str, Job]:
        """Return the jobs that exist and can be read, by id."""
        found: dict[str, Job] = {}
        for start in range(0, len(uuids), _MANY):
            some = JOBS.c.uuid.in_(uuids[start : start + _MANY])
            rows = self._reader.read(select(*JOB).where(some))
            found.update((job.uuid, job) for job in self._records.read_all(stored_job, rows))
        return found

    def known(self, uuids: Sequence[str]) -> list[str]:
        """Return those ids that are a job's already."""
        found: list[str] = []
        for start in range(0, len(uuids), _MANY):
            rows = self._reader.read(select(JOBS.c.uuid).where(JOBS.c.uuid.in_(uuids[start : start + _MANY])))
            found.extend(row.uuid for row in rows)
        return found

    def graph(self, uuid: str) -> Graph:
        """Return one graph.

        Raises:
            UnknownJob: there is no graph with that id.
            UnreadableRecord: its record cannot be read.
        """
        rows = self._reader.read(GRAPH.where(GRAPHS.c.uuid == uuid))
        if not rows:
            raise UnknownJob(f"There is no graph {uuid}.")
        return self._records.read(stored_graph, rows[0])

    def live_graphs(self) -> list[Graph]:
        """Return the graphs that have not ended, oldest first, without unreadable ones."""
        return self._read_graphs(GRAPHS.c.ended.is_(False))

    def graphs_of(self, parent: str) -> list[Graph]:
        """Return the graphs that a job's script started, oldest first, without unreadable ones."""
        return self._read_graphs(GRAPHS.c.parent == parent)

    def graphs_under(self, root: str) -> list[Graph]:
        """Return the readable graphs that a job started, itself or through what it started, oldest first."""
        return self._read_graphs(GRAPHS.c.root == root)

    def _read_graphs(self, which: ColumnElement[bool]) -> list[Graph]:
        return self._records.read_all(stored_graph, self._reader.read(GRAPH.where(which)))

    # --- The list of jobs --------------------------------------------------------------------------------------------

    def page(self, *, state: JobState | None, limit: int, after: str | None) -> list[dict[str, Any]]:
        """Return items of the list of jobs, newest first.

        Args:
            state: only jobs in this state.
            limit: how many at most.
            after: only jobs older than this one; an unknown id gives an empty page.
        """
        before = None if after is None else self.place_of(after)
        if after is not None and before is None:
            return []
        return self.portion(state=state, limit=limit, before=before)[0]

    def portion(
        self, *, state: JobState | None, limit: int, before: int | None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return items of the list of jobs, newest first, and the place of the last one; None when there is none.

        Places stay what they are, whatever is added, changed or removed between two portions.

        Args:
            state: only jobs in this state.
            limit: how many at most.
            before: only jobs at places before this one.
        """
        query = LISTED.limit(limit)
        if state is not None:
            query = query.where(JOBS.c.state == str(state))
        if before is not None:
            query = query.where(JOBS.c.seq < before)
        rows = self._reader.read(query)
        items: list[dict[str, Any]] = [dict(zip(LISTED_NAMES, row[1:], strict=True)) for row in rows]
        for item in items:
            if item["status"] not in _STATES:
                error = unreadable("job", item["uuid"], UNKNOWN_STATE.format(item["status"]))
                item |= {"status": str(JobState.FAILURE), "error": str(error)}
            elif item["uuid"] in self.unreadable:
                item["error"] = str(self.unreadable[item["uuid"]])
            if not is_listed(item):
                item |= spoilt_item(item)
        return items, rows[-1].seq if rows else None

    def place_of(self, uuid: str) -> int | None:
        """Return a job's place in the order in which jobs came, or None when it is unknown."""
        found = self._reader.read(SEQ_OF, {"key": uuid})
        return int(found[0].seq) if found else None

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        rows = self._reader.read(select(JOBS.c.state, func.count()).group_by(JOBS.c.state))
        return {str(state): int(count) for state, count in (tuple(row) for row in rows)}

    def _open_log(self) -> int | None:
        """Return a descriptor of SQLite's write-ahead log; None for a database that syncs each commit by itself."""
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            return None
        return os.open(f"{self._url.database}-wal", os.O_RDWR)


def _writer(engine: Engine) -> Writer:
    """Return the writer for a database: psycopg's pipelines, or any driver."""
    if engine.dialect.driver != "psycopg":
        return Writer(engine)
    from pixyz_ray.store_pipeline import PipelineWriter

    return PipelineWriter(engine)


def _node_ids(row: Any) -> list[str]:
    """Return the ids of a graph's nodes; works for graphs of older versions too, so that they can be removed."""
    try:
        ids = [node["id"] for node in json.loads(row.record)["nodes"]]
        if not all(is_uuid(id) for id in ids):
            raise ValueError("a node's id is no UUID")
    except NOT_READABLE as error:
        raise unreadable("graph", row.uuid, error) from error
    return ids
