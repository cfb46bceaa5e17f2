"""The named detached actor that the tracker lives in.

It is a thin shell, since Ray wraps every method of an actor's class, called by Ray or not.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from pixyz_ray.cluster.channel import Endpoint
from pixyz_ray.cluster.names import NAMESPACE, TRACKER
from pixyz_ray.cluster.tracker import Tracker
from pixyz_ray.logs import configure_logging
from pixyz_ray.private_files import make_process_private
from pixyz_ray.settings import Settings
from pixyz_ray.settings_digest import settings_digest
from pixyz_ray.version import VERSION

_COLLECT_AFTER = 20_000
"""Objects made since the last look for garbage."""
_HEAD = "node:__internal_head__"
"""Resource that Ray gives to the head alone, one of it."""
_PLACE_AMOUNT = 0.001


class TrackerActor:
    """Ray's face of the tracker: hands out its endpoint, and takes what scripts ask of it.

    Args:
        settings: the platform's settings.
    """

    def __init__(self, settings: Settings) -> None:
        # On a cluster, somebody else has started Ray, with a umask of their own; the job store is private.
        make_process_private(settings.share_umask)
        configure_logging(settings.log_level, settings.log_format)
        self._settings = settings
        self._opening = asyncio.Lock()
        self._tracker: Tracker | None = None
        self._endpoint: Endpoint | None = None
        self._attended: tuple[str, float] | None = None

    async def endpoint(self) -> tuple[str, int, str]:
        """Return where the tracker's channel listens; the first call opens it."""
        await self._opened()
        assert self._endpoint is not None
        return self._endpoint.host, self._endpoint.port, self._endpoint.secret

    async def submit_graph(self, parent_id: str, plan: str, number: int, attempt: int) -> list[str]:
        """Start a graph for a running script; return the ids of its nodes."""
        return await (await self._opened()).submit_graph(parent_id, plan, number, attempt)

    async def outcomes(
        self, asker: str, uuids: Sequence[str], timeout_s: float | None, until_failure: bool
    ) -> list[Any]:
        """Return how tasks stand, waited for at most `timeout_s` seconds (Tracker.outcomes)."""
        return await (await self._opened()).outcomes(asker, uuids, timeout_s, until_failure)

    async def value_lost(self, uuid: str) -> bool:
        """Run a task again whose value is lost (Tracker.value_lost)."""
        return await (await self._opened()).value_lost(uuid)

    async def children(self, uuid: str) -> list[Any]:
        """Return the ids of the tasks after a job in its graph, and of the graphs that its script has started."""
        return await (await self._opened()).children(uuid)

    async def revoke(self, uuids: Sequence[str]) -> None:
        """Cancel jobs."""
        await (await self._opened()).revoke(uuids)

    async def attend(self, who: str) -> None:
        """Take the driver's sign of life; the first one after a restart of this actor makes it recover its jobs.

        Args:
            who: the driver, as messages name it.
        """
        self._attended = who, time.monotonic()
        await self._opened()

    async def about(self) -> dict[str, Any]:
        """Return what this tracker is, whether or not its store answers.

        Returns:
            `version` of the platform, digest of its `settings`, `service` (address and port of the HTTP service),
            `node` and `pid` of this process; `state` (`up`, `draining`, `drained`, or `opening` while it cannot work),
            number of `running` attempts, whether it is `idle`; `attended_by` a driver, `attended_s` seconds ago.
        """
        who, at = self._attended or (None, None)
        standing = self._tracker.standing() if self._tracker else {"state": "opening", "running": 0, "idle": False}
        return {
            "version": VERSION,
            "settings": settings_digest(self._settings),
            "service": [self._settings.api_host, self._settings.api_port],
            "node": socket.gethostname(),
            "pid": os.getpid(),
            "attended_by": who,
            "attended_s": None if at is None else time.monotonic() - at,
            **standing,
        }

    async def drain(self, deadline_s: float, message: str) -> dict[str, Any]:
        """Bring running attempts to an end before this tracker is stopped or replaced; jobs are still accepted.

        Args:
            deadline_s: seconds to wait for them; what still runs then is ended, and runs again.
            message: what an attempt that is ended says about it.

        Returns:
            How many attempts were `ended`.
        """
        return await (await self._opened()).drain(deadline_s, message)

    async def _opened(self) -> Tracker:
        # After a restart nobody but a caller wakes the tracker up: the constructor of an async actor has no event loop.
        async with self._opening:
            if self._tracker is None or self._endpoint is None:
                tracker = await asyncio.to_thread(Tracker, self._settings, _platform(), _end)
                host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
                self._endpoint = await tracker.open(host)
                self._tracker = tracker
                # What is there now stays: the collector need not look at it again and again.
                gc.collect()
                gc.freeze()
                # Thousands of live records make each look at all of them dear, and hardly anything here is in circles.
                gc.set_threshold(_COLLECT_AFTER)
        return self._tracker


def _platform() -> str:
    """Return the name of this platform, by which the job store tells its trackers from those of another one."""
    address = str(ray.get_runtime_context().gcs_address)
    is_loopback = address.startswith(("127.", "localhost", "[::1]"))
    return f"Ray at {address} on {socket.gethostname()}" if is_loopback else f"Ray at {address}"


def _end() -> None:
    """End this process, and with it the tasks that it owns; Ray restarts the tracker if it is still the current one."""
    os._exit(1)


def make_tracker(settings: Settings) -> Any:
    """Create the named detached actor and return its handle.

    It takes no CPU, so that a busy cluster cannot keep it from starting, and Ray starts it again however often it dies.
    """
    return (
        ray.remote(TrackerActor)
        .options(
            name=TRACKER,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={tracker_place(settings, _own_node()): _PLACE_AMOUNT},
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=10_000,
        )
        .remote(settings)
    )


def tracker_place(settings: Settings, node: Mapping[str, Any]) -> str:
    """Return the resource of the machine that the tracker runs on: the head, or the caller's with a SQLite file.

    A machine gets a new node id each time that Ray starts on it, while these resources stay: after the loss of the
    head, the tracker waits until the head is back. On another machine it would find an empty SQLite file, and with a
    database it would make the platform depend on two machines instead of one: Ray's control service is on the head.

    Args:
        settings: the platform's settings.
        node: the caller's machine, as `ray.nodes()` describes it.
    """
    if settings.job_store_url.startswith("sqlite") and _HEAD not in node["Resources"]:
        return f"node:{node['NodeManagerAddress']}"
    return _HEAD


def _own_node() -> Mapping[str, Any]:
    own_id = ray.get_runtime_context().get_node_id()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return next(node for node in nodes if node["NodeID"] == own_id)
