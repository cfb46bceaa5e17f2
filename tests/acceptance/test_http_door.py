"""What a browser, and whoever has no token, gets of a platform."""

from __future__ import annotations

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import httpx
import pytest

from pixyz_ray.cluster.resubmission import folder_for_key
from tests.acceptance.scripts import FILES, NOTHING
from tests.platforms import TestPlatform
from tests.rest_client import RestClient

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _raw(platform: TestPlatform, request: bytes) -> bytes:
    """Return the whole answer to bytes that no HTTP library would send."""
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as one:
        one.sendall(request)
        found = b""
        while piece := one.recv(1 << 16):
            found += piece
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/", "/health", "/health/live", "/metrics", "/processes", "/processes/none", "/jobs", "/jobs?limit=x",
        "/nowhere", f"/jobs/{UNKNOWN}", "/openapi.json", "/-/healthz", "/docs", "/redoc", "/reference/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_headers(platform: TestPlatform, rest: RestClient, path: str, method: str) -> None:
    """Given any path, when anybody asks, then a browser may neither guess its type nor run what is not ours."""
    for client in (rest.http, httpx):
        answer = client.request(method, platform.url + path)  # type: ignore[attr-defined]
        assert answer.status_code < 500
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        (policy,) = answer.headers.get_list("content-security-policy")
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy and not re.search("script-src[^;]*unsafe-inline", policy)


def test_headers_of_no_http(platform: TestPlatform) -> None:
    """Given what is no HTTP, when it arrives, then the error is in the form of all errors, with the same headers."""
    answer = _raw(platform, b"NO HTTP\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and b"nosniff" in head and b"content-security-policy" in head
    assert b'"code":400' in body


def test_large_header(platform: TestPlatform) -> None:
    """Given a header without end, when it arrives, then it is refused: Serve's server has our limits."""
    answer = _raw(platform, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431")


def test_outputs(rest: RestClient) -> None:
    """Given outputs that a browser would run, when fetched, then they are downloads that may run nothing."""
    page = "<script>alert(1)</script>"
    uuid = rest.submit(FILES, params={"page.html": page, "picture.svg": f"<svg>{page}</svg>"})
    rest.end(uuid)
    for path in ("page.html", "picture.svg", "archive"):
        answer = rest.http.get(f"/jobs/{uuid}/outputs/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_reference(platform: TestPlatform, path: str) -> None:
    """Given no internet, when the reference is opened, then all that the page loads comes from this service."""
    page = httpx.get(platform.url + path)
    assert page.headers["content-type"].startswith("text/html")
    loaded: list[str] = []
    inline: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found = dict(attrs)
            loaded.extend(value for name, value in attrs if name in ("src", "href", "spec-url") and value)
            inline.extend(name for name in found if name.startswith("on"))
            if tag == "script" and "src" not in found:
                inline.append(tag)

    Page().feed(page.text)
    assert inline == []
    assert "openapi.json" in loaded or "reference/start-swagger-ui.js" in loaded
    for address in loaded:
        answer = httpx.get(httpx.URL(page.url).join(address))
        assert answer.status_code == 200 and answer.content
        assert str(answer.url).startswith(platform.url)


def test_hosts(platform: TestPlatform, rest: RestClient) -> None:
    """Given the name of a stranger's page as Host, when asked, then only a caller with the token is answered."""
    headers = {"host": f"evil.example:{platform.port}"}
    for path in ("/", "/docs", "/metrics", "/processes", "/health", "/jobs"):
        answer = httpx.get(platform.url + path, headers=headers)
        assert answer.status_code == 421
        assert answer.json()["detail"]["code"] == 421 and "ALLOWED_HOSTS" in answer.json()["detail"]["details"]
        assert rest.http.get(path, headers=headers).status_code == 200
    for odd in (b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: a b\r\n"):
        assert _raw(platform, b"GET / HTTP/1.1\r\n" + odd + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "name", ["x-request-id", "x-session-id", "serve-multiplexed-model-id", "serve_multiplexed_model_id"]
)
@pytest.mark.parametrize("value", [b"\xff\xfe", b"x" * 5000])
def test_headers_of_serve(platform: TestPlatform, name: str, value: bytes) -> None:
    """Given headers that Serve would read, when they are no text, then the request is answered all the same."""
    answer = httpx.get(f"{platform.url}/processes", headers=[(name.encode(), value)])
    assert answer.status_code == 200


def test_time_out_of_serve(platform: TestPlatform, rest: RestClient, finished: str) -> None:
    """Given a header by which a caller would set Serve's time-out, when sent, then it has no effect."""
    answer = rest.http.get(f"/jobs/{finished}/outputs", headers={"x-request-timeout-seconds": "0.000001"})
    assert answer.status_code == 200


def _send(rest: RestClient, key: str) -> httpx.Response:
    files = {"script": ("job.py", NOTHING), "file": ("in.txt", b"input")}
    return rest.http.post("/jobs", files=files, headers={"Idempotency-Key": key})


def test_idempotency_key(rest: RestClient) -> None:
    """Given a submission with a key, when it is sent again, also before the answer, then there is one job."""
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _send(rest, "key one"), range(6)))
    assert {one.status_code for one in answers} <= {200, 503}
    answers.append(_send(rest, "key one"))
    (uuid,) = {one.json()["uuid"] for one in answers if one.status_code == 200}
    assert rest.end(uuid)["status"] == "SUCCESS"
    again = _send(rest, "key one").json()
    assert (again["uuid"], again["status"]) == (uuid, "SUCCESS")
    assert _send(rest, "key two").json()["uuid"] != uuid


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
def test_bad_idempotency_key(rest: RestClient, key: str) -> None:
    """Given a key that cannot be one, then the answer says what it must be."""
    answer = _send(rest, key)
    assert answer.status_code == 400
    assert "1 to 200 printable" in answer.text


def test_key_of_a_lost_request(platform: TestPlatform, rest: RestClient) -> None:
    """Given a folder that a lost replica has left, when its request is sent again, then 503 at first, later a job."""
    folder = folder_for_key(platform.home / "share", "local", "lost")
    folder.path.mkdir()
    folder.inputs.mkdir()
    (folder.inputs / "in.txt").write_bytes(b"inp")
    assert _send(rest, "lost").status_code == 503
    for path in (folder.inputs / "in.txt", folder.inputs, folder.path):
        os.utime(path, (1e9, 1e9))
    assert rest.end(_send(rest, "lost").json()["uuid"])["status"] == "SUCCESS"
    assert (folder.inputs / "in.txt").read_bytes() == b"input"
