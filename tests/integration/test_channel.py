"""The channel between the platform's processes, over real TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from pixyz_ray.cluster.channel import Channel, ChannelServer, Endpoint, Peer
from pixyz_ray.cluster.errors import ConnectionLost, EngineNotReady, UnknownJob, decode_error, encode_error
from pixyz_ray.cluster.event_line import EventLine
from pixyz_ray.store import StoreUnusable
from pixyz_worker.exception import InternalError, InvalidScript, PixyzException

DEADLINE_S = 10.0


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a loop of its own, and not for ever."""
    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


class Answers:
    """Methods of a server, and what they were told."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.arrived = asyncio.Event()
        self.peers: dict[int, Peer] = {}

    async def echo(self, _peer: Peer, _number: int, value: Any) -> Any:
        """Give it back."""
        return value

    async def fail(self, _peer: Peer, _number: int, kind: str) -> None:
        """Raise an error."""
        raise {"unknown": UnknownJob("no job"), "other": ValueError("odd")}[kind]

    async def odd(self, _peer: Peer, _number: int) -> Any:
        """Answer with what no message can hold."""
        return 10**30

    async def never(self, _peer: Peer, _number: int) -> None:
        """Do not answer."""
        await asyncio.Event().wait()

    async def watch(self, peer: Peer, number: int) -> None:
        """Push three values."""
        self.peers[number] = peer
        peer.on_close[number] = lambda: self.seen.append("closed")
        for value in range(3):
            peer.push(number, value)

    async def note(self, _peer: Peer, _number: int, value: Any) -> None:
        """Note it."""
        self.seen.append(value)
        self.arrived.set()


@asynccontextmanager
async def _server() -> AsyncIterator[tuple[ChannelServer, Endpoint, Answers]]:
    answers = Answers()
    names = ("echo", "fail", "odd", "never", "watch", "note")
    server = ChannelServer({name: getattr(answers, name) for name in names})
    endpoint = await server.listen("127.0.0.1")
    try:
        yield server, endpoint, answers
    finally:
        server.close()


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 2**63, 1.5, "é\ud800", [1, [2]], {"a": {"b": []}}, "x" * 3_000_000],
    ids=lambda value: repr(value)[:20],
)
def test_given_a_value_when_called_with_it_then_it_comes_back_the_same(value: Any) -> None:
    """Whatever JSON holds, within 64 bits."""

    async def main() -> None:
        async with _server() as (_, endpoint, _answers):
            channel = await Channel.open(endpoint)
            assert await channel.call("echo", value) == value
            channel.close()

    run(main)


@pytest.mark.parametrize("side", ["argument", "answer"])
def test_given_a_value_that_no_message_holds_when_called_then_an_error_comes_and_not_silence(side: str) -> None:
    """The line goes on to work for everybody else."""

    async def main() -> None:
        async with _server() as (_, endpoint, _answers):
            channel = await Channel.open(endpoint)
            call = channel.call("echo", 10**30) if side == "argument" else channel.call("odd")
            with suppress(PixyzException):
                assert await asyncio.wait_for(call, 2) == 10**30
            assert await channel.call("echo", "still here") == "still here"
            channel.close()

    run(main)


def test_given_many_calls_at_once_when_answered_then_each_gets_its_own() -> None:
    """One connection, any order."""

    async def main() -> None:
        async with _server() as (_, endpoint, _answers):
            channel = await Channel.open(endpoint)
            assert await asyncio.gather(*(channel.call("echo", n) for n in range(500))) == list(range(500))
            channel.close()

    run(main)


def test_given_errors_when_raised_over_there_then_they_arrive_by_kind() -> None:
    """Ours as what they are, others as a fault of the platform; an unknown method too."""

    async def main() -> None:
        async with _server() as (_, endpoint, _answers):
            channel = await Channel.open(endpoint)
            for arguments, kind, words in (
                (("fail", "unknown"), UnknownJob, "no job"),
                (("fail", "other"), InternalError, "ValueError: odd"),
                (("no_such",), InternalError, "no_such"),
                (("echo",), InternalError, "TypeError"),
            ):
                with pytest.raises(kind, match=words):
                    await channel.call(*arguments)
            channel.close()

    run(main)


def test_given_a_store_that_does_not_answer_when_told_through_the_line_then_it_is_still_not_ready() -> None:
    """The HTTP side answers 503 to it, not 500: the caller may try again."""
    error = decode_error(encode_error(StoreUnusable("the disk is full")))
    assert isinstance(error, StoreUnusable | EngineNotReady)
    assert "the disk is full" in str(error)


@pytest.mark.parametrize("error", [UnknownJob("a"), EngineNotReady("b"), InvalidScript("c", line=1, column=2)])
def test_given_our_errors_when_they_cross_then_kind_and_message_stay(error: PixyzException) -> None:
    """By name from a table; nothing is unpickled."""
    there = decode_error(encode_error(error))
    assert (type(there), str(there)) == (type(error), str(error))


def test_given_a_wrong_secret_when_spoken_then_the_server_hangs_up() -> None:
    """Nothing is dispatched."""

    async def main() -> None:
        async with _server() as (_, endpoint, answers):
            for hello in (
                b"",
                b"\xc1\n",
                b'"wrong"\n',
                b"1\n",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\xdb" + b"\xff" * 4000,
            ):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                writer.write(hello + b'[0,"note",["reached"]]\n')
                if not hello:
                    writer.write_eof()
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
            assert answers.seen == []
            channel = await Channel.open(endpoint)
            assert await channel.call("echo", 1) == 1
            channel.close()

    run(main)


def test_given_a_subscription_when_values_are_pushed_then_they_come_in_order_and_the_end_is_told() -> None:
    """A broken connection ends every wait: for pushes, and for answers."""

    async def main() -> None:
        async with _server() as (_, endpoint, answers):
            channel = await Channel.open(endpoint)
            number, queue = await channel.subscribe("watch")
            assert [await queue.get() for _ in range(3)] == [0, 1, 2]
            waiting = asyncio.ensure_future(channel.call("never"))
            await asyncio.sleep(0)
            answers.peers[number].refuse()
            assert isinstance(await queue.get(), ConnectionLost)
            with pytest.raises(ConnectionLost):
                await waiting
            with pytest.raises(ConnectionLost):
                await channel.call("echo", 1)
            assert channel.closed

    run(main)


def test_given_nobody_there_when_opened_then_the_connection_is_lost() -> None:
    """The caller's own patience decides what to do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        with pytest.raises(ConnectionLost):
            await Channel.open(Endpoint("127.0.0.1", port, "x"))

    run(main)
    assert EventLine(Endpoint("127.0.0.1", port, "x")).broken


def test_given_a_worker_when_it_sends_events_then_they_arrive_and_a_break_never_hurts_it() -> None:
    """Fire and forget."""

    async def main() -> None:
        async with _server() as (_, endpoint, answers):
            line = await asyncio.to_thread(EventLine, endpoint)
            line.send("note", {"kind": "step", "info": "é\ud800"})
            await answers.arrived.wait()
            assert answers.seen == [{"kind": "step", "info": "é\ud800"}]
            line.send("note", 10**30)
            line.send("note", "after")
            line.send("note", object())
            line.close()
            line.send("note", "nobody hears this")

    run(main)
