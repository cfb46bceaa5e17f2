"""The job store on another machine: its network is cut, and it fails over to another address."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster
from tests.cluster.machines import Network
from tests.postgres import Postgres
from tests.rest_client import RestClient
from tests.waiting import wait_until

MACHINES = ("a",)
NAME = "jobstore"
CUT_S = 20.0
ANSWER_S = 5.0
BACK_S = 20.0

SCRIPT = """
import time
from pathlib import Path

def main(pc, params):
    with open(params["ledger"], "a") as ledger:
        ledger.write(f"{params['n']}\\n")
    deadline = time.monotonic() + 90
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return params["n"]
"""


@pytest.fixture(scope="module")
def cluster(network: Network, postgres: Postgres) -> Iterator[Cluster]:
    """A platform that knows its database by name."""
    resolve(network, postgres)
    url = postgres.url.replace(postgres.address, NAME)
    cluster = Cluster(network, "a", {"JOB_STORE_URL": url})
    cluster.start()
    yield cluster


def resolve(network: Network, server: Postgres) -> None:
    """Let the name of the database mean a server."""
    hosts = network["a"].tmp / "hosts"
    lines = [line for line in hosts.read_text().splitlines() if NAME not in line]
    # In place: the file is mounted.
    hosts.write_text("\n".join([*lines, f"{server.address} {NAME}", ""]))


class Crowd:
    """Jobs that run and jobs that wait, until a gate is open; a ledger has what ran.

    Args:
        rest: client that submits them.
        folder: folder on the share.
    """

    def __init__(self, rest: RestClient, folder: Path) -> None:
        folder.mkdir()
        self._rest = rest
        self._gate, self._ledger = folder / "gate", folder / "ledger"
        self._jobs = [self.submit(n) for n in range(12)]
        for uuid in self._jobs[:2]:
            rest.wait_for(uuid, "RUNNING")

    def submit(self, n: int) -> str:
        """Submit one more."""
        return self._rest.submit(**self.form(n))

    def form(self, n: int) -> dict[str, Any]:
        """Return what is sent for a job."""
        return {"script": SCRIPT, "params": {"gate": str(self._gate), "ledger": str(self._ledger), "n": n}}

    def end(self) -> None:
        """Open the gate; each job must end well, and have run once."""
        self._gate.touch()
        ended = [self._rest.end(uuid, deadline_s=60) for uuid in self._jobs]
        assert [job["status"] for job in ended] == ["SUCCESS"] * len(ended), ended
        assert sorted(map(int, self._ledger.read_text().split())) == list(range(len(ended)))
        assert [job["result"] for job in ended] == list(range(len(ended)))


def ready(rest: RestClient) -> bool:
    """Return whether the service takes jobs."""
    return bool(rest.http.get("/health").json()["ready"])


def test_cut(network: Network, cluster: Cluster, rest: RestClient) -> None:
    """Given running and waiting jobs, when all packets of the database are dropped for a while, then none is lost.

    Callers are answered meanwhile, and a refused job is not there afterwards.
    """
    crowd = Crowd(rest, network.share / "cut")
    network["db"].cut()
    try:
        until = time.monotonic() + CUT_S
        while time.monotonic() < until:
            asked = time.monotonic()
            answer = rest.post(**crowd.form(-1))
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), answer.text
            health = rest.http.get("/health").json()
            assert (health["ready"], health["checks"]["store"] != "ok") == (False, True), health
            assert time.monotonic() - asked < ANSWER_S + 3
    finally:
        network["db"].heal()
    wait_until(lambda: ready(rest), "the database is back", deadline_s=BACK_S)
    crowd.end()
    assert {job["status"] for job in rest.get("/jobs", params={"limit": 1000})["jobs"]} == {"SUCCESS"}


def test_failover(network: Network, cluster: Cluster, postgres: Postgres, rest: RestClient) -> None:
    """Given a hot standby, when the primary is gone and the name means the standby, then the platform follows."""
    standby = Postgres(network.add("db2"), standby_of=postgres)
    try:
        standby.start(postgres.port)
        # The commits of jobs that were accepted wait for the standby.
        postgres.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        crowd = Crowd(rest, network.share / "failover")
        before = {job["uuid"] for job in rest.get("/jobs", params={"limit": 1000})["jobs"]}
        network["db"].power_off()
        wait_until(lambda: not ready(rest), "the primary is missed", deadline_s=BACK_S)
        resolve(network, standby)
        wait_until(lambda: "primary" in rest.http.get("/health").json()["checks"]["store"], "the standby is named")
        standby.promote()
        wait_until(lambda: ready(rest), "the new primary is used", deadline_s=BACK_S)
        crowd.end()
        assert before <= {job["uuid"] for job in rest.get("/jobs", params={"limit": 1000})["jobs"]}
    finally:
        standby.close()
