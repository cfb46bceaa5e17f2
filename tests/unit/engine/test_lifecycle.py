"""Jobs that wait in a store which goes away when their turn comes: they go back in line, and begin when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore, StoreUnusable

JOBS = 30


class AbsentStore(JobStore):
    """A real store that can be away."""

    away = False

    def get_many(self, uuids: Sequence[str]) -> dict[str, Job]:
        """Read, or fail."""
        self._check()
        return super().get_many(uuids)

    def known(self, uuids: Sequence[str]) -> list[str]:
        """Read, or fail."""
        self._check()
        return super().known(uuids)

    def _check(self) -> None:
        if self.away:
            raise StoreUnusable("The store is away.")


def _jobs(store: JobStore, begun: list[str]) -> Lifecycle:
    jobs = Lifecycle(Settings(), store)
    jobs.followers = cast(Any, SimpleNamespace(begin_node=lambda _uuid: False, waiting=lambda _uuid: None))
    attempts: Any = jobs.attempts
    attempts.launch = lambda live: begun.append(live.record.uuid)
    attempts.left_outcome = lambda _job, _attempt: None
    return jobs


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RETRY])
def test_store_away_at_the_turn(tmp_path: Path, state: JobState) -> None:
    """Given jobs that wait in the store alone, when it is away as their turn comes, then none is lost or overtaken."""

    async def main() -> None:
        begun: list[str] = []
        with closing(AbsentStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
            jobs = _jobs(store, begun)
            records = [
                replace(
                    Job(uuid=str(uuid4()), name="a", process="custom", script="a.py", requested=float(number)),
                    state=state,
                )
                for number in range(JOBS)
            ]
            store.write(records)
            store.away = True
            jobs.turns.recover((job.uuid, job.requested, ["cpu", "local", 5, [], None]) for job in records)
            jobs.turns.take_capacity({"CPU": 100})
            while jobs.access.trouble is None:
                await asyncio.sleep(0)
            assert begun == []
            row = next(row for row in jobs.turns.queues() if row["name"] == "cpu")
            assert (row["waiting"], row["running"]) == (JOBS, 0)
            assert "The store is away." in (jobs.turns.waiting(records[0].uuid) or {})["reason"]
            store.away = False
            while len(begun) < JOBS:
                await asyncio.sleep(0.005)
            assert sorted(begun) == sorted(job.uuid for job in records)
            assert next(row for row in jobs.turns.queues() if row["name"] == "cpu")["waiting"] == 0

    asyncio.run(asyncio.wait_for(main(), 20))


def test_cancelled_while_it_is_fetched(tmp_path: Path) -> None:
    """Given a job whose record is being fetched, when it is cancelled meanwhile, then it does not begin."""

    async def main() -> None:
        begun: list[str] = []
        with closing(AbsentStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
            jobs = _jobs(store, begun)
            jobs.followers.ended = lambda _live, _job: None  # type: ignore[method-assign]
            job = Job(uuid=str(uuid4()), name="a", process="custom", script="a.py", state=JobState.PENDING)
            store.write([job])
            jobs.turns.recover([(job.uuid, job.requested, ["cpu", "local", 5, [], None])])
            # Its record is fetched from here on, in another thread.
            jobs.turns.take_capacity({"CPU": 1})
            await jobs.cancel(jobs._as_live(job), "enough")
            while next(row for row in jobs.turns.queues() if row["name"] == "cpu")["running"]:
                await asyncio.sleep(0.005)
            assert begun == []
            found = store.get(job.uuid)
            assert found is not None
            assert found.state is JobState.REVOKED

    asyncio.run(asyncio.wait_for(main(), 20))
