"""Bounded pools of threads: what hangs takes its own threads alone, and its callers are told within seconds."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.threads import Threads

pytestmark = pytest.mark.anyio


async def test_given_a_share_that_hangs_when_many_ask_then_threads_are_bounded_and_each_is_told_in_time(
    gate: threading.Event,
) -> None:
    """Those that come when all threads are stuck are told at once; another pool goes on."""
    share, other = Threads("The share", 3, patience_s=1), Threads("Ray", 1, patience_s=1)
    threads = threading.active_count()
    began = time.monotonic()
    answers = await asyncio.gather(*(share.run(gate.wait) for _ in range(50)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {EngineNotReady}
    assert "The share does not answer" in str(answers[0])
    assert time.monotonic() - began < 10
    assert threading.active_count() - threads <= 3
    assert await other.run(lambda: "ok") == "ok"
    while share.stuck < 3:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(EngineNotReady):
        await share.run(gate.wait)
    assert time.monotonic() - began < 0.8
    gate.set()
    while share.stuck:
        await asyncio.sleep(0.01)
    assert await share.run(lambda: "again") == "again"


async def test_given_a_result_that_comes_too_late_when_it_is_a_resource_then_it_is_disposed_of(
    gate: threading.Event,
) -> None:
    """An open file must not stay open for want of anybody to close it."""
    share, disposed = Threads("The share", 1, patience_s=0.05), asyncio.Event()
    with pytest.raises(EngineNotReady):
        await share.run(lambda: gate.wait() and "file", dispose=lambda _: disposed.set())
    assert not disposed.is_set()
    gate.set()
    async with asyncio.timeout(5):
        await disposed.wait()


async def test_given_too_many_waiting_when_another_comes_then_it_is_refused_at_once(gate: threading.Event) -> None:
    """Callers do not pile up."""
    share = Threads("The share", 1, max_waiting=2, patience_s=10)
    calls = [asyncio.ensure_future(share.run(gate.wait))]
    while not share._running:
        await asyncio.sleep(0.01)
    calls += [asyncio.ensure_future(share.run(gate.wait)) for _ in range(2)]
    while len(share._waiting) < 2:
        await asyncio.sleep(0.01)
    with pytest.raises(EngineNotReady):
        await share.run(lambda: None)
    gate.set()
    assert await asyncio.gather(*calls) == [True] * 3


async def test_given_a_call_that_raises_when_run_then_the_caller_gets_the_error() -> None:
    """Any error, also one that looks like the pool's own time-out."""
    share = Threads("The share", 1)

    def fail() -> None:
        raise TimeoutError("of the file system")

    with pytest.raises(TimeoutError, match="of the file system"):
        await share.run(fail)
    with pytest.raises(TimeoutError, match="of the file system"):
        await share.wait_for(fail)
