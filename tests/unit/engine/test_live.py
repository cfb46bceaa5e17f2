"""A job that runs, and who watches it: many steps cost little, and what is told of them is true."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from pixyz_ray.cluster.channel import Peer
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.tracker import Tracker
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.settings import Settings


class Listener:
    """A peer that keeps what it is told."""

    def __init__(self) -> None:
        self.on_close: dict[int, Any] = {}
        self.told: list[dict[str, Any]] = []

    def push(self, _number: int, value: dict[str, Any]) -> None:
        """Keep it."""
        self.told.append(value)


def running(uuid: str = "u") -> LiveJob:
    """Return a job that runs."""
    attempt = Attempt(number=1, queue="cpu", started=1.0)
    return LiveJob(
        Job(uuid=uuid, name=uuid, process="custom", script="a.py", state=JobState.RUNNING, attempts=(attempt,))
    )


def test_given_steps_of_which_only_some_are_reported_then_counts_times_and_numbers_are_those_of_all() -> None:
    """Given a flood of 100,000 steps of which each 50th is reported, when watched, then numbers grow and add up."""

    async def main() -> None:
        live, listener = running(), Listener()
        live.watch(cast(Peer, listener), 1)
        live.take_event({"kind": "total", "total": 100_000})
        for index in (*range(9000), *range(9000, 100_000, 50)):
            live.take_event({"kind": "step", "time": float(index), "info": f"step {index}", "index": index})
            if index % 10_000 == 0:
                live._publish_now()
        live.take_event({"kind": "stop", "time": 100_000.0})
        live._publish_now()
        job = live.job
        assert sum(step.count for step in job.steps) == 99_951
        assert sum(step.duration for step in job.steps) == 100_000
        assert job.steps[-1].info == "step 99950"
        assert job.progress == 99
        assert max(len(told["steps"]) for told in listener.told) <= 10_000
        assert listener.told[-1]["steps"][-1][:2] == (99_950, "step 99950")
        assert sum(len(told["steps"]) for told in listener.told[3:]) < 100

    asyncio.run(main())


def test_given_a_script_that_asks_again_and_again_then_nothing_is_left_behind(tmp_path: Path) -> None:
    """Given 200 questions with short timeouts about a task that runs, when answered, then no callback is kept."""

    async def main() -> None:
        url = f"sqlite:///{tmp_path}/jobs.db"
        tracker = Tracker(Settings(_env_file=None, job_store_url=url, share_path=tmp_path))  # type: ignore[call-arg]
        tracker._jobs.live["a"] = running("a")
        for _ in range(200):
            (answer,) = await tracker.outcomes("asker", ["a"], 0.0001, False)
            assert answer["state"] == "RUNNING"
        assert tracker._jobs._on_end == {}

    asyncio.run(main())
