"""The journal on a store that fails, hangs and refuses: nothing is lost, callers are told in time, the loop goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.failure import FailureClass
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.store import JobStore, StoreRefused, StoreUnusable

DEADLINE_S = 20.0
PATIENCE_S = 0.1


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a loop of its own, with a deadline."""
    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


def _job(**changes: Any) -> Job:
    return replace(Job(uuid=str(uuid4()), name="job", process="custom", script="job.py"), **changes)


def _ended(job: Job, **changes: Any) -> Job:
    attempt = Attempt(number=1, queue="cpu", started=1.0, stopped=2.0)
    return replace(job, state=JobState.SUCCESS, attempts=(attempt,), stopped=2.0, **changes)


class TroubledStore(JobStore):
    """A real store that can be away, can hang as a frozen server does, and refuses some jobs as it were one."""

    away = False
    thawed: threading.Event
    cut: threading.Event
    writes = 0

    @property
    def is_remote(self) -> bool:
        """As a server."""
        return True

    def hang(self) -> None:
        """Hang from now on."""
        self.thawed, self.cut = threading.Event(), threading.Event()

    def _struggle(self) -> None:
        if self.away:
            raise StoreUnusable("The store is away.")
        if not self.thawed.is_set():
            self.cut.clear()
            while not self.thawed.is_set():
                if self.cut.wait(0.005):
                    raise StoreUnusable("The connection was lost.")

    def write(self, jobs: Any, graphs: Any = (), ended_graphs: Any = ()) -> None:
        """Write, or not."""
        jobs = list(jobs)
        self.writes += 1
        self._struggle()
        if any(job.result == "bad" for job in jobs):
            raise StoreRefused("That row is bad.")
        super().write(jobs, graphs, ended_graphs)

    def ping(self) -> None:
        """Write nothing, or fail."""
        self._struggle()
        super().ping()

    def known(self, uuids: Any) -> list[str]:
        """Read, or not."""
        self._struggle()
        return super().known(uuids)

    def unanswered_s(self, *, writing: bool) -> float:
        """Statements of this store have always waited for long enough."""
        return 60.0

    def cut_off_writer(self) -> None:
        """Let a call that hangs fail."""
        self.cut.set()

    cut_off_reader = cut_off_writer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TroubledStore]:
    """A store without trouble so far."""
    store = TroubledStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.hang()
    store.thawed.set()
    yield store
    store.thawed.set()
    store.close()


def _open(store: JobStore) -> tuple[StoreAccess, Journal]:
    access = StoreAccess(store, patience_s=PATIENCE_S)
    return access, Journal(access)


async def _written(journal: Journal, job: Job) -> Job:
    written: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
    journal.change(job, written.set_result)
    return await written


def test_frozen_store(store: TroubledStore) -> None:
    """Given a store that hangs, then the loop goes on, new jobs are refused, and changes are written when it thaws."""

    async def main() -> None:
        access, journal = _open(store)
        job = _job()
        await journal.add(job)
        store.hang()
        refused = _job()
        with pytest.raises(StoreUnusable, match="does not answer"):
            await asyncio.wait_for(journal.add(refused), 2)
        assert access.trouble is not None
        with pytest.raises(StoreUnusable):
            await asyncio.wait_for(journal.add(_job()), 2)
        insistent = Graph(
            str(uuid4()), job.uuid, job.uuid, {"version": 1, "nodes": [], "calls": [], "end": "", "parents": {}}
        )
        graph = asyncio.ensure_future(journal.add(None, insistent, insist=True))
        ended = asyncio.ensure_future(_written(journal, _ended(job)))
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.01)
            ticks += 1
        assert not ended.done()
        assert not graph.done()
        store.thawed.set()
        assert (await ended).state is JobState.SUCCESS
        await graph
        await access.back()
        assert (store.get(job.uuid) or job).state is JobState.SUCCESS
        assert [one.uuid for one in store.live_graphs()] == [insistent.uuid]
        assert store.get(refused.uuid) is None

    run(main)


def test_refused_arrival_that_was_written(store: TroubledStore) -> None:
    """Given a write that succeeds after its caller was told that it did not, then the job is taken back."""

    async def main() -> None:
        _, journal = _open(store)
        store.hang()
        store.cut_off_writer = lambda: None  # type: ignore[method-assign]
        job = _job()
        with pytest.raises(StoreUnusable):
            await journal.add(job)
        store.thawed.set()
        await _written(journal, _job())
        while store.get(job.uuid) is not None:
            await asyncio.sleep(0.005)

    run(main)


def test_store_away_is_not_hammered(store: TroubledStore) -> None:
    """Given a store that is away, when many changes come, then few attempts are made, and all are written at last."""

    async def main() -> None:
        access, journal = _open(store)
        jobs = [_job() for _ in range(100)]
        store.away = True
        writing = []
        for job in jobs:
            writing.append(asyncio.ensure_future(_written(journal, job)))
            await asyncio.sleep(0.003)
        assert access.trouble == "The store is away."
        assert store.writes < 10
        store.away = False
        await asyncio.gather(*writing)
        assert len(store.get_many([job.uuid for job in jobs])) == 100
        assert access.trouble is None

    run(main)


def test_refused_row(store: TroubledStore) -> None:
    """Given one job of many whose record is refused, then it alone ends, as internal, and all others are written."""

    async def main() -> None:
        access, journal = _open(store)
        jobs = [_ended(_job(), result="bad" if number == 3 else number) for number in range(9)]
        new = _job(result="bad")
        adding = asyncio.ensure_future(journal.add(new))
        written = await asyncio.gather(*(_written(journal, job) for job in jobs))
        with pytest.raises(StoreRefused):
            await adding
        assert [job.state for job in written].count(JobState.FAILURE) == 1
        bad = store.get(jobs[3].uuid)
        assert bad is not None
        assert bad.attempts[-1].failure is FailureClass.INTERNAL
        assert "That row is bad." in str(bad.error)
        assert store.get(new.uuid) is None
        assert all((store.get(job.uuid) or bad).state is JobState.SUCCESS for job in jobs if job.result != "bad")
        assert access.trouble is None

    run(main)


def test_reading(store: TroubledStore) -> None:
    """Given a store that hangs, then who reads is told in time, who insists waits, and both sides hear of the end."""

    async def main() -> None:
        access, _ = _open(store)
        changes: list[str | None] = []
        access.on_change = lambda: changes.append(access.trouble)
        assert await access.read(store.known, ["-"]) == []
        store.hang()
        with pytest.raises(StoreUnusable, match="does not answer"):
            await asyncio.wait_for(access.read(store.known, ["-"]), 2)
        insisting = asyncio.ensure_future(access.insist(store.known, ["-"]))
        await asyncio.sleep(0.05)
        assert not insisting.done()
        store.thawed.set()
        assert await insisting == []
        assert changes[0] is not None
        assert changes[-1] is None

    run(main)


def test_a_change_is_shown_before_questions_about_its_job_are_answered(store: TroubledStore) -> None:
    """Given an end that the file may have already, when the job is asked for, then the answer waits for that end."""

    async def main() -> None:
        access, journal = _open(store)
        job = _job()
        await journal.add(job)
        store.hang()
        # After a failure changes are written in a thread.
        with pytest.raises(StoreUnusable):
            await asyncio.wait_for(journal.add(_job()), 2)
        store.thawed.set()
        await access.back()
        store.hang()
        shown: list[Job] = []
        journal.change(_ended(job), shown.append)
        await asyncio.sleep(PATIENCE_S / 4)
        asking = asyncio.ensure_future(journal.settled(job.uuid))
        await asyncio.sleep(0)
        assert not asking.done()
        await journal.settled(_job().uuid)
        store.thawed.set()
        await asking
        assert [one.state for one in shown] == [JobState.SUCCESS]

    asyncio.run(main())
