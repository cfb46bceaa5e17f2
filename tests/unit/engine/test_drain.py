"""Drain: what becomes of jobs that run, that Ray has been given, and that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from pixyz_ray.cluster.drain import Drain
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.failure import UPGRADED, FailureClass
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore


class Bench:
    """Jobs over a real store; attempts are given to nobody, and end when the test says so."""

    def __init__(self, store: JobStore) -> None:
        self.jobs = Lifecycle(Settings(_env_file=None), store)
        graphs = Graphs(self.jobs)
        self.jobs.followers = graphs
        self.blocked: set[str] = set()
        self.interrupted: list[str] = []
        self.drain = Drain(self.jobs, graphs, lambda: self.blocked)
        attempts: Any = self.jobs.attempts
        attempts.launcher = SimpleNamespace(
            note_for=lambda _queue: None,
            launch=lambda live: (object(), None),
            kill=None,
            withdraw=None,
        )
        attempts.answers = SimpleNamespace(expect=lambda *_: None, forget=lambda *_: None)
        attempts._stop = self._stop
        self.jobs.turns.take_capacity({"CPU": 2.0})

    def _stop(self, live: Any, _why: FailureClass) -> None:
        """Answer as Ray does a moment after the worker is killed."""
        uuid, attempt = live.record.uuid, len(live.record.attempts)
        self.interrupted.append(uuid)
        outcome = {"ok": False, "failure": "crash", "error": "killed", "signal": 9}
        asyncio.get_running_loop().call_later(0.01, self.jobs.take_outcome, live, attempt, outcome)

    async def submit(self, *, starts: bool) -> str:
        """Accept a job; with `starts` its worker begins."""
        job = Job(uuid=str(uuid4()), name="n", process="custom", script="s.py", state=JobState.SENT)
        await self.jobs.accept(job)
        while job.uuid not in self.jobs.live or self.jobs.live[job.uuid].reference is None:
            await asyncio.sleep(0)
        if starts:
            self.jobs.attempts.take_event(job.uuid, 1, {"kind": "started", "time": 1.0, "node": "n", "pid": 1})
        return job.uuid

    def end(self, uuid: str) -> None:
        """End a job well."""
        self.jobs.take_outcome(self.jobs.live[uuid], 1, {"ok": True, "result": 1})

    async def stored(self, uuid: str) -> Job:
        """Return a job as a tracker after this one finds it."""
        found = self.jobs.store.get(uuid)
        assert found is not None
        return found


@contextmanager
def _bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield Bench(store)


def test_running_job_that_ends_in_time(tmp_path: Path) -> None:
    """Given a running job, when it ends before the deadline, then nothing is ended, and later jobs wait."""

    async def main() -> None:
        with _bench(tmp_path) as bench:
            uuid = await bench.submit(starts=True)
            draining = asyncio.ensure_future(bench.drain.run(10.0, UPGRADED))
            await asyncio.sleep(0.02)
            assert bench.drain.state == "draining"
            late = Job(uuid=str(uuid4()), name="n", process="custom", script="s.py", state=JobState.SENT)
            await bench.jobs.accept(late)
            bench.end(uuid)
            assert await draining == {"ended": 0}
            assert bench.drain.state == "drained"
            assert (await bench.stored(uuid)).state is JobState.SUCCESS
            assert (await bench.stored(late.uuid)).attempts == ()

    asyncio.run(main())


def test_running_job_at_the_deadline(tmp_path: Path) -> None:
    """Given a job that goes on, when time is over, then its attempt says why, and it waits to be run again."""

    async def main() -> None:
        with _bench(tmp_path) as bench:
            uuid = await bench.submit(starts=True)
            assert await bench.drain.run(0.1, UPGRADED) == {"ended": 1}
            job = await bench.stored(uuid)
            assert job.state is JobState.RETRY
            assert (job.attempts[0].failure, job.attempts[0].error) == (FailureClass.NODE_LOST, UPGRADED)
            assert job.attempts[0].signal is None

    asyncio.run(main())


def test_job_that_ray_has_not_started(tmp_path: Path) -> None:
    """Given a job in Ray's hands, when drained, then it is taken back without a trace, long before the deadline."""

    async def main() -> None:
        with _bench(tmp_path) as bench:
            uuid = await bench.submit(starts=False)
            async with asyncio.timeout(5):
                assert await bench.drain.run(60.0, UPGRADED) == {"ended": 0}
                while bench.jobs.live[uuid].record.attempts:
                    await asyncio.sleep(0.01)
            assert bench.interrupted == [uuid]
            assert bench.jobs.turns.waiting(uuid) is not None

    asyncio.run(main())


def test_script_that_waits_for_its_tasks(tmp_path: Path) -> None:
    """Given scripts that wait for tasks which do not start any more, when drained, then nobody waits for them."""

    async def main() -> None:
        with _bench(tmp_path) as bench:
            uuid = await bench.submit(starts=True)
            bench.blocked.add(uuid)
            async with asyncio.timeout(5):
                assert await bench.drain.run(60.0, UPGRADED) == {"ended": 1}

    asyncio.run(main())


@pytest.mark.parametrize("times", [1, 20])
def test_interruptions_by_operators_are_not_counted(tmp_path: Path, times: int) -> None:
    """Given a job that many upgrades have cut short, when the next one does, then it runs again at once."""
    from pixyz_ray.jobs import Attempt
    from pixyz_ray.queues import DEFAULT_QUEUES
    from pixyz_ray.retries import Again, next_attempt

    one = Attempt(number=1, queue="cpu", started=1.0, stopped=2.0, failure=FailureClass.NODE_LOST, uncounted=True)
    attempts = tuple(replace(one, number=number) for number in range(1, times + 1))
    job = Job(uuid=str(uuid4()), name="n", process="custom", script="s.py", attempts=attempts)
    assert next_attempt(job, cast(Any, DEFAULT_QUEUES)) == Again(queue="cpu", delay_s=0.0)
