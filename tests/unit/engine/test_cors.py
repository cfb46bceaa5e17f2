"""CORS: who may call from a browser is an allow-list, and a preflight needs no token."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from pixyz_ray.settings import load_settings
from pixyz_worker.exception import InvalidBackendParameter
from serve_app.cors import add_cors

ORIGIN = "https://app.example.com"


def _ask(origins: tuple[str, ...], method: str, **headers: str) -> httpx.Response:
    app = FastAPI()
    add_cors(app, origins)

    @app.get("/jobs")
    async def jobs() -> dict[str, Any]:
        return {"jobs": []}

    async def sent() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://platform") as client:
            return await client.request(method, "/jobs", headers={"Origin": ORIGIN, **headers})

    return asyncio.run(sent())


@pytest.mark.parametrize(
    ("origins", "allowed"), [((), None), ((ORIGIN,), ORIGIN), (("*",), "*"), (("https://other.example.com",), None)]
)
def test_origins(origins: tuple[str, ...], allowed: str | None) -> None:
    """Given an allow-list, when a page asks, then only an origin of the list may read the answer."""
    assert _ask(origins, "GET").headers.get("access-control-allow-origin") == allowed
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    preflight = _ask(origins, "OPTIONS", **wanted)
    assert preflight.headers.get("access-control-allow-origin") == allowed
    if allowed:
        assert preflight.status_code == 200
        assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
        assert {"PUT", "DELETE"} <= set(preflight.headers["access-control-allow-methods"].split(", "))


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("*", ("*",)),
        (f"{ORIGIN}/, http://localhost:3000", (ORIGIN, "http://localhost:3000")),
        (f'["{ORIGIN}"]', (ORIGIN,)),
    ],
)
def test_setting(monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]) -> None:
    """Given CORS_ORIGINS, when read, then it is comma-separated or JSON."""
    monkeypatch.setenv("CORS_ORIGINS", text)
    assert load_settings().cors_origins == origins


@pytest.mark.parametrize("text", ["app.example.com", "https://a.example.com/path", '["a', "[1]", "https://a b"])
def test_bad_setting(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Given something else, when read, then the message names the setting."""
    monkeypatch.setenv("CORS_ORIGINS", text)
    with pytest.raises(InvalidBackendParameter, match="CORS_ORIGINS"):
        load_settings()
