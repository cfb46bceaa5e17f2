"""The overview of settings: values that can be written back, sources, secrets, differences."""

from __future__ import annotations

import asyncio
import hashlib
import json
import pickle
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.setting_overview import default_text, description, differences, overview
from pixyz_ray.settings import SETTINGS, Settings, load_settings
from serve_app.auth import token_check
from serve_app.errors import add_error_handlers
from serve_app.routes.config import config_router

URL = "postgresql+psycopg://pixyz:hunter2@db/pixyz"
TOKENS = '{"team": {"sha256": "' + "cd" * 32 + '", "share": 2}}'


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings from a file and from the environment, with secrets."""
    file = tmp_path / "own.conf"
    file.write_text(f"MAX_MEMORY_USAGE=2097152\nJOB_STORE_URL={URL}\nPIXYZ_TOKENS='{TOKENS}'\nSHARE_UMASK=027\n")
    monkeypatch.setenv("PIXYZ_CONFIG", str(file))
    monkeypatch.setenv("PIXYZ_QUEUES", '{"gpu": {"num_gpus": 0.5, "memory_limit": "8GB"}}')
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example.org,https://b.example.org")
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "0.25")
    return load_settings(api_port=9000)


def test_each_value_is_read_back_as_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given settings of all kinds, when their texts are set in another environment, then they are the same settings."""
    monkeypatch.delenv("PIXYZ_CONFIG")
    rows = overview(settings, "key")
    assert [row.name for row in rows] == list(SETTINGS)
    for row in rows:
        if row.value is not None and not row.is_secret:
            monkeypatch.setenv(row.name, row.value)
    again = {row.name: row.value for row in overview(load_settings(), "key") if not row.is_secret}
    assert again == {row.name: row.value for row in rows if not row.is_secret}


def test_each_row_names_its_source(settings: Settings, tmp_path: Path) -> None:
    """Given three sources, when pickled as for another process, then each setting still says where it is from."""
    again = pickle.loads(pickle.dumps(settings))  # noqa: S301 - our own
    rows = {row.name: row for row in overview(again, "key")}
    assert rows["MAX_MEMORY_USAGE"].value == "2GB"
    assert rows["MAX_MEMORY_USAGE"].source == f"in {tmp_path}/own.conf, line 1"
    assert rows["SHARE_UMASK"].value == "027"
    assert rows["MAX_IMPORT_SECONDS"].source == "in the environment"
    assert (rows["API_PORT"].value, rows["API_PORT"].source) == ("9000", "on the command line")
    assert (rows["LOG_LEVEL"].source, rows["LOG_LEVEL"].is_set) == ("default", False)


def test_secrets_are_not_shown(settings: Settings) -> None:
    """Given secrets, when listed, then no row contains them."""
    text = json.dumps([row.answer() for row in overview(settings, "key")])
    assert not [secret for secret in ("hunter2", "cd" * 32) if secret in text]
    store = next(row for row in overview(settings, "key") if row.name == "JOB_STORE_URL")
    assert store.value == "postgresql+psycopg://***@db/pixyz"


def test_differences_include_secrets_with_the_same_key(settings: Settings) -> None:
    """Given another password, when compared, then it is found with the same key, and not compared without."""
    running = [row.answer() for row in overview(settings, "key")]
    assert differences(running, overview(settings, "key"), same_key=True) == []
    other = settings.model_copy(update={"job_store_url": URL.replace("hunter2", "other"), "log_level": "DEBUG"})
    found = differences(running, overview(other, "key"), same_key=True)
    assert [row["name"] for row in found] == ["LOG_LEVEL", "JOB_STORE_URL"]
    assert (found[0]["running"], found[0]["written"]) == ("INFO", "DEBUG")
    assert "other" not in json.dumps(found)
    found = differences(running, overview(other, "another key"), same_key=False)
    assert [row["name"] for row in found] == ["LOG_LEVEL"]


def test_each_setting_has_a_description_and_its_default() -> None:
    """Given all settings, when explained, then there is something to say."""
    assert all(description(name) for name in SETTINGS)
    assert (default_text("MAX_LOG_BYTES"), default_text("PIXYZ_TIME_LIMIT"), default_text("LICENSE_HOST")) == (
        "64MB",
        "40m",
        None,
    )


def test_the_service_shows_its_settings_to_callers_with_a_token(settings: Settings) -> None:
    """Given the route, when asked without and with a token, then it is refused, and answered without secrets."""
    app, engine = FastAPI(), Engine(settings)
    digest = hashlib.sha256(b"test").hexdigest()
    app.include_router(config_router(engine, token_check(settings, digest), digest))
    add_error_handlers(app, debug=False)

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://platform") as client:
            return await client.get("/config"), await client.get("/config", headers={"x-api-key": "test"})

    refused, answer = asyncio.run(ask())
    assert (refused.status_code, answer.status_code) == (401, 200)
    assert "hunter2" not in answer.text
    assert [row["name"] for row in answer.json()["settings"]] == list(SETTINGS)
