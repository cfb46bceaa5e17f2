"""Removal of jobs that ended long ago, on a platform that does it a second after their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

SCRIPT = Path(__file__).with_name("retention_script.py").read_text(encoding="utf-8")
REMOVED_WITHIN_S = 15.0
DELAY_S = 1

Submit = Callable[..., str]


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform that keeps nothing for long."""
    platform = TestPlatform(CONCURRENT_TASKS="2", CLEANUP_ENABLED="true", CLEANUP_DELAY=str(DELAY_S))
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


@pytest.fixture
def share(platform: TestPlatform) -> Path:
    """The folder of the jobs' folders."""
    return platform.home / "share"


@pytest.fixture
def submit(rest: RestClient) -> Submit:
    """A function that submits an entrypoint of the script; what else is given is its config."""

    def submit(entrypoint: str, params: dict[str, Any] | None = None, **config: Any) -> str:
        return rest.submit(SCRIPT, params=params or {}, config={"entrypoint": entrypoint, **config})

    return submit


def is_gone(rest: RestClient, uuid: str) -> bool:
    """Return whether nobody knows of a job any more."""
    answers = [rest.http.get(f"/jobs/{uuid}{path}").status_code for path in ("", "/details", "/outputs", "/logs")]
    return answers == [404] * 4


def wait_until_gone(rest: RestClient, share: Path, *uuids: str) -> None:
    """Wait until nothing is left of jobs, neither record nor files."""
    for uuid in uuids:
        wait_until(lambda uuid=uuid: is_gone(rest, uuid), f"job {uuid} is gone", deadline_s=REMOVED_WITHIN_S)
    assert not set(uuids) & {path.name.removeprefix(".removing-") for path in share.iterdir()}
    assert not set(uuids) & {job["uuid"] for job in rest.get("/jobs", params={"limit": 1000})["jobs"]}


def test_given_jobs_of_all_kinds_when_their_time_has_come_then_only_those_go_that_nobody_keeps(
    rest: RestClient, share: Path, submit: Submit, tmp_path: Path
) -> None:
    """Given kept, pinned, running and plain jobs, when the delay is over, then the plain ones go alone."""
    gate = tmp_path / "gate"
    running = submit("gated", {"gate": str(gate)}, queue="control")
    rest.wait_for(running, "RUNNING")
    pinned = submit("gated", {"gate": str(gate)}, queue="control")
    assert rest.http.put(f"/jobs/{pinned}/pin").status_code == 200
    kept = [submit("main", keep=True), submit("main", keep=3600)]
    for uuid in kept:
        rest.wait_for(uuid, "SUCCESS")
    short = submit("main", keep=0)
    plain = [submit("main") for _ in range(3)]
    wait_until_gone(rest, share, short, *plain)
    assert rest.state(running)["status"] == "RUNNING"
    gate.touch()
    wait_until_gone(rest, share, running)
    for uuid in kept:
        assert rest.http.get(f"/jobs/{uuid}/outputs/out.txt").text == "out"
    assert rest.details(pinned)["status"] == "SUCCESS"
    assert rest.http.delete(f"/jobs/{pinned}/pin").status_code == 200
    wait_until_gone(rest, share, pinned)
    assert rest.http.put(f"/jobs/{pinned}/pin").status_code == 404
    for uuid in kept:
        assert rest.state(uuid)["status"] == "SUCCESS"


def test_given_a_graph_when_its_job_is_removed_then_its_tasks_go_with_it_and_not_before(
    rest: RestClient, share: Path, submit: Submit
) -> None:
    """Given a job with three tasks that have folders of their own, when it goes, then nothing of them is left."""
    root = submit("graph", keep=3)
    rest.wait_for(root, "SUCCESS")
    view = rest.get(f"/jobs/{root}/graph")
    below = [node["id"] for node in view["nodes"] if node["id"] != root]
    folders = [uuid for uuid in below if (share / uuid).is_dir()]
    assert len(folders) == 3
    assert rest.state(root)["status"] == "SUCCESS"
    wait_until_gone(rest, share, root, *below)


def test_given_links_and_locked_folders_when_their_job_is_removed_then_nothing_else_is(
    rest: RestClient, share: Path, submit: Submit, tmp_path: Path
) -> None:
    """Given links out of a job's folder, and one in its place, when they are removed, then only they go."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept", encoding="utf-8")
    linking = submit("links", {"outside": str(outside)})
    rest.wait_for(linking, "SUCCESS")
    swapped = submit("main", keep=3)
    rest.wait_for(swapped, "SUCCESS")
    wait_until((share / swapped / "outcome-1.json").exists, "its worker has written the last of it")
    (share / swapped).rename(tmp_path / "moved")
    (share / swapped).symlink_to(outside)
    (share / "no-job-of-ours").symlink_to(outside)
    wait_until_gone(rest, share, linking, swapped)
    assert [path.name for path in outside.iterdir()] == ["kept.txt"]
    assert (outside / "kept.txt").read_text(encoding="utf-8") == "kept"
    assert (tmp_path / "moved" / "outputs" / "out.txt").exists()
    assert (share / "no-job-of-ours").is_symlink()


def test_given_a_clean_up_when_the_tracker_is_killed_in_its_middle_then_the_next_one_finishes_it(
    platform: TestPlatform, rest: RestClient, share: Path, submit: Submit
) -> None:
    """Given jobs with ten thousand files each, when the tracker dies while they are removed, then all of it goes."""
    uuids = [submit("many") for _ in range(4)]
    wait_until(lambda: any(share.glob(".removing-*")), "a removal has begun", deadline_s=60, every_s=0.002)
    platform.kill("ray::Tracker")
    with platform.client(timeout_s=60) as patient:
        for uuid in uuids:
            wait_until(lambda uuid=uuid: is_gone(patient, uuid), f"job {uuid} is gone", deadline_s=60)
    wait_until(lambda: not any(share.glob(".removing-*")), "nothing is half removed", deadline_s=REMOVED_WITHIN_S)
    wait_until_gone(rest, share, *uuids)
