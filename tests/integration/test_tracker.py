"""The tracker's parts, each with what it really stands on: an event loop, TCP, SQLite, files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cluster.events import Seen
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.store import JobStore, StoreUnusable

DEADLINE_S = 10.0


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a loop of its own, and not for ever."""
    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


def _job(**changes: Any) -> Job:
    return replace(Job(uuid=str(uuid4()), name="job", process="custom", script="job.py"), **changes)


# --- Journal ---------------------------------------------------------------------------------------------------------


class CountingStore(JobStore):
    """A real store that counts its commits, and can be told to refuse."""

    commits = 0
    refusals = 0
    error: type[Exception] = StoreUnusable

    def write(self, jobs: Any, graphs: Any = (), ended_graphs: Any = ()) -> None:
        """Commit, or refuse."""
        if self.refusals:
            self.refusals -= 1
            raise self.error("not now")
        self.commits += 1
        super().write(jobs, graphs, ended_graphs)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    """An empty store."""
    store = CountingStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield store
    store.close()


def test_given_many_jobs_at_once_when_added_then_one_commit_takes_them(store: CountingStore) -> None:
    """And each is on disk when `add` returns."""

    async def main() -> None:
        journal = Journal(StoreAccess(store))
        jobs = [_job() for _ in range(50)]
        await asyncio.gather(*(journal.add(job) for job in jobs))
        assert store.commits == 1
        assert all(store.get(job.uuid) == job for job in jobs)

    run(main)


async def _written(journal: Journal, job: Job) -> None:
    written = asyncio.get_running_loop().create_future()
    journal.change(job, lambda _job: written.set_result(None))
    await written


def test_given_changes_of_one_job_when_written_then_the_last_one_stays(store: CountingStore) -> None:
    """Also when a lazy change and a firm one meet."""

    async def main() -> None:
        journal = Journal(StoreAccess(store))
        job = _job()
        await journal.add(job)
        journal.change_soon(job.become(JobState.RUNNING))
        done = job.become(JobState.SUCCESS)
        await _written(journal, done)
        assert store.get(job.uuid) == done
        assert store.commits == 2
        await asyncio.sleep(0.1)
        assert store.get(job.uuid) == done

    run(main)


def test_given_a_store_that_refuses_for_a_while_when_jobs_end_then_their_end_is_written_later(
    store: CountingStore,
) -> None:
    """A new job is refused with an error; an end is never dropped."""

    async def main() -> None:
        journal = Journal(StoreAccess(store))
        job = _job()
        await journal.add(job)
        store.refusals = 1
        with pytest.raises(StoreUnusable):
            await journal.add(_job())
        store.refusals = 1
        await _written(journal, job.become(JobState.SUCCESS))
        assert (store.get(job.uuid) or job).state is JobState.SUCCESS

    run(main)


def test_given_an_error_that_nobody_foresaw_when_a_job_is_added_then_its_caller_is_told(store: CountingStore) -> None:
    """Whoever waits for the commit never waits for ever."""

    async def main() -> None:
        journal = Journal(StoreAccess(store))
        store.error, store.refusals = ValueError, 2
        with pytest.raises(Exception, match="not now"):
            await asyncio.wait_for(journal.add(_job()), 2)
        await journal.add(_job())

    run(main)


# --- Live jobs -------------------------------------------------------------------------------------------------------


class Listener:
    """Stands where a connection would; keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.on_close: dict[int, Callable[[], None]] = {}

    def push(self, _number: int, value: Any) -> None:
        """Take a push."""
        self.told.append(json.loads(json.dumps(value)))


def test_given_progress_when_watched_then_each_step_is_told_with_its_beginning_and_its_end() -> None:
    """However quick the changes come: at the end the listener knows all of them."""

    async def main() -> None:
        live = LiveJob(_job(state=JobState.RUNNING, attempts=(Attempt(number=1, queue="cpu"),)))
        listener = Listener()
        live.watch(listener, 1)  # type: ignore[arg-type]
        live.take_event({"kind": "total", "total": 20, "time": 0.0})
        for n in range(20):
            live.take_event({"kind": "step", "info": f"step {n}", "time": float(n)})
            if n % 7 == 0:
                await asyncio.sleep(0.02)
        live.take_event({"kind": "stop", "time": 20.0})
        live.become(live.job.become(JobState.SUCCESS))
        known = {index: (info, duration) for news in listener.told for index, info, duration in news["steps"]}
        assert known == {n: (f"step {n}", 1.0) for n in range(20)}
        assert listener.told[-1]["state"]["status"] == "SUCCESS"
        assert len(listener.told) < 10
        live.unwatch(listener, 1)  # type: ignore[arg-type]

    run(main)


@pytest.mark.parametrize(
    "event",
    [{}, {"kind": "what"}, {"kind": "total", "total": 0, "time": 0.0}],
    ids=repr,
)
def test_given_an_odd_event_when_taken_then_the_job_can_still_be_shown(event: dict[str, Any]) -> None:
    """A worker of another version may send it."""

    async def main() -> None:
        live = LiveJob(_job(state=JobState.RUNNING))
        live.take_event(event)
        assert live.job.as_details()

    run(main)


# --- Events ----------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 9),
    st.integers(-1, len(JobState) - 1),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 1 << 62),
)
def test_given_what_was_seen_when_written_as_an_id_then_it_is_read_again(
    attempt: int, status: int, steps: int, ended: int, log: int
) -> None:
    """The id is all that the server keeps of a reader."""
    seen = Seen(attempt, status, steps, ended, log)
    assert Seen.parse(str(seen)) == seen


@given(st.none() | st.text() | st.from_regex(r"-?\d*(--?\d{1,40}){4}", fullmatch=True))
def test_given_any_text_when_read_as_an_id_then_it_is_something_that_can_have_been_seen(text: str | None) -> None:
    """Ids come from outside."""
    seen = Seen.parse(text)
    assert min(seen.attempt, seen.steps, seen.ended, seen.log) >= 0
    assert isinstance(seen.terminal, bool)
