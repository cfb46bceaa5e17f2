"""cluster.yaml as it is written, by `ray up` over ssh, from a desk to two machines."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.machines import Machine, Network
from tests.cluster.ssh import give_own_home, make_key, need_ssh, serve_ssh
from tests.platforms import OPERATOR_TOKEN, ROOT
from tests.rest_client import RestClient
from tests.waiting import wait_until

MACHINES = ("desk", "a", "b")
WHERE = """
import socket, time

def main(pc, params):
    time.sleep(1)
    return socket.gethostname()
"""


class Desk:
    """The machine from which an operator starts the cluster; a is the head, b a worker."""

    def __init__(self, network: Network) -> None:
        self.desk, self.head, self.worker = (network[name] for name in MACHINES)
        for machine in (self.desk, self.head, self.worker):
            give_own_home(machine)
        key = make_key(self.desk)
        self._servers = [serve_ssh(machine, key) for machine in (self.head, self.worker)]
        (self.desk.home / "cluster.yaml").write_text(self._filled_in(network), encoding="utf-8")
        self.desk.run("ray get-auth-token --generate > token && chmod 600 .ray/auth_token")

    def _filled_in(self, network: Network) -> str:
        """Return cluster.yaml with its first block filled in, and options for small machines."""
        block, mark, rest = (ROOT / "cluster.yaml").read_text(encoding="utf-8").partition("# ---- Nothing")
        for old, new in (
            ("head_ip: HEAD_ADDRESS", f"head_ip: {self.head.ip}"),
            ("[WORKER_ADDRESS_1, WORKER_ADDRESS_2]", f"[{self.worker.ip}]"),
            ("ssh_user: pixyz", "ssh_user: root"),
            ("VENV=/opt/pixyz-on-ray/venv", f"VENV={sys.prefix}"),
            ("SHARE_PATH=/mnt/pixyz", f"SHARE_PATH={network.share}"),
            ("YOUR_TOKENS_SHA256", hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest()),
        ):
            assert block.count(old) == 1, old
            block = block.replace(old, new)
        # The machines share the CPUs and the memory of the one that runs the tests.
        rest = rest.replace(
            "--disable-usage-stats", "--disable-usage-stats --num-cpus=2 --object-store-memory=200000000"
        )
        return f"{block}{mark}{rest}"

    def ray(self, command: str, timeout_s: float = 150.0) -> str:
        """Run a command of Ray; return its output."""
        done = self.desk.run(f"ray {command}", check=False, timeout_s=timeout_s)
        assert done.returncode == 0, f"ray {command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def close(self) -> None:
        """End what runs here."""
        for server in self._servers:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def desk(network: Network) -> Iterator[Desk]:
    """The cluster after `ray up`."""
    need_ssh()
    desk = Desk(network)
    try:
        desk.ray("up -y cluster.yaml")
        yield desk
    finally:
        desk.close()


@pytest.fixture
def rest(desk: Desk) -> Iterator[RestClient]:
    """A client with the operator's token."""
    with RestClient(f"http://{desk.head.ip}:8001", OPERATOR_TOKEN) as client:
        yield client


def rays(machine: Machine) -> list[int]:
    """Return the raylets of a machine."""
    return machine.find(r"raylet/raylet ")


def test_given_ray_up_when_it_returns_then_jobs_run_on_each_machine(desk: Desk, rest: RestClient) -> None:
    """Given `ray up`, when it has returned, then the platform is up, and each machine that has joined runs jobs."""
    assert rest.http.get("/health").json()["ready"]
    hosts: set[str] = set()

    def seen_all() -> bool:
        jobs = [rest.submit(WHERE) for _ in range(4)]
        hosts.update(rest.end(uuid, deadline_s=60)["result"] for uuid in jobs)
        return hosts == {"a", "b"}

    wait_until(seen_all, "each machine has run a job", deadline_s=60, every_s=0.2)


def test_given_no_token_when_the_cluster_is_asked_then_it_refuses(desk: Desk) -> None:
    """Given a program without the token, when it connects to the cluster, then it is refused."""
    script = "RAY_AUTH_MODE=disabled timeout 60 ray list nodes --address http://127.0.0.1:8265 || echo refused"
    assert "refused" in desk.head.run(script, check=False).stdout


def test_given_another_ray_when_ray_up_runs_again_then_only_ours_is_restarted(desk: Desk, rest: RestClient) -> None:
    """Given a Ray of somebody else on the head, when `ray up` runs once more, then that one goes on and ours is new."""
    # `ray stop` finds it by the name of its program.
    other = desk.head.start("cp $(command -v sleep) raylet && exec ./raylet 1000", "other.log")
    try:
        wait_until(lambda: desk.head.find("^./raylet 1000"), "the other Ray runs")
        before = rays(desk.head)
        desk.ray("up -y cluster.yaml")
        assert not set(before) & set(rays(desk.head))
        assert desk.head.find("^./raylet 1000")
        assert rest.run(WHERE, deadline_s=60)["status"] == "SUCCESS"
    finally:
        other.kill()
        other.wait()


def test_given_ray_down_when_it_returns_then_nothing_of_the_head_is_left(desk: Desk) -> None:
    """Given a running cluster, when `pixyz down` and `ray down` return, then nothing of them runs on the head."""
    desk.ray("exec cluster.yaml 'pixyz down'")
    desk.ray("down -y cluster.yaml")
    wait_until(
        lambda: not desk.head.find("raylet/raylet |gcs_server|pixyz_ray.cluster"), "the head is empty", deadline_s=30
    )
