"""The job store goes away, hangs and refuses: nothing accepted is lost, and what needs no store goes on."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from pixyz_ray.jobs import Job, JobState
from pixyz_ray.store import JobStore, StoreFenced, StoreFull, StoreInUse, StoreUnusable
from pixyz_ray.store_schema import WRITER, connected
from tests.free_ports import free_port
from tests.platforms import TestPlatform
from tests.postgres import Postgres, need_postgres
from tests.rest_client import RestClient
from tests.small_disk import small_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("store_script.py").read_text(encoding="utf-8")
QUEUES = {"free": {"num_cpus": 0}}
CROWD = 100
KILLED_S = 4.0
FROZEN_S = 60.0
LOCKED_S = 3.0
SOON_S = 5.0
DISK_BYTES = 160 << 20
BACK_WITHIN_S = 60.0
NASTY = "a NUL \0 and half a character \ud800 in it"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server, if this machine has one."""
    need_postgres()
    server = Postgres()
    try:
        server.start(free_port())
        yield server
    finally:
        server.thaw()
        server.close()


@pytest.fixture(scope="module")
def platform(server: Postgres) -> Iterator[TestPlatform]:
    """A platform whose store that is."""
    platform = TestPlatform(CONCURRENT_TASKS="1", JOB_STORE_URL=server.url, PIXYZ_QUEUES=json.dumps(QUEUES))
    try:
        platform.up()
        yield platform
    finally:
        server.thaw()
        platform.close()


@pytest.fixture
def rest(platform: TestPlatform) -> Iterator[RestClient]:
    """A client of it."""
    with platform.client() as client:
        yield client


def form(**params: Any) -> dict[str, Any]:
    """Return what is sent for a job."""
    return {"script": SCRIPT, "params": params, "config": {"queue": params.pop("queue", "cpu")}}


def crowd(rest: RestClient, gate: Path) -> tuple[str, list[str]]:
    """Submit a job that runs until the gate is open, and many that wait; return the one and the others."""
    running = rest.submit(**form(gate=str(gate), queue="free"))
    rest.wait_for(running, "RUNNING")
    blocking = [rest.submit(**form(gate=str(gate))) for _ in range(20)]
    return running, [*blocking, *(rest.submit(**form(value=number)) for number in range(CROWD))]


def all_well(rest: RestClient, uuids: list[str]) -> None:
    """Wait until all have ended well."""

    def left() -> list[tuple[str, str]]:
        states = [(uuid, rest.state(uuid)["status"]) for uuid in uuids]
        return [state for state in states if state[1] != "SUCCESS"]

    wait_until(lambda: not left(), "all jobs ended well", deadline_s=BACK_WITHIN_S, every_s=0.3)
    wait_until(lambda: rest.get("/queues")["queued"] == 0, "nobody waits")


def timed(call: Any) -> Any:
    """Return what a call returns, which must come soon."""
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < SOON_S
    return answer


def health(rest: RestClient) -> dict[str, Any]:
    """Return the health, good or bad."""
    return dict(rest.http.get("/health").json())


def is_refused(answer: httpx.Response) -> bool:
    """Return whether an answer is 503, with when to try again."""
    return answer.status_code == 503 and "Retry-After" in answer.headers


def test_killed(server: Postgres, rest: RestClient, tmp_path: Path) -> None:
    """Given a hundred waiting jobs, when the server is killed and is back after 4 s, then all of them end well."""
    running, waiting = crowd(rest, tmp_path / "gate")
    server.kill()
    (tmp_path / "gate").touch()
    until = time.monotonic() + KILLED_S
    while time.monotonic() < until:
        assert is_refused(timed(lambda: rest.post(**form())))
        time.sleep(0.3)
    assert health(rest)["checks"]["store"] != "ok"
    server.start(server.port)
    wait_until(lambda: health(rest)["ready"], "the store is back")
    all_well(rest, [running, *waiting])


def test_frozen(server: Postgres, rest: RestClient, tmp_path: Path) -> None:
    """Given a server that hangs, then live jobs are told of, new ones are refused, and all goes on when it thaws."""
    running, waiting = crowd(rest, tmp_path / "gate")
    server.freeze()
    refused = []
    try:
        until = time.monotonic() + FROZEN_S
        progress = []
        while time.monotonic() < until:
            refused.append(timed(lambda: rest.post(**form(value="refused"))))
            assert timed(lambda: rest.state(running))["status"] == "RUNNING"
            progress.append(len(timed(lambda: rest.details(running))["steps"]))
            assert timed(lambda: rest.get("/queues"))["queued"] >= CROWD
            assert timed(lambda: health(rest))["checks"]["store"] != "ok"
            assert is_refused(timed(lambda: rest.http.post(f"/jobs/{running}/cancel")))
        assert progress == sorted(progress)
        assert progress[-1] > progress[0] + FROZEN_S, "the script's progress was not told"
        (tmp_path / "gate").touch()
    finally:
        server.thaw()
    assert all(is_refused(answer) for answer in refused)
    wait_until(lambda: health(rest)["ready"], "the store is back")
    all_well(rest, [running, *waiting])
    jobs = rest.get("/jobs", params={"limit": 1000})["jobs"]
    assert {job["status"] for job in jobs} == {"SUCCESS"}, "a refused job is there"


def test_other_platform(server: Postgres, rest: RestClient) -> None:
    """Given a platform, when another one claims its store, then that one is refused, and this one goes on."""
    with pytest.raises(StoreInUse, match="Ray at "):
        JobStore(server.url, holder="Ray at another.example.org:6379", wait_s=0.1)
    assert rest.run(**form(value=1))["status"] == "SUCCESS"


def test_fenced_tracker(server: Postgres, platform: TestPlatform, rest: RestClient, tmp_path: Path) -> None:
    """Given running and waiting jobs, when a tracker of the same platform takes over the store, then the old one ends.

    Ray starts it again, it claims the store in its turn, and all jobs end well.
    """
    running, waiting = crowd(rest, tmp_path / "gate")
    old = {process.pid for process in platform.processes("ray::TrackerActor")}
    with connected(server.url, "read") as engine, engine.connect() as connection:
        holder = connection.execute(select(WRITER.c.holder)).scalar_one()
    successor = JobStore(server.url, holder=holder)
    try:
        wait_until(lambda: is_ended(rest, old, platform), "the fenced tracker has ended", deadline_s=BACK_WITHIN_S)
        wait_until(lambda: health(rest)["ready"], "the new tracker works", deadline_s=BACK_WITHIN_S)
        with pytest.raises(StoreUnusable):
            successor.ping()
        with pytest.raises(StoreFenced):
            successor.ping()
    finally:
        successor.close()
    (tmp_path / "gate").touch()
    all_well(rest, [running, *waiting])


def is_ended(rest: RestClient, pids: set[int], platform: TestPlatform) -> bool:
    """Submit a job, which makes the tracker write, and return whether none of those processes is a tracker's."""
    rest.post(**form(value=0))
    return not pids & {process.pid for process in platform.processes("ray::TrackerActor")}


def test_full_disk_of_the_server() -> None:
    """Given a server whose disk is full, then a write says so, nothing is lost, and it goes on when there is room."""
    need_postgres()
    with small_disk(DISK_BYTES) as disk:
        (disk / "data").mkdir()
        server = Postgres(data=disk / "data")
        try:
            server.start(free_port())
            with closing(JobStore(server.url, holder="test")) as store:
                kept = [make_job() for _ in range(10)]
                store.write(kept)
                (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free))
                with pytest.raises(StoreFull, match="disk of the database server is full"):
                    for _ in range(100):
                        store.write([make_job(params={"x": random.randbytes(500_000).hex()})])
                assert list(store.get_many([job.uuid for job in kept]).values()) == kept
                (disk / "ballast").unlink()
                store.write([replace(job, state=JobState.SUCCESS) for job in kept])
                assert store.counts()["SUCCESS"] == 10
        finally:
            server.close()


def make_job(**changes: Any) -> Job:
    """Return a new job."""
    return replace(Job(uuid=str(uuid4()), name="job", process="custom", script="job.py"), **changes)


def test_nasty_text(server: Postgres, rest: RestClient) -> None:
    """Given an error and a value that hold what PostgreSQL does not take, then its job ends and is told."""
    failed = rest.run(**form(error=NASTY), name="a \x01 name")
    assert failed["status"] == "FAILURE"
    assert "a NUL" in failed["error"]
    assert failed["attempts"][-1]["failure"] == "user_error"
    done = rest.run(**form(value=NASTY))
    assert done["status"] == "SUCCESS"
    assert done["result"] == NASTY


def test_sqlite_locked(tmp_path: Path) -> None:
    """Given a hundred waiting jobs, when another process holds SQLite's lock for 3 s, then all of them end well."""
    platform = TestPlatform(CONCURRENT_TASKS="1", PIXYZ_QUEUES=json.dumps(QUEUES))
    try:
        platform.up()
        with platform.client() as rest:
            running, waiting = crowd(rest, tmp_path / "gate")
            with closing(sqlite3.connect(platform.home / "jobs.db", isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                (tmp_path / "gate").touch()
                until = time.monotonic() + LOCKED_S
                while time.monotonic() < until:
                    assert is_refused(timed(lambda: rest.post(**form())))
                    timed(lambda: rest.state(running))
                    time.sleep(0.2)
                other.execute("ROLLBACK")
            all_well(rest, [running, *waiting])
            # One row that the store refuses: its job ends, the others are written.
            with closing(sqlite3.connect(platform.home / "jobs.db")) as other:
                other.execute(
                    "CREATE TRIGGER no BEFORE UPDATE ON jobs WHEN NEW.result LIKE '%poison%' "
                    "BEGIN SELECT RAISE(ABORT, 'it is poison'); END"
                )
                other.commit()
            jobs = [rest.submit(**form(value=value)) for value in ("a", "poison", "b")]
            ended = [rest.end(uuid) for uuid in jobs]
            assert [job["status"] for job in ended] == ["SUCCESS", "FAILURE", "SUCCESS"]
            assert ended[1]["attempts"][-1]["failure"] == "internal"
            assert "it is poison" in ended[1]["error"]
    finally:
        platform.close()
