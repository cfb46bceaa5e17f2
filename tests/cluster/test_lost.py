"""Machines that are killed, cut off or frozen under a running job, and that come back while its next attempt runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster
from tests.cluster.machines import Machine, Network
from tests.rest_client import Json, RestClient
from tests.waiting import wait_until

SCRIPT = Path(__file__).with_name("lost_script.py").read_text(encoding="utf-8")
# Twice the goals, since other tests may take the processors meanwhile; benchmarks.cluster measures.
MOST_SECONDS = {"kill": 6.0, "cut": 25.0, "freeze": 30.0}
QUEUES = {"workers": {"resources": {"worker": 1}}}
"""The queue of all that may be lost: the head has no such resource."""
WORKERS = ("b", "c")
WORKER = """--resources='{{"worker": 2}}'"""
FAULTS: dict[str, Callable[[Machine], object]] = {
    "kill": Machine.kill_all,
    "cut": Machine.cut,
    "freeze": Machine.freeze,
}


@pytest.fixture(scope="module")
def cluster(network: Network) -> Cluster:
    """The platform on three machines; its HTTP service is on the head, which is never lost."""
    cluster = Cluster(network, settings={"PIXYZ_QUEUES": json.dumps(QUEUES)})
    cluster.start_service_first(*WORKERS, options=WORKER)
    return cluster


class Places:
    """Jobs that hold places, each with a folder in which its attempts leave the names of their machines."""

    def __init__(self, cluster: Cluster, rest: RestClient, folder: Path) -> None:
        self._cluster = cluster
        self._rest = rest
        self._folder = folder
        self._held: list[Path] = []

    def make(self) -> Path:
        """Make a folder for a job's notes."""
        place = self._folder / f"place-{len(list(self._folder.iterdir()))}"
        place.mkdir()
        place.chmod(0o777)
        self._held.append(place)
        return place

    def hold(self) -> tuple[str, Path, Machine]:
        """Start a job that holds its place on a worker, and return it with its notes and its machine.

        Both machines have a worker process by then: what is measured is not how long Python takes to start.
        """
        place = self.make()
        for name in WORKERS:
            wait_until(lambda name=name: self.is_warm(name), f"{name} has a worker", deadline_s=60, every_s=0.5)
        job = self._rest.submit(SCRIPT, config={"entrypoint": "hold", "queue": "workers"}, params={"place": str(place)})
        host = wait_until(lambda: notes(place, "attempt-1"), "the job has begun", deadline_s=60)[0]
        return job, place, self._cluster.network[host]

    def is_warm(self, name: str) -> bool:
        """Return whether a machine has a worker process."""
        answer = self._rest.http.post(f"/nodes/{name}/check")
        return answer.status_code == 200 and sum((answer.json()["workers"] or {}).values()) > 0

    def let_go(self) -> None:
        """Let all jobs go on."""
        for place in self._held:
            (place / "go").touch()


def notes(place: Path, name: str) -> list[str]:
    """The machines on which something was noted."""
    path = place / name
    return path.read_text().split() if path.exists() else []


@pytest.fixture
def places(cluster: Cluster, rest: RestClient, tmp_path: Path) -> Iterator[Places]:
    """Jobs of one test, which end with it."""
    folder = cluster.network.share / f"notes-{tmp_path.name}"
    folder.mkdir()
    made = Places(cluster, rest, folder)
    yield made
    made.let_go()
    for name in WORKERS:
        if not cluster.network[name].find("raylet/raylet"):
            bring_back(cluster, cluster.network[name])


def bring_back(cluster: Cluster, machine: Machine) -> None:
    """Start Ray again on a machine, as its unit does."""
    machine.kill_all()
    machine.heal()
    cluster.join(machine.name, options=WORKER.format())


@pytest.mark.parametrize("fault", ["kill", "cut", "freeze"])
def test_machine_lost_under_a_job(cluster: Cluster, rest: RestClient, places: Places, fault: str) -> None:
    """Given a job on a machine, when that is lost, then the next attempt begins elsewhere, and it alone counts.

    A machine that comes back with the old attempt still running changes nothing of what the new one has left.
    """
    job, place, machine = places.hold()
    began = time.monotonic()
    FAULTS[fault](machine)
    where = wait_until(lambda: notes(place, "attempt-2"), "the next attempt begins", deadline_s=90)
    seconds = time.monotonic() - began
    end = rest.end(job, deadline_s=60)
    if fault == "freeze":
        # The old attempt goes on for as long as its watchdog lets it, and may come to its end.
        (place / "go").touch()
        machine.thaw()
        wait_until(lambda: not machine.find("ray::run_script"), "the old attempt has ended", deadline_s=60)
    bring_back(cluster, machine)
    assert (end["status"], end["result"], where) == ("SUCCESS", 2, where[:1]), end
    assert where[0] != machine.name
    first, second = end["attempts"]
    assert (first["failure"], first["node"], second["failure"]) == ("node_lost", machine.name, None)
    assert rest.http.get(f"/jobs/{job}/outputs/own.txt").text == "attempt 2"
    assert rest.details(job) == end
    log = rest.log(job)
    # A watchdog that is cut off may have told the old attempt to end, which leaves a trace of its stack.
    assert log.startswith("attempt 1 begins\n")
    assert log.endswith("\n--- attempt 2 ---\nattempt 2 begins\nattempt 2 ends\n")
    print(f"\n{fault}: the next attempt began after {seconds:.1f} s")
    assert seconds < MOST_SECONDS[fault], end


def test_idle_machine_that_loses_its_power(cluster: Cluster, rest: RestClient, places: Places) -> None:
    """Given a machine without a job, when its plug is pulled and jobs are sent, then none waits for it for long."""
    for name in WORKERS:
        wait_until(lambda name=name: places.is_warm(name), f"{name} has a worker", deadline_s=60, every_s=0.5)
    machine = cluster.network["b"]
    machine.power_off()
    began = time.monotonic()
    config = {"entrypoint": "quick", "queue": "workers"}
    jobs = [rest.submit(SCRIPT, config=config) for _ in range(8)]
    ended = [rest.end(job, deadline_s=60) for job in jobs]
    seconds = time.monotonic() - began
    bring_back(cluster, machine)
    assert [(job["status"], job["result"]) for job in ended] == [("SUCCESS", "c")] * 8
    print(f"\nall jobs had ended {seconds:.1f} s after the power cut")
    assert seconds < MOST_SECONDS["freeze"]


@pytest.mark.parametrize("chained", [False, True], ids=["task", "chain"])
def test_value_lost_with_its_machine(cluster: Cluster, rest: RestClient, places: Places, chained: bool) -> None:
    """Given a chord one of whose values only a machine has, when that is killed, then its task runs again.

    The body gets all values, and its first attempt, which had nothing to begin with, is not a retry.
    """
    place = places.make()
    job = rest.submit(SCRIPT, params={"place": str(place), "chain": chained})
    maker = "second" if chained else "first"
    made = wait_until(lambda: _task(rest, job, maker, "SUCCESS"), "the value is there", deadline_s=60)
    host = made["attempts"][-1]["node"]
    machine = cluster.network[host]
    machine.kill_all()
    (place / "go").touch()
    end = rest.end(job, deadline_s=90)
    bring_back(cluster, machine)
    assert end["status"] == "SUCCESS", end
    assert end["result"]["trails"] == [["first", "second"] if chained else ["first"], ["slow"]]
    again = _task(rest, job, maker, "SUCCESS")
    assert again is not None
    lost, good = again["attempts"]
    assert (lost["failure"], good["failure"]) == ("node_lost", None)
    assert lost["error"].startswith(f"Its value was lost with machine {host}")
    body = _task(rest, job, "last", "SUCCESS")
    assert body is not None
    assert (body["retry"], len(body["attempts"])) == (0, 1), body


def test_value_lost_when_a_script_asks(cluster: Cluster, rest: RestClient, places: Places) -> None:
    """Given a value that only a machine has, when that is killed and a script asks for it, then it is made again."""
    place = places.make()
    config = {"entrypoint": "asks", "queue": "control"}
    job = rest.submit(SCRIPT, params={"place": str(place)}, config=config)
    made = wait_until(lambda: _task(rest, job, "first", "SUCCESS"), "the value is there", deadline_s=60)
    machine = cluster.network[made["attempts"][-1]["node"]]
    machine.kill_all()
    (place / "ask").touch()
    end = rest.end(job, deadline_s=90)
    bring_back(cluster, machine)
    assert end["status"] == "SUCCESS", end
    assert end["result"]["asked"] == ["first"]
    again = _task(rest, job, "first", "SUCCESS")
    assert again is not None
    assert [one["failure"] for one in again["attempts"]] == ["node_lost", None]


def _task(rest: RestClient, job: str, entrypoint: str, status: str) -> Json | None:
    """A task of a job's graph that is in a state, with its details."""
    view: dict[str, Any] = rest.get(f"/jobs/{job}/graph")
    for node in view["nodes"]:
        if node.get("entrypoint") == entrypoint:
            details = rest.details(node["id"])
            return details if details["status"] == status else None
    return None
