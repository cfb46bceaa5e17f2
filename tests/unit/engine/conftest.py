"""Fixtures of the engine's tests: a clock, an event loop, a gate, and real workers with their watchdogs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.free_ports import free_port
from tests.postgres import Postgres, need_postgres
from tests.waiting_room import Clock
from tests.watched_workers import Start, Tracker, Worker


@pytest.fixture
def clock() -> Clock:
    """Time stands still."""
    return Clock()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; skipped where there is no server or driver.

    Not for the whole session: tests of what scripts leave behind kill all children of this process.
    """
    need_postgres()
    server = Postgres()
    try:
        server.start(free_port())
        yield server
    finally:
        server.close()


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgres.database(f"jobs_{uuid4().hex}")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the platform."""
    return "asyncio"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Stands for a share that hangs until it is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    """A stand-in for the tracker."""
    made = Tracker()
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path, tracker: Tracker) -> Iterator[Start]:
    """Start a worker that runs a body; whatever it leaves fails the test."""
    started: list[Worker] = []

    def start_one(body: str, *, told: bool = True) -> Worker:
        started.append(Worker(tmp_path / str(len(started)), body, tracker if told else None))
        return started[-1]

    yield start_one
    for worker in started:
        worker.kill()
