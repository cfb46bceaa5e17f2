"""The machine that the tracker runs on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pixyz_ray.cluster.actor import tracker_place
from pixyz_ray.cluster.channel import ChannelServer
from pixyz_ray.cluster.takeover import settings_difference
from pixyz_ray.settings import Settings
from pixyz_ray.settings_digest import settings_digest
from pixyz_ray.version import VERSION
from pixyz_worker.exception import InternalError

HEAD = {"NodeManagerAddress": "10.0.0.11", "Resources": {"CPU": 8.0, "node:__internal_head__": 1.0}}
WORKER = {"NodeManagerAddress": "10.0.0.12", "Resources": {"CPU": 8.0, "node:10.0.0.12": 1.0}}
SQLITE, DATABASE = "sqlite:////var/lib/pixyz/jobs.db", "postgresql+psycopg://pixyz@db/pixyz"


@pytest.mark.parametrize(
    ("store", "node", "place"),
    [
        (SQLITE, HEAD, "node:__internal_head__"),
        (SQLITE, WORKER, "node:10.0.0.12"),
        (DATABASE, HEAD, "node:__internal_head__"),
        (DATABASE, WORKER, "node:__internal_head__"),
    ],
)
def test_tracker_runs_where_its_store_is(store: str, node: dict[str, object], place: str) -> None:
    """Given a job store and the supervisor's machine, then the tracker stays with a SQLite file, else on the head."""
    assert tracker_place(Settings(job_store_url=store), node) == place


def test_tracker_that_ray_has_restarted_is_kept() -> None:
    """Given a tracker that nobody has asked since its restart, when a driver finds it, then it goes on with it."""
    settings = Settings()
    about = {"version": VERSION, "settings": settings_digest(settings), "state": "opening"}
    assert settings_difference(about, settings) is None
    assert settings_difference({**about, "state": "drained"}, settings) == "does not work (drained)"


def test_taken_tracker_port_is_named() -> None:
    """Given a port that another program has, when the tracker opens its channel, then the message names the setting."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InternalError, match=f"127.0.0.1:{port}: .*TRACKER_PORT"):
            asyncio.run(ChannelServer({}).listen("127.0.0.1", port))


def test_tracker_listens_on_its_port() -> None:
    """Given TRACKER_PORT, when the channel is opened, closed and opened again, then it is on that port each time."""

    async def open_twice() -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        found = []
        for _ in range(2):
            server = ChannelServer({})
            found.append((await server.listen("127.0.0.1", port)).port - port)
            server.close()
        return found

    assert asyncio.run(open_twice()) == [0, 0]
