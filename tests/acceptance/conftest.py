"""One real platform for all acceptance tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.scripts import FILES
from tests.platforms import TestPlatform
from tests.rest_client import RestClient

MAX_FIELD_BYTES = 1 << 20
MAX_UPLOAD_BYTES = 8 << 20
ORIGIN = "https://app.example.com"
"""Where web pages come from that may call the platform."""


@pytest.fixture(scope="session")
def platform() -> Iterator[TestPlatform]:
    """A platform with small limits, up from the first test to the last."""
    platform = TestPlatform(
        MAX_FIELD_BYTES=str(MAX_FIELD_BYTES),
        MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES),
        CONCURRENT_TASKS="6",
        PIXYZ_MAX_TIME_LIMIT="10000",
        CORS_ORIGINS=ORIGIN,
    )
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


@pytest.fixture(scope="session")
def rest(platform: TestPlatform) -> Iterator[RestClient]:
    """A client with the machine's own token."""
    with platform.client(timeout_s=10) as client:
        yield client


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that a running script waits for; it is there at the test's end at the latest."""
    path = tmp_path / "gate"
    yield path
    path.touch()


@pytest.fixture(scope="session")
def finished(rest: RestClient) -> str:
    """A job that has ended, with outputs and a log."""
    uuid = rest.submit(
        FILES + "    print('hello')\n    return {'a': 1}\n", params={"a.txt": "A", "deep/b c.txt": "B" * 9}
    )
    rest.end(uuid)
    return uuid
