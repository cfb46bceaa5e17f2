"""The HTTP service under attack: floods of connections, uploads that stall, downloads that nobody reads."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.acceptance.scripts import NOTHING
from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

STALL_S = 1.0
FLOODERS = 2
FLOOD = """
import contextlib, random, resource, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for number in range(count):
    with contextlib.suppress(OSError):
        source = f"127.{random.randint(1, 200)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        held.append(socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)))
        held[-1].sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: ")
print(len(held), flush=True)
sys.stdin.read()
"""


SHORT_OF_DESCRIPTORS = """
import resource, socket, sys, threading, time, uvicorn
from serve_app.connections import Limits
from serve_app.guarded_protocol import apply_limits
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})

config = uvicorn.Config(app, lifespan="off", log_config=None, loop="uvloop")
many = 100_000
apply_limits(config, Limits(header_timeout_s=60, stall_timeout_s=60, max_connections=many, max_half_open=many,
                            max_half_open_per_address=many))
listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(listener.getsockname()[1], flush=True)
threading.Thread(target=uvicorn.Server(config).run, kwargs={"sockets": [listener]}, daemon=True).start()
for _ in sys.stdin:
    print(time.process_time(), flush=True)
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform that loses its patience soon."""
    platform = TestPlatform(CONCURRENT_TASKS="2", API_STALL_TIMEOUT=str(STALL_S), API_HEADER_TIMEOUT="20")
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


def _replica(platform: TestPlatform) -> psutil.Process:
    """Return the process that listens on the service's port."""
    return next(one for one in platform.processes("ray::ServeReplica") if _connections(one, platform.port, "LISTEN"))


def _connections(process: psutil.Process, port: int, status: str = "ESTABLISHED") -> int:
    found = process.net_connections(kind="tcp")
    return sum(one.laddr.port == port and one.status == status for one in found)


def test_flood(platform: TestPlatform, rest: RestClient) -> None:
    """Given as many half-open connections as descriptors allow, from thousands of addresses, then others are served."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    each = min(10_000, hard - 200)
    command = [sys.executable, "-c", FLOOD, str(platform.port), str(each)]
    flooders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(FLOODERS)
    ]
    try:
        waits = []
        while any(one.poll() is None and not _readable(one) for one in flooders):
            waits.append(_ask(platform))
        waits += [_ask(platform) for _ in range(50)]
        assert sum(int(one.stdout.readline()) for one in flooders if one.stdout) > 0.9 * FLOODERS * each
        assert rest.run(NOTHING)["status"] == "SUCCESS"
        assert max(waits) < 5, sorted(waits)[-5:]
        assert _connections(_replica(platform), platform.port) < 4096 + 100
    finally:
        for one in flooders:
            one.kill()
            one.communicate()


def _readable(process: subprocess.Popen[str]) -> bool:
    return bool(select.select([process.stdout], [], [], 0)[0])


def _ask(platform: TestPlatform) -> float:
    """Return the seconds that a new connection with a plain question takes."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", platform.port), timeout=20) as one:
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
    return time.monotonic() - begun


def test_stalled_upload(platform: TestPlatform, rest: RestClient) -> None:
    """Given an upload that stalls, when its time is over, then it is dropped, and so is its folder."""
    before = set(_folders(platform))
    part = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + bytes(1 << 20)
    with _upload(platform, part) as one:
        wait_until(lambda: set(_folders(platform)) - before, "the upload has begun")
        assert _rest(one) == b""
    wait_until(lambda: set(_folders(platform)) == before, "its folder is gone")
    assert rest.run(NOTHING)["status"] == "SUCCESS"


def test_broken_upload(platform: TestPlatform) -> None:
    """Given an upload whose sender goes away, then its folder goes as well."""
    before = set(_folders(platform))
    part = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + bytes(1 << 20)
    with _upload(platform, part):
        wait_until(lambda: set(_folders(platform)) - before, "the upload has begun")
    wait_until(lambda: set(_folders(platform)) == before, "its folder is gone")


def test_unread_downloads(platform: TestPlatform, rest: RestClient) -> None:
    """Given downloads that nobody reads, when their time is over, then they are dropped, and took little memory."""
    script = "import os\ndef main(pc, params):\n    os.truncate(os.open(pc['output_dir'] + '/big', 65), 1 << 30)\n"
    uuid = rest.submit(script)
    assert rest.end(uuid)["status"] == "SUCCESS"
    replica = _replica(platform)
    before = replica.memory_info().rss
    ask = f"GET /jobs/{uuid}/outputs/big HTTP/1.1\r\nHost: localhost\r\nx-api-key: {platform.token}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", platform.port), timeout=20))
            one.sendall(ask)
        wait_until(lambda: _connections(replica, platform.port) >= 50, "the downloads have begun")
        most = replica.memory_info().rss
        wait_until(lambda: _connections(replica, platform.port) < 10, "they are dropped")
    assert most - before < 200 << 20
    assert rest.run(NOTHING)["status"] == "SUCCESS"


def test_descriptors(platform: TestPlatform) -> None:
    """Given a platform, when it is up, then the service may open as many descriptors as the system lets it."""
    soft, hard = _replica(platform).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


def test_no_descriptors_left() -> None:
    """Given a server without a descriptor left, when more connect, then it does not spin, and goes on afterwards."""
    command = [sys.executable, "-W", "ignore", "-c", SHORT_OF_DESCRIPTORS]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin and server.stdout
    try:
        port = int(server.stdout.readline())

        def cpu_s() -> float:
            print("?", file=server.stdin, flush=True)
            return float(server.stdout.readline()) if server.stdout else 0.0

        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            before, begun = cpu_s(), time.monotonic()
            time.sleep(1)
            assert cpu_s() - before < 0.2 * (time.monotonic() - begun)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as one:
                one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return one.recv(1 << 10).startswith(b"HTTP/1.1 200")
            return False

        wait_until(answers, "the server answers again")
    finally:
        server.kill()
        server.communicate()


def _folders(platform: TestPlatform) -> list[str]:
    return [path.name for path in (platform.home / "share").iterdir() if len(path.name) == 36]


def _upload(platform: TestPlatform, body: bytes) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", platform.port), timeout=20)
    head = f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nx-api-key: {platform.token}\r\nContent-Length: 99999999\r\n"
    one.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n" + body)
    return one


def _rest(one: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return one.recv(1 << 16)
    return b""
