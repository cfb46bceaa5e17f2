"""The HTTP service on three machines behind nginx: machines and replicas go, and clients see no error."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from pixyz_ray.client import Client
from tests.cluster.clusters import API_PORT, Cluster
from tests.cluster.machines import REQUIRED, Machine, Network
from tests.platforms import OPERATOR_TOKEN
from tests.waiting import wait_until

MACHINES = ("a", "b", "n")
REPLICA = "^ray::ServeReplica"
NGINX_PORT = 8080
SCRIPT = b"def main(pc, params):\n    print(params)\n    return params\n"


@pytest.fixture(scope="module")
def cluster(network: Network) -> Iterator[Cluster]:
    """The platform on `a` and `b`, with one replica more than there are machines; nginx is to run on `n`."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)("nginx is not installed (package nginx-light)")
    settings = {"API_REPLICAS": "3", "API_HOST": "0.0.0.0", "TRUSTED_PROXIES": network["n"].ip}
    cluster = Cluster(network, "a", settings)
    cluster.start_head()
    cluster.join("b")
    cluster.up()
    yield cluster


@pytest.fixture(scope="module")
def front(cluster: Cluster) -> Iterator[str]:
    """URL of nginx, with the configuration that `pixyz nginx` prints once all machines have joined."""
    cluster.join("c")
    wait_until(lambda: is_ready(cluster.network["c"]), "the third replica starts where a machine joins", deadline_s=60)
    n = cluster.network["n"]
    path = cluster.network.share / "nginx.conf"
    cluster.pixyz(f"nginx --listen {NGINX_PORT} --output {path}")
    options = "daemon off; pid /tmp/nginx.pid; error_log /tmp/nginx.log;"
    process = n.start(f"nginx -e /tmp/nginx.log -c {path} -g '{options}'", "nginx.log")
    url = f"http://{n.ip}:{NGINX_PORT}"
    try:
        wait_until(lambda: answers(url), "nginx answers")
        yield url
    finally:
        process.kill()
        process.wait(10)


def answers(url: str) -> bool:
    """Return whether a service says that it is ready."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health/ready", timeout=3).status_code == 200
    return False


def is_ready(machine: Machine) -> bool:
    """Return whether the replica on a machine is ready."""
    return answers(f"http://{machine.ip}:{API_PORT}")


class Load:
    """Clients that submit and read without a pause."""

    def __init__(self, url: str) -> None:
        self.errors: list[str] = []
        self.jobs = 0
        self.longest_s = 0.0
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(3)]

    def _run(self, client_number: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            begun = time.monotonic()
            try:
                with Client(self._url, OPERATOR_TOKEN, timeout=5) as client:
                    params = {"client": client_number, "number": number}
                    job = client.submit(SCRIPT, params=params)
                    job.wait(timeout=90)
                    details = client.details(job.id)
                    assert (details["status"], details["result"]) == ("SUCCESS", params), details
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            self.jobs += 1
            self.longest_s = max(self.longest_s, time.monotonic() - begun)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the clients busy, at least until each of them has run two more jobs afterwards."""
        for thread in self._threads:
            thread.start()
        try:
            wait_until(lambda: self.jobs >= 6, "clients run jobs", deadline_s=60)
            yield
            enough = self.jobs + 6
            wait_until(lambda: self.jobs >= enough, "clients go on", deadline_s=90)
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(100)


@contextmanager
def load(url: str) -> Iterator[None]:
    """Keep clients busy; none may see an error."""
    clients = Load(url)
    with clients.running():
        yield
    print(f"{clients.jobs} jobs, the longest took {clients.longest_s:.1f} s")
    assert clients.errors == []


def test_more_replicas_than_machines(cluster: Cluster, front: str) -> None:
    """Given a replica too many for the machines, then `up` says so, and the last one starts where one joins."""
    log = (cluster.head.home / ".pixyz" / "supervisor.log").read_text(encoding="utf-8")
    assert "API_REPLICAS=3, but the cluster has 2 machines" in log
    for name in ("a", "b", "c"):
        assert len(cluster.network[name].find(REPLICA)) == 1
        assert is_ready(cluster.network[name])


def test_killed_replicas(cluster: Cluster, front: str) -> None:
    """Given clients behind nginx, when replicas are killed, the head's too, then no client sees an error."""
    with load(front):
        for name in ("b", "a"):
            machine = cluster.network[name]
            (victim,) = machine.find(REPLICA)
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda machine=machine: is_ready(machine), f"the replica of {name} is back", deadline_s=30)


def test_share_away(cluster: Cluster, front: str) -> None:
    """Given a machine that loses the share, then its replica closes its port, and opens it when the share is back."""
    machine, share = cluster.network["c"], cluster.network.share
    machine.run(f"mount -t tmpfs tmpfs {share}")
    try:
        with load(front):
            wait_until(lambda: not connects(machine), "the port is closed", deadline_s=20)
    finally:
        machine.run(f"umount -l {share}")
    wait_until(lambda: is_ready(machine), "the port is open again", deadline_s=20)


def connects(machine: Machine) -> bool:
    """Return whether a machine accepts connections of the HTTP service."""
    with suppress(httpx.ConnectError):
        httpx.get(f"http://{machine.ip}:{API_PORT}/health/live", timeout=3)
        return True
    return False


def test_lost_machines(cluster: Cluster, front: str) -> None:
    """Given clients behind nginx, when one machine crashes and another one joins, then no client sees an error.

    The kernel of the machine closes its connections. One that is cut off instead is found dead by Ray's health check.
    """
    with load(front):
        cluster.network["b"].kill_all()
        cluster.join("d")
        wait_until(lambda: is_ready(cluster.network["d"]), "its replica starts on the new machine", deadline_s=60)
