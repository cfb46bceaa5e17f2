"""Many parents that wait on a machine with two CPUs: nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_graphs import SOURCE, start
from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

CPUS = 2
PARENTS = 50


@pytest.fixture(scope="module")
def small() -> Iterator[RestClient]:
    """A client of a platform of two CPUs."""
    platform = TestPlatform(CONCURRENT_TASKS=str(CPUS))
    try:
        platform.up()
        with platform.client() as client:
            yield client
    finally:
        platform.close()


def test_given_fifty_waiting_parents_on_two_cpus_when_their_tasks_need_one_then_all_end(
    small: RestClient, gate: Path
) -> None:
    """Those that wait in a process give their CPU back; those that the tracker waits for have none."""

    def at_gate(queue: str, n: int) -> str:
        config = {"entrypoint": "gated", "queue": queue}
        uuid = small.submit(SOURCE, config=config, params={"gate": str(gate), "n": n})
        small.wait_for(uuid, "RUNNING")
        return uuid

    def all_wait(uuids: list[str]) -> None:
        states = {small.wait_for(uuid, "RUNNING", deadline_s=80)["status"] for uuid in uuids}
        assert states == {"RUNNING"}

    awaited = at_gate("control", 0)
    parents = [start(small, "get", params={"for": awaited}) for _ in range(PARENTS // 2)]
    all_wait(parents)
    both_cpus = [at_gate("cpu", 1 + n) for n in range(CPUS)]
    parents += [start(small, "wait") for _ in range(PARENTS // 2)]
    waiting = parents[PARENTS // 2 :]
    wait_until(lambda: all(small.get(f"/backend/get_task_meta/{uuid}")["children"] for uuid in waiting), "they wait")
    all_wait(parents)
    gate.touch()
    assert [small.end(uuid, deadline_s=80)["result"] for uuid in parents] == [[1, 2]] * PARENTS
    assert [small.end(uuid)["status"] for uuid in (awaited, *both_cpus)] == ["SUCCESS"] * (1 + CPUS)
