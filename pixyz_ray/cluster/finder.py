"""JobFinder: finds a job in memory, else in the store without blocking the event loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.jobs import Job
from pixyz_ray.store import JobStore


class Followers(Protocol):
    """Hooks of the graphs into the life of a job; a graph starts its next nodes when a job ends."""

    def ended(self, live: LiveJob, job: Job) -> None:
        """Record a job's end, just before it is written."""

    def waiting(self, uuid: str) -> Job | None:
        """Return the job of a node that has not begun, or None."""

    def begin_node(self, uuid: str) -> bool:
        """Begin a node whose turn has come; return False for a job that is not a node, or a node that is retried."""

    async def members(self, group: Job, insist: bool = False) -> list[Job]:
        """Return the jobs of a group's members; with `insist`, wait for the store however long it is away."""

    def started(self, uuid: str) -> None:
        """Record that a job has begun to run."""

    def hands_over(self, uuid: str) -> bool:
        """Return whether Ray has been given the tasks that follow a job."""

    def failed(self, uuid: str) -> None:
        """Record that an attempt of a job has failed, whether there will be another or not."""

    def is_ahead(self, uuid: str) -> bool:
        """Return whether a node was launched ahead of its turn, which has not come yet."""

    def feed_again(self, live: LiveJob, *, is_lost: bool) -> None:
        """Recompute a node's inputs before it begins again, without those that are lost.

        Args:
            live: the node.
            is_lost: whether at least one of them is lost.
        """

    def wait_for(self, live: LiveJob, job: Job) -> None:
        """Keep a job running until the job that it awaits has ended."""


class JobFinder:
    """The jobs in memory, and access to those that only the store has. Belongs to one event loop.

    Args:
        store: where jobs are persisted.
    """

    followers: Followers

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.access = StoreAccess(store)
        self.live: dict[str, LiveJob] = {}
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._on_end: dict[str, list[Callable[[Job], None]]] = {}

    def in_memory(self, uuid: str) -> Job | None:
        """Return a job that is live, has ended recently, or is a node that has not begun; None for any other."""
        live = self.live.get(uuid)
        return live.job if live is not None else self._recent.get(uuid) or self.followers.waiting(uuid)

    async def find(self, uuid: str, *, insist: bool = False) -> Job:
        """Return a job from memory or from the store.

        Args:
            uuid: the job.
            insist: whether to wait however long the store is away.

        Raises:
            UnknownJob: there is no job with that id.
            StoreUnusable: only the store may have it, and does not answer.
        """
        job = self.in_memory(uuid)
        if job is None:
            read = self.access.insist if insist else self.access.read
            stored = await read(self.store.get, uuid)
            # It may have become live meanwhile.
            job = self.in_memory(uuid) or stored
        if job is None:
            raise UnknownJob(f"There is no job {uuid}.")
        return job

    async def find_live(self, uuid: str, *, insist: bool = False) -> LiveJob:
        """Return a job to be watched or changed; for one that has ended, a temporary view.

        Raises:
            UnknownJob, StoreUnusable: as `find` does.
        """
        return self.live.get(uuid) or self._as_live(await self.find(uuid, insist=insist))

    def live_node(self, uuid: str) -> LiveJob:
        """Return a node of a graph that has not ended, to be changed; such nodes are in memory.

        Raises:
            UnknownJob: it is not in memory.
        """
        live = self.live.get(uuid)
        if live is not None:
            return live
        job = self.in_memory(uuid)
        if job is None:
            raise UnknownJob(f"There is no job {uuid}.")
        return self._as_live(job)

    def _as_live(self, job: Job) -> LiveJob:
        live = self.live.get(job.uuid)
        if live is None:
            live = LiveJob(job)
            if not job.state.terminal:
                self.live[job.uuid] = live
        return live

    async def result_of(self, job: Job, *, insist: bool = False) -> Any:
        """Return the result of a successful job; that of a group is the list of its members' values."""
        if job.kind != "group":
            return job.result
        return [await self.value_of(member, insist=insist) for member in await self.followers.members(job, insist)]

    async def value_of(self, job: Job, *, insist: bool = False) -> Any:
        """Return the value that a job's handle returns."""
        return await self.result_of(job, insist=insist) if job.kind == "group" else job.value

    async def on_end(self, uuid: str, callback: Callable[[Job], None]) -> None:
        """Call back with a job when its end is persisted, at once if it already is.

        Raises:
            UnknownJob: there is no job with that id.
        """
        job = await self.find(uuid, insist=True)
        if job.state.terminal:
            callback(job)
        else:
            self._on_end.setdefault(uuid, []).append(callback)
