"""A platform that starts on a store with broken records, on one that was restored, and on an empty one."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.platforms import TestPlatform
from tests.postgres import need_sqlite, shared_server
from tests.rest_client import RestClient
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("restored_script.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform whose store is tampered with while it is down."""
    platform = TestPlatform(CONCURRENT_TASKS="2", CLEANUP_ENABLED="true")
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


def submit(rest: RestClient, entrypoint: str, gate: Path) -> str:
    """Submit an entrypoint of the script."""
    return rest.submit(SCRIPT, params={"gate": str(gate)}, config={"entrypoint": entrypoint, "queue": "control"})


def test_given_broken_records_when_it_starts_then_all_others_go_on(
    platform: TestPlatform, rest: RestClient, tmp_path: Path
) -> None:
    """Given a spoilt job, graph and state, when it is started again, then each is named and all others end well."""
    need_sqlite()
    gate = tmp_path / "gate"
    good, bad, later, parent, whole = (
        submit(rest, entrypoint, gate) for entrypoint in ("gated", "gated", "gated", "graph", "graph")
    )
    ended = submit(rest, "main", gate)
    for uuid in (good, bad, later):
        rest.wait_for(uuid, "RUNNING")
    rest.wait_for(ended, "SUCCESS")
    for uuid in (parent, whole):
        wait_until(lambda uuid=uuid: rest.get(f"/jobs/{uuid}/graph")["nodes"][1:], "its graph is there")
    platform.down()
    with closing(sqlite3.connect(platform.home / "jobs.db")) as store, store:
        for uuid in (bad, ended):
            store.execute("UPDATE jobs SET record = '{' WHERE uuid = ?", (uuid,))
        store.execute("UPDATE jobs SET state = 'PAUSED' WHERE uuid = ?", (later,))
        assert store.execute("UPDATE graphs SET record = '[]' WHERE root = ?", (parent,)).rowcount == 1
    named = platform.cli("doctor", timeout_s=180).stdout
    assert all(uuid in named for uuid in (bad, ended))
    platform.up()
    gate.touch()
    for uuid in (good, whole):
        assert rest.end(uuid, 60)["status"] == "SUCCESS"
    assert rest.end(parent, 60)["status"] in {"FAILURE", "SUCCESS"}
    listed = {job["uuid"]: job for job in rest.get("/jobs", params={"why": True})["jobs"]}
    for uuid in (bad, later, ended):
        assert "cannot be read" in listed[uuid]["error"]
        answer = rest.http.get(f"/jobs/{uuid}/details")
        assert (answer.status_code, uuid in answer.json()["detail"]["details"]) == (500, True)
        removed = rest.http.post(f"/jobs/{uuid}/remove")
        assert removed.status_code == 200, removed.text
        assert rest.http.get(f"/jobs/{uuid}").status_code == 404
        assert not (platform.home / "share" / uuid).exists()
    assert rest.run(SCRIPT)["status"] == "SUCCESS"


def test_given_a_backup_under_load_when_it_is_restored_then_all_that_was_accepted_before_ends(
    platform: TestPlatform, rest: RestClient, tmp_path: Path
) -> None:
    """Given jobs that keep coming, when a backup is taken, the store lost and restored, then it goes on from there."""
    need_sqlite()
    accepted: list[str] = []
    stop = threading.Event()

    def load() -> None:
        with platform.client() as client:
            while not stop.is_set():
                accepted.append(client.submit(SCRIPT, config={"queue": "control"}))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait_until(lambda: len(accepted) >= 20, "jobs come")
        before = [*accepted]
        done = platform.cli("backup", str(tmp_path / "jobs.gz"))
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(accepted) >= len(before) + 20, "more jobs come")
    finally:
        stop.set()
        thread.join()
    refused = platform.cli("restore", str(tmp_path / "jobs.gz"), "--force")
    assert (refused.returncode, "pixyz down" in refused.stderr) == (1, True)
    newer = accepted[-1]
    rest.end(newer)
    platform.down()
    for file in platform.home.glob("jobs.db*"):
        file.unlink()
    shares = {path.name for path in (platform.home / "share").iterdir()}
    platform.up()
    assert "job store is empty" in platform.supervisor_log()
    wait_until(lambda: rest.http.get("/health").status_code == 200, "it is ready")
    platform.down()
    done = platform.cli("restore", str(tmp_path / "jobs.gz"), "--force")
    assert done.returncode == 0, done.stderr
    assert "folders on the share belong to none of them" in done.stdout
    # As one who cannot do without: files of a job are lost with the store.
    shutil.rmtree(platform.home / "share" / before[0])
    platform.up()
    for uuid in before:
        rest.wait_for(uuid, "SUCCESS", "FAILURE", deadline_s=60)
    states = [rest.state(uuid)["status"] for uuid in before[1:]]
    assert set(states) == {"SUCCESS"}
    assert rest.http.get(f"/jobs/{newer}").status_code == 404
    assert {path.name for path in (platform.home / "share").iterdir()} >= shares - {before[0]}
    assert rest.run(SCRIPT)["status"] == "SUCCESS"


def test_moved_to_postgres(platform: TestPlatform, rest: RestClient, tmp_path: Path) -> None:
    """Given ended, running and waiting jobs on SQLite, when its backup is restored into PostgreSQL, then all go on."""
    need_sqlite()
    gate = tmp_path / "gate"
    ended = submit(rest, "main", gate)
    running = submit(rest, "gated", gate)
    rest.wait_for(ended, "SUCCESS")
    rest.wait_for(running, "RUNNING")
    graph = submit(rest, "graph", gate)
    wait_until(lambda: rest.get(f"/jobs/{graph}/graph")["nodes"][1:], "its graph is there")
    listed = [job["uuid"] for job in rest.get("/jobs", params={"limit": 1000})["jobs"]]
    platform.down()
    done = platform.cli("backup", str(tmp_path / "jobs.gz"))
    assert done.returncode == 0, done.stderr
    platform.env["JOB_STORE_URL"] = shared_server().database("moved")
    try:
        done = platform.cli("restore", str(tmp_path / "jobs.gz"))
        assert done.returncode == 0, done.stderr
        platform.up()
        gate.touch()
        for uuid in (running, graph):
            assert rest.end(uuid, 60)["status"] == "SUCCESS"
        assert rest.state(ended)["status"] == "SUCCESS"
        assert rest.run(SCRIPT)["status"] == "SUCCESS"
        now = [job["uuid"] for job in rest.get("/jobs", params={"limit": 1000})["jobs"]]
        # The script of the graph has run again, and started its tasks again.
        assert [uuid for uuid in now if uuid in listed] == listed
    finally:
        platform.down()
        del platform.env["JOB_STORE_URL"]
        platform.up()
