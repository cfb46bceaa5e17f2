"""Asking the HTTP service whether it is ready, before it is announced."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pixyz_ray.cluster.readiness import wait_until_ready
from pixyz_worker.exception import InternalError
from tests.platforms import free_port


@contextmanager
def service(*answers: tuple[int, str]) -> Iterator[str]:
    """Run a server that gives these answers one after the other, and then the last one; yield its URL."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _health(*, ready: bool, **checks: str) -> tuple[int, str]:
    return 200 if ready else 503, json.dumps({"ready": ready, "checks": checks})


def test_service_that_becomes_ready() -> None:
    """Given a service that starts, when it is asked again, then it is ready."""
    with service(_health(ready=False, tracker="starting"), _health(ready=True, tracker="ok")) as url:
        assert wait_until_ready(url, deadline_s=5) is None


def test_service_that_is_not_ready() -> None:
    """Given a service that cannot take jobs, when time is over, then its reason is returned: it is up all the same."""
    with service(_health(ready=False, tracker="ok", store="away")) as url:
        assert wait_until_ready(url, deadline_s=0.3) == "it is not ready: store"


def test_address_where_nothing_or_something_else_answers() -> None:
    """Given another server, or none, when it is asked, then the error says what to do."""
    with service((200, "<html>")) as url, pytest.raises(InternalError, match="is not ours"):
        wait_until_ready(url, deadline_s=0.2)
    with pytest.raises(InternalError, match=r"refused.*pixyz up --port PORT"):
        wait_until_ready(f"http://127.0.0.1:{free_port()}", deadline_s=0.2)
