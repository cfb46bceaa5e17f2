"""Machines that must get no jobs: without the share, drained, or with another version of the platform."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pixyz_ray.version import VERSION
from tests.cluster.clusters import Cluster
from tests.cluster.machines import Machine, Network, wait_for_all
from tests.platforms import ROOT
from tests.rest_client import RestClient
from tests.waiting import wait_until

MACHINES = ("a", "b")
OTHER_VERSION = "0.0.1"

# Says where it runs, and goes on until it is told to end.
HOLDS = """
import socket, time
from pathlib import Path

def main(pc, params):
    place = Path(params["folder"])
    (place / f"{params['n']}.{socket.gethostname()}").touch()
    deadline = time.monotonic() + 60
    while not (place / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return socket.gethostname()
"""
QUICK = """
import socket, time

def main(pc, params):
    time.sleep(params.get("time", 0))
    return socket.gethostname()
"""
# A file system whose server answers nothing, such as NFS when the server is away: the kernel waits for it.
HANGING = """
import ctypes, os, sys, time
libc, target = ctypes.CDLL(None, use_errno=True), sys.argv[1]
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"nothing", target.encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
time.sleep(600)
"""


def node(rest: RestClient, name: str) -> dict[str, Any]:
    """Return a machine as the platform shows it."""
    return dict(rest.get(f"/nodes/{name}"))


def wait_for_state(rest: RestClient, name: str, state: str, *, deadline_s: float = 30.0) -> dict[str, Any]:
    """Return a machine once it is in that state."""
    return wait_until(
        lambda: found if (found := node(rest, name))["state"] == state else None,
        f"machine {name} is {state}",
        deadline_s=deadline_s,
        every_s=0.1,
    )


class Holding:
    """Jobs that fill the cluster until they are told to end."""

    def __init__(self, cluster: Cluster, rest: RestClient, name: str, count: int = 4) -> None:
        self.folder = cluster.network.share / f"holding-{name}"
        self.folder.mkdir()
        self.rest = rest
        self.jobs = [rest.submit(HOLDS, params={"folder": str(self.folder), "n": n}) for n in range(count)]
        wait_until(lambda: len(list(self.folder.iterdir())) == count, f"{count} jobs run", deadline_s=40)

    def release(self) -> list[dict[str, Any]]:
        """Let them end, and return their details."""
        (self.folder / "go").touch()
        return [self.rest.end(uuid, deadline_s=40) for uuid in self.jobs]


@pytest.fixture(scope="module")
def cluster(network: Network) -> Cluster:
    """The platform on two machines; the second one joins later, so that the HTTP service is on the head."""
    cluster = Cluster(network)
    cluster.start_head()
    cluster.up()
    cluster.wait_until_ready()
    cluster.join("b")
    return cluster


@pytest.fixture(autouse=True)
def both_ready(rest: RestClient) -> None:
    """Both machines can run jobs when a test begins."""
    wait_until(lambda: len(rest.get("/nodes")["nodes"]) >= len(MACHINES), "both machines are known")
    for name in MACHINES:
        wait_for_state(rest, name, "ready")


@contextmanager
def without_share(machine: Machine, share: Path, how: str) -> Iterator[None]:
    """Take the share away from a machine; the others keep it."""
    holder = None
    if how == "hangs":
        (machine.home / "hanging.py").write_text(HANGING, encoding="utf-8")
        holder = machine.start(f"python hanging.py {share}", "hanging.log")
        log = machine.folder / "hanging.log"
        wait_until(lambda: "mounted" in log.read_text(), f"the file system is mounted ({log.read_text()})")
    elif how == "read-only":
        machine.run(f"mount --bind {share} {share} && mount -o remount,bind,ro {share}")
    else:
        machine.run(f"mount -t tmpfs tmpfs {share}")
        if how == "another":
            machine.run(f'echo \'{{"id": "1234", "since": "2020-01-01"}}\' > {share}/.pixyz-share')
    try:
        yield
    finally:
        if holder is not None:
            # The connection to the kernel ends with the process that has it; then what waits gets an error.
            for pid in machine.find("hanging.py"):
                machine_kill(pid)
            holder.wait(20)
        machine.run(f"umount -l {share}")


def _has_worker(rest: RestClient, name: str) -> bool:
    answer = rest.http.post(f"/nodes/{name}/check")
    return answer.status_code == 200 and sum((answer.json()["workers"] or {}).values()) > 0


def machine_kill(pid: int) -> None:
    """Kill one process of a machine."""
    os.kill(pid, signal.SIGKILL)


def test_given_two_machines_when_listed_then_each_says_what_it_has(cluster: Cluster, rest: RestClient) -> None:
    """Given a cluster, when its machines are listed, then with name, resources, versions and the share."""
    nodes = {one["name"]: one for one in rest.get("/nodes")["nodes"]}
    assert set(nodes) == {"a", "b"}
    assert nodes["a"]["head"]
    assert not nodes["b"]["head"]
    for one in nodes.values():
        assert (one["cpus"]["total"], one["pixyz"], one["share"]["ok"]) == (2.0, VERSION, True)
        assert one["share"]["disk"]["free"] > 0
    assert nodes["b"]["address"] == cluster.network["b"].ip
    shown = cluster.pixyz("nodes").stdout
    assert "a (head)" in shown
    assert "ready" in shown


def test_given_a_machine_without_the_share_when_jobs_run_then_elsewhere_and_it_is_named(
    cluster: Cluster, rest: RestClient
) -> None:
    """Given a share that is unmounted on one machine, when jobs run, then none fails, and the machine comes back."""
    share = cluster.network.share
    # It has a worker to send an attempt to, and the next probe is half a minute away.
    wait_until(lambda: _has_worker(rest, "b"), "b has a worker", deadline_s=60, every_s=0.5)
    with without_share(cluster.network["b"], share, "unmounted"):
        # Long enough for the head to be full, so that Ray gives some to the other machine.
        ended = [rest.end(uuid) for uuid in [rest.submit(QUICK, params={"time": 0.4}) for _ in range(12)]]
        assert [(job["status"], job["result"], job["retry"]) for job in ended] == [("SUCCESS", "a", 0)] * 12
        refused = [one for job in ended for one in job["attempts"] if one["failure"]]
        assert refused, "no attempt was sent to the machine"
        for attempt in refused:
            assert (attempt["node"], attempt["failure"], attempt["uncounted"]) == ("b", "node_lost", True)
            assert "Machine b cannot see the share" in attempt["error"]
            assert "pixyz nodes --check b" in attempt["error"]
        assert node(rest, "b")["state"] == "unfit"
        health = rest.get("/health")
        assert health["ready"]
        assert "Machine b cannot see the share" in health["warnings"][0]
        doctor = cluster.pixyz("doctor", check=False)
        assert doctor.returncode == 1
        assert "Machine b cannot see the share" in doctor.stdout
    # Nobody says that it is back.
    wait_for_state(rest, "b", "ready", deadline_s=20)
    holding = Holding(cluster, rest, "share-is-back")
    assert sorted(job["result"] for job in holding.release()) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("how", "words"),
    [("read-only", "cannot write to the share"), ("another", "has another share"), ("hangs", "gets no answer")],
)
def test_given_a_share_that_is_not_as_on_the_head_when_checked_then_it_says_how(
    cluster: Cluster, rest: RestClient, how: str, words: str
) -> None:
    """Given a share that is read-only, another one, or hangs, when looked at, then the machine is unfit until it is."""
    with without_share(cluster.network["b"], cluster.network.share, how):
        shown = cluster.pixyz("nodes --check b").stdout
        assert words in shown, shown
        assert node(rest, "b")["state"] == "unfit"
        job = rest.run(QUICK)
        assert (job["status"], job["result"], len(job["attempts"])) == ("SUCCESS", "a", 1)
    rest.http.post("/nodes/b/check")
    wait_for_state(rest, "b", "ready", deadline_s=25)


def test_given_running_jobs_when_a_machine_is_drained_then_they_end_and_no_other_begins_there(
    cluster: Cluster, rest: RestClient
) -> None:
    """Given jobs that run and jobs that wait, when drained, then the first end there; a restart changes nothing."""
    holding = Holding(cluster, rest, "drained")
    # Ray has these already, for whatever machine is free first.
    waiting = [rest.submit(QUICK) for _ in range(10)]
    drained = rest.http.post("/nodes/b/drain").json()
    assert (drained["state"], drained["running"], len(drained["jobs"])) == ("draining", 2, 2)
    done = cluster.pixyz("drain b --wait --timeout 0.5", check=False)
    assert (done.returncode, "draining, 2 jobs run there" in done.stdout) == (1, True), done.stdout
    assert sorted(job["result"] for job in holding.release()) == ["a", "a", "b", "b"]
    for job in map(rest.end, waiting):
        assert (job["status"], job["result"], job["retry"]) == ("SUCCESS", "a", 0)
    assert "is drained" in cluster.pixyz("drain b --wait --timeout 30").stdout
    for pid in cluster.head.find("^ray::TrackerActor"):
        machine_kill(pid)
    cluster.wait_until_ready()
    wait_for_state(rest, "b", "drained")
    assert {rest.run(QUICK)["result"] for _ in range(6)} == {"a"}
    assert "is ready" in cluster.pixyz("drain b --undo").stdout
    again = Holding(cluster, rest, "undrained")
    assert sorted(job["result"] for job in again.release()) == ["a", "a", "b", "b"]


def test_given_a_deadline_when_it_is_over_then_what_runs_there_runs_again_elsewhere(
    cluster: Cluster, rest: RestClient
) -> None:
    """Given jobs on a machine, when its drain's deadline is over, then they run elsewhere, which is not counted."""
    holding = Holding(cluster, rest, "deadline")
    assert "is drained" in cluster.pixyz("drain b --wait --deadline 1 --timeout 30").stdout
    ended = holding.release()
    assert [(job["status"], job["result"], job["retry"]) for job in ended] == [("SUCCESS", "a", 0)] * 4
    moved = [job["attempts"][0] for job in ended if len(job["attempts"]) == 2]
    assert [(one["node"], one["failure"], one["uncounted"]) for one in moved] == [("b", "node_lost", True)] * 2
    assert "Machine b is being drained" in moved[0]["error"]
    cluster.pixyz("drain b --undo")


def test_given_an_unknown_machine_when_drained_then_the_nearest_is_named(cluster: Cluster, rest: RestClient) -> None:
    """Given a name that no machine has, when drained, then the error has those that there are."""
    answer = rest.http.post("/nodes/bb/drain")
    assert answer.status_code == 404
    assert "Did you mean 'b'" in answer.json()["detail"]["details"]
    assert "Known: a, b" in cluster.pixyz("drain zz", check=False).stderr


def test_given_a_machine_with_another_version_when_it_joins_then_it_gets_no_job(
    cluster: Cluster, rest: RestClient
) -> None:
    """Given jobs that wait, when a machine with another version joins, then it refuses all and says why."""
    source = cluster.network.share / "other-version"
    for package in ("pixyz_ray", "pixyz_worker", "serve_app", "processes"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    version = source / "pixyz_ray" / "version.py"
    version.write_text(version.read_text(encoding="utf-8").replace(VERSION, OTHER_VERSION), encoding="utf-8")
    other = cluster.network.add("c")
    other.environment["PYTHONPATH"] = str(source)
    holding = Holding(cluster, rest, "joins")
    waiting = [rest.submit(QUICK) for _ in range(6)]
    cluster.join("c")
    wait_until(lambda: any(one["name"] == "c" for one in rest.get("/nodes")["nodes"]), "the machine is known")
    # A worker may have refused an attempt before the machine was looked at.
    wait_until(lambda: node(rest, "c")["pixyz"] == OTHER_VERSION, "the machine was looked at", deadline_s=30)
    unfit = wait_for_state(rest, "c", "unfit")
    assert f"has version {OTHER_VERSION} of Pixyz on Ray, the platform has version {VERSION}" in unfit["reason"]
    assert {job["status"] for job in holding.release()} == {"SUCCESS"}
    ended = [rest.end(uuid) for uuid in waiting]
    assert {(job["status"], job["retry"]) for job in ended} == {("SUCCESS", 0)}
    assert {job["result"] for job in ended} <= {"a", "b"}
    wait_for_all([other.start("ray stop", "stop.log")])
    wait_until(lambda: node(rest, "c")["state"] == "dead", "the machine is gone", deadline_s=30)
