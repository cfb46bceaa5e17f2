"""Connections to a real server on loopback: slow senders, slow readers and crowds are cut off, and nobody else is."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import uvicorn

from serve_app.connections import Limits
from serve_app.guarded_protocol import apply_limits

SHORT_S = 0.15
HEADER = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
Serve = Callable[..., AbstractContextManager["Server"]]


class Server:
    """A server with an application that reads bodies, ignores them, or writes for as long as somebody reads."""

    def __init__(self, **limits: Any) -> None:
        self.ended: list[str] = []
        usual = {"header_timeout_s": 30, "stall_timeout_s": 30, "max_connections": 1000, "max_half_open": 1000}
        self.limits = Limits(**{**usual, "max_half_open_per_address": 1000, **limits})
        config = uvicorn.Config(
            self._app, interface="asgi3", lifespan="off", log_config=None, timeout_keep_alive=5, ws="none"
        )
        apply_limits(config, self.limits)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/read":
            while (message := await receive()).get("more_body"):
                pass
            self.ended.append(message["type"])
        size = 100 if scope["path"] != "/write" else 1 << 34
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if size == 100:
            await send({"type": "http.response.body", "body": bytes(size)})
            return
        async for piece in self._pieces(receive):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        self.ended.append("reader gone")

    async def _pieces(self, receive: Any) -> AsyncIterator[bytes]:
        gone = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await gone
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            yield bytes(1 << 20)

    def connect(self, data: bytes = b"", *, source: str = "127.0.0.1") -> socket.socket:
        """Return a connection over which data has been sent."""
        one = socket.create_connection(self.listener.getsockname(), timeout=10, source_address=(source, 0))
        one.sendall(data)
        return one

    def answers(self, *, source: str = "127.0.0.1") -> bool:
        """Return whether a proper request is answered."""
        with self.connect(HEADER + b"Connection: close\r\n\r\n", source=source) as one:
            return _all(one).startswith(b"HTTP/1.1 200")


@pytest.fixture
def serve() -> Serve:
    """Run a server with some limits."""

    @contextmanager
    def serve(**limits: Any) -> Iterator[Server]:
        server = Server(**limits)
        server.thread.start()
        try:
            yield server
        finally:
            server.server.should_exit = server.server.force_exit = True
            server.thread.join()
            server.listener.close()

    return serve


def _all(one: socket.socket) -> bytes:
    """Return what comes until the connection is closed."""
    found = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while piece := one.recv(1 << 16):
            found += piece
    return found


def _error(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"nosniff" in head and b"content-security-policy" in head
    detail = json.loads(body)["detail"]
    assert head.startswith(b"HTTP/1.1 %d " % detail["code"])
    return detail["code"], detail["details"]


@pytest.mark.parametrize("sent", [b"", HEADER, b"\r\n\r\n", b"GET"])
def test_slow_header(serve: Serve, sent: bytes) -> None:
    """Given a connection without a complete header, when its time is over, then it is closed."""
    with serve(header_timeout_s=SHORT_S) as server, server.connect(sent) as one:
        answer = _all(one)
        assert not answer if not sent else _error(answer)[0] == 408


def test_dripping_header(serve: Serve) -> None:
    """Given a header that comes byte by byte, when its time is over, then it is closed, however lively it is."""
    with serve(header_timeout_s=SHORT_S) as server, server.connect() as one:
        with contextlib.suppress(ConnectionError):
            for byte in HEADER + b"X: " + b"x" * 500:
                one.sendall(bytes([byte]))
                time.sleep(0.01)
            pytest.fail("it is open after 5 s")
        assert _error(_all(one))[0] == 408


def test_dripping_after_an_answer(serve: Serve) -> None:
    """Given a body that nobody wants any more, when it goes on byte by byte, then the connection is closed."""
    with serve(header_timeout_s=SHORT_S) as server, server.connect(POST.replace(b"/read", b"/")) as one:
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                one.sendall(b"x")
                time.sleep(0.01)
            pytest.fail("it is open after 5 s")


def test_stalled_body(serve: Serve) -> None:
    """Given an upload of which no more comes, when its time is over, then the application sees that it broke."""
    with serve(stall_timeout_s=SHORT_S) as server, server.connect(POST + b"some") as one:
        assert _all(one) == b""
    assert server.ended == ["http.disconnect"]


def test_slow_body(serve: Serve) -> None:
    """Given an upload that is slow but goes on, when it takes longer than a stall may, then it is taken."""
    with serve(stall_timeout_s=SHORT_S) as server, server.connect(POST) as one:
        for _ in range(10):
            one.sendall(bytes(100))
            time.sleep(SHORT_S / 6)
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert server.ended == ["http.request"]


def test_stalled_reader(serve: Serve) -> None:
    """Given a download that nobody reads, when its time is over, then the application may end."""
    with serve(stall_timeout_s=SHORT_S) as server, server.connect(HEADER.replace(b"GET /", b"GET /write") + b"\r\n"):
        deadline = time.monotonic() + 10
        while not server.ended and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.ended == ["reader gone"]


def test_slow_reader(serve: Serve) -> None:
    """Given a download that is read slowly, when it takes longer than a stall may, then it goes on."""
    ask = HEADER.replace(b"GET /", b"GET /write") + b"\r\n"
    with serve(stall_timeout_s=SHORT_S) as server, server.connect(ask) as one:
        for _ in range(10):
            assert one.recv(1 << 20)
            time.sleep(SHORT_S / 5)
        assert server.ended == []


def test_crowd(serve: Serve) -> None:
    """Given more half-open connections than there may be, when others ask, then they are answered."""
    with serve(max_half_open=20) as server, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(server.connect(HEADER, source=f"127.0.0.{2 + n % 9}")) for n in range(100)]
        assert server.answers()
        assert _all(crowd[0]) == b""
        assert _open(crowd) <= 20


def test_crowd_from_one_address(serve: Serve) -> None:
    """Given more half-open connections of one address than it may have, when it opens more, then its own give way."""
    proxies = (ipaddress.ip_network("127.0.0.8/30"),)
    with (
        serve(max_half_open_per_address=5, grace_s=0.1, trusted_proxies=proxies) as server,
        contextlib.ExitStack() as stack,
    ):
        for source, most in (("127.0.0.2", 5), ("127.0.0.9", 10)):
            crowd = [stack.enter_context(server.connect(HEADER, source=source)) for _ in range(10)]
            other = stack.enter_context(server.connect(HEADER, source="127.0.0.3"))
            time.sleep(0.15)
            # What a burst may have for its first second is over.
            for _ in range(5):
                crowd.append(stack.enter_context(server.connect(HEADER, source=source)))
            assert server.answers(source=source)
            assert _open(crowd) <= most + 5
            assert _open([other]) == 1


def test_burst(serve: Serve) -> None:
    """Given many clients of one address, when all connect before any of them asks, then all are served."""
    with serve(max_half_open_per_address=5) as server, contextlib.ExitStack() as stack:
        burst = [stack.enter_context(server.connect()) for _ in range(100)]
        for one in burst:
            one.sendall(HEADER + b"Connection: close\r\n\r\n")
        assert all(_all(one).startswith(b"HTTP/1.1 200") for one in burst)


def test_idle_connections_give_way(serve: Serve) -> None:
    """Given as many idle connections as there may be, when another comes, then the oldest gives way."""
    with serve(max_connections=10) as server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect(HEADER + b"\r\n")) for _ in range(10)]
        assert all(one.recv(1 << 16) for one in idle)
        assert server.answers()
        assert _all(idle[0]) == b""
        assert _open(idle) == 9


@pytest.mark.parametrize(
    "header",
    [
        HEADER + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        HEADER + b"X: " + b"x" * 70_000,
        b"GET /" + b"x" * 70_000,
        HEADER + b"X: x\r\n" * 200 + b"\r\n",
    ],
)
def test_large_header(serve: Serve, header: bytes) -> None:
    """Given a header beyond the limits, when it arrives, then it is refused with 431 in the form of all errors."""
    with serve() as server, server.connect(header) as one:
        assert _error(_all(one))[0] == 431


@pytest.mark.parametrize("path", ["/read", "/"])
@pytest.mark.parametrize("framing", [b"0\r\n" + b"X: x\r\n" * 100, b"0\r\nX: ", b"5;"])
def test_body_without_end(serve: Serve, path: str, framing: bytes) -> None:
    """Given trailers, or the extension of a chunk, without an end, when they arrive, then the connection is closed."""
    ask = HEADER.replace(b"GET /", f"POST {path}".encode()) + b"Transfer-Encoding: chunked\r\n\r\n"
    with serve() as server, server.connect(ask + b"1\r\nx\r\n") as one:
        one.sendall(framing)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                one.sendall(b"X: x\r\n" * 1000)
            pytest.fail("it is open after 6 MB")


def test_chunks_of_one_byte(serve: Serve) -> None:
    """Given a body in chunks of one byte, with more framing than a header may have, when sent, then it is taken."""
    ask = POST.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")
    assert b"chunked" in ask
    with serve() as server, server.connect(ask) as one:
        one.sendall(b"1\r\nx\r\n" * 30_000 + b"0\r\nX-Checksum: 1\r\n\r\n")
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert server.ended == ["http.request"]


def test_no_http(serve: Serve) -> None:
    """Given something else than HTTP, when it arrives, then it is refused in the form of all errors."""
    with serve() as server:
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET  HTTP/1.1\r\n\r\n", HEADER + b"Bad Header: x\r\n\r\n"):
            with server.connect(sent) as one:
                assert _error(_all(one))[0] == 400


def test_keep_alive(serve: Serve) -> None:
    """Given one connection, when many requests go over it, some in pieces, then it stays open."""
    with serve(header_timeout_s=SHORT_S) as server, server.connect() as one:
        for number in range(8):
            one.sendall(HEADER[: number + 1])
            one.sendall(HEADER[number + 1 :] + b"\r\n")
            assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
            time.sleep(SHORT_S / 4)


def _open(connections: list[socket.socket]) -> int:
    """Return how many connections the other end has not closed."""
    count = 0
    for one in connections:
        one.setblocking(False)
        try:
            count += bool(one.recv(1))
        except BlockingIOError:
            count += 1
        except ConnectionError:
            continue
    return count
