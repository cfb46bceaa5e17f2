"""The store on a real PostgreSQL server: the same as on SQLite, and clear messages where the server is at fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.store import JobStore, StoreRefused, StoreUnusable
from pixyz_ray.store_check import check_store
from pixyz_worker.wire import VERSION
from tests.postgres import Postgres

NASTY = "a NUL \0, half a character \ud800, {braces}, \"quotes\", '', \\, NULL and 雪"


def _job(**changes: Any) -> Job:
    return replace(Job(uuid=str(uuid4()), name="job", process="custom", script="job.py"), **changes)


def _graph(job: Job) -> Graph:
    return Graph(
        str(uuid4()), job.uuid, job.uuid, {"version": VERSION, "calls": [], "nodes": [], "end": "", "parents": {}}
    )


@pytest.fixture
def store(database: str) -> Iterator[JobStore]:
    """An empty store, claimed by a tracker."""
    with closing(JobStore(database, holder="test")) as store:
        yield store


def test_batch(store: JobStore) -> None:
    """Given jobs of every kind and graphs in one batch, when written, then all come back, in order."""
    jobs = [
        _job(result={"text": NASTY}, error="", name="{a,b}", state=JobState.SUCCESS, stopped=2.5),
        _job(alias="an alias", input_file="in.step"),
        _job(result=None),
        _job(result=[1.5, None, True], state=JobState.SUCCESS, total=4, done=2),
    ]
    graphs = [_graph(jobs[0]), _graph(jobs[1])]
    store.write(jobs, graphs, [graphs[1].uuid])
    assert list(store.get_many([job.uuid for job in jobs]).values()) == jobs
    assert [item["uuid"] for item in store.page(state=None, limit=9, after=None)] == [job.uuid for job in jobs[::-1]]
    assert [graph.plain for graph in store.live_graphs()] == [graphs[0].plain]
    changed = [replace(job, state=JobState.FAILURE, error=NASTY) for job in jobs]
    store.write(changed)
    assert {item["status"] for item in store.page(state=None, limit=9, after=None)} == {"FAILURE"}
    assert store.forget([job.uuid for job in jobs], jobs[0].uuid) == {"FAILURE": 4}
    assert store.live_graphs() == []
    store.take_back(jobs, graphs)
    assert store.counts() == {}
    assert store.graphs_of(jobs[1].uuid) == []


def test_large_batch(store: JobStore) -> None:
    """Given more rows than one round trip takes, when written and removed, then all are, or nothing is."""
    jobs = [_job() for _ in range(4100)]
    with pytest.raises(StoreRefused):
        store.write([*jobs, _job(uuid="x" * 40)])
    assert store.counts() == {}
    store.write(jobs)
    assert store.counts() == {"SENT": 4100}
    assert store.forget([job.uuid for job in jobs]) == {"SENT": 4100}


def test_refused_row(store: JobStore) -> None:
    """Given a row that the server refuses, then nothing of its batch is written, and the next batch is."""
    job = _job()
    with pytest.raises(StoreRefused, match="long"):
        store.write([job, _job(uuid="x" * 40)])
    assert store.get(job.uuid) is None
    store.write([job])
    assert store.get(job.uuid) == job


def test_server_restarted(postgres: Postgres, store: JobStore) -> None:
    """Given a server that is killed, then writes and reads fail until it is back, and then succeed."""
    job = _job()
    store.write([job])
    postgres.kill()
    try:
        for call in (lambda: store.write([_job()]), store.ping, lambda: store.get(job.uuid)):
            with pytest.raises(StoreUnusable):
                call()
    finally:
        postgres.start(postgres.port)
    store.write([replace(job, error="later")])
    found = store.get(job.uuid)
    assert found is not None
    assert found.error == "later"


def test_sent_as_one_transaction(postgres: Postgres, store: JobStore, database: str) -> None:
    """Given a batch whose last statement fails, then its first one, which had been executed, is undone."""
    name = database.rpartition("/")[2]
    job = _job()
    graph = _graph(job)
    store.write([job], [graph])
    postgres.sql("ALTER TABLE graphs ADD CONSTRAINT live CHECK (NOT ended)", database=name)
    with pytest.raises(StoreRefused):
        store.write([replace(job, error="new")], (), [graph.uuid])
    assert store.get(job.uuid) == job


def test_messages(postgres: Postgres) -> None:
    """Given a server that is not set up for the platform, then the message says what to do."""
    postgres.sql("CREATE ROLE plain LOGIN")
    unprivileged = postgres.database("unprivileged", user="plain")
    crowded = postgres.database("crowded", user="plain", options="CONNECTION LIMIT 0")
    ascii_only = postgres.database("ascii_only", options="ENCODING SQL_ASCII TEMPLATE template0 LOCALE 'C'")
    cases = {
        unprivileged: "permission denied for schema public.*GRANT USAGE, CREATE ON SCHEMA",
        crowded: "too many connections.*raise max_connections",
        ascii_only: "SQL_ASCII; the platform needs UTF8.*createdb",
        f"{crowded}_not": 'database "crowded_not" does not exist.*createdb',
        f"{crowded}?sslmode=require": "SSL.*check sslmode",
    }
    for url, message in cases.items():
        with pytest.raises(StoreUnusable, match=f"(?s){message}"):
            JobStore(url)


def test_standby(postgres: Postgres, store: JobStore, database: str) -> None:
    """Given a server that becomes read-only, then writes say so, and go on when the primary is back."""
    name = database.rpartition("/")[2]
    job = _job()
    store.write([job])
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on", database=name)
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(StoreUnusable):
        store.ping()
    with pytest.raises(StoreUnusable, match="has to name the primary"):
        store.ping()
    with pytest.raises(StoreUnusable, match="has to name the primary"):
        JobStore(database)
    assert check_store(database, 5.0).jobs == 1, "a standby cannot be read"
    postgres.sql(f"SET default_transaction_read_only = off; ALTER DATABASE {name} RESET ALL")
    store.write([replace(job, error="written")])


def test_password_is_not_shown(postgres: Postgres) -> None:
    """Given a URL with a password, when the server is not there, then no message has the password."""
    with pytest.raises(StoreUnusable) as raised:
        JobStore(f"postgresql+psycopg://plain:secret@127.0.0.1:{postgres.port}/none?sslpassword=secret")
    assert "secret" not in str(raised.value)
    assert "secret" not in str(raised.value.__cause__)


def test_driver(database: str) -> None:
    """Given a URL without a driver, then the platform's own is used; with one that is not there, its name is told."""
    with closing(JobStore(database.replace("+psycopg", ""), holder="test")) as store:
        store.write([_job()])
    with pytest.raises(StoreUnusable, match=r"needs the package psycopg2.*pixyz-ray\[postgres\]"):
        JobStore(database.replace("+psycopg", "+psycopg2"))
