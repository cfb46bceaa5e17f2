"""The store's tables: a store of an older version is opened as it is; what waits and what ages has its own columns."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.policy import Policy
from pixyz_ray.retention import expiry
from pixyz_ray.store import JobStore, StoreUnusable

_SCHEMA_2 = """
CREATE TABLE jobs (
    seq INTEGER NOT NULL, uuid VARCHAR(36) NOT NULL, state VARCHAR(16) NOT NULL, requested FLOAT NOT NULL,
    name TEXT NOT NULL, progress INTEGER, error TEXT, record TEXT NOT NULL, result TEXT,
    PRIMARY KEY (seq), UNIQUE (uuid)
);
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE TABLE graphs (
    seq INTEGER NOT NULL, uuid VARCHAR(36) NOT NULL, parent VARCHAR(36) NOT NULL, root VARCHAR(36) NOT NULL,
    ended BOOLEAN NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (seq), UNIQUE (uuid)
);
CREATE INDEX ix_graphs_ended ON graphs (ended);
CREATE INDEX ix_graphs_parent ON graphs (parent);
CREATE INDEX ix_graphs_root ON graphs (root);
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
INSERT INTO schema_version VALUES (2);
"""


def _job(**changes: Any) -> Job:
    return replace(Job(uuid=str(uuid4()), name="job", process="custom", script="job.py"), **changes)


def _waiting(**changes: Any) -> Job:
    return _job(state=JobState.PENDING, **changes)


def _graph(root: Job, nodes: Sequence[str]) -> Graph:
    plain = {"version": 1, "calls": [], "nodes": [{"id": id} for id in nodes], "end": nodes[-1], "parents": {}}
    return Graph(nodes[-1], root.uuid, root.uuid, plain)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a store's file is, or will be."""
    return tmp_path / "jobs.db"


@pytest.fixture
def store(file: Path) -> Iterator[JobStore]:
    """An empty store on disk."""
    with closing(JobStore(f"sqlite:///{file}")) as store:
        yield store


def _listed(store: JobStore) -> list[dict[str, Any]]:
    return store.page(state=None, limit=100, after=None)


# --- A store of an older version -------------------------------------------------------------------------------------


def _write_schema_2(file: Path, *, more: str = "") -> dict[str, str]:
    """Write a store as version 2 did; return its jobs by name."""
    record = {"process": "custom", "script": "job.py", "requested": 1.0, "steps": [], "attempts": []}
    uuids = {name: str(uuid4()) for name in ("ended", "undated", "node", "runs")}
    stopped = {"ended": 1000.0, "node": 1000.0}
    state = {"runs": "RUNNING"}
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(_SCHEMA_2 + more)
        for name, uuid in uuids.items():
            values = {**record, "uuid": uuid, "name": name, "state": state.get(name, "SUCCESS")}
            values |= {"stopped": stopped[name]} if name in stopped else {}
            values |= {"home": uuids["ended"], "graph": uuids["node"]} if name == "node" else {}
            connection.execute(
                "INSERT INTO jobs (uuid, state, requested, name, record) VALUES (?, ?, 1.0, ?, ?)",
                (uuid, values["state"], name, json.dumps(values)),
            )
        graph = json.dumps({"nodes": [{"id": uuids["node"]}]})
        connection.execute(
            "INSERT INTO graphs (uuid, parent, root, ended, record) VALUES (?, ?, ?, 1, ?)",
            (uuids["node"], uuids["ended"], uuids["ended"], graph),
        )
    return uuids


@pytest.mark.parametrize("more", ["", "ALTER TABLE jobs ADD COLUMN waits TEXT;"])
def test_given_a_store_of_version_2_when_opened_then_all_is_there_and_can_expire(file: Path, more: str) -> None:
    """Also when that was cut short before; and once more, nothing happens."""
    uuids = _write_schema_2(file, more=more)
    for _ in range(2):
        with closing(JobStore(f"sqlite:///{file}")) as store:
            assert {job.name for job in store.get_many([*uuids.values()]).values()} == set(uuids)
            assert [job.name for job in store.live()] == ["runs"]
            assert store.expired(1000.0 + 60, 60, 10) == [uuids["undated"], uuids["ended"]]
            assert store.expired(1000.0 + 59, 60, 10) == [uuids["undated"]]
            assert store.nodes_under(uuids["ended"]) == [uuids["node"]]
            listed = {item["label"]: (item["name"], item["process"], item["script"]) for item in _listed(store)}
            assert listed["ended"] == ("ended", "custom", "job.py")
            assert listed["node"] == (None, "custom", "job.py")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(4,)]
        # Tables that were brought up to date answer as quickly as new ones.
        indexes = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert indexes >= {"jobs_by_state", "jobs_that_wait", "jobs_by_age"}


def test_given_a_store_of_version_2_when_brought_up_to_date_then_it_takes_new_jobs(file: Path) -> None:
    """Those that wait, end and expire."""
    _write_schema_2(file)
    with closing(JobStore(f"sqlite:///{file}")) as store:
        waits = _waiting()
        store.write([waits], [], [])
        assert [uuid for uuid, _, _ in store.waiting()] == [waits.uuid]
        store.write([waits.become(JobState.SUCCESS, stopped=5000.0)])
        assert waits.uuid in store.expired(6000.0, 10.0, 10)


# --- Waiting ---------------------------------------------------------------------------------------------------------


def test_given_jobs_that_wait_when_read_then_they_come_in_order_and_apart_from_those_that_run(store: JobStore) -> None:
    """Until one is given to Ray, and again when it is to be tried again."""
    jobs = [_waiting(queue=f"q{n}") for n in range(7)]
    runs = _waiting(attempts=(Attempt(number=1, queue="cpu"),))
    store.write([*jobs, runs])
    assert [*store.waiting()] == [(job.uuid, job.requested, job.waits) for job in jobs]
    assert len([*store.waiting()]) == 7
    assert [job.uuid for job in store.live()] == [runs.uuid]
    begun = replace(jobs[3], attempts=(Attempt(number=1, queue="cpu"),))
    store.write([begun, jobs[4].become(JobState.REVOKED)])
    assert [uuid for uuid, _, _ in store.waiting()] == [job.uuid for job in jobs[:3] + jobs[5:]]
    assert {job.uuid for job in store.live()} == {begun.uuid, runs.uuid}
    again = replace(begun.become(JobState.RETRY), not_before=12.5)
    store.write([again])
    assert len([*store.waiting()]) == 6
    assert [uuid for uuid, _, _ in store.waiting()][3] == again.uuid


def test_given_more_than_a_portion_when_read_then_each_comes_once(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is written while somebody reads."""
    monkeypatch.setattr("pixyz_ray.store._PORTION", 10)
    jobs = [_waiting() for _ in range(35)]
    store.write(jobs)
    reading = store.waiting()
    seen = [next(reading)[0] for _ in range(12)]
    late = _waiting()
    store.write([late])
    seen += [uuid for uuid, _, _ in reading]
    assert seen == [job.uuid for job in [*jobs, late]]


# --- Ageing ----------------------------------------------------------------------------------------------------------


kept = st.none() | st.just(True) | st.floats(0, 200) | st.integers(0, 200)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=kept, pinned=st.booleans(), delay=st.floats(1, 200), now=st.floats(1000, 1500), ended=st.booleans())
def test_given_any_job_when_its_time_has_come_then_the_store_finds_it_and_not_before(
    store: JobStore, keep: bool | float | None, pinned: bool, delay: float, now: float, ended: bool
) -> None:
    """The query says the same as the rule."""
    job = _job(policy=Policy(keep=keep), pinned=pinned)
    job = job.become(JobState.FAILURE, stopped=1000.0, error="no") if ended else job
    store.write([job])
    at = expiry(job, delay)
    # Sums of floats in the database and here may differ in their last digit.
    if at is None or abs(at - now) > 1e-6:
        assert (job.uuid in store.expired(now, delay, 1000)) == (at is not None and at <= now)
    store.forget([job.uuid])


def test_given_many_that_expired_when_asked_then_the_oldest_come_first_and_no_more_than_wanted(
    store: JobStore,
) -> None:
    """By the operator's delay, then by their own."""
    jobs = [_job(state=JobState.SUCCESS, stopped=1000.0 - n) for n in range(5)]
    own = [_job(state=JobState.SUCCESS, stopped=2000.0 - n, policy=Policy(keep=1.0)) for n in range(5)]
    store.write([*jobs, *own])
    expected = [job.uuid for job in [*reversed(jobs), *reversed(own)]]
    assert store.expired(3000.0, 100.0, 100) == expected
    assert store.expired(3000.0, 100.0, 7) == expected[:7]
    assert store.expired(3000.0, 100.0, 3) == expected[:3]


def test_given_a_job_with_a_graph_when_it_expires_then_only_as_long_after_the_end_of_the_graph(
    store: JobStore,
) -> None:
    """Whether its own delay rules or the operator's."""
    by_rule = _job(state=JobState.SUCCESS, stopped=1000.0)
    by_itself = _job(state=JobState.SUCCESS, stopped=1000.0, policy=Policy(keep=50.0))
    graphs = [_graph(job, [str(uuid4())]) for job in (by_rule, by_itself)]
    store.write([by_rule, by_itself], graphs)
    assert store.expired(5000.0, 100.0, 10) == []
    assert store.has_live_graphs(by_rule.uuid)
    before = time.time()
    store.write([], [], [graph.uuid for graph in graphs])
    assert not store.has_live_graphs(by_rule.uuid)
    assert store.expired(before + 49, 100.0, 10) == []
    assert store.expired(before + 60, 100.0, 10) == [by_itself.uuid]
    assert store.expired(before + 160, 100.0, 10) == [by_rule.uuid, by_itself.uuid]


def test_given_jobs_when_forgotten_then_they_are_gone_with_their_graphs_and_their_states_are_told(
    store: JobStore,
) -> None:
    """What is not there is no fault."""
    root, other = _job(state=JobState.SUCCESS, stopped=1.0), _job()
    nodes = [_job(state=JobState.FAILURE, home=root.uuid, error="no") for _ in range(3)]
    store.write([root, other, *nodes], [_graph(root, [node.uuid for node in nodes]), _graph(other, [str(uuid4())])])
    assert store.nodes_under(root.uuid) == [node.uuid for node in nodes]
    assert store.forget([node.uuid for node in nodes]) == {"FAILURE": 3}
    assert store.nodes_under(root.uuid) != []
    assert store.forget([root.uuid, str(uuid4())], root.uuid) == {"SUCCESS": 1}
    assert store.nodes_under(root.uuid) == []
    assert store.get(root.uuid) is None
    assert [job.uuid for job in store.live()] == [other.uuid]
    assert len(store.graphs_under(other.uuid)) == 1
    assert store.forget([root.uuid], root.uuid) == {}


# --- A database that another process has locked ----------------------------------------------------------------------


def test_given_a_locked_database_when_written_then_that_is_told_soon_and_later_it_works(
    store: JobStore, file: Path
) -> None:
    """The tracker's loop stands still meanwhile. Reading goes on."""
    first, second = _job(), _job()
    store.write([first])
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for change in (lambda: store.write([second]), lambda: store.forget([first.uuid])):
            began = time.monotonic()
            with pytest.raises(StoreUnusable, match="locked"):
                change()
            assert time.monotonic() - began < 2
        assert store.get(first.uuid) == first
        other.execute("ROLLBACK")
    store.write([second])
    assert store.get(second.uuid) == second


def test_given_a_locked_database_when_opened_then_it_is_waited_for(file: Path) -> None:
    """Nobody stands still at the start."""
    JobStore(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        unlocking = threading.Timer(0.6, other.execute, ["ROLLBACK"])
        unlocking.start()
        with closing(JobStore(f"sqlite:///{file}")) as store:
            assert store.counts() == {}
        unlocking.join()
