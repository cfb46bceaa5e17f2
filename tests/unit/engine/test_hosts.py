"""The host names that the service answers to: addresses, its own, those that the operator allows; with a token, any."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from pixyz_ray.settings import Settings
from serve_app.hosts import HostCheck

TOKEN = "open-sesame"
NAME = socket.gethostname()


def _ask(*hosts: bytes, allowed: str = "", token: str = "", version: str = "1.1") -> tuple[int, str]:
    """Return status and body of the answer to a request with these headers Host."""
    names = Settings(allowed_hosts=allowed).allowed_hosts  # type: ignore[arg-type]
    app = HostCheck(PlainTextResponse("here"), names, lambda given: given == TOKEN)
    headers = [(b"host", host) for host in hosts] + ([(b"x-api-key", token.encode())] if token else [])
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "http_version": version}
    asyncio.run(app(scope, None, send))  # type: ignore[arg-type]
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8001", "localhost.", "app.localhost:80", "127.0.0.1", "127.0.0.1:8001", "[::1]:8001",
        "10.244.0.7:8001", "[fe80::1]", NAME, f"{NAME.upper()}:8001", socket.getfqdn(),
    ],
)  # fmt: skip
def test_own(host: str) -> None:
    """Given an address, or a name of this machine, when asked, then it answers; probes of Kubernetes send addresses."""
    assert _ask(host.encode()) == (200, "here")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8001", "localhost.evil.example", "127.0.0.1.nip.io", "notlocalhost", "0x7f.1",
        f"{NAME}.evil.example", "example.org.evil.example", "evilexample.org",
    ],
)  # fmt: skip
def test_foreign(host: str) -> None:
    """Given the name of a stranger's page, when asked without a token, then 421 says how to allow it."""
    status, body = _ask(host.encode(), allowed="*.example.org")
    assert status == 421
    assert host.partition(":")[0] in body and "ALLOWED_HOSTS" in body
    assert _ask(host.encode(), token="guess")[0] == 421
    assert _ask(host.encode(), token=TOKEN) == (200, "here")


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("pixyz.example.org", "Pixyz.Example.org:8001", 200),
        ("pixyz.example.org", "other.example.org", 421),
        ("*.example.org", "a.b.example.org", 200),
        ("*.example.org", "example.org", 421),
        ("other, *.example.org", "other", 200),
        ("*", "anything", 200),
    ],
)
def test_allowed(allowed: str, host: str, status: int) -> None:
    """Given names that the operator allows, when asked for, then those are answered and no others."""
    assert _ask(host.encode(), allowed=allowed)[0] == status


@pytest.mark.parametrize(
    "hosts",
    [
        [], [b""], [b"localhost", b"localhost"], [b"localhost", b"evil.example"], [b"local host"], [b"localhost/x"],
        [b"user@localhost"], [b"localhost,evil.example"], [b"h\xc3\xb6st"], [b"[::1"], [b"[zz]"], [b"localhost:80:80"],
        [b"localhost:http"], [b"."], [b"x" * 300], [b"http://localhost"],
    ],
)  # fmt: skip
def test_odd(hosts: list[bytes]) -> None:
    """Given no Host, several, or one that is none, when asked, then 400, with a token or any name allowed as well."""
    assert _ask(*hosts)[0] == 400
    assert _ask(*hosts, token=TOKEN, allowed="*")[0] == 400


def test_old_health_checks() -> None:
    """Given HTTP/1.0 without a Host, as load balancers send it, when asked, then it answers."""
    assert _ask(version="1.0") == (200, "here")


@pytest.mark.parametrize("bad", ["https://pixyz.example.org", "pixyz:8001", "*.", "a b/c", "*example.org"])
def test_bad_setting(bad: str) -> None:
    """Given a value that can be no name, when set, then it is said what to write."""
    with pytest.raises(ValueError, match=r"without scheme and port"):
        Settings(allowed_hosts=bad)  # type: ignore[arg-type]


def test_url_of_a_client() -> None:
    """Given what HTTP clients make of addresses with odd spellings, when sent, then all are answered."""
    for url in ("http://127.0.0.1:8001", "http://[::1]:8001", "http://LocalHost"):
        assert _ask(httpx.Request("GET", url).headers["host"].encode())[0] == 200
