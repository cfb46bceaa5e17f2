"""Feeds of jobs: one reader for any number of listeners, each of which is told everything once and in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray.cluster import job_feed
from pixyz_ray.cluster.channel import Channel, ChannelServer, Endpoint, Peer
from pixyz_ray.cluster.errors import EngineNotReady, UnknownJob
from pixyz_ray.cluster.events import Event
from pixyz_ray.cluster.job_feed import JobEvents, JobFeeds
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.threads import Threads
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.storage import JobFolder

pytestmark = pytest.mark.anyio


class Stage:
    """A running job, the tracker's side of the channel, and the feeds of a replica."""

    def __init__(self, share: Path) -> None:
        self.folder = JobFolder(share, str(uuid4()))
        self.folder.path.mkdir(parents=True)
        job = Job(uuid=self.folder.uuid, name="job", process="custom", script="job.py")
        self.live = LiveJob(replace(job, state=JobState.RUNNING, attempts=(Attempt(number=1, queue="cpu"),)))
        self.subscriptions = 0
        self.peers: list[Peer] = []
        self.endpoint: Endpoint | None = None
        self.channel: Channel | None = None
        self.threads = Threads("The share", 4, patience_s=0.5)
        self.feeds = JobFeeds(self._subscribe, self.threads)

    async def watch(self, peer: Peer, number: int, uuid: str) -> None:
        """Watch the job, as the tracker does."""
        if uuid != self.folder.uuid:
            raise UnknownJob(f"There is no job {uuid}.")
        self.subscriptions += 1
        self.peers.append(peer)
        self.live.watch(peer, number)

    async def unwatch(self, peer: Peer, _number: int, watched: int) -> None:
        """Watch it no more."""
        if stop := peer.on_close.pop(watched, None):
            stop()

    async def _subscribe(self, uuid: str) -> tuple[Channel, int, asyncio.Queue[Any]]:
        if self.channel is None or self.channel.closed:
            assert self.endpoint is not None
            self.channel = await Channel.open(self.endpoint)
        return self.channel, *await self.channel.subscribe("watch", uuid)

    def listen(self, last_id: str | None = None) -> JobEvents:
        """Return a new listener's events."""
        return self.feeds.follow(self.folder, last_id)

    def print(self, text: str) -> None:
        """Append to the job's log."""
        with self.folder.log.open("a", encoding="utf-8") as file:
            file.write(text)

    def step(self, info: str) -> None:
        """Begin a step."""
        self.live.take_event({"kind": "step", "info": info, "time": time.time()})

    def end(self) -> None:
        """End the job."""
        self.live.become(self.live.job.become(JobState.SUCCESS, stopped=time.time()))


@asynccontextmanager
async def _stage(share: Path) -> AsyncIterator[Stage]:
    stage = Stage(share)
    server = ChannelServer({"watch": stage.watch, "unwatch": stage.unwatch})
    stage.endpoint = await server.listen("127.0.0.1")
    try:
        async with asyncio.timeout(20):
            yield stage
    finally:
        server.close()
        if stage.channel is not None:
            stage.channel.close()


async def _follow(events: JobEvents, told: list[Event], pause_s: float = 0.0) -> list[Event]:
    """Collect a listener's events to the end."""
    try:
        async for news in events:
            told += news
            await asyncio.sleep(pause_s)
    finally:
        events.close()
    return told


def _log(events: list[Event]) -> str:
    return "".join(str(event.data["text"]) for event in events if event.kind == "log")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_given_many_listeners_when_a_job_talks_then_one_reader_serves_them_all(tmp_path: Path) -> None:
    """A slow one, and those that come late, are told as much as the others, in the same order."""
    async with _stage(tmp_path) as stage:
        told: list[list[Event]] = [[] for _ in range(60)]
        tasks = [asyncio.ensure_future(_follow(stage.listen(), one)) for one in told[:40]]
        tasks += [asyncio.ensure_future(_follow(stage.listen(), one, pause_s=0.05)) for one in told[40:50]]
        for number in range(30):
            stage.print(f"line {number}\n")
            stage.step(f"step {number}")
            await asyncio.sleep(0.01)
        tasks += [asyncio.ensure_future(_follow(stage.listen(), one)) for one in told[50:]]
        await _until(lambda: bool(told[50]))
        stage.print("the end é\n")
        stage.end()
        await asyncio.gather(*tasks)
        text = stage.folder.log.read_text(encoding="utf-8")
        for events in told:
            assert _log(events) == text
            assert events[-1].data["status"] == "SUCCESS"
            ended = [event.data["info"] for event in events if event.kind == "step" and event.data["duration"] >= 0]
            assert ended[:29] == [f"step {number}" for number in range(29)]
            infos = [event.data["info"] for event in events if event.kind == "step"]
            assert list(dict.fromkeys(infos)) == [f"step {number}" for number in range(30)]
        assert stage.subscriptions == 1
        assert not stage.feeds._feeds


async def test_given_a_log_longer_than_the_window_when_listened_to_late_then_it_comes_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in memory any more is read from the file; memory stays bounded."""
    monkeypatch.setattr(job_feed, "_WINDOW_BYTES", 1000)
    async with _stage(tmp_path) as stage:
        text = "".join(f"line {number} é\n" for number in range(50_000))
        stage.print(text)
        slow: list[Event] = []
        first = asyncio.ensure_future(_follow(stage.listen(), slow, pause_s=0.01))
        await _until(lambda: bool(slow))
        stage.print("the end\n")
        stage.end()
        quick = await _follow(stage.listen(), [])
        assert _log(quick) == text + "the end\n"
        assert _log(await first) == text + "the end\n"


async def test_given_any_event_when_taken_up_from_it_then_nothing_is_lost_or_told_twice(tmp_path: Path) -> None:
    """While the job still runs, and when it has ended."""
    async with _stage(tmp_path) as stage:
        stage.print("one\n")
        stage.step("a")
        first: list[Event] = []
        task = asyncio.ensure_future(_follow(stage.listen(), first))
        await _until(lambda: any(event.kind == "step" for event in first))
        stage.print("two\n")
        stage.step("b")
        stage.print("three\n")
        stage.end()
        await task
        for index, event in enumerate(first):
            both = first[: index + 1] + await _follow(stage.listen(event.id), [])
            assert _log(both) == "one\ntwo\nthree\n"
            shown = [json.dumps(one.data) for one in both if one.kind != "log"]
            assert len(shown) == len(set(shown))
            assert both[-1].data["status"] == "SUCCESS"


async def test_given_a_tracker_that_goes_away_when_it_is_back_then_open_streams_go_on(tmp_path: Path) -> None:
    """Their clients do not notice."""
    async with _stage(tmp_path) as stage:
        told: list[Event] = []
        task = asyncio.ensure_future(_follow(stage.listen(), told))
        await _until(lambda: bool(told))
        stage.peers[0].refuse()
        stage.print("meanwhile\n")
        await _until(lambda: stage.subscriptions == 2)
        stage.end()
        await task
        assert _log(told) == "meanwhile\n"
        assert [event.data["status"] for event in told if event.kind == "status"] == ["RUNNING", "SUCCESS"]


async def test_given_a_job_that_is_quiet_when_listened_to_then_each_listener_hears_that_the_stream_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing piles up meanwhile."""
    monkeypatch.setattr(job_feed, "_SILENCE_S", 0.01)
    async with _stage(tmp_path) as stage:
        events, silences = stage.listen(), 0
        async for news in events:
            silences += not news
            if silences == 20:
                break
        feed = stage.feeds._feeds[stage.folder.uuid]
        assert not feed._waiting
        events.close()
        assert not stage.feeds._feeds


async def test_given_no_such_job_when_opened_then_the_listener_is_told(tmp_path: Path) -> None:
    """Before any answer is begun; and the feed is gone."""
    async with _stage(tmp_path) as stage:
        events = stage.feeds.follow(JobFolder(tmp_path, str(uuid4())), None)
        with pytest.raises(UnknownJob):
            await events.open()
        assert not stage.feeds._feeds


async def test_given_a_share_that_hangs_when_a_job_ends_then_its_end_waits_for_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be told after the end; until then status and steps go on."""
    hanging = asyncio.Event()

    async def run(*_arguments: Any, **_options: Any) -> Any:
        raise EngineNotReady("The share does not answer.")

    async with _stage(tmp_path) as stage:
        monkeypatch.setattr(job_feed, "_RETRY_S", 0.01)
        told: list[Event] = []
        with monkeypatch.context() as patch:
            patch.setattr(stage.threads, "run", run)
            task = asyncio.ensure_future(_follow(stage.listen(), told))
            stage.print("printed\n")
            stage.step("a step")
            await _until(lambda: any(event.kind == "step" for event in told))
            stage.end()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await hanging.wait()
            assert not task.done()
        await task
        assert _log(told) == "printed\n"
        assert told[-1].data["status"] == "SUCCESS"
