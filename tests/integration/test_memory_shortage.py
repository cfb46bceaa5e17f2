"""A machine that is short of memory: the job that takes it has to go, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.platforms import TestPlatform
from tests.rest_client import RestClient

pytestmark = pytest.mark.slow

GIB = 1 << 30
HOG_BYTES = 3 * GIB
ROOM_BYTES = int(1.5 * GIB)
"""What may be taken beside that which is taken now: other programs need some meanwhile."""

HOG = """
import time
from pathlib import Path

def main(pc, params):
    if pc["retry"]:
        return "well"
    print("hungry", flush=True)
    held = []
    for _ in range(params["mib"] // 32):
        held.append(b"x" * (32 << 20))
        time.sleep(0.01)
    time.sleep(30)

def modest(pc, params):
    while not Path(params["gate"]).exists():
        time.sleep(0.02)
    return pc["retry"]
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform that takes a machine for full which has as much taken as this one has now, and a little more."""
    memory = psutil.virtual_memory()
    if memory.available < HOG_BYTES + 2 * GIB:
        pytest.skip(f"only {memory.available / GIB:.1f} GiB are free; a hog of {HOG_BYTES / GIB:.0f} GiB needs more")
    threshold = (memory.total - memory.available + ROOM_BYTES) / memory.total
    if threshold > 0.9:
        pytest.skip(f"{threshold:.0%} of the machine's memory would be taken, which is too much to play with")
    platform = TestPlatform(CONCURRENT_TASKS="2", PIXYZ_MEMORY_THRESHOLD=f"{threshold:.4f}")
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


def test_given_a_machine_short_of_memory_when_a_job_takes_it_all_then_it_alone_is_ended_and_tried_once_more(
    platform: TestPlatform, rest: RestClient, tmp_path: Path
) -> None:
    """Given a hog without a limit beside a modest job, when memory is used up, then the hog is out_of_memory."""
    gate = tmp_path / "gate"
    modest = rest.submit(HOG, params={"gate": str(gate)}, config={"entrypoint": "modest"})
    rest.wait_for(modest, "RUNNING")
    ours = {one.pid for title in ("ray::Tracker", "ray::ServeReplica") for one in platform.processes(title)}
    details = rest.run(HOG, params={"mib": HOG_BYTES >> 20}, deadline_s=60)
    assert (details["status"], details["result"]) == ("SUCCESS", "well"), details["error"]
    first, second = details["attempts"]
    assert (first["failure"], second["failure"]) == ("out_of_memory", None), first
    assert (first["queue"], second["queue"]) == ("cpu", "gpuhigh")
    assert re.match("The machine ran out of memory.* It had taken .* [MG]iB", first["error"]), first["error"]
    assert "hungry" in first["log"]
    assert first["peak_uss"] > GIB // 4
    gate.touch()
    assert rest.end(modest)["result"] == 0
    assert {one.pid for title in ("ray::Tracker", "ray::ServeReplica") for one in platform.processes(title)} == ours
