"""The platform started by Serve's own commands, `serve run` and `serve deploy`, on a plain Ray."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.machines import Machine, Network
from tests.platforms import OPERATOR_TOKEN, ROOT
from tests.rest_client import RestClient
from tests.waiting import wait_until

MACHINES = ("a",)
DIGEST = hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest()
DRIVER = "pixyz_ray.cluster.tracker_driver"
SCRIPT = "def main(pc, params):\n    return params\n"


@pytest.fixture(scope="module")
def machine(network: Network) -> Iterator[Machine]:
    """A machine with nothing but Ray, started without any variable of the platform."""
    machine = network["a"]
    options = "--include-dashboard=true --object-store-memory 300000000 --disable-usage-stats"
    machine.run(f"ray start --head --num-cpus=2 --node-ip-address={machine.ip} {options}")
    yield machine


def client(machine: Machine, port: int) -> RestClient:
    """Return a client of the service, once that is ready."""
    rest = RestClient(f"http://{machine.ip}:{port}", OPERATOR_TOKEN)

    def ready() -> bool:
        try:
            return rest.http.get("/health/ready").status_code == 200
        except OSError:
            return False
        except Exception as error:
            assert "refused" in str(error) or "disconnected" in str(error), error
            return False

    wait_until(ready, f"port {port} is ready", deadline_s=60, every_s=0.2)
    return rest


def slow_jobs(rest: RestClient) -> list[float]:
    """Return the seconds that each of some jobs takes after a pause, in which Ray gives up idle workers."""
    took = []
    for number in range(3):
        time.sleep(2.5)
        begun = time.monotonic()
        job = rest.submit(SCRIPT, params=number)
        assert [event.event for event in rest.events(job)][-1] == "status"
        took.append(time.monotonic() - begun)
        assert rest.details(job)["result"] == number
    return took


def test_serve_run(machine: Machine, network: Network) -> None:
    """Given a plain Ray, when `serve run` starts the platform, then jobs end; after Ctrl-C its tracker ends too."""
    unknown = machine.run("serve run serve_app:app api_prot=8123", check=False)
    assert "Did you mean api_port?" in unknown.stderr + unknown.stdout
    arguments = f"api_host=0.0.0.0 api_port=8123 god_password_sha256={DIGEST} share_path={network.share}"
    process = machine.start(f"serve run serve_app:app {arguments}", "serve-run.log")
    with client(machine, 8123) as rest:
        assert rest.run(SCRIPT, params={"a": 1})["result"] == {"a": 1}
    (pid,) = (pid for pid in machine.find("serve run") if b"bash" not in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(pid, signal.SIGINT)
    process.wait(30)
    wait_until(lambda: not machine.find(DRIVER), "the tracker's driver ends", deadline_s=40)
    assert not machine.find("TrackerActor")


def test_serve_deploy(machine: Machine, network: Network) -> None:
    """Given a plain Ray, when our file is deployed, then jobs end, and workers stay warm."""
    text = (ROOT / "scripts" / "serve" / "config.yaml").read_text(encoding="utf-8")
    text = text.replace("YOUR_TOKENS_SHA256", DIGEST).replace("/mnt/pixyz", str(network.share))
    (machine.home / "config.yaml").write_text(text, encoding="utf-8")
    machine.run("serve deploy config.yaml")
    with client(machine, 8001) as rest:
        assert rest.run(SCRIPT, params={"b": 2})["result"] == {"b": 2}
        assert min(slow_jobs(rest)) < 0.7
        first = machine.find(DRIVER)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: (found := machine.find(DRIVER)) and not set(found) & set(first), "another driver", deadline_s=30
        )
    with client(machine, 8001) as rest:
        rest.run(SCRIPT, deadline_s=60)
        assert min(slow_jobs(rest)) < 0.7
        changed = text.replace("api_replicas: 1", "api_replicas: 1\n      pixyz_pools: {new: 2}")
        failed = _redeploy(machine, rest, changed)
        assert failed <= 2, f"{failed} requests failed while the application was replaced"
        assert [pool["name"] for pool in rest.get("/queues")["pools"]] == ["new"]
        assert rest.run(SCRIPT, params=3)["result"] == 3
    machine.run("serve shutdown -y")


def _redeploy(machine: Machine, rest: RestClient, text: str) -> int:
    """Deploy with another setting, until it is in force; return how many requests failed meanwhile."""
    (machine.home / "config.yaml").write_text(text, encoding="utf-8")
    machine.run("serve deploy config.yaml")
    failed = 0

    def in_force() -> bool:
        nonlocal failed
        try:
            answer = rest.http.get("/queues")
        except httpx.TransportError:
            failed += 1
            return False
        return answer.status_code == 200 and bool(answer.json()["pools"])

    wait_until(in_force, "the new setting is in force", deadline_s=60, every_s=0.05)
    return failed
