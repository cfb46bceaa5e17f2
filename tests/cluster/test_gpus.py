"""GPUs on machines that come and go: Ray's logical ones, since there are no real ones here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster
from tests.rest_client import RestClient
from tests.waiting import wait_until

MACHINES = ("a",)
SETTINGS = {"PIXYZ_QUEUES": '{"two": {"num_gpus": 2, "num_cpus": 0}, "gpu": {"num_cpus": 0.5}}'}
WITH_GPUS = "--num-gpus=2 --labels=pixyz.io/gpu-memory=16GB"

LOOK = """
import os, socket, time
from pathlib import Path

def main(pc, params):
    if params.get("meet"):
        met = Path(params["meet"])
        (met / str(params["n"])).touch()
        deadline = time.monotonic() + 60
        while len(list(met.iterdir())) < params["all"]:
            if time.monotonic() > deadline:
                raise TimeoutError("the others have not begun")
            time.sleep(0.05)
    import ray
    cards = [int(card) for card in ray.get_gpu_ids()]
    return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "cards": cards, "host": socket.gethostname()}
"""


def why(rest: RestClient, uuid: str) -> str:
    """Return what a job waits for."""
    waiting = rest.details(uuid)["waiting"]
    return "" if waiting is None else str(waiting["reason"])


def submit(rest: RestClient, config: Mapping[str, Any], **params: Any) -> str:
    """Submit a job that looks at its GPUs."""
    return rest.submit(LOOK, params=params, config=dict(config))


def result(rest: RestClient, uuid: str) -> Any:
    """Return the result of a job, which must have succeeded."""
    ended = rest.end(uuid, deadline_s=60)
    assert ended["status"] == "SUCCESS", ended
    return ended["result"]


def test_gpu_machine_joins(cluster: Cluster, rest: RestClient) -> None:
    """Given a cluster without GPUs, when a machine with some joins, then what required one begins within seconds.

    Until then the job, its notes and the platform's health say so; a job that can do without runs on CPU.
    """
    required, preferred = submit(rest, {"gpu": "require"}), submit(rest, {"queue": "gpu"})
    assert result(rest, preferred) == {"visible": "", "cards": [], "host": "a"}
    assert "The cluster has no GPU: queue gpu runs on CPU." in rest.details(preferred)["notes"]
    details = rest.details(required)
    assert details["status"] == "PENDING"
    assert "no machine of the cluster has a GPU" in why(rest, required)
    assert "No machine of the cluster has a GPU: the job waits for one (gpu: require)." in details["notes"]
    health = rest.get("/health")
    assert (health["status"], health["ready"]) == ("ok", True)
    assert health["warnings"] == [f"GPU: 1 job waits: {why(rest, required)}."]
    assert "no machine of the cluster has a GPU" in cluster.pixyz("jobs --why").stdout.replace("\n", " ")
    cluster.join("g", cpus=2, options=WITH_GPUS)
    found = result(rest, required)
    assert (found["host"], found["visible"]) == ("g", str(found["cards"][0]))
    assert rest.get("/health")["warnings"] == []


@pytest.fixture
def gpus(cluster: Cluster, rest: RestClient) -> Iterator[None]:
    """See to it that there is a machine with GPUs."""
    if rest.get("/queues")["cluster"]["GPU"] == 0:
        cluster.join("g", cpus=2, options=WITH_GPUS)
        wait_until(lambda: rest.get("/queues")["cluster"]["GPU"] == 2, "the GPUs are seen", deadline_s=20)
    yield


@pytest.mark.usefixtures("gpus")
def test_visible_gpus(rest: RestClient) -> None:
    """Given jobs with none, one and two GPUs, when warm workers run them in turn, then each sees just its own."""
    for _ in range(2):
        found = [
            result(rest, submit(rest, {"queue": queue, "isolation": isolation}))
            for queue, isolation in (
                ("cpu", "warm"),
                ("gpu", "warm"),
                ("two", "warm"),
                ("cpu", "fresh"),
                ("gpu", "fresh"),
            )
        ]
        assert [(len(one["cards"]), one["visible"]) for one in found] == [
            (len(cards), ",".join(map(str, cards))) for cards in (one["cards"] for one in found)
        ]
        assert [len(one["cards"]) for one in found] == [0, 1, 2, 0, 1]


@pytest.mark.usefixtures("gpus")
def test_packed_by_memory(cluster: Cluster, rest: RestClient) -> None:
    """Given two cards of 16 GB, when four jobs need 8 GB each, then they run together, two on each card."""
    meeting = cluster.network.share / "meeting"
    meeting.mkdir()
    config = {"gpu": "require", "gpu_memory": "8GB"}
    jobs = [submit(rest, config, meet=str(meeting), all=4, n=n) for n in range(4)]
    found = [result(rest, uuid) for uuid in jobs]
    assert sorted(one["cards"] for one in found) == [[0], [0], [1], [1]]
    answer = rest.details(jobs[0])
    assert (answer["gpu"], answer["gpu_memory"]) == ("require", 8 * 2**30)


@pytest.mark.usefixtures("gpus")
def test_too_much_memory(cluster: Cluster, rest: RestClient) -> None:
    """Given cards of 16 GB, when a job requires more, then it is refused; one that prefers runs on CPU and is told."""
    (cluster.head.home / "look.py").write_text(LOOK)
    refused = cluster.pixyz("exec -s look.py --gpu require --gpu-memory 20GB", check=False)
    assert refused.returncode != 0
    assert "has 20 GB of memory, the largest has 16 GB" in (refused.stderr + refused.stdout).replace("\n", " ")
    preferred = submit(rest, {"gpu": "prefer", "gpu_memory": "20GB"})
    assert result(rest, preferred)["cards"] == []
    assert "the largest has 16 GB: queue gpu runs on CPU." in str(rest.details(preferred)["notes"])


@pytest.mark.usefixtures("gpus")
def test_unwatched(rest: RestClient) -> None:
    """Given a machine without NVML, when a job with a declared need has run there, then its notes say it once."""
    script = LOOK.replace("    import ray", "    time.sleep(0.5)\n    import ray")
    uuid = rest.submit(script, params={}, config={"gpu": "require", "gpu_memory": "1GB"})
    rest.end(uuid, deadline_s=60)
    details = rest.details(uuid)
    assert details["notes"].count("GPU memory is not watched on machine g: no NVML.") == 1
    assert details["attempts"][-1]["peak_gpu_memory"] is None


@pytest.mark.usefixtures("gpus")
def test_gpu_machine_leaves(cluster: Cluster, rest: RestClient, tmp_path: Path) -> None:
    """Given jobs that wait at Ray for a GPU that is taken, when its machine is lost, then none waits in silence.

    One that can do without runs on CPU, one that cannot says what it waits for.
    """
    hold = "import time\ndef main(pc, params):\n    time.sleep(120)\n"
    holders = [rest.submit(hold, params={}, config={"gpu": "require", "retries": 0}) for _ in range(2)]
    wait_until(lambda: all(rest.state(uuid)["status"] == "RUNNING" for uuid in holders), "both hold a card")
    preferred, required = submit(rest, {"queue": "gpu"}), submit(rest, {"gpu": "require"})
    wait_until(lambda: "1 GPU" in why(rest, preferred) and "1 GPU" in why(rest, required), "both wait for a card")
    for pid in cluster.network["g"].find("raylet"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert result(rest, preferred)["host"] == "a"
    wait_until(
        lambda: "no machine of the cluster has a GPU" in why(rest, required), "the reason is told", deadline_s=30
    )
    for uuid in (*holders, required):
        rest.http.delete(f"/jobs/{uuid}")
