"""Disks that fill up, of the share and of the job store: refused in time, helped by what helps, and back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from pixyz_ray.jobs import Job, JobState
from pixyz_ray.store import JobStore, StoreFull
from pixyz_ray.store_reserve import RESERVE_BYTES
from tests.platforms import TestPlatform
from tests.rest_client import TERMINAL, RestClient
from tests.small_disk import small_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

MIB = 2**20
SCRIPT = Path(__file__).with_name("full_disk_script.py").read_text(encoding="utf-8")
STORE_BYTES = 4 * RESERVE_BYTES
SHARE_BYTES = 160 * MIB
SOON_S = 8.0

Submit = Callable[..., str]


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk for a while."""
    ballast = disk / "ballast"
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(512))
        yield
    finally:
        ballast.unlink()


# --- The store alone -------------------------------------------------------------------------------------------------


def make_job(**changes: Any) -> Job:
    """Return a job that runs."""
    job = Job(uuid=str(uuid4()), name="job", process="custom", script="job.py", state=JobState.RUNNING)
    return replace(job, **changes)


@pytest.fixture(scope="module")
def store_disk() -> Iterator[Path]:
    """A small disk."""
    with small_disk(STORE_BYTES) as disk:
        yield disk


def test_given_a_full_disk_when_jobs_are_changed_and_removed_then_the_kept_room_is_used(store_disk: Path) -> None:
    """Given a store on a full disk, when jobs end and go, then that is written; new ones are refused."""
    with closing(JobStore(f"sqlite:///{store_disk / 'alone.db'}")) as store:
        jobs = [make_job(params={"x": "x" * 1000}) for _ in range(500)]
        store.write(jobs)
        with filled(store_disk):
            for job in jobs:
                store.write([job.become(JobState.REVOKED, error="cancelled")])
            # SQLite's log has room of its own in which all of that may have fitted.
            with pytest.raises(StoreFull):
                for _ in range(200):
                    if problem := store.room_problem():
                        raise StoreFull(problem)
                    store.write([make_job(params={"x": "x" * 100_000})])
            assert "is full" in str(store.room_problem())
            store.write([replace(store.get(jobs[0].uuid) or jobs[0], pinned=True)])
            assert sum(store.forget([job.uuid for job in jobs[100:200]]).values()) == 100
        wait_until(lambda: store.room_problem() is None, "there is room again", deadline_s=5)
        assert not store.is_full
        assert (store_disk / "alone.db-reserve").stat().st_size == RESERVE_BYTES
        assert store.get(jobs[0].uuid).pinned  # type: ignore[union-attr]
        assert store.counts()["REVOKED"] == 400
    with filled(store_disk), closing(JobStore(f"sqlite:///{store_disk / 'alone.db'}")) as store:
        # Opening it again makes its log and index anew.
        store.write([replace(store.get(jobs[0].uuid) or jobs[0], pinned=False)])
        assert store.counts()["REVOKED"] == 400
    for file in store_disk.glob("alone.db*"):
        file.unlink()


# --- A platform ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def share_disk() -> Iterator[Path]:
    """A small disk for the share."""
    with small_disk(SHARE_BYTES) as disk:
        yield disk


@pytest.fixture(scope="module")
def platform(store_disk: Path, share_disk: Path) -> Iterator[TestPlatform]:
    """A platform with a small disk for its store and one for its share."""
    platform = TestPlatform(
        CONCURRENT_TASKS="2",
        SHARE_PATH=str(share_disk / "share"),
        JOB_STORE_URL=f"sqlite:///{store_disk / 'jobs.db'}",
        PIXYZ_QUEUES='{"one": {"concurrency": 1, "num_cpus": 0.1}}',
    )
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


@pytest.fixture
def submit(rest: RestClient) -> Submit:
    """A function that submits an entrypoint of the script; what else is given is its config."""

    def submit(entrypoint: str, params: dict[str, Any] | None = None, **config: Any) -> str:
        return rest.submit(SCRIPT, params=params or {}, config={"entrypoint": entrypoint, **config})

    return submit


def is_ready(rest: RestClient) -> bool:
    """Return whether the service says that it takes jobs."""
    return rest.http.get("/health").status_code == 200


def assert_refused(answer: httpx.Response, *words: str) -> None:
    """See that an answer is 503, with its reason."""
    assert answer.status_code == 503, answer.text
    assert "Retry-After" in answer.headers
    assert all(word in answer.json()["detail"]["details"] for word in words), answer.text


def assert_helped(rest: RestClient, submitted: dict[str, str]) -> None:
    """See that those that run and wait can be cancelled, and those that have ended pinned and removed."""
    for name in ("waits", "runs"):
        answer = rest.http.post(f"/jobs/{submitted[name]}/cancel", timeout=SOON_S)
        assert (answer.status_code, answer.json().get("status")) == (200, "REVOKED"), answer.text
    assert rest.http.put(f"/jobs/{submitted['kept']}/pin", timeout=SOON_S).status_code == 200
    answer = rest.http.post(f"/jobs/{submitted['old']}/remove", timeout=SOON_S)
    assert answer.status_code == 200, answer.text
    assert rest.http.get(f"/jobs/{submitted['old']}").status_code == 404
    assert rest.http.get(f"/jobs/{submitted['kept']}/outputs").status_code == 200


def prepared(rest: RestClient, submit: Submit, gate: Path) -> dict[str, str]:
    """Return jobs that have ended, run and wait."""
    found = {"kept": submit("main"), "old": submit("main")}
    for uuid in found.values():
        rest.wait_for(uuid, "SUCCESS")
    found["runs"] = submit("gated", {"gate": str(gate)}, queue="one")
    rest.wait_for(found["runs"], "RUNNING")
    return {**found, "waits": submit("gated", {"gate": str(gate)}, queue="one")}


def test_given_a_full_share_when_jobs_come_run_and_go_then_each_is_told_and_nothing_is_left(
    rest: RestClient, share_disk: Path, submit: Submit, tmp_path: Path
) -> None:
    """Given no room on the share, when jobs are sent, run, cancelled, pinned, removed, then 503 and the rest works."""
    share = share_disk / "share"
    jobs = prepared(rest, submit, tmp_path / "never")
    gate = tmp_path / "gate"
    fails = [
        submit("gated", {"gate": str(gate), **what}, queue="control") for what in ({"writes": MIB}, {"prints": MIB})
    ]
    well = submit("gated", {"gate": str(gate)}, queue="control")
    for uuid in (*fails, well):
        rest.wait_for(uuid, "RUNNING")
    before = {path.name for path in share.iterdir()}
    with filled(share_disk):
        for form in ({"file": ("part.bin", bytes(MIB))}, {"file": ("small.bin", b"...")}, {}):
            assert_refused(rest.post(SCRIPT, config={"entrypoint": "main"}, **form), "cannot be written")
        assert "full" in rest.http.get("/health").json()["checks"]["share"]
        assert {path.name for path in share.iterdir()} == before
        gate.touch()
        for uuid in fails:
            details = rest.end(uuid)
            assert (details["status"], "No space left" in details["error"]) == ("FAILURE", True), details
            assert details["attempts"][-1]["failure"] in {"user_error", "internal"}
        # What it returned is known although nothing of it could be left on the share.
        assert rest.end(well)["result"] == "y"
        assert_helped(rest, jobs)
    wait_until(lambda: is_ready(rest), "it is ready again")
    assert rest.end(submit("main"))["status"] == "SUCCESS"


def test_given_a_full_store_when_jobs_come_run_and_go_then_what_helps_works(
    platform: TestPlatform, rest: RestClient, store_disk: Path, submit: Submit, tmp_path: Path
) -> None:
    """Given no room for the store, when jobs are sent, then 503; others end, are cancelled, pinned and removed."""
    jobs = prepared(rest, submit, tmp_path / "never")
    gate = tmp_path / "gate"
    running = submit("gated", {"gate": str(gate)}, queue="control")
    large = submit("gated", {"gate": str(gate), "returns": 12 * MIB}, queue="control")
    for uuid in (running, large):
        rest.wait_for(uuid, "RUNNING")
    with filled(store_disk):

        def refused() -> httpx.Response | None:
            answer = rest.post(SCRIPT, params={"x": "x" * 200_000}, config={"entrypoint": "gated", "queue": "one"})
            return answer if answer.status_code != 200 else None

        assert_refused(wait_until(refused, "a job is refused"), "disk of the job store is full")
        health = rest.http.get("/health")
        assert (health.status_code, health.json()["checks"]["share"]) == (503, "ok")
        assert "full" in health.json()["checks"]["store"]
        gate.touch()
        assert rest.end(running)["result"] == "y"
        assert rest.state(large)["status"] == "RUNNING"
        assert_helped(rest, jobs)
        # It starts again in the room that is left, or as soon as there is some.
        platform.kill("ray::Tracker")
        with platform.client(timeout_s=60) as patient:
            assert patient.state(running)["status"] == "SUCCESS"
            assert patient.http.get("/health").status_code == 503
    wait_until(lambda: is_ready(rest), "it is ready again")
    assert rest.end(submit("main"))["status"] == "SUCCESS"
    for job in rest.get("/jobs", params={"limit": 1000})["jobs"]:
        if job["status"] not in TERMINAL:
            rest.http.post(f"/jobs/{job['uuid']}/cancel")
