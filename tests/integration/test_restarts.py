"""Kill the platform's parts in the middle of jobs: no accepted job is forgotten, and each one ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource

from tests.integration.conftest import CPUS
from tests.platforms import TestPlatform
from tests.rest_client import TERMINAL, RestClient
from tests.waiting import wait_until

BACK_WITHIN_S = 40.0

GATED = """
import os, time
from pathlib import Path

def main(pc, params):
    print("attempt", pc["retry"] + 1, flush=True)
    pc.progress_set_total(2)
    pc.progress_next("waiting at the gate")
    deadline = time.monotonic() + 120
    while not Path(params["gate"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        time.sleep(0.02)
    pc.progress_next("through")
    Path(pc.get_output_dir("out.txt")).write_text("made by attempt %d" % (pc["retry"] + 1))
    return {"n": params["n"]}
"""
GATED_CHILD = """
import subprocess
from pathlib import Path

def main(pc, params):
    print("attempt", pc["retry"] + 1, flush=True)
    pc.progress_set_total(2)
    pc.progress_next("waiting at the gate")
    subprocess.run(["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.05; done', params["gate"]], check=True)
    pc.progress_next("through")
    Path(pc.get_output_dir("out.txt")).write_text("made by attempt %d" % (pc["retry"] + 1))
    return {"n": params["n"]}
"""
DONE = (
    "def main(pc, params):\n    open(pc.get_output_dir('a.txt'), 'w').write('A' * 1000)\n    return {'done': [1, 2]}\n"
)
FAILS = "def main(pc, params):\n    raise ValueError('as it should')\n"


class Follower(threading.Thread):
    """A client that follows a job to its end, through whatever happens to the connection."""

    def __init__(self, client: RestClient, uuid: str) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._uuid = uuid
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.breaks = 0

    def run(self) -> None:
        """Take the stream up again until it has told the end."""
        last_id: str | None = None
        deadline = time.monotonic() + 90
        with self._client:
            while time.monotonic() < deadline and not self.ended:
                try:
                    with self._client.stream(self._uuid, last_id) as answer:
                        if answer.status_code != 200:
                            time.sleep(0.1)
                            continue
                        for event in EventSource(answer).iter_sse():
                            last_id = event.id
                            self.events.append((event.event, json.loads(event.data)))
                except httpx.TransportError:
                    self.breaks += 1
                    time.sleep(0.1)

    @property
    def ended(self) -> bool:
        """Whether it has seen the end."""
        return bool(self.events) and self.events[-1][1].get("status") in TERMINAL


@dataclass
class Crowd:
    """Jobs in every state, at the moment of the kill."""

    gate: Path
    """What the running and the queued ones wait for."""
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Details of those that had ended."""
    running: list[str] = field(default_factory=list)
    """Those that run; they take all CPUs."""
    queued: list[str] = field(default_factory=list)
    """Those that wait for a CPU."""
    follower: Follower | None = None
    """Somebody who watches the first of the running ones."""


@pytest.fixture
def crowd(platform: TestPlatform, rest: RestClient, tmp_path: Path) -> Iterator[Crowd]:
    """Ended, cancelled, running and queued jobs."""
    crowd = Crowd(tmp_path / "gate")
    revoked = rest.submit(GATED, params={"gate": str(crowd.gate), "n": -1})
    rest.wait_for(revoked, "RUNNING")
    for uuid in (rest.submit(DONE), rest.submit(FAILS)):
        crowd.ended[uuid] = rest.end(uuid)
    rest.http.delete(f"/jobs/{revoked}")
    crowd.ended[revoked] = rest.end(revoked)
    # One of them waits for a child process, which is ended with everything else: that is not the script's failure.
    scripts = (GATED, GATED_CHILD)
    crowd.running = [rest.submit(scripts[n % 2], params={"gate": str(crowd.gate), "n": n}) for n in range(CPUS)]
    # This list is read from the journal: their start is on disk.
    wait_until(lambda: _listed(rest, "RUNNING") >= set(crowd.running), "the running jobs are in the journal")
    crowd.follower = Follower(platform.client(), crowd.running[0])
    crowd.follower.start()
    wait_until(lambda: crowd.follower and crowd.follower.events, "the follower has seen something")
    # The last of these was accepted a moment before the kill.
    crowd.queued = [rest.submit(GATED, params={"gate": str(crowd.gate), "n": CPUS + n}) for n in range(4)]
    yield crowd
    crowd.gate.touch()
    crowd.follower.join(30)


def _listed(rest: RestClient, status: str) -> set[str]:
    return {job["uuid"] for job in rest.get("/jobs", params={"status": status})["jobs"]}


def _is_back(rest: RestClient) -> bool:
    try:
        return rest.http.get("/health").json().get("ready") is True
    except (httpx.TransportError, ValueError):
        return False


def _check(rest: RestClient, crowd: Crowd, *, ran_again: bool) -> None:
    """Everything that the platform had accepted is there, and ends as it should."""
    for uuid, before in crowd.ended.items():
        assert rest.details(uuid) == before
    done = next(uuid for uuid, before in crowd.ended.items() if before["status"] == "SUCCESS")
    assert rest.http.get(f"/jobs/{done}/outputs/a.txt").content == b"A" * 1000

    for uuid in crowd.running + crowd.queued:
        details = rest.details(uuid)
        assert details["status"] not in TERMINAL, details
    crowd.gate.touch()
    for n, uuid in enumerate(crowd.running + crowd.queued):
        details = rest.end(uuid, deadline_s=40)
        assert (details["status"], details["result"]) == ("SUCCESS", {"n": n}), details
        attempts = 2 if ran_again and uuid in crowd.running else 1
        assert (details["attempt"], details["retry"]) == (attempts, attempts - 1), details
        assert [one["number"] for one in details["attempts"]] == list(range(1, attempts + 1))
        assert [one["failure"] for one in details["attempts"]] == ["node_lost"] * (attempts - 1) + [None]
        assert rest.http.get(f"/jobs/{uuid}/outputs/out.txt").text == f"made by attempt {attempts}"
        assert rest.log(uuid).count("attempt") >= attempts
        assert [step["info"] for step in details["steps"]] == ["waiting at the gate", "through"]

    follower = crowd.follower
    assert follower is not None
    wait_until(lambda: follower.ended, "the follower has seen the end")
    assert follower.events[-1][1]["status"] == "SUCCESS"
    follower.join(10)


def test_given_jobs_when_the_http_replica_is_killed_then_it_comes_back_and_no_job_notices(
    platform: TestPlatform, rest: RestClient, crowd: Crowd
) -> None:
    """The replica owns nothing: not even the running attempts are hurt."""
    platform.kill("ray::ServeReplica")
    during = _submit_until_accepted(rest, platform)
    wait_until(lambda: _is_back(rest), "the replica is back", deadline_s=BACK_WITHIN_S)
    _check(rest, crowd, ran_again=False)
    _check_submissions(rest, during)
    assert crowd.follower and crowd.follower.breaks > 0


def test_given_jobs_when_the_tracker_is_killed_then_it_takes_them_up_again(
    platform: TestPlatform, rest: RestClient, crowd: Crowd
) -> None:
    """Its tasks die with it, which is Ray's rule: what ran is run again, from the journal."""
    platform.kill("ray::Tracker")
    during = _submit_until_accepted(rest, platform)
    wait_until(lambda: _is_back(rest), "the tracker is back", deadline_s=BACK_WITHIN_S)
    _check(rest, crowd, ran_again=True)
    _check_submissions(rest, during)


def test_given_jobs_when_everything_is_killed_then_the_next_start_takes_them_up_again(
    platform: TestPlatform, rest: RestClient, crowd: Crowd
) -> None:
    """As after a power cut; the next `pixyz up` clears up what is left of the last."""
    cancelled = crowd.queued.pop()
    assert rest.http.delete(f"/jobs/{cancelled}").json()["status"] == "REVOKED"
    crowd.ended[cancelled] = rest.details(cancelled)
    platform.kill_everything()
    platform.up()
    _check(rest, crowd, ran_again=True)


def test_given_jobs_when_the_platform_is_stopped_then_the_next_start_takes_them_up_again(
    platform: TestPlatform, rest: RestClient, crowd: Crowd
) -> None:
    """`pixyz down` does not wait for jobs and does not lose them."""
    platform.down()
    with pytest.raises(httpx.TransportError):
        rest.http.get("/health")
    platform.up()
    _check(rest, crowd, ran_again=True)


def _submit_until_accepted(rest: RestClient, platform: TestPlatform) -> set[str]:
    """Send jobs during the outage until some are accepted again; return the ids of these."""
    accepted: set[str] = set()
    deadline = time.monotonic() + BACK_WITHIN_S
    while len(accepted) < 3:
        assert time.monotonic() < deadline, "no job is accepted any more"
        try:
            answer = rest.post(DONE, name="during the outage")
        except httpx.TransportError:
            continue
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            accepted.add(answer.json()["uuid"])
    return accepted


def _check_submissions(rest: RestClient, accepted: set[str]) -> None:
    """Each job that was accepted is there; and each that is there ends, even one whose caller never got the answer."""
    jobs = rest.get("/jobs", params={"limit": 1000})["jobs"]
    there = {job["uuid"] for job in jobs if job["name"] == "during the outage"}
    assert there >= accepted
    for uuid in there:
        assert rest.end(uuid)["status"] == "SUCCESS"
