"""All jobs in portions: from memory and from the store, while jobs come, begin, end and go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from pixyz_ray.cluster import job_list
from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.cluster.job_list import JobList
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore


def _job(state: JobState = JobState.SUCCESS, **changes: Any) -> Job:
    job = Job(uuid=str(uuid4()), name="job", process="custom", script="job.py", state=state)
    return replace(job, **changes)


class Platform:
    """A real store with jobs in memory beside it, and nodes of graphs that have not begun; asked by an engine."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.access = StoreAccess(store)
        self.live: dict[str, LiveJob] = {}
        self.nodes: dict[str, Job] = {}
        self.lookup = SimpleNamespace(
            waiting_ids=lambda before: list(self.nodes), all_waiting=lambda: list(self.nodes.values())
        )
        overview: Any = SimpleNamespace(waiting=lambda job: {"reason": f"waits: {job.uuid}"})
        self.list = JobList(cast(Any, self), cast(Any, self), overview)
        self.engine = Engine(Settings(job_store_url="sqlite://"))
        self.engine._ask = self.answer  # type: ignore[method-assign]
        self.between: Any = lambda: None
        """Called before each answer: what happens meanwhile."""

    async def find(self, uuid: str) -> Job:
        """Return a job, as the tracker finds it."""
        if uuid in self.live:
            return self.live[uuid].job
        found = self.nodes.get(uuid) or self.store.get(uuid)
        if found is None:
            raise UnknownJob(uuid)
        return found

    def waiting(self, uuid: str) -> Job | None:
        """Return a node that has not begun, as the graphs do."""
        return self.nodes.get(uuid)

    async def answer(self, method: str, *arguments: Any) -> Any:
        """Answer as the tracker does."""
        self.between()
        return await getattr(self.list, method)(*arguments)

    def listed(
        self, state: JobState | None = None, after: str | None = None, why: bool = False
    ) -> list[dict[str, Any]]:
        """List all jobs."""

        async def collect() -> list[dict[str, Any]]:
            portions = self.engine.all_jobs(state=state, after=after, why=why)
            return [item async for portion in portions for item in portion]

        return asyncio.run(collect())

    @property
    def graphs(self) -> Any:
        """Itself, with its lookup."""
        return self


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform whose portions are small."""
    monkeypatch.setattr(job_list, "PORTION", 4)
    monkeypatch.setattr("pixyz_ray.cluster.engine._PORTION", 4)
    with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield Platform(store)


def test_all_while_jobs_come_and_go(platform: Platform) -> None:
    """Given jobs, when some come and others are removed meanwhile, then the others are listed once, newest first."""
    jobs = [_job() for _ in range(30)]
    platform.store.write(jobs)
    victims = [job.uuid for job in jobs[:5]]

    asked = 0

    def meanwhile() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            platform.store.write([_job()])
        if victims:
            platform.store.forget([victims.pop()])

    platform.between = meanwhile
    expected = [job.uuid for job in reversed(jobs[5:])]
    seen = [item["uuid"] for item in platform.listed()]
    assert len(seen) == len(set(seen))
    assert [uuid for uuid in seen if uuid in expected] == expected
    assert set(seen) <= {job.uuid for job in jobs}


def test_state_in_memory_counts(platform: Platform) -> None:
    """Given a job that the store has as PENDING, when it runs, then it is listed as such, and under that status."""
    jobs = [_job(JobState.PENDING) for _ in range(6)]
    platform.store.write(jobs)
    runs = jobs[2].become(JobState.RUNNING)
    platform.live[runs.uuid] = LiveJob(runs)
    assert {item["uuid"]: item["status"] for item in platform.listed()}[runs.uuid] == "RUNNING"
    assert [item["uuid"] for item in platform.listed(JobState.RUNNING)] == [runs.uuid]
    pending = [item["uuid"] for item in platform.listed(JobState.PENDING)]
    assert sorted(pending) == sorted(job.uuid for job in jobs if job is not jobs[2])


def test_waiting_nodes_and_jobs_once(platform: Platform) -> None:
    """Given jobs that wait in memory, in graphs and in the store, when they move meanwhile, then each comes once."""
    jobs = [_job(JobState.PENDING) for _ in range(20)]
    nodes = [_job(JobState.PENDING) for _ in range(9)]
    platform.store.write(jobs)
    platform.nodes = {node.uuid: node for node in nodes}
    platform.live = {job.uuid: LiveJob(job) for job in jobs[:3]}
    moves = iter(jobs[3:])

    def meanwhile() -> None:
        # One of the store is given to Ray, one goes back to waiting.
        if (job := next(moves, None)) is not None:
            platform.live[job.uuid] = LiveJob(job)
        if len(platform.live) > 2:
            platform.live.pop(next(iter(platform.live)))

    platform.between = meanwhile
    seen = [item["uuid"] for item in platform.listed(JobState.PENDING)]
    assert sorted(seen) == sorted(job.uuid for job in [*jobs, *nodes])


def test_after_and_why(platform: Platform) -> None:
    """Given a job to go on after, when listed, then only older ones come; an unknown one gives none; why explains."""
    jobs = [_job() for _ in range(9)]
    platform.store.write(jobs)
    items = platform.listed(after=jobs[6].uuid, why=True)
    assert [item["uuid"] for item in items] == [job.uuid for job in jobs[5::-1]]
    assert items[0]["waiting"] == {"reason": f"waits: {jobs[5].uuid}"}
    assert platform.listed(after=str(uuid4())) == []
    assert [item["uuid"] for item in platform.listed(JobState.SUCCESS)] == [job.uuid for job in reversed(jobs)]
    assert platform.listed(JobState.FAILURE) == []


def test_pages_of_waiting_jobs(platform: Platform) -> None:
    """Given nodes of one graph, all requested at once, and jobs in memory and in the store, then pages have all."""
    jobs = [_job(JobState.PENDING) for _ in range(7)]
    nodes = [_job(JobState.PENDING, requested=5.0) for _ in range(8)]
    platform.store.write(jobs)
    platform.nodes = {node.uuid: node for node in nodes}
    platform.live = {job.uuid: LiveJob(job) for job in jobs[:2]}
    seen: list[str] = []
    while page := asyncio.run(platform.list.page("PENDING", 3, seen[-1] if seen else None, why=False)):
        seen += [item["uuid"] for item in page]
    assert len(seen) == len(set(seen))
    assert set(seen) == {job.uuid for job in [*jobs, *nodes]}
