"""The units of systemd on three machines behind the documented firewall, and the loss of the head."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.cluster.machines import Network
from tests.cluster.services import Services, need_firewall
from tests.rest_client import RestClient
from tests.waiting import wait_until

BACK_WITHIN_S = 60.0
SLEEP = """
import socket, time

def main(pc, params):
    time.sleep(params["seconds"])
    return socket.gethostname()
"""


STARTS = """
from contextlib import closing
from pixyz_ray.store import JobStore

with closing(JobStore("sqlite:////var/lib/pixyz/jobs.db")) as store:
    jobs = [store.get(uuid) for uuid in UUIDS]
print(all(job is not None and job.attempts and job.attempts[-1].started is not None for job in jobs))
"""


@pytest.fixture(scope="module")
def services(network: Network) -> Iterator[Services]:
    """The platform, started by its units, with a place for two jobs on each machine."""
    need_firewall()
    services = Services(network)
    for machine in network.machines.values():
        services.prepare(machine)
    try:
        # Workers that are started before their head wait for it.
        for machine in services.workers:
            services.start_worker(machine)
        services.start_head()
        services.wait_until_ready(deadline_s=90)
        yield services
    finally:
        services.close()


@pytest.fixture
def rest(services: Services) -> Iterator[RestClient]:
    """A client with the operator's token."""
    with services.client() as client:
        yield client


def test_given_the_documented_firewall_when_jobs_run_then_each_machine_runs_some(
    services: Services, rest: RestClient
) -> None:
    """Given three machines that were started by units behind a firewall, when six jobs run, then all machines do."""
    hosts: set[str] = set()

    def seen_all() -> bool:
        jobs = [rest.submit(SLEEP, params={"seconds": 1}) for _ in range(6)]
        hosts.update(rest.end(uuid, deadline_s=30)["result"] for uuid in jobs)
        return hosts == {"a", "b", "c"}

    wait_until(seen_all, "each machine has run a job", deadline_s=60, every_s=0.1)


def test_given_the_documented_firewall_when_another_port_is_tried_then_it_is_closed(services: Services) -> None:
    """Given the firewall, when a port outside of the table is tried, then nobody answers: the rules are in force."""
    wait_until(lambda: ":10001" in services.head.run("ss -ltn").stdout, "Ray Client listens")
    with pytest.raises(TimeoutError), socket.create_connection((services.head.ip, 10001), timeout=1.0):
        pass


def test_given_running_jobs_when_the_head_is_killed_then_all_of_them_end(services: Services) -> None:
    """Given jobs that run on all machines and jobs that wait, when the head dies and its units start, then all end."""
    with services.client() as rest:
        long = [rest.submit(SLEEP, params={"seconds": 15}) for _ in range(6)]
        waiting = [rest.submit(SLEEP, params={"seconds": 0.1}) for _ in range(6)]
        wait_until(
            lambda: all(rest.details(uuid)["status"] == "RUNNING" for uuid in long), "six jobs run", deadline_s=30
        )
    # The tracker writes a start a little later; one that is lost with it is not among the attempts.
    starts = STARTS.replace("UUIDS", repr(long))
    wait_until(lambda: services.head.python(starts).stdout.strip() == "True", "their starts are written", deadline_s=15)
    services.head.kill_all()
    services.start_head()
    services.wait_until_ready(deadline_s=BACK_WITHIN_S)
    with services.client() as rest:
        ended = [rest.end(uuid, deadline_s=90) for uuid in [*long, *waiting]]
        assert [job["status"] for job in ended] == ["SUCCESS"] * 12, ended
        # Ray ends the tasks of a tracker that has died, on all machines.
        assert [[one["failure"] for one in job["attempts"]] for job in ended[:6]] == [["node_lost", None]] * 6
