"""The HTTP server of a replica, on a real port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from pixyz_worker.exception import InternalError
from serve_app.connections import Limits
from serve_app.http_server import HttpServer
from serve_app.request_ids import RequestIds
from tests.platforms import free_port
from tests.waiting import wait_until

LIMITS = Limits(
    header_timeout_s=60, stall_timeout_s=60, max_connections=100, max_half_open=100, max_half_open_per_address=100
)


ARRIVED = threading.Event()


async def hello(scope: Any, _receive: Any, send: Any) -> None:
    """Answer 200; on /slow, after a while."""
    if scope["path"] == "/slow":
        ARRIVED.set()
        await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def make(port: int, **options: Any) -> HttpServer:
    """Return a server that has not started."""
    return HttpServer(lambda: RequestIds(hello), LIMITS, host="127.0.0.1", port=port, grace_s=2.0, **options)


@contextmanager
def serving(port: int) -> Iterator[HttpServer]:
    """A server on a port, stopped at the end."""
    server = make(port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def on_loop(server: HttpServer, work: Any) -> None:
    """Run a coroutine function in the server's event loop, and wait for it."""
    done = threading.Event()

    async def run() -> None:
        try:
            await work()
        finally:
            done.set()

    server.spawn(run())
    assert done.wait(10)


def refused(port: int) -> bool:
    """Return whether nobody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_stop_waits_for_requests() -> None:
    """Given a request in progress, when the server stops, then it is answered, and the port is closed at once."""
    port = free_port()
    answers: list[int] = []
    with serving(port):
        asked = threading.Thread(target=lambda: answers.append(httpx.get(f"http://127.0.0.1:{port}/slow").status_code))
        asked.start()
        assert ARRIVED.wait(10)
    asked.join(10)
    assert answers == [200]
    assert refused(port)


def test_successor_waits_for_the_port() -> None:
    """Given a server on a port, when its successor starts, then it waits until that stops, and takes the port over."""
    port = free_port()
    successor = make(port)
    started = threading.Thread(target=successor.start)
    with serving(port):
        started.start()
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
    started.join(10)
    try:
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "ok"
    finally:
        successor.stop()


def test_handover() -> None:
    """Given a server that stops and its successor, when clients ask all the time, then hardly one is refused."""
    port = free_port()
    first, successor = make(port), make(port)
    first.start()
    over = threading.Event()
    found: list[bool] = []

    def ask() -> None:
        while not over.is_set():
            try:
                found.append(httpx.get(f"http://127.0.0.1:{port}/").status_code == 200)
            except httpx.TransportError:
                found.append(False)

    asking = threading.Thread(target=ask)
    stopping = threading.Thread(target=lambda: first.stop(successor_within_s=30))
    asking.start()
    stopping.start()
    try:
        wait_until(lambda: len(found) >= 5, "the server that stops still answers")
        successor.start()
        stopping.join(10)
        enough = len(found) + 5
        wait_until(lambda: len(found) >= enough, "the successor answers")
    finally:
        over.set()
        asking.join(10)
        successor.stop()
    assert found[-1]
    assert found.count(False) <= 1


def test_no_successor() -> None:
    """Given a server that stops for a successor, when none comes, then it closes its port after the time."""
    port = free_port()
    server = make(port)
    server.start()
    server.stop(successor_within_s=0.1)
    assert refused(port)


def test_taken_port() -> None:
    """Given a port that is not released, when a server starts there, then the error names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InternalError, match=f"Port {port} .* cannot be used: .*API_PORT"):
            make(port, port_within_s=0.1).start()


def test_close_and_open() -> None:
    """Given a server that closes its port, then new and idle connections are refused, until it opens the port again."""
    port = free_port()
    with serving(port) as server, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/").status_code == 200

        async def close() -> None:
            server.close_port()

        on_loop(server, close)
        assert not server.listens
        assert refused(port)
        on_loop(server, server.open_port)
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        server.check()


def test_check_of_a_blocked_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an event loop that is blocked, when the server is checked, then that is an error; after a stop too."""
    monkeypatch.setattr("serve_app.http_server._ANSWER_S", 0.1)
    with serving(free_port()) as server:

        async def block() -> None:
            time.sleep(0.5)

        server.spawn(block())
        with pytest.raises(InternalError, match="has not answered"):
            server.check()
    with pytest.raises(InternalError, match="has ended"):
        server.check()


def test_request_ids() -> None:
    """Given requests, then answers repeat a usable id, and have a new one instead of any other."""
    port = free_port()
    with serving(port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/", headers={"x-request-id": "abc"}).headers["x-request-id"] == "abc"
        for bad in (b"\xff\xfe", b"x" * 5000, b""):
            assert len(client.get("/", headers=[(b"x-request-id", bad)]).headers["x-request-id"]) == 36
