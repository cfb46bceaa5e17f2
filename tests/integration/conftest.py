"""A platform that is there to be killed, for each file that does so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.platforms import TestPlatform
from tests.rest_client import RestClient

CPUS = 2


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform of two CPUs, to be killed."""
    platform = TestPlatform(CONCURRENT_TASKS=str(CPUS))
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


@pytest.fixture
def rest(platform: TestPlatform) -> Iterator[RestClient]:
    """A client of it."""
    with platform.client() as client:
        yield client
