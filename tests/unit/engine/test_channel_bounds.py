"""The channel under callers that know its secret and mean no good: they are hung up on, and cost little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from pixyz_ray.cluster.channel import Channel, ChannelServer, Endpoint, Peer, encode
from pixyz_ray.cluster.event_line import EventLine
from pixyz_ray.cluster.messages import BadMessage

DEADLINE_S = 10.0
MAX_BYTES = 1 << 20


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine, with a deadline."""
    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


class Server:
    """A server with one method that answers, one that pushes without end, and one that takes events."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.channel = ChannelServer(
            {"echo": self._echo, "flood": self._flood},
            {"event": self._take},
            max_message_bytes=MAX_BYTES,
            limits={"event": MAX_BYTES // 8},
        )

    async def _echo(self, _peer: Peer, _number: int, value: Any) -> Any:
        return value

    async def _flood(self, peer: Peer, number: int) -> None:
        while not peer.closed:
            peer.push(number, "x" * 100_000)
            await asyncio.sleep(0)

    def _take(self, *event: Any) -> None:
        if event[0] == "bad":
            raise BadMessage("nonsense")
        self.taken.append(event)


async def raw(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and say the secret."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(encode(endpoint.secret))
    return reader, writer


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"x" * (MAX_BYTES + 1), id="too long and not ended"),
        pytest.param(encode([0, "event", ["x" * (MAX_BYTES // 4)]]), id="too long for its method"),
        pytest.param(encode([0, "event", ["bad"]]), id="bad event"),
        pytest.param(b"[" * 100_000 + b"\n", id="nested"),
        pytest.param(b"[1, " + b"9" * 100_000 + b"]\n", id="huge integer"),
        pytest.param(b'{"a": 1}\n', id="no list"),
        pytest.param(b"[1]\n", id="too short"),
        pytest.param(b'[0, {"a": 1}, []]\n', id="method that is no text"),
        pytest.param(b"\xff\xfe\n", id="no text"),
    ],
)
def test_given_nonsense_then_that_caller_is_hung_up_on_and_others_are_served(line: bytes) -> None:
    """Given a caller with the secret that sends nonsense, when it does, then it alone loses its connection."""

    async def main() -> None:
        server = Server()
        endpoint = await server.channel.listen("127.0.0.1")
        other = await Channel.open(endpoint)
        reader, writer = await raw(endpoint)
        writer.write(line)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        assert await other.call("echo", "é" * 1000) == "é" * 1000
        assert server.taken == []
        assert server.channel.buffered == 0
        writer.close()
        other.close()
        server.channel.close()

    run(main)


def test_given_many_halves_of_messages_then_all_of_them_together_are_bounded() -> None:
    """Given callers that each send most of a message, when they are many, then some are hung up on."""

    async def main() -> None:
        server = Server()
        endpoint = await server.channel.listen("127.0.0.1")
        callers = [await raw(endpoint) for _ in range(10)]
        for _, writer in callers:
            writer.write(b"x" * (MAX_BYTES - 1))
        ends = [asyncio.ensure_future(reader.read()) for reader, _ in callers]
        done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert done
        assert server.channel.buffered <= 4 * MAX_BYTES
        for end in left:
            end.cancel()
        await asyncio.wait(ends)
        for _, writer in callers:
            writer.close()
        server.channel.close()

    run(main)


def test_given_a_caller_that_reads_nothing_then_it_is_hung_up_on() -> None:
    """Given a subscriber that does not read, when much is pushed, then the server does not keep it all."""

    async def main() -> None:
        server = Server()
        endpoint = await server.channel.listen("127.0.0.1")
        _, writer = await raw(endpoint)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(encode([1, "flood", []]))
        while not server.channel._running:
            await asyncio.sleep(0.001)
        while server.channel._running:
            await asyncio.sleep(0.001)
        server.channel.close()
        writer.close()

    run(main)


def test_given_a_flood_of_which_the_latest_counts_then_few_are_sent_and_the_last_is() -> None:
    """Given 100,000 events that replace each other, when sent, then the server gets few, and the end after the last."""

    async def main() -> None:
        server = Server()
        endpoint = await server.channel.listen("127.0.0.1")
        loop = asyncio.get_running_loop()
        line = await loop.run_in_executor(None, EventLine, endpoint)

        def flood() -> None:
            for number in range(100_000):
                line.send("event", "step", number, replaces="step")
                if number % 10 == 0:
                    line.send("event", "total", number, replaces="total")
            line.send("event", "ended", 0)
            line.flush()

        await loop.run_in_executor(None, flood)
        while not server.taken or server.taken[-1] != ("ended", 0):
            await asyncio.sleep(0.001)
        kinds = [kind for kind, _ in server.taken]
        assert ("step", 99_999) in server.taken
        assert len(kinds) < 20_000
        numbers = [number for kind, number in server.taken if kind == "step"]
        assert numbers == sorted(set(numbers))
        line.close()
        server.channel.close()

    run(main)
