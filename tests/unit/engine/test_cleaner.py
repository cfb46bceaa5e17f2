"""The cleaner: what is too old goes, files first, whatever cut it short before; nothing else does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray.clock import SteadyClock
from pixyz_ray.cluster.cleaner import Cleaner
from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.policy import Policy
from pixyz_ray.retention import REMOVING, Removal, remove_jobs
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore
from pixyz_worker.exception import (
    InternalError,
    InvalidBackendParameter,
    SharePathNotFoundError,
)
from tests.waiting_room import Clock

DAY = 86400.0


def make_folder(share: Path, uuid: str) -> Path:
    """Return a job's folder with files in it."""
    folder = share / uuid
    (folder / "outputs").mkdir(parents=True)
    (folder / "outputs" / "model.glb").write_bytes(b"glTF")
    (folder / "job.log").touch()
    return folder


def make_upload(share: Path, uuid: str) -> Path:
    """Return the folder of an upload that was cut short."""
    folder = share / uuid
    (folder / "inputs").mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "inputs" / "model.step").write_bytes(b"ISO-10303-21;")
    return folder


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """A share with a folder in it that is no job's and must not be touched."""
    canary = tmp_path / "share" / "canary"
    canary.mkdir(parents=True)
    (canary / "file").write_text("alive")
    yield tmp_path / "share"
    assert (canary / "file").read_text() == "alive"


@dataclass
class InProcess:
    """Removes files as a worker would, in this process."""

    share: Path
    calls: list[list[str]] = field(default_factory=list)
    crashes: bool = False
    trouble: set[str] = field(default_factory=set)

    async def remove(self, removals: Sequence[Removal]) -> Mapping[str, str | None]:
        """Remove files; then, if asked for, die before anything can be told of it."""
        self.calls.append([root for root, _ in removals])
        done = await asyncio.to_thread(
            remove_jobs, str(self.share), [(root, all) for root, all in removals if root not in self.trouble]
        )
        if self.crashes:
            raise RuntimeError("the worker died")
        return done | dict.fromkeys(self.trouble & {root for root, _ in removals}, "the disk says no")


@dataclass
class Platform:
    """A store, a share and a cleaner."""

    store: JobStore
    share: Path
    remover: InProcess
    cleaner: Cleaner
    needed: set[str]
    forgotten: dict[str, int]

    def add(self, age: float, state: JobState = JobState.SUCCESS, *, of: str | None = None, **changes: Any) -> str:
        """Write down a job that ended so many seconds ago, with its folder."""
        uuid = str(uuid4())
        stopped = time.time() - age
        job = Job(uuid=uuid, name="a", process="custom", script="a.py", requested=stopped, stopped=stopped, home=of)
        self.store.write([replace(job, state=state, **changes)])
        make_folder(self.share, uuid)
        return uuid

    def add_graph(self, root: str, nodes: Sequence[str], parent: str | None = None) -> None:
        """Write down a graph of tasks."""
        plain = {"version": 1, "calls": [], "nodes": [{"id": id} for id in nodes], "end": nodes[-1], "parents": {}}
        self.store.write([], [Graph(nodes[-1], parent or root, root, plain)])

    def there(self) -> set[str]:
        """Return the jobs that have both a record and a folder; none has only one of them."""
        rows = {row["uuid"] for row in self.store.page(state=None, limit=1000, after=None)}
        assert rows == {path.name for path in self.share.iterdir()} - {"canary"}
        return rows


def make_platform(share: Path, store: JobStore, **changes: Any) -> Platform:
    """Return a platform whose jobs are kept for a day."""
    settings = Settings(share_path=share, cleanup_enabled=True, cleanup_delay=DAY, **changes)
    remover, needed, forgotten = InProcess(share), set[str](), dict[str, int]()

    def tell(uuids: Sequence[str], states: Mapping[str, int]) -> None:
        assert uuids
        for state, count in states.items():
            forgotten[state] = forgotten.get(state, 0) + count

    journal, clock = Journal(StoreAccess(store)), SteadyClock(lambda: time.time(), lambda: time.time())
    cleaner = Cleaner(settings, journal, remover, needed.__contains__, tell, clock=clock)
    return Platform(store, share, remover, cleaner, needed, forgotten)


@pytest.fixture
def platform(share: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform whose jobs are kept for a day."""
    with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield make_platform(share, store)


def test_given_jobs_of_all_ages_when_cleaned_then_those_too_old_go(platform: Platform) -> None:
    """Not what has not ended, is pinned, is to be kept for longer, or is needed for what the store does not know."""
    old = platform.add(2 * DAY)
    failed = platform.add(2 * DAY, JobState.FAILURE)
    short = platform.add(10, policy=Policy(keep=5.0))
    needed = platform.add(2 * DAY)
    platform.needed.add(needed)
    stay = {
        platform.add(DAY / 2),
        platform.add(2 * DAY, JobState.RUNNING, stopped=None),
        platform.add(2 * DAY, policy=Policy(keep=True)),
        platform.add(2 * DAY, pinned=True),
        platform.add(2 * DAY, policy=Policy(keep=3 * DAY)),
        needed,
    }
    assert asyncio.run(platform.cleaner.clean()) == 3
    assert platform.there() == stay
    assert not stay & {old, failed, short}
    assert platform.forgotten == {"SUCCESS": 2, "FAILURE": 1}
    assert asyncio.run(platform.cleaner.clean()) == 0


def test_given_a_job_with_graphs_when_cleaned_then_it_goes_with_them_and_not_before_them(platform: Platform) -> None:
    """A node that ended just now is kept as long as its own age asks, though the job above ended long ago."""
    root, other = platform.add(2 * DAY), platform.add(2 * DAY)
    nodes = [platform.add(2 * DAY, of=root) for _ in range(3)]
    below = [platform.add(2 * DAY, of=root) for _ in range(2)]
    platform.add_graph(root, nodes)
    platform.add_graph(root, below, nodes[0])
    lives = platform.add(2 * DAY)
    late = platform.add(0, of=lives)
    platform.add_graph(lives, [late])
    assert asyncio.run(platform.cleaner.clean()) == 1
    assert platform.there() == {root, lives, late, *nodes, *below}
    platform.store.write([], [], [nodes[-1], below[-1], late])
    assert asyncio.run(platform.cleaner.clean()) == 0
    assert platform.store.expired(time.time() + DAY + 1, DAY, 10) == [root, lives]
    assert platform.store.expired(time.time() + DAY - 60, DAY, 10) == []
    asyncio.run(platform.cleaner.remove_now(root))
    assert platform.there() == {lives, late}
    assert platform.store.graphs_under(root) == []
    assert platform.store.nodes_under(lives) == [late]
    assert other not in platform.there()


@pytest.mark.parametrize("died_at", ["before the files", "amid the files", "after the files", "amid the records"])
def test_given_a_clean_up_that_died_when_begun_again_then_it_is_finished(platform: Platform, died_at: str) -> None:
    """Wherever it was cut short: the record goes last."""
    root = platform.add(2 * DAY)
    nodes = [platform.add(2 * DAY, of=root) for _ in range(3)]
    platform.add_graph(root, nodes)
    platform.store.write([], [], [nodes[-1]])
    stays = platform.add(0)
    if died_at == "amid the files":
        (platform.share / root).rename(platform.share / f"{REMOVING}{root}")
        (platform.share / f"{REMOVING}{root}" / "job.log").unlink()
    if died_at in ("after the files", "amid the records"):
        platform.remover.crashes = True
        with suppress(RuntimeError):
            asyncio.run(platform.cleaner.clean())
        assert platform.store.get(root) is not None
        platform.remover.crashes = False
    if died_at == "amid the records":
        platform.store.forget(nodes[:2])
    again = make_platform(platform.share, platform.store)
    # The delay of the end of its graph has to be over too.
    asyncio.run(again.cleaner.remove_now(root))
    assert platform.there() == {stays}
    assert platform.store.nodes_under(root) == []


def test_given_files_that_cannot_be_removed_when_cleaned_then_the_others_go_and_the_record_stays(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once, and tried again each time; more than one portion of them does not hide what comes behind."""
    bad = [platform.add(3 * DAY) for _ in range(130)]
    good = {platform.add(2 * DAY) for _ in range(5)}
    platform.remover.trouble = set(bad)
    for _ in range(2):
        asyncio.run(platform.cleaner.clean())
        assert platform.there() == set(bad)
    assert not good & platform.there()
    told = [record for record in caplog.records if "the disk says no" in record.getMessage()]
    assert sorted(record.__dict__["job"] for record in told) == sorted(bad)
    platform.remover.trouble.clear()
    assert asyncio.run(platform.cleaner.clean()) == len(bad)
    assert platform.there() == set()


def test_given_one_job_when_removed_by_hand_then_only_if_it_has_ended_with_all_that_it_started(
    platform: Platform,
) -> None:
    """Each refusal is a sentence."""
    ended, runs = platform.add(0), platform.add(0, JobState.RUNNING, stopped=None)
    pinned, part = platform.add(0, pinned=True), platform.add(0, of=ended)
    starts, bad = platform.add(0, policy=Policy(keep=True)), platform.add(0)
    platform.add_graph(starts, [str(uuid4())])
    platform.remover.trouble = {bad}
    for uuid, kind, words in (
        (str(uuid4()), UnknownJob, "There is no job"),
        (runs, InvalidBackendParameter, "has not ended"),
        (pinned, InvalidBackendParameter, "is pinned"),
        (part, InvalidBackendParameter, f"is a part of job {ended}"),
        (starts, InvalidBackendParameter, "started has not ended"),
        (bad, InternalError, "the disk says no"),
    ):
        with pytest.raises(kind, match=words):
            asyncio.run(platform.cleaner.remove_now(uuid))
    asyncio.run(platform.cleaner.remove_now(ended))
    assert platform.there() == {runs, pinned, part, starts, bad}


def test_given_two_who_remove_at_a_time_when_they_meet_then_one_waits_for_the_other(platform: Platform) -> None:
    """The second finds that the job is gone; meanwhile it is known to be just going."""
    uuid = platform.add(2 * DAY)

    async def both() -> None:
        cleaning = asyncio.ensure_future(platform.cleaner.clean())
        async with asyncio.timeout(20):
            while not platform.cleaner.is_removing(uuid):
                await asyncio.sleep(0)
        with pytest.raises(UnknownJob):
            await platform.cleaner.remove_now(uuid)
        assert await cleaning == 1

    asyncio.run(both())
    assert not platform.cleaner.is_removing(uuid)
    assert platform.remover.calls == [[uuid]]


def test_given_leftovers_when_started_then_they_go_and_the_jobs_stay(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a clean-up left half, and old folders of no job; not a young folder, which may become a job's."""
    job, needed = platform.add(0), str(uuid4())
    stray, half = str(uuid4()), str(uuid4())
    make_upload(platform.share, stray)
    make_folder(platform.share, needed)
    platform.needed.add(needed)
    (platform.share / f"{REMOVING}{half}" / "outputs").mkdir(parents=True)
    asyncio.run(platform.cleaner.sweep())
    assert {path.name for path in platform.share.iterdir()} == {"canary", job, stray, needed}
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * DAY)
    asyncio.run(platform.cleaner.sweep())
    assert {path.name for path in platform.share.iterdir()} == {"canary", job, needed}


def test_given_folders_of_jobs_that_the_store_does_not_know_when_swept_then_they_stay(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a store that is new, restored, or not alone on its share, when it sweeps, then no job's folder goes."""
    uuids = [str(uuid4()) for _ in range(3)]
    for uuid in uuids:
        make_folder(platform.share, uuid)
        (platform.share / uuid / ".lock").touch()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000 * DAY)
    with caplog.at_level("WARNING"):
        asyncio.run(platform.cleaner.sweep())
    assert {path.name for path in platform.share.iterdir()} == {"canary", *uuids}
    assert "3 folders on the share belong to no job of this store" in caplog.text


def test_given_a_share_that_is_away_when_cleaned_then_no_record_is_lost(platform: Platform, tmp_path: Path) -> None:
    """And when it is back, it goes on."""
    uuid = platform.add(2 * DAY)
    platform.share.rename(tmp_path / "away")
    with pytest.raises(SharePathNotFoundError):
        asyncio.run(platform.cleaner.clean())
    assert platform.store.get(uuid) is not None
    assert platform.remover.calls == []
    (tmp_path / "away").rename(platform.share)
    assert asyncio.run(platform.cleaner.clean()) == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_given_a_tracker_when_it_runs_then_clean_ups_come_again_if_the_operator_wants_them(
    share: Path, tmp_path: Path, enabled: bool
) -> None:
    """What goes wrong once does not end it."""

    async def run(platform: Platform) -> None:
        platform.remover.crashes = enabled
        running = asyncio.ensure_future(platform.cleaner.run())
        async with asyncio.timeout(20):
            while enabled and not platform.remover.calls:
                await asyncio.sleep(0.01)
            platform.remover.crashes = False
            while enabled and platform.store.get(uuid) is not None:
                await asyncio.sleep(0.01)
            if not enabled:
                await running
        running.cancel()

    with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        platform = make_platform(share, store)
        settings = Settings(share_path=share, cleanup_enabled=enabled, cleanup_delay=0.5)
        journal = Journal(StoreAccess(store))
        platform.cleaner = Cleaner(settings, journal, platform.remover, platform.needed.__contains__, lambda *_: None)
        uuid = platform.add(5)
        asyncio.run(run(platform))
        assert (store.get(uuid) is None) == enabled


@pytest.mark.parametrize("years", [1, -1])
def test_clock_set(share: Path, tmp_path: Path, years: int, caplog: pytest.LogCaptureFixture) -> None:
    """Given a young job, when the clock is set by a year, then only the time that passes makes it old."""
    wall, steady = Clock(), Clock()
    wall.now = time.time()
    with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        platform = make_platform(share, store)
        platform.cleaner._clock = SteadyClock(wall, steady)
        young = platform.add(0)
        wall.now += years * 365 * DAY
        assert asyncio.run(platform.cleaner.clean()) == 0
        assert ("set forward" in caplog.text) == (years > 0)
        for clock in (wall, steady):
            clock.now += 1.1 * DAY
        assert asyncio.run(platform.cleaner.clean()) == (1 if years > 0 else 0)
        assert (store.get(young) is None) == (years > 0)
