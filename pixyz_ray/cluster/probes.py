"""Observe the platform's parts from outside of Ray: the state of their processes, and whether they answer.

GCS and raylet are asked through gRPC's standard health service, the HTTP service through `/health/live`. They are asked
concurrently: a look takes as long as the slowest answer, at most two seconds.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import psutil

from pixyz_ray.cluster.diagnosis import Part, Sign
from pixyz_ray.port import local_host

_ANSWER_WITHIN_S = 2.0
_FIND_EVERY = 5
"""Looks between two searches for processes; a search reads the whole process table."""

_RAY_PROCESSES = {"gcs_server": Part.GCS, "raylet": Part.RAYLET}
_ACTOR_TITLES = {
    "ray::TrackerActor": Part.TRACKER,
    "ray::ServeReplica:": Part.REPLICA,
    "ray::ServeController": Part.CONTROLLER,
}
# Prefixes: a replica's title is `ray::ServeReplica:pixyz:api.handle_request` while it handles a request.


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """Where the parts answer."""

    gcs: str
    """`host:port` of Ray's control service."""
    raylet: str
    """`host:port` of this node's raylet."""
    service_host: str
    """Host of the HTTP service; for an address that means all interfaces, loopback is asked."""
    service_port: int
    """Port of the HTTP service."""


class Probes:
    """Observes one run of the platform.

    Args:
        driver: the process whose children GCS and raylet are.
        addresses: where the parts answer.
    """

    def __init__(self, driver: int, addresses: Addresses) -> None:
        self._driver = psutil.Process(driver)
        self._addresses = addresses
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="probe")
        self._channels = {
            Part.GCS: _channel(addresses.gcs),
            Part.RAYLET: _channel(addresses.raylet),
        }
        self._processes: dict[Part, psutil.Process] = {}
        self._looks = 0

    def look(self) -> dict[Part, Sign]:
        """Return the current sign of each part; the driver reports its own heartbeat and the tracker's answers."""
        asked = {part: self._pool.submit(_grpc_answers, channel) for part, channel in self._channels.items()}
        asked[Part.SERVICE] = self._pool.submit(self._service_answers)
        signs = {part: Sign.GOOD if answer.result() else Sign.SILENT for part, answer in asked.items()}
        if self._looks % _FIND_EVERY == 0:
            self._find()
        self._looks += 1
        for part, process in self._processes.items():
            state = _state(process)
            if state is not Sign.GOOD:
                signs[part] = state
        return signs

    def kill(self, part: Part) -> None:
        """Kill the process of a part."""
        with suppress(psutil.Error, KeyError):
            self._processes[part].kill()
        self._looks = 0

    def close(self) -> None:
        """Close the connections and the threads."""
        for channel in self._channels.values():
            channel.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _find(self) -> None:
        """Find the processes of the parts: Ray's own once, those of actors again and again, since Ray replaces them."""
        for part in _ACTOR_TITLES.values():
            self._processes.pop(part, None)
        for name, process in self._children():
            if name in _RAY_PROCESSES:
                self._processes.setdefault(_RAY_PROCESSES[name], process)
            for title, part in _ACTOR_TITLES.items():
                if name.startswith(title):
                    self._processes[part] = process

    def _children(self) -> Iterator[tuple[str, psutil.Process]]:
        """Yield the children of the driver with their program's name, and those of the raylet with their title."""
        with suppress(psutil.Error):
            for child in self._driver.children():
                with suppress(psutil.Error):
                    yield child.name(), child
        raylet = self._processes.get(Part.RAYLET)
        if raylet is None:
            return
        with suppress(psutil.Error):
            for child in raylet.children():
                with suppress(psutil.Error):
                    yield " ".join(child.cmdline()), child

    def _service_answers(self) -> bool:
        """Return whether the HTTP service answers, with whatever status."""
        host = local_host(self._addresses.service_host)
        connection = http.client.HTTPConnection(host, self._addresses.service_port, timeout=_ANSWER_WITHIN_S)
        try:
            connection.request("GET", "/health/live")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


def _channel(address: str) -> Any:
    return grpc.insecure_channel(
        address,
        # Ignore HTTP proxies of the environment: the parts are on this machine. Reconnect within a second.
        options=[("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)],
    )


def _grpc_answers(channel: Any) -> bool:
    """Return whether a gRPC server answers the standard health check, with whatever status."""
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        check(b"", timeout=_ANSWER_WITHIN_S)
    except grpc.RpcError as error:
        return error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return True


def _state(process: psutil.Process) -> Sign:
    try:
        status = process.status() if process.is_running() else psutil.STATUS_DEAD
    except psutil.Error:
        return Sign.GONE
    if status in (psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE):
        return Sign.GONE
    return Sign.STOPPED if status == psutil.STATUS_STOPPED else Sign.GOOD
