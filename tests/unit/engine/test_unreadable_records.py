"""Records that cannot be read: each is the trouble of one job, and never of the store, the list or the start."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_ray.backup import restore_backup, take_backup
from pixyz_ray.cluster.errors import decode_error, encode_error
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.record_errors import UnknownJob, UnreadableRecord
from pixyz_ray.store import EndedJobs, JobStore, StoreUnusable
from pixyz_ray.store_check import check_store
from pixyz_worker.wire import VERSION


def make_job(**changes: Any) -> Job:
    """Return a job that runs."""
    job = Job(uuid=str(uuid4()), name="job", process="custom", script="job.py", state=JobState.RUNNING)
    return replace(job, **changes)


def make_graph(parent: str) -> Graph:
    """Return a graph of one node."""
    node = str(uuid4())
    plain = {"version": VERSION, "calls": [], "nodes": [{"id": node}], "end": node, "parents": {}}
    return Graph(node, parent, parent, plain)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "jobs.db"


@pytest.fixture
def store(file: Path) -> Iterator[JobStore]:
    """An empty store."""
    with closing(JobStore(f"sqlite:///{file}")) as store:
        yield store


def spoil(file: Path, uuid: str, table: str = "jobs", **columns: Any) -> None:
    """Write values into a row, past the platform."""
    names = ", ".join(f"{name} = ?" for name in columns)
    with closing(sqlite3.connect(file)) as connection, connection:
        done = connection.execute(f"UPDATE {table} SET {names} WHERE uuid = ?", (*columns.values(), uuid))
        assert done.rowcount == 1


def record_of(file: Path, uuid: str) -> dict[str, Any]:
    """Return a job's record as it is stored."""
    with closing(sqlite3.connect(file)) as connection:
        return dict(json.loads(connection.execute("SELECT record FROM jobs WHERE uuid = ?", (uuid,)).fetchone()[0]))


SPOILT: dict[str, Any] = {
    "no JSON": "{",
    "no object": "[1, 2]",
    "a number": "7",
    "nested": "[" * 100_000,
    "without its name": {"name": None},
    "of another job": {"uuid": str(uuid4())},
    "with an unknown state": {"state": "PAUSED"},
    "with a kind of later": {"kind": "batch"},
    "with a field of later": {"colour": "red"},
    "with a limit that is no number": {"time_limit": "soon"},
    "with a policy of later": {"policy": {"priority": "urgent"}},
    "with a broken attempt": {"attempts": [{"number": 1}]},
    "with broken steps": {"steps": [["one"]]},
}


@pytest.mark.parametrize("how", SPOILT)
def test_given_one_spoilt_record_when_all_are_read_then_the_others_come_and_it_is_named(
    store: JobStore, file: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given two jobs that run and one of them spoilt, when they are read, then the other comes; the log names it."""
    good, bad = make_job(), make_job()
    store.write([bad, good])
    change = SPOILT[how]
    if isinstance(change, dict):
        kept = {name: value for name, value in record_of(file, bad.uuid).items() if change.get(name, "") is not None}
        change = json.dumps({**kept, **{name: value for name, value in change.items() if value is not None}})
    spoil(file, bad.uuid, record=change)
    with caplog.at_level(logging.ERROR):
        assert store.live() == [good]
        assert store.live() == [good]
    assert [bad.uuid in line.getMessage() for line in caplog.records] == [True]
    assert store.get_many([bad.uuid, good.uuid]) == {good.uuid: good}
    with pytest.raises(UnreadableRecord, match=bad.uuid):
        store.get(bad.uuid)
    listed = {item["uuid"]: item for item in store.page(state=None, limit=10, after=None)}
    assert "cannot be read" in listed[bad.uuid]["error"]
    assert listed[good.uuid]["error"] is None


def test_given_an_unknown_state_in_its_column_when_jobs_are_listed_then_it_is_a_failure_that_says_so(
    store: JobStore, file: Path
) -> None:
    """Given a row in a state of a later version, when all are listed or counted, then nothing stops."""
    good, bad = make_job(), make_job()
    store.write([bad, good])
    spoil(file, bad.uuid, state="PAUSED")
    assert store.live() == [good]
    assert bad.uuid in store.unreadable
    with pytest.raises(UnreadableRecord, match="PAUSED"):
        store.get(bad.uuid)
    item = next(item for item in store.page(state=None, limit=10, after=None) if item["uuid"] == bad.uuid)
    assert item["status"] == "FAILURE"
    assert "'PAUSED'" in item["error"]
    with closing(EndedJobs(f"sqlite:///{file}")) as ended:
        assert ended.state(bad.uuid) is None


@pytest.mark.parametrize("value", ["CAST(x'7bff' AS TEXT)", "x'7bff'"])
@pytest.mark.parametrize("column", ["record", "result", "state", "name", "alias", "error", "progress", "stopped"])
def test_given_bytes_that_are_no_text_in_a_row_when_anything_is_read_then_the_others_come(
    store: JobStore, file: Path, column: str, value: str
) -> None:
    """Given a flipped bit in a column, when jobs are listed, read, checked or backed up, then the others come."""
    good, bad = make_job(result=1), make_job(result=1)
    store.write([bad, good])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE jobs SET {column} = {value} WHERE uuid = ?", (bad.uuid,))
    assert good in store.live()
    assert good in store.get_many([bad.uuid, good.uuid]).values()
    items = store.page(state=None, limit=10, after=None)
    assert {item["uuid"] for item in items} == {good.uuid, bad.uuid}
    json.dumps(items)
    url = f"sqlite:///{file}"
    assert check_store(url, 10).jobs == 2
    take_backup(url, file.with_name("backup.gz"))
    other = file.with_name("other.db")
    assert restore_backup(f"sqlite:///{other}", file.with_name("backup.gz"))[0].jobs == 2
    with closing(JobStore(f"sqlite:///{other}")) as restored:
        assert restored.get(good.uuid) == good
        if column in {"record", "result", "state"}:
            with pytest.raises(UnreadableRecord, match=bad.uuid):
                restored.get(bad.uuid)


@pytest.mark.parametrize(
    "waits", ["", "{", "[]", '["cpu", "local", "high", [], null]', '["cpu", "local", 1, [1], null]']
)
def test_given_a_spoilt_place_in_line_when_it_is_read_then_the_record_says_it(
    store: JobStore, file: Path, waits: str
) -> None:
    """Given `waits` that make no sense, when those that wait are read, then it is taken from the record."""
    jobs = [make_job(state=JobState.PENDING) for _ in range(3)]
    store.write(jobs)
    spoil(file, jobs[0].uuid, waits=waits)
    spoil(file, jobs[1].uuid, waits=waits, record="{")
    assert [(uuid, text) for uuid, _, text in store.waiting()] == [
        (jobs[0].uuid, jobs[0].waits),
        (jobs[2].uuid, jobs[2].waits),
    ]


def test_given_a_retry_with_a_pause_when_its_place_is_read_then_it_comes_from_the_column(
    store: JobStore, file: Path
) -> None:
    """Given a job that waits for its retry, when those that wait are read, then its record is not needed for that."""
    attempt = Attempt(number=1, queue="cpu", stopped=100.0)
    job = make_job(state=JobState.RETRY, attempts=(attempt,), not_before=130.0)
    store.write([job])
    spoil(file, job.uuid, record="{")
    assert [(uuid, text) for uuid, _, text in store.waiting()] == [(job.uuid, job.waits)]


@pytest.mark.parametrize("record", ["{", "[]", '{"version": 1}', '{"version": 999, "calls": [], "nodes": []}'])
def test_given_a_spoilt_graph_when_graphs_are_read_then_the_others_come(
    store: JobStore, file: Path, record: str
) -> None:
    """Given two graphs and one of them spoilt, when they are read, then the other comes."""
    parent = make_job()
    good, bad = make_graph(parent.uuid), make_graph(parent.uuid)
    store.write([parent], [bad, good])
    spoil(file, bad.uuid, "graphs", record=record)
    for found in (store.live_graphs(), store.graphs_of(parent.uuid), store.graphs_under(parent.uuid)):
        assert [graph.uuid for graph in found] == [good.uuid]
    with pytest.raises(UnreadableRecord, match=bad.uuid):
        store.graph(bad.uuid)
    with pytest.raises(UnknownJob, match="no graph"):
        store.graph(str(uuid4()))


def test_given_spoilt_records_when_a_store_of_an_older_version_is_opened_then_the_rest_is_migrated(file: Path) -> None:
    """Given a store of version 2 with a record that is no JSON, when it is opened, then the other job has its names."""
    good, bad = make_job(state=JobState.SUCCESS), make_job(state=JobState.SUCCESS)
    with closing(JobStore(f"sqlite:///{file}")) as store:
        store.write([bad, good])
    spoil(file, bad.uuid, record="{", script=None)
    spoil(file, good.uuid, script=None, stopped=None)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = 2")
    with closing(JobStore(f"sqlite:///{file}")) as store:
        listed = {item["uuid"]: item for item in store.page(state=None, limit=10, after=None)}
    assert listed[good.uuid]["script"] == "job.py"
    assert listed[bad.uuid]["script"] is None


def test_given_a_damaged_page_when_anything_is_asked_then_it_is_said_what_to_do_and_that_works(file: Path) -> None:
    """Given a store of SQLite with a page overwritten, when it is used, then the error says how to restore a backup."""
    backup, jobs = file.with_name("backup.gz"), [make_job(result="x" * 500) for _ in range(200)]
    with closing(JobStore(f"sqlite:///{file}")) as store:
        store.write(jobs)
    take_backup(f"sqlite:///{file}", backup)
    with file.open("r+b") as database:
        for page in range(3, file.stat().st_size // 4096):
            database.seek(4096 * page)
            database.write(b"\xa5" * 4096)
    damaged = r"damaged: stop the platform.*pixyz restore"
    with pytest.raises(StoreUnusable, match=damaged), closing(JobStore(f"sqlite:///{file}")) as spoilt:
        spoilt.get_many([job.uuid for job in jobs])
    with pytest.raises(StoreUnusable, match=damaged):
        check_store(f"sqlite:///{file}", 10)
    with pytest.raises(StoreUnusable, match=damaged):
        take_backup(f"sqlite:///{file}", file.with_name("other.gz"))
    with pytest.raises(StoreUnusable, match=damaged):
        restore_backup(f"sqlite:///{file}", backup, force=True)
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    assert restore_backup(f"sqlite:///{file}", backup)[0].jobs == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    record=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["uuid", "name", "state", "steps", "policy", "attempts", "x"]), inner)
        ),
    )
)
def test_given_any_json_as_a_record_when_it_is_read_then_nothing_but_an_unreadable_record_comes_of_it(
    store: JobStore, file: Path, record: Any
) -> None:
    """Given any JSON in place of a record, when jobs are read, then that job alone is not there."""
    job = make_job()
    store.write([job])
    spoil(file, job.uuid, record=json.dumps(record))
    with pytest.raises(UnreadableRecord):
        store.get(job.uuid)
    assert store.get_many([job.uuid]) == {}


def test_given_the_error_when_it_crosses_a_channel_then_it_stays_what_it_is() -> None:
    """Given an UnreadableRecord, when it is sent as plain values, then the other side raises the same."""
    error = decode_error(encode_error(UnreadableRecord("The record of job 1 cannot be read.")))
    assert type(error) is UnreadableRecord
