"""Overview: what is asked of jobs and of the platform as a whole, answered from what lives and from the store."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.store import StoreUnusable

_LOW_SPACE_BYTES = 64 * 2**20
"""Least room on the share with which the platform is ready: it says so before the last byte is gone."""
_STORE_PATIENCE_S = 1.0
_SHARE_PATIENCE_S = 1.5
"""Less than the engine waits for an answer about health."""
_IN_LINE = "the tasks of its graph before it"


class Overview:
    """Answers questions, and changes nothing.

    Args:
        jobs: all that live.
        graphs: those among them that belong together.
    """

    def __init__(self, jobs: Lifecycle, graphs: Graphs) -> None:
        self._jobs = jobs
        self._graphs = graphs

    # --- One job -----------------------------------------------------------------------------------------------------

    async def details(self, uuid: str) -> dict[str, Any]:
        """Return a job's JobDetails."""
        job = await self._jobs.find(uuid)
        details = {**job.as_details(), "waiting": self.waiting(job)}
        if job.kind == "group" and job.state is JobState.SUCCESS:
            details["result"] = await self._jobs.result_of(job)
        if job.attempts and (live := self._jobs.live.get(uuid)) is not None:
            details["attempts"][-1] |= self._jobs.attempts.used(live)
        return details

    async def task_meta(self, uuid: str) -> dict[str, Any]:
        """Return a job's TaskMeta."""
        job = await self._jobs.find(uuid)
        result = await self._jobs.result_of(job) if job.state is JobState.SUCCESS else None
        return job.as_task_meta(await self._graphs.lookup.children(uuid), result)

    def waiting(self, job: Job) -> dict[str, Any] | None:
        """Return where a job that has not begun stands, and why; None for one that has."""
        if job.state not in (JobState.SENT, JobState.PENDING, JobState.RETRY):
            return None
        if (standing := self._jobs.turns.waiting(job.uuid)) is not None:
            return standing
        if job.attempts and job.state is JobState.PENDING and not self._jobs.is_ahead(job.uuid):
            reason = f"given to Ray: {self._needs(job)}"
        elif job.kind == "group":
            reason = "its members"
        else:
            reason = _IN_LINE
        return {"position": None, "reason": reason, "expected_start": None}

    def _needs(self, job: Job) -> str:
        """Return what a job that Ray has waits for, in words."""
        queue = self._jobs.settings.queue_table.get(job.queue)
        if queue is None:
            return f"waits for a machine with room for queue {job.queue} free"
        grant = self._jobs.turns.gpu_grant(job)
        if grant.waits:
            return f"{grant.missing}, waits for one to join"
        needs = [("CPU", queue.num_cpus), ("GPU", grant.num_gpus), *queue.resources.items()]
        free = " and ".join(f"{amount:g} {what}" for what, amount in needs if amount) or "a worker"
        return f"waits for a machine with {free} free"

    # --- The platform ------------------------------------------------------------------------------------------------

    def queues(self) -> dict[str, Any]:
        """Return what waits and what runs, by queue, pool and submitter, and what the cluster has."""
        turns, settings = self._jobs.turns, self._jobs.settings
        in_line = turns.queues()
        queued = sum(row["waiting"] for row in in_line)
        dispatched = self._jobs.attempts.dispatched
        queues = dispatched.corrected_queues(in_line)
        capacity = turns.capacity
        nodes = sum(name.startswith("node:") and name != "node:__internal_head__" for name in capacity)
        return {
            "queues": queues,
            "pools": turns.pools(),
            "submitters": dispatched.corrected_submitters(turns.submitters()),
            "queued": queued,
            "max_queued": settings.max_queued_jobs,
            "cluster": {"CPU": capacity.get("CPU", 0.0), "GPU": capacity.get("GPU", 0.0), "nodes": nodes},
        }

    def meters(self) -> dict[str, Any]:
        """Return what has been counted and timed, for metrics."""
        shown = self.queues()
        return {
            **self._jobs.meters.as_plain(),
            "jobs": dict(self._jobs.counts),
            "queues": shown["queues"],
            "pools": shown["pools"],
            "workers": self._jobs.attempts.workers.counts(),
        }

    async def health(self) -> dict[str, str]:
        """Return how the store and the share are: `ok`, or what is wrong in a sentence."""
        return {"store": await self._store(), "share": await self._share_in_time()}

    def warnings(self) -> list[str]:
        """Return what keeps some jobs waiting while others are taken, as sentences."""
        waiting = self._jobs.turns.without_machine()
        return [
            f"GPU: {'1 job waits' if count == 1 else f'{count} jobs wait'}: {why}." for why, count in waiting.items()
        ]

    async def _store(self) -> str:
        access = self._jobs.access
        if (trouble := access.trouble) is not None:
            return trouble
        try:
            async with asyncio.timeout(_STORE_PATIENCE_S):
                await access.read(access.store.known, ["-"])
                return await access.read(access.store.room_problem) or "ok"
        except StoreUnusable as error:
            return str(error)
        except TimeoutError:
            return f"The job store does not answer: no answer within {_STORE_PATIENCE_S:g} s."

    async def _share_in_time(self) -> str:
        try:
            async with asyncio.timeout(_SHARE_PATIENCE_S):
                return await share_threads().run(self._share)
        except (EngineNotReady, TimeoutError):
            return f"SHARE_PATH {self._jobs.settings.share_path} does not answer."

    def _share(self) -> str:
        path = self._jobs.settings.share_path
        try:
            if not os.access(path, os.W_OK | os.X_OK):
                return f"SHARE_PATH {path} is not there, or cannot be written."
            free = shutil.disk_usage(path).free
        except OSError as error:
            return f"SHARE_PATH {path} cannot be used: {error.strerror or error}."
        if free > _LOW_SPACE_BYTES:
            return "ok"
        left, least = free // 2**20, _LOW_SPACE_BYTES // 2**20
        return f"SHARE_PATH {path} is full: {left} MiB are left, and {least} MiB are too few. Free some space."
