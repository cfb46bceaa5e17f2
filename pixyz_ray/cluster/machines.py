"""Machines: connects the registry of machines with jobs and launcher, and answers calls about machines."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any

from pixyz_ray.cluster.channel import Peer
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.node import Node
from pixyz_ray.cluster.node_id import own_node_id
from pixyz_ray.cluster.nodes import NodeRegistry
from pixyz_ray.cluster.placement import unserved_notes
from pixyz_ray.cluster.ray_nodes import RayNodes, used_resources
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.settings import Settings
from pixyz_ray.share_marker import ShareMarker, write_marker
from pixyz_worker.exception import InvalidBackendParameter, PixyzException

_log = logging.getLogger(__name__)
_GPU_PATIENCE_S = 10.0
ABOUT_MACHINES = ("nodes", "node", "drain", "undrain", "check_node")
"""Methods of Machines that the channel offers."""


class Machines:
    """The registry of machines, connected with jobs and launcher.

    Args:
        settings: the platform's settings.
        jobs: all that live.
        launcher: gives tasks to Ray.
    """

    def __init__(self, settings: Settings, jobs: Lifecycle, launcher: Launcher) -> None:
        self._share = settings.share_path
        self._queues = settings.queue_table
        self._jobs = jobs
        self._launcher = launcher
        self._marker: ShareMarker | None = None
        self._warm: set[str] = set()
        self._folder: tuple[int, int] | None = None
        self.registry = NodeRegistry(
            RayNodes(),
            own=own_node_id(),
            share=str(settings.share_path),
            on_change=self._on_change,
            end_attempt=jobs.attempts.interrupt_job,
        )
        jobs.attempts.nodes = self.registry

    async def look(self) -> None:
        """Look at the cluster, and give jobs to the machines that may run them."""
        await self._mark_share()
        if await self.registry.refresh():
            # Ray may still wait for an answer of the machine that is gone.
            self._jobs.attempts.place_again()
        self._use_machines()

    async def read_gpus(self) -> None:
        """Return when the memory of GPUs is known, or after some seconds: until then jobs would run on CPU."""
        if self._jobs.turns.gpus.is_reading:
            await self.registry.answered(_GPU_PATIENCE_S)
            self._use_machines()

    def _on_change(self) -> None:
        before, now = self._launcher.excluded, self.registry.excluded()
        self._launcher.exclude(now)
        self._use_machines()
        self._jobs.dispatch_unless_in_trouble()
        if before - now:
            self._jobs.attempts.place_again()

    def _use_machines(self) -> None:
        machines = {str(one["NodeID"]): one["Resources"] for one in self.registry.usable()}
        for node_id in machines.keys() - self._warm - {own_node_id()}:
            self._launcher.warm_up_machine(node_id, int(machines[node_id].get("CPU", 0.0)))
        self._warm = set(machines)
        if self._jobs.turns.take_nodes(self.registry.usable()):
            # What Ray has not started gets the GPUs that there are now.
            self._jobs.attempts.follow_gpus()

    # --- The share's marker ------------------------------------------------------------------------------------------

    async def _mark_share(self) -> None:
        """See to it that the share has its marker, on which all other machines rely."""
        try:
            self._marker = await share_threads().run(partial(self._marked, self._marker))
        except (OSError, PixyzException) as error:
            # Whether the share is there at all is a matter of the health checks.
            _log.debug("the share cannot be marked: %s", error)
            return
        self._launcher.share_id = self.registry.share_id = self._marker.id if self._marker is not None else ""

    def _marked(self, marker: ShareMarker | None) -> ShareMarker | None:
        """Return the marker that counts; one that somebody has removed is written again."""
        about = self._share.stat()
        folder = about.st_dev, about.st_ino
        if marker is not None and folder != self._folder:
            # Another folder, such as the mount point without the share: what was marked is not here.
            return marker
        self._folder = folder
        found = write_marker(self._share, marker)
        return marker or found

    @property
    def share_id(self) -> str:
        """Id of the share's marker; empty while the head cannot see the share."""
        return self.registry.share_id

    # --- The channel's face ------------------------------------------------------------------------------------------

    async def nodes(self, _peer: Peer, _number: int) -> list[dict[str, Any]]:
        """Return all machines."""
        return self.registry.views(await used_resources())

    async def node(self, _peer: Peer, _number: int, name: str) -> dict[str, Any]:
        """Return one machine."""
        return await self._view(self.registry.find(_name(name)))

    async def drain(self, _peer: Peer, _number: int, name: str, deadline_s: float | None) -> dict[str, Any]:
        """Let no more attempts begin on a machine, and return it, with notes about queues without a machine."""
        if deadline_s is not None and not (_is_number(deadline_s) and math.isfinite(deadline_s) and deadline_s >= 0):
            raise InvalidBackendParameter(f"A deadline is a number of seconds from 0 on, not {str(deadline_s)[:40]!r}.")
        node = await self.registry.drain(_name(name), deadline_s)
        notes = unserved_notes(self._queues.values(), node, self.registry.usable())
        return {**await self._view(node), "notes": notes}

    async def undrain(self, _peer: Peer, _number: int, name: str) -> dict[str, Any]:
        """Let attempts begin on a machine again, and return it."""
        return await self._view(await self.registry.undrain(_name(name)))

    async def check_node(self, _peer: Peer, _number: int, name: str) -> dict[str, Any]:
        """Probe a machine now, and return it."""
        return await self._view(await self.registry.check(_name(name)))

    async def _view(self, node: Node) -> dict[str, Any]:
        return self.registry.view(node, await used_resources())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidBackendParameter("A machine is named by a text: its host name, address or id.")
    return name
