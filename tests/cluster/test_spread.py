"""Jobs on three machines, with the job records in PostgreSQL on a fourth."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.clusters import Cluster
from tests.rest_client import RestClient

POSTGRES = True

# Holds its place until all of the others have begun, so that they cannot share a machine.
TOGETHER = """
import os, socket, time
from pathlib import Path

def main(pc, params):
    met = Path(params["meeting"])
    (met / f"{params['n']}").write_text(socket.gethostname())
    deadline = time.monotonic() + 60
    while len(list(met.iterdir())) < params["all"]:
        if time.monotonic() > deadline:
            raise TimeoutError("the others have not begun")
        time.sleep(0.05)
    Path(pc.get_output_dir(), "host.txt").write_text(socket.gethostname())
    return socket.gethostname()
"""


def test_given_three_machines_when_jobs_fill_them_then_each_machine_runs_some(
    cluster: Cluster, rest: RestClient
) -> None:
    """Given six places on three machines, when six jobs wait for each other, then they run, two on each machine."""
    meeting = cluster.network.share / "meeting"
    meeting.mkdir()
    jobs = [rest.submit(TOGETHER, params={"meeting": str(meeting), "all": 6, "n": n}) for n in range(6)]
    ended = [rest.end(uuid, deadline_s=90) for uuid in jobs]
    assert [job["status"] for job in ended] == ["SUCCESS"] * 6, ended
    assert sorted(job["result"] for job in ended) == ["a", "a", "b", "b", "c", "c"]
    for uuid, job in zip(jobs, ended, strict=True):
        answer = rest.http.get(f"/jobs/{uuid}/outputs/host.txt")
        assert (answer.status_code, answer.text) == (200, job["result"])


def test_given_a_chain_when_its_nodes_run_then_values_travel(cluster: Cluster, rest: RestClient) -> None:
    """Given a script whose graph passes on values, when it runs on the cluster, then the last node has them all."""
    script = Path(__file__).with_name("chain_script.py").read_text(encoding="utf-8")
    job = rest.end(rest.submit(script, params={"length": 6}), deadline_s=90)
    assert job["status"] == "SUCCESS", job
    assert job["result"]["numbers"] == list(range(6))
