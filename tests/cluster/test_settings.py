"""The settings of the head hold on all machines, whatever those have in their own environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.clusters import API_PORT, RAY_PORT, Cluster
from tests.cluster.machines import Machine, Network
from tests.waiting import wait_until

MACHINES = ("a", "b", "c")

WRONG = {
    "SHARE_PATH": "/nowhere",
    "PROCESS_PATH": "/nowhere",
    "LICENSE_HOST": "wrong",
    "LICENSE_PORT": "1",
    "LICENSE_ACQUIRE_AT_START": "true",
    "MAX_TRIANGLES": "1",
    "LOG_LEVEL": "ERROR",
    "LOGLEVEL": "CRITICAL",
    "PIXYZ_MEMORY_THRESHOLD": "0.01",
    "API_PORT": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
    "RAY_worker_niceness": "15",
    "PYTHONPATH_OF_MACHINE": "kept",
}
"""Variables of the machines' own environment."""

SETTINGS = """
LICENSE_PORT = 27001
DISABLE_PIXYZ = yes
MAX_TRIANGLES = 123456
MAX_IMPORT_SECONDS = 1h
PIXYZ_TIME_LIMIT = 10m
LOG_LEVEL = DEBUG
"""
"""The head's file; SDK and share are added."""

SCRIPT = """
import os, socket, sys, time
from dataclasses import asdict
from pathlib import Path

from pixyz_worker import config
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.license import LicenseSettings
from pixyz_worker.logger import get_logger

NAMES = ("LICENSE_HOST", "LOGLEVEL", "PIXYZ_MEMORY_THRESHOLD", "PYTHONPATH_OF_MACHINE", "JOB_STORE_URL")

def main(pc, params):
    import sdk_of_operator
    met = Path(params["meeting"])
    (met / str(params["n"])).touch()
    deadline = time.monotonic() + 60
    while len(list(met.iterdir())) < params["all"] and time.monotonic() < deadline:
        time.sleep(0.05)
    Path(pc.get_output_dir(), "host.txt").write_text(socket.gethostname())
    return {
        "host": socket.gethostname(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "share": config.share_dir,
        "processes": config.process_path,
        "time_limit": config.time_limit,
        "api_port": config.api_port,
        "limits": asdict(Limits.from_environment()),
        "licence": asdict(LicenseSettings.from_environment()),
        "level": get_logger("probe").level,
        "sdk": sdk_of_operator.__file__,
        "path": os.environ["PYTHONPATH"],
        **{name: os.environ.get(name) for name in NAMES},
    }
"""

PROBE = """
import json, os, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(address="auto", log_to_driver=False)
problems = {}
@ray.remote(num_cpus=0)
def look():
    from pixyz_ray.cluster.environment import cluster_config, environment_problems
    from pixyz_ray.settings import Settings
    sources = (None, cluster_config())
    return [[one.variable for one in environment_problems(Settings(), os.environ, some)] for some in sources]
for node in ray.nodes():
    options = {"scheduling_strategy": On(node["NodeID"], soft=False)}
    problems[node["NodeManagerAddress"]] = ray.get(look.options(**options).remote())
print(json.dumps(problems))
"""


def start_ray(cluster: Cluster, machine: Machine, options: str) -> None:
    """Start Ray as somebody who knows nothing of the platform."""
    command = f"ray start {options} --node-ip-address={machine.ip} --num-cpus=1 --object-store-memory 200000000"
    machine.run(f"{command} --disable-usage-stats", env={**cluster.ray_token, **WRONG})


@pytest.fixture(scope="module")
def cluster(network: Network) -> Iterator[Cluster]:
    """A plain Ray on three machines with wrong settings of their own, and the platform on it."""
    cluster = Cluster(network)
    sdk = network.share / "sdk"
    sdk.mkdir()
    (sdk / "sdk_of_operator.py").touch()
    home = network["a"].home / ".pixyz"
    home.mkdir(mode=0o700)
    (home / "pixyz-scheduler.conf").write_text(f"{SETTINGS}PIXYZ_PYTHON_PATH = {sdk}\n")
    config = '--system-config="$(python -m pixyz_ray.cluster.environment --system-config)"'
    start_ray(cluster, network["a"], f"--head --port={RAY_PORT} --include-dashboard=false {config}")
    for name in ("b", "c"):
        start_ray(cluster, network[name], f"--address={network['a'].ip}:{RAY_PORT}")
    cluster.up()
    # Serve may put the HTTP service on any of the machines.
    urls = [f"http://{machine.ip}:{API_PORT}" for machine in network.machines.values()]

    def ready() -> str | None:
        return next((url for url in urls if is_ready(url)), None)

    cluster.url = wait_until(ready, f"one of {urls} is ready", deadline_s=60, every_s=0.2)
    yield cluster


def is_ready(url: str) -> bool:
    """Return whether a service answers there that takes jobs."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=2.0).status_code == 200
    return False


def test_settings_of_the_head_hold_on_every_machine(cluster: Cluster) -> None:
    """Given machines with other settings in their environment, when a script runs on each, then the head's hold."""
    share = cluster.network.share
    meeting = share / "meeting"
    meeting.mkdir()
    with cluster.client() as rest:
        jobs = [rest.submit(SCRIPT, params={"meeting": str(meeting), "all": 3, "n": n}) for n in range(3)]
        ended = [rest.end(uuid, deadline_s=90) for uuid in jobs]
    assert [job["status"] for job in ended] == ["SUCCESS"] * 3, [job["error"] for job in ended]
    found: dict[str, dict[str, Any]] = {job["result"].pop("host"): job["result"] for job in ended}
    assert sorted(found) == ["a", "b", "c"]
    assert found["a"] == found["b"] == found["c"]
    one = found["b"]
    assert one["limits"]["max_triangles"] == 123456
    assert one["limits"]["max_import_seconds"] == 3600
    assert (one["licence"]["host"], one["licence"]["port"]) == (None, 27001)
    assert (one["share"], one["time_limit"], one["api_port"]) == (str(share), 600, 8001)
    assert Path(one["processes"]).name == "processes"
    assert (one["level"], one["LOGLEVEL"]) == (10, "")
    assert one["PIXYZ_MEMORY_THRESHOLD"] == "0.95"
    assert one["sdk"] == str(share / "sdk" / "sdk_of_operator.py")
    assert one["path"].startswith(f"{share}/sdk:/"), "the machine's own search path follows"
    assert one["PYTHONPATH_OF_MACHINE"] == "kept"
    assert one["JOB_STORE_URL"] is None
    assert one["nice"] == 0, "the head's system configuration is over the environment of a machine"


def test_a_machine_knows_what_its_ray_was_started_without(cluster: Cluster) -> None:
    """Given machines whose Ray has the head's system configuration alone, when compared, then that counts."""
    done = cluster.head.python(f"import os\nos.environ.update({cluster.ray_token!r})\n{PROBE}")
    problems = json.loads(done.stdout.splitlines()[-1])
    assert len(problems) == 3
    for without, with_config in problems.values():
        assert {"RAY_worker_niceness", "RAY_memory_monitor_refresh_ms", "RAY_worker_cap_enabled"} <= set(without)
        assert set(with_config) <= {"REPORTER_UPDATE_INTERVAL_MS", "RAY_USAGE_STATS_ENABLED"}
