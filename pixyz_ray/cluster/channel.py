"""The quick line between the platform's processes: JSON, a message to a line, over TCP, opened with a secret.

A call of a Ray actor wakes several threads on either side and takes 1.5-3 ms on a machine that was idle; this takes a
tenth of it, which is why submitting, asking and reporting progress go this way. Ray still finds the other end: the
tracker's named actor hands out its Endpoint. Nothing is ever unpickled here.

    caller -> [number, method, [argument, ...]]        number 0: no answer wanted
    callee -> [number, "ok" | "error" | "push", value]
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pixyz_ray.cluster.errors import ConnectionLost, decode_error, encode_error
from pixyz_ray.cluster.messages import BadMessage
from pixyz_worker.exception import InternalError

_log = logging.getLogger(__name__)
_MAX_ANSWER_BYTES = 1 << 31
_MAX_MESSAGE_BYTES = 256 << 20
_MAX_HELLO_BYTES = 1024
_SMALL_BYTES = 64 * 1024
_MAX_METHOD_BYTES = 40
_BUFFERED_MESSAGES = 4
_MAX_SUBSCRIPTIONS = 100_000
_HELLO_PATIENCE_S = 10.0
# The kernel closes a connection whose peer has acknowledged nothing for 25 s, idle or not.
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 25_000,
}


class _Lines:
    """Puts messages together from pieces of a stream."""

    def __init__(self, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self.max_bytes = max_bytes
        self.limits: Mapping[str, int] = {}
        """Maximum size of a message in bytes, by method."""

    @property
    def buffered(self) -> int:
        """Bytes of the incomplete message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take a piece and yield the messages that it completes.

        Raises:
            ValueError: a message is not JSON, or longer than allowed.
        """
        self._buffer += data
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            self._check(end)
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            yield json.loads(line)
        self._searched = len(self._buffer)
        self._check(self._searched)

    def _check(self, size: int) -> None:
        if size > self.max_bytes:
            raise ValueError("the message is too long")
        if size > _SMALL_BYTES and self.limits:
            # `encode` writes [number,"method", first: a message too large for its method is not even parsed.
            _, _, rest = bytes(self._buffer[:_MAX_METHOD_BYTES]).partition(b'"')
            if size > self.limits.get(rest.partition(b'"')[0].decode("ascii", "replace"), size):
                raise ValueError("the message is too long for its method")


def encode(message: Any) -> bytes:
    """Return a message's line. JSON, since that takes whatever a script may return, integers of any length too."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a channel server listens."""

    host: str
    """Address of the machine."""
    port: int
    """TCP port."""
    secret: str
    """What a caller says first; new at each start of the server."""


class Peer:
    """The server's side of one connection, handed to every handler."""

    def __init__(self, transport: asyncio.Transport, max_unread_bytes: int = _MAX_ANSWER_BYTES) -> None:
        self._transport = transport
        self._max_unread = max_unread_bytes
        self.on_close: dict[int, Callable[[], None]] = {}
        """Call number -> what to do when the connection ends or the caller wants no more pushes."""

    def push(self, number: int, value: Any) -> None:
        """Send a value to the caller whose call had that number; a connection that is gone takes nothing."""
        self.send([number, "push", value])

    def send(self, message: list[Any]) -> None:
        """Send one message."""
        if not self._transport.is_closing():
            self._transport.write(encode(message))
            if self._transport.get_write_buffer_size() > self._max_unread:
                # A peer that reads nothing must not make this process buffer everything.
                self.refuse()

    @property
    def closed(self) -> bool:
        """Whether the connection is being closed, or is closed."""
        return self._transport.is_closing()

    def refuse(self) -> None:
        """Hang up."""
        self._transport.abort()


Handler = Callable[..., Awaitable[Any]]
"""Takes (peer, number, *arguments); its answer goes back to the caller."""


class ChannelServer:
    """Answers calls on a TCP port.

    Args:
        handlers: method name -> coroutine function taking (peer, call number, *arguments).
        takers: name of what is told without wanting an answer -> function taking the arguments.
        max_message_bytes: size of a message; the connection of a caller that sends a larger one is closed.
        limits: the same for single methods.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        takers: Mapping[str, Callable[..., None]] | None = None,
        *,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.max_message_bytes = max_message_bytes
        self.limits = limits or {}
        self.buffered = 0
        """Bytes of incomplete messages, of all callers together."""
        self._handlers = handlers
        self._takers = takers or {}
        self._secret = secrets.token_hex(16)
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int = 0) -> Endpoint:
        """Start on that address and return where it is.

        Args:
            host: address of this machine.
            port: TCP port; 0 is any free one.

        Raises:
            InternalError: the port cannot be used.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _ServerProtocol(self), host, port)
        except OSError as error:
            raise InternalError(
                f"The tracker cannot listen at {host}:{port}: {error.strerror or error}. Stop what uses that port, or "
                "set TRACKER_PORT to another one."
            ) from error
        port = self._server.sockets[0].getsockname()[1]
        return Endpoint(host, port, self._secret)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def knows(self, hello: Any) -> bool:
        """Return whether a caller's first message is the secret."""
        return isinstance(hello, str) and hmac.compare_digest(hello.encode(), self._secret.encode())

    def dispatch(self, peer: Peer, message: Any) -> None:
        """Start answering one call."""
        number, method, arguments = message
        if method in self._takers:
            self._take(peer, method, arguments)
            return
        if len(peer.on_close) > _MAX_SUBSCRIPTIONS:
            raise ValueError("too many subscriptions on one connection")
        task = asyncio.get_running_loop().create_task(self._answer(peer, number, method, arguments))
        # The loop itself keeps only a weak reference to a task.
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _take(self, peer: Peer, method: str, arguments: list[Any]) -> None:
        try:
            self._takers[method](*arguments)
        except BadMessage as error:
            _log.warning(
                "closed the connection of a worker that sent %s: its script uses it, or its version differs",
                error,
            )
            peer.refuse()
        except Exception:
            _log.exception("%s could not be taken", method)

    async def _answer(self, peer: Peer, number: int, method: str, arguments: list[Any]) -> None:
        try:
            value = await self._handlers[method](peer, number, *arguments)
        except Exception as error:
            if number:
                peer.send([number, "error", encode_error(error)])
        else:
            if number:
                peer.send([number, "ok", value])


class _ServerProtocol(asyncio.Protocol):
    def __init__(self, server: ChannelServer) -> None:
        self._server = server
        self._known = False
        self._lines = _Lines(_MAX_HELLO_BYTES)
        self._buffered = 0
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        stream = cast(asyncio.Transport, transport)
        send_at_once(stream.get_extra_info("socket"))
        self._peer = Peer(stream, _BUFFERED_MESSAGES * self._server.max_message_bytes)
        asyncio.get_running_loop().call_later(_HELLO_PATIENCE_S, self._hang_up_on_strangers)

    def _hang_up_on_strangers(self) -> None:
        assert self._peer is not None
        if not self._known:
            self._peer.refuse()

    def data_received(self, data: bytes) -> None:
        assert self._peer is not None
        try:
            for message in self._lines.feed(data):
                if self._known:
                    self._server.dispatch(self._peer, message)
                elif self._server.knows(message):
                    self._known = True
                    self._lines.max_bytes = self._server.max_message_bytes
                    self._lines.limits = self._server.limits
                else:
                    self._peer.refuse()
                if self._peer.closed:
                    return
            self._count(self._lines.buffered)
        except (ValueError, TypeError, RecursionError):
            self._peer.refuse()

    def _count(self, buffered: int) -> None:
        self._server.buffered += buffered - self._buffered
        self._buffered = buffered
        if self._server.buffered > _BUFFERED_MESSAGES * self._server.max_message_bytes:
            raise ValueError("too much is being received at once")

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._peer is not None
        self._server.buffered -= self._buffered
        self._buffered = 0
        for callback in list(self._peer.on_close.values()):
            callback()


class Channel(asyncio.Protocol):
    """A caller's side: `await Channel.open(endpoint)`, then `await channel.call("method", ...)`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pushes: dict[int, asyncio.Queue[Any]] = {}
        self._lines = _Lines(_MAX_ANSWER_BYTES)
        self.closed = False

    @staticmethod
    async def open(endpoint: Endpoint) -> Channel:
        """Connect.

        Raises:
            ConnectionLost: nobody listens there.
        """
        try:
            _, channel = await asyncio.get_running_loop().create_connection(Channel, endpoint.host, endpoint.port)
        except OSError as error:
            raise ConnectionLost(f"the tracker does not answer: {error}") from error
        channel._write(endpoint.secret)
        return channel

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and return its answer.

        Raises:
            ConnectionLost: the connection broke before the answer came.
            PixyzException: what the method raised.
        """
        number, future = self._new_call()
        self._write([number, method, list(arguments)])
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    async def subscribe(self, method: str, *arguments: Any) -> tuple[int, asyncio.Queue[Any]]:
        """Call a method that goes on pushing values; return the call's number and the queue that they come on.

        The queue gets a ConnectionLost when the connection breaks.
        """
        number, future = self._new_call()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._pushes[number] = queue
        self._write([number, method, list(arguments)])
        try:
            await future
        except BaseException:
            self._pushes.pop(number, None)
            raise
        return number, queue

    def unsubscribe(self, number: int, *, tell: bool) -> None:
        """Want no more of a subscription.

        Args:
            number: the subscription.
            tell: whether the other side would go on pushing.
        """
        if self._pushes.pop(number, None) is not None and tell and not self.closed:
            self._write([0, "unwatch", [number]])

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _new_call(self) -> tuple[int, asyncio.Future[Any]]:
        if self.closed:
            raise ConnectionLost("the tracker went away")
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        return number, future

    def _write(self, message: Any) -> None:
        assert self._transport is not None
        self._transport.write(encode(message))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by asyncio)."""
        self._transport = cast(asyncio.Transport, transport)
        send_at_once(self._transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait for them (called by asyncio)."""
        for number, kind, value in self._lines.feed(data):
            if kind == "push":
                if number in self._pushes:
                    self._pushes[number].put_nowait(value)
                continue
            future = self._waiting.pop(number, None)
            if future is None or future.done():
                continue
            if kind == "ok":
                future.set_result(value)
            else:
                future.set_exception(decode_error(value))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits (called by asyncio)."""
        self.closed = True
        lost = ConnectionLost("the tracker went away")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(lost)
        for queue in self._pushes.values():
            queue.put_nowait(lost)


def send_at_once(sock: socket.socket | None) -> None:
    """Have the kernel send at once (no Nagle's algorithm), and notice a peer that is cut off."""
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
