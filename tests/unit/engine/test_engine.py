"""The engine of an HTTP replica when the tracker or the share does not answer: requests end in time, others go on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray.cluster import engine as engine_module
from pixyz_ray.cluster.channel import Channel, ChannelServer, Peer
from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.threads import Threads
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.submission import Request
from pixyz_worker.exception import InvalidScript

pytestmark = pytest.mark.anyio
PATIENCE_S = 0.3
SCRIPT = b"def main(pc, params): pass\n"


class SlowTracker:
    """A tracker that can be frozen."""

    def __init__(self) -> None:
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.cancelled: list[str] = []

    async def state(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        """Answer when it is not frozen."""
        await self.thawed.wait()
        return {"uuid": uuid, "status": "SUCCESS"}

    async def submit(self, _peer: Peer, _number: int, record: dict[str, Any], _again: bool) -> dict[str, Any]:
        """Accept a job."""
        return {"uuid": record["uuid"], "status": "SENT"}

    async def cancel(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        """Note that a job was cancelled."""
        self.cancelled.append(uuid)
        return {"uuid": uuid, "status": "REVOKED"}


@asynccontextmanager
async def _engine(share: Path) -> AsyncIterator[tuple[Engine, SlowTracker]]:
    tracker = SlowTracker()
    server = ChannelServer({"state": tracker.state, "submit": tracker.submit, "cancel": tracker.cancel})
    engine = Engine(Settings(share_path=share, job_store_url="sqlite://"), patience_s=PATIENCE_S)
    engine._channel = await Channel.open(await server.listen("127.0.0.1"))
    try:
        async with asyncio.timeout(20):
            yield engine, tracker
    finally:
        engine._channel.close()
        server.close()


async def test_given_a_frozen_tracker_when_asked_then_callers_are_told_in_time_and_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it goes on, so does everything."""
    monkeypatch.setattr(engine_module, "_MAX_WAITING", 50)
    async with _engine(tmp_path) as (engine, tracker):
        tracker.thawed.clear()
        began = time.monotonic()
        asked = (engine.state(str(uuid4())) for _ in range(200))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert time.monotonic() - began < 10 * PATIENCE_S
        assert {type(answer) for answer in answers} == {EngineNotReady}
        texts = [str(answer) for answer in answers]
        assert sum("does not answer" in text for text in texts) == 50
        assert sum("Too many requests wait" in text for text in texts) == 150
        tracker.thawed.set()
        uuid = str(uuid4())
        assert (await engine.state(uuid))["uuid"] == uuid


async def test_given_a_hanging_share_when_asked_then_those_who_need_it_are_told_and_others_go_on(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose files cannot be written is cancelled again."""
    async with _engine(tmp_path) as (engine, tracker):
        engine._share = Threads("The share", 2, patience_s=PATIENCE_S)

        def hang(*_arguments: Any) -> Any:
            gate.wait(20)

        for name in ("stage", "list_outputs", "open_output", "read_log", "remove"):
            monkeypatch.setattr(JobFolder, name, hang)
        uuid, folder = str(uuid4()), engine.new_folder()
        with pytest.raises(EngineNotReady, match=r"files cannot be written: The share does not answer"):
            await engine.submit(folder, Request(script_name="a.py", script=SCRIPT))
        assert tracker.cancelled == [folder.uuid]
        for call in (engine.outputs(uuid), engine.output(uuid, "a.txt"), engine.log_piece(uuid, 0, 10)):
            with pytest.raises(EngineNotReady, match="The share does not answer"):
                await call
        began = time.monotonic()
        assert (await engine.state(uuid))["uuid"] == uuid
        assert time.monotonic() - began < 10 * PATIENCE_S


async def test_given_a_script_over_the_limit_when_submitted_then_nothing_of_it_is_kept(tmp_path: Path) -> None:
    """Whatever it would take to read it."""
    async with _engine(tmp_path) as (engine, _):
        folder = engine.new_folder()
        with pytest.raises(InvalidScript, match="takes more than 1048576 bytes"):
            await engine.submit(folder, Request(script_name="a.py", script=b"x=1\n" * (3 << 18)))
        assert not folder.path.exists()


async def test_given_a_script_submitted_again_when_accepted_then_no_process_is_asked_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first time costs something."""
    async with _engine(tmp_path) as (engine, _):
        request = Request(script_name="a.py", script=SCRIPT + b"# seen before\n")
        await engine.submit(engine.new_folder(), request)
        monkeypatch.setattr(engine._inspector, "inspect", None)
        folder = engine.new_folder()
        await engine.submit(folder, request)
        assert (folder.script / "a.py").read_bytes() == request.script
