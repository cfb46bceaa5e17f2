"""Start and stop the platform on a Ray cluster that others have started with a plain `ray start`."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clusters import RAY_PORT, Cluster
from tests.cluster.machines import Machine, Network
from tests.waiting import wait_until

MACHINES = ("a", "b")
OURS = (
    r"ray::(TrackerActor|ServeReplica:pixyz|run_script)|pixyz-watchdog|pixyz_ray.cluster.(driver|supervisor)|/wait.py"
)
PLATFORM = r"ray::TrackerActor|ray::ServeReplica:pixyz"
DASHBOARD = 8265

# Leaves a child behind that only the watchdog finds.
LONG = """
import subprocess, sys, time
from pathlib import Path

def main(pc, params):
    name = Path("/tmp/home/wait.py")
    name.write_text("import time; time.sleep(300)")
    subprocess.Popen([sys.executable, str(name)])
    Path(params["began"], str(params["n"])).touch()
    gate = Path(params["gate"])
    while not gate.exists():
        time.sleep(0.05)
    return params["n"]
"""
OTHER = """
import ray
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Other:
    def answer(self):
        return "still here"

ray.init(address="auto", namespace="other")
handle = serve.run(Other.bind(), name="other", route_prefix=None)
print(handle.answer.remote().result())
"""
ASK_OTHER = """
import ray
from ray import serve

ray.init(address="auto", namespace="other")
print(serve.get_app_handle("other").answer.remote().result())
serve.delete("other")
"""


class Jobs:
    """Jobs that run until a gate is opened.

    Args:
        cluster: where they run.
        name: of their folder on the share.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._folder = cluster.network.share / name
        self._folder.mkdir()
        self.uuids: list[str] = []

    def start(self, number: int) -> None:
        """Send jobs and return when all of them run."""
        began = self._folder / "began"
        began.mkdir()
        with self._cluster.client() as rest:
            for n in range(number):
                params = {"began": str(began), "gate": str(self._folder / "gate"), "n": n}
                self.uuids.append(rest.submit(LONG, params=params))
        wait_until(lambda: len(list(began.iterdir())) == number, "all jobs run", deadline_s=60)

    def end(self) -> list[int]:
        """Let them end; return how many attempts each took, all of them having succeeded."""
        (self._folder / "gate").touch()
        with self._cluster.client() as rest:
            for uuid in self.uuids:
                assert rest.end(uuid, deadline_s=60)["status"] == "SUCCESS"
            return [len(rest.details(uuid)["attempts"]) for uuid in self.uuids]


@pytest.fixture(scope="module")
def bare(network: Network) -> Iterator[Cluster]:
    """Ray on two machines, with a token and without any variable of the platform; the platform is not up."""
    cluster = Cluster(network)
    options = "--object-store-memory 300000000 --disable-usage-stats --num-cpus=2"
    head, other = network["a"], network["b"]
    dashboard = f"--include-dashboard=true --dashboard-host={head.ip} --dashboard-port={DASHBOARD}"
    start = f"ray start --head --port={RAY_PORT} {dashboard} --node-ip-address={head.ip} {options}"
    head.run(start, env=cluster.ray_token)
    other.run(f"ray start --address={head.ip}:{RAY_PORT} --node-ip-address={other.ip} {options}", env=cluster.ray_token)
    yield cluster


def _left(network: Network, pattern: str = OURS) -> list[str]:
    return [
        Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for machine in network.machines.values()
        for pid in machine.find(pattern)
    ]


def _kill(machine: Machine, pattern: str) -> None:
    for pid in machine.find(pattern):
        os.kill(pid, signal.SIGKILL)


def _python(cluster: Cluster, program: str) -> str:
    path = cluster.head.home / "program.py"
    path.write_text(program, encoding="utf-8")
    return cluster.head.run(f"python {path.name}", env=cluster.ray_token).stdout


def test_given_a_ray_without_a_token_when_joined_then_the_refusal_says_how_to_start_it(network: Network) -> None:
    """Given an open Ray, when `up` joins it, then it is refused with the commands that start it with a token."""
    machine = network.add("open")
    machine.run(f"ray start --head --port={RAY_PORT} --include-dashboard=false --num-cpus=1 --disable-usage-stats")
    done = machine.run("pixyz up --detach --address auto", check=False)
    assert done.returncode == 1
    assert "RAY_AUTH_MODE=token ray start --head --port=6379" in done.stderr
    assert "--insecure" in done.stderr
    assert not machine.find(PLATFORM)
    machine.kill_all()
    del network.machines["open"]
    machine.destroy()


@pytest.mark.parametrize(("token", "message"), [(None, "there is none here"), ("0" * 64, "does not take the token")])
def test_given_a_token_that_is_missing_or_wrong_when_joined_then_the_message_says_where_it_belongs(
    bare: Cluster, token: str | None, message: str
) -> None:
    """Given a Ray with a token, when `up` has no or another one, then it says so at once instead of trying for long."""
    env = {**bare.settings, **({"RAY_AUTH_TOKEN": token} if token else {})}
    done = bare.head.run("pixyz up --detach --address auto", check=False, timeout_s=30, env=env)
    assert done.returncode == 1
    assert message in done.stderr
    assert "~/.ray/auth_token" in done.stderr


def test_given_a_plain_ray_when_the_platform_is_up_then_its_url_answers_and_down_leaves_nothing_but_ray(
    bare: Cluster,
) -> None:
    """Given jobs on both machines and another Serve application, when `down` returns, then only ours is gone."""
    said = bare.up("--drain 5").stdout
    assert f"is up at {bare.url}" in said
    assert "0.0.0.0" not in said
    bare.head.run("pixyz list")
    assert "still here" in _python(bare, OTHER)
    jobs = Jobs(bare, "down")
    jobs.start(4)
    assert len(bare.network["b"].find(r"/wait.py")) == 2
    assert "is stopped" in bare.down().stdout
    assert not _left(bare.network, r"TrackerActor|ServeReplica:pixyz|pixyz_ray.cluster")
    wait_until(lambda: not _left(bare.network), "attempts and watchdogs are gone", deadline_s=15)
    assert "still here" in _python(bare, ASK_OTHER)

    bare.up()
    assert jobs.end() == [2] * 4
    bare.down()


def test_given_supervisor_and_driver_killed_when_up_then_the_tracker_goes_on_and_down_cleans_up(bare: Cluster) -> None:
    """Given a tracker without a driver, when the platform starts again, then running jobs go on; `down` ends it too."""
    bare.up()
    tracker = bare.head.find("ray::TrackerActor")
    jobs = Jobs(bare, "orphans")
    jobs.start(3)
    _kill(bare.head, r"pixyz_ray.cluster.(driver|supervisor)")
    said = bare.up().stdout
    assert "is kept, with 3 running jobs" in said
    assert bare.head.find("ray::TrackerActor") == tracker
    assert jobs.end() == [1] * 3
    # Ray keeps no warm workers for the driver that is gone: an idle tracker is replaced by one of the new driver.
    wait_until(
        lambda: (now := bare.head.find("ray::TrackerActor")) and now != tracker, "another tracker", deadline_s=20
    )
    _kill(bare.head, r"pixyz_ray.cluster.(driver|supervisor)")
    assert "is stopped" in bare.down().stdout
    wait_until(lambda: not _left(bare.network), "nothing is left", deadline_s=15)
    assert "is not up" in bare.down().stdout


def test_given_a_ray_job_as_supervisor_when_it_is_stopped_then_everything_ends_in_time(bare: Cluster) -> None:
    """Given `ray job submit -- pixyz up`, when `ray job stop` returns, then nothing of the platform is left."""
    env = {**bare.ray_token, **bare.settings}
    job = "pixyz up --address auto --host 0.0.0.0"
    submit = f"ray job submit --no-wait --address http://{bare.head.ip}:{DASHBOARD} --submission-id platform -- {job}"
    settings = " ".join(f"{name}={value}" for name, value in bare.settings.items())
    bare.head.run(submit.replace("-- ", f"-- env {settings} "), env=env)
    bare.wait_until_ready(deadline_s=60)
    jobs = Jobs(bare, "job")
    jobs.start(2)
    bare.head.run(f"ray job stop --address http://{bare.head.ip}:{DASHBOARD} platform", env=env)
    wait_until(lambda: not _left(bare.network), "nothing is left", deadline_s=10)
    status = bare.head.run(f"ray job status --address http://{bare.head.ip}:{DASHBOARD} platform", env=env).stdout
    assert re.search("stopped", status, re.IGNORECASE), status
