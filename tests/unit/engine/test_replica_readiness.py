"""Replicas beside the head: when their port is closed and opened."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_worker.exception import InternalError
from serve_app.listening import listening_host
from serve_app.readiness import follow_readiness
from serve_app.share_gate import ShareGate

WELL: Any = {"tracker": "ok", "share": "ok"}
AWAY: Any = {"tracker": "ok", "share": "The machine of the HTTP service cannot see the share."}


class Checks:
    """An engine whose checks find one thing after another, and a port that notes what is done with it."""

    def __init__(self, *found: Any) -> None:
        self._found = iter(found)
        self.log: list[str] = []
        self.is_taken = False

    async def health(self) -> tuple[dict[str, str], list[str]]:
        """Return the next finding."""
        found = next(self._found, None)
        if found is None:
            raise asyncio.CancelledError
        if isinstance(found, Exception):
            raise found
        self.log.append("well" if found is WELL else "away")
        return found, []

    async def open_port(self) -> None:
        """Open the port."""
        self.log.append("open")
        if self.is_taken:
            raise InternalError("Port 8001 cannot be used.")

    def close_port(self) -> None:
        """Close the port."""
        self.log.append("close")


def followed(checks: Checks) -> list[str]:
    """Return what happens until the checks are over."""
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(follow_readiness(checks, checks, every_s=0))  # type: ignore[arg-type]
    return checks.log


def test_port_of_a_machine_without_share() -> None:
    """Given checks that fail three times in a row, then the port is closed once, and opened when they succeed."""
    assert followed(Checks(AWAY, AWAY, WELL, AWAY, AWAY, AWAY, AWAY, WELL)) == [
        *("away", "away", "well", "open"),
        *("away", "away", "away", "close", "away", "well", "open"),
    ]


def test_share_that_does_not_answer() -> None:
    """Given checks that raise, then they count as failed."""
    assert followed(Checks(*[EngineNotReady("busy")] * 3, WELL)) == ["close", "well", "open"]


def test_taken_port() -> None:
    """Given a port that cannot be opened, then it is tried again at the next check."""
    checks = Checks(WELL, WELL)
    checks.is_taken = True
    assert followed(checks) == ["well", "open", "well", "open"]


@pytest.mark.parametrize(
    ("api_host", "expected"),
    [
        ("0.0.0.0", "0.0.0.0"), ("::", "::"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.2"), ("head.example.org", "10.0.0.2"),
    ],
)  # fmt: skip
def test_listening_host(api_host: str, expected: str) -> None:
    """Given API_HOST, then a replica beside the head listens on all addresses, or on its own."""
    assert listening_host(api_host, "10.0.0.2") == expected


class Share:
    """An engine that finds something wrong with the share, or nothing."""

    def __init__(self, problem: str | None) -> None:
        self._problem = problem

    async def share_problem(self) -> str | None:
        """Return what is wrong."""
        return self._problem


@pytest.mark.parametrize(
    ("problem", "path", "expected"),
    [(None, "/jobs", 200), ("cannot see the share", "/jobs/x", 503), ("cannot see the share", "/health", 200)],
)
def test_share_gate(problem: str | None, path: str, expected: int) -> None:
    """Given a machine that does not see the share, then requests about jobs are answered with 503, others are not."""

    async def answer(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def ask() -> int:
        gate = ShareGate(answer, Share(problem))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://a") as client:
            return (await client.get(path)).status_code

    assert asyncio.run(ask()) == expected
