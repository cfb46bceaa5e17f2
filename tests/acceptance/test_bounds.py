"""What a script sends, what a caller asks, and what a queue counts: bounded and true."""

from __future__ import annotations

from pathlib import Path

from tests.rest_client import RestClient
from tests.waiting import wait_until

GATED = """
import time
from pathlib import Path

def main(pc, params):
    deadline = time.monotonic() + 60
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
"""


def test_given_more_jobs_than_cpus_when_queues_are_asked_then_only_what_has_started_runs(
    rest: RestClient, gate: Path
) -> None:
    """Given 6 CPUs and 9 jobs, when asked, then 6 run and 3 wait, and those say that Ray has them."""
    uuids = [rest.submit(GATED, params={"gate": str(gate)}) for _ in range(9)]

    def cpu() -> tuple[int, int, int]:
        row = next(row for row in rest.get("/queues")["queues"] if row["name"] == "cpu")
        return row["running"], row["waiting"], row["dispatched"]

    wait_until(lambda: cpu() == (6, 3, 3), "six run and three wait")
    text = rest.http.get("/metrics").text.splitlines()
    assert 'pixyz_queue_running{queue="cpu"} 6.0' in text
    assert 'pixyz_queue_depth{queue="cpu"} 3.0' in text
    waiting = [each["waiting"] for uuid in uuids if (each := rest.details(uuid))["status"] == "PENDING"]
    assert [each["reason"] for each in waiting] == ["given to Ray: waits for a machine with 1 CPU free"] * 3
    gate.touch()
    assert [rest.end(uuid)["status"] for uuid in uuids] == ["SUCCESS"] * 9
    wait_until(lambda: cpu() == (0, 0, 0), "nothing runs or waits")
