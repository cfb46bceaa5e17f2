"""What others on this machine, or beyond it, can reach of a platform that was started with no more than `pixyz up`."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator

import psutil
import pytest

from pixyz_ray.reaper import marked
from tests.platforms import TestPlatform


def _listening(platform: TestPlatform) -> Iterator[tuple[str, str]]:
    """Yield (process, address) of every socket that waits for connections."""
    supervisor = psutil.Process(platform.record.pid)
    for process in {supervisor, *supervisor.children(recursive=True), *marked(platform.record.session)}:
        try:
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    yield " ".join(process.cmdline())[:80], connection.laddr.ip
        except psutil.NoSuchProcess:
            continue


def test_given_a_platform_when_its_sockets_are_listed_then_each_is_on_loopback(platform: TestPlatform) -> None:
    """Ray's, Serve's, the tracker's and the service's."""
    listening = list(_listening(platform))
    assert any("ServeReplica" in name for name, _ in listening)
    beyond = [
        (name, address)
        for name, address in listening
        if not (ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback)
    ]
    assert beyond == []


@pytest.mark.parametrize("name", ["token", "ray-token", "platform.json"])
def test_given_a_file_with_a_secret_when_looked_at_then_its_owner_alone_can_read_it(
    platform: TestPlatform, name: str
) -> None:
    """So is the folder that it lies in."""
    for path in (platform.home / name, platform.home):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_given_an_address_of_all_machines_when_no_token_was_set_then_the_platform_does_not_start() -> None:
    """There is no default password to fall back to."""
    platform = TestPlatform(GOD_PASSWORD_SHA256="")
    try:
        done = platform.cli("up", "--detach", "--host", "0.0.0.0", "--port", str(platform.port))
        assert done.returncode != 0
        assert "GOD_PASSWORD_SHA256" in done.stderr
    finally:
        platform.close()
