"""The sockets on which the processes of a test's platform wait for connections."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import psutil

from pixyz_ray.reaper import marked
from tests.platforms import TestPlatform


def listening_sockets(platform: TestPlatform) -> Iterator[tuple[str, str, int]]:
    """Yield (process, address, port) of every socket that waits for connections."""
    supervisor = psutil.Process(platform.record.pid)
    for process in {supervisor, *supervisor.children(recursive=True), *marked(platform.record.session)}:
        try:
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    yield " ".join(process.cmdline()), connection.laddr.ip, connection.laddr.port
        except psutil.NoSuchProcess:
            continue


def is_loopback(address: str) -> bool:
    """Return whether an address can be reached from this machine alone."""
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback
