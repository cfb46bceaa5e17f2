"""Launcher: turns a job into a Ray task on its queue's resources, and stops one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pixyz_ray.cluster import tasks
from pixyz_ray.cluster.channel import Endpoint
from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.wear import NEVER
from pixyz_ray.jobs import Job
from pixyz_ray.queues import ray_options
from pixyz_ray.retention import Removal, remove_jobs
from pixyz_ray.settings import Settings
from pixyz_ray.storage import FULL, JobFolder
from pixyz_ray.version import VERSION
from pixyz_worker.exception import PixyzException

_KILL_PATIENCE_S = 10.0
_MAX_KEPT = 256
"""Kinds of tasks that are kept ready to be submitted; a kind is a queue with what its jobs ask for."""
_FRESH = {"env_vars": {"PIXYZ_ISOLATION": "fresh"}}


class Launcher:
    """Submits Ray tasks. Retries are the tracker's, by failure class, so Ray has none.

    Args:
        settings: queues, folders, recycling of workers.
        endpoint: where workers report to.
    """

    def __init__(self, settings: Settings, endpoint: Endpoint) -> None:
        self._settings = settings
        self._endpoint = (endpoint.host, endpoint.port, endpoint.secret)
        calls = settings.max_tasks_before_shutdown or NEVER
        self._run = ray.remote(max_retries=0, max_calls=calls)(tasks.run_script)
        # Workers of another environment are others: none of them has run a job before, nor runs one afterwards.
        self._run_fresh = ray.remote(max_retries=0, max_calls=1, runtime_env=_FRESH)(tasks.run_script)
        self._pack = ray.remote(max_retries=2)(tasks.pack_outputs)
        self._remove = ray.remote(max_retries=2)(remove_jobs)
        self._keep = ray.remote(max_retries=2)(tasks.keep_value)
        self._warm = ray.remote(max_retries=0)(tasks.warm_up)
        self._by_queue: dict[tuple[str, int, bool, float, frozenset[str]], Any] = {}
        self.excluded: frozenset[str] = frozenset()
        """Ray's ids of machines that get no tasks; see `exclude`."""
        self.share_id = ""
        """Id of the share's marker, by which a worker knows whether it sees the share; empty for no check."""
        self._warming: set[asyncio.Future[None]] = set()
        self._killed: dict[tuple[str | None, int | None], float] = {}

    def launch(self, live: LiveJob) -> tuple[Any, Any]:
        """Submit a job's current attempt; return Ray's references of its end, and of what it returns if wanted."""
        job, feed, wants_value = live.record, live.feed, live.wants_value
        # One text: Ray takes longer for each argument, and for each object in it.
        shape = feed.shape if feed else None
        spec = json.dumps([self._spec(live), self._endpoint, shape])
        grant = live.grant
        # Nearly always none: each selector makes Ray look for workers of its own, and takes time to compare.
        excluded = grant.excluded | self.excluded
        key = (job.queue, 2 if wants_value else 1, job.policy.isolation == "fresh", grant.num_gpus, excluded)
        run = self._by_queue.get(key) or self._on_queue(*key)
        answer = run.remote(spec, *feed.references) if feed else run.remote(spec)
        return answer if wants_value else (answer, None)

    def exclude(self, node_ids: frozenset[str]) -> None:
        """Give no tasks to these machines from now on; those that Ray has been given already are not changed."""
        self.excluded = node_ids
        self._by_queue.clear()

    def memory_limit(self, job: Job) -> int | None:
        """Return the bytes that an attempt may take on the job's queue; None for any.

        A retry gets what the queue gives where that is more than the job asked for.
        """
        queue = self._settings.memory_limit_of(self._settings.queue_table[job.queue])
        asked = job.policy.memory_limit
        if asked is None or queue is None:
            return asked or queue
        return max(asked, queue) if job.retry else min(asked, queue)

    def kill(self, reference: Any, job: Job) -> None:
        """Stop a job's task at once, where its watchdog did not; one that has ended is left alone.

        Only by force: asking first and then forcing hangs on a loop that never gives up the interpreter.
        """
        if reference is None or _is_over(reference):
            return
        if job.attempts and job.attempts[-1].pid is not None:
            now = time.monotonic()
            self._killed = {worker: at for worker, at in self._killed.items() if now - at < _KILL_PATIENCE_S}
            self._killed[job.attempts[-1].node, job.attempts[-1].pid] = now
        with contextlib.suppress(Exception):
            ray.cancel(reference, force=True)

    def withdraw(self, reference: Any) -> None:
        """Take back a task that was submitted ahead of its turn."""
        with contextlib.suppress(Exception):
            ray.cancel(reference, force=True)

    def hit_by_mistake(self, job: Job) -> bool:
        """Return whether a job's process died of a kill meant for the job that had it before."""
        attempt = job.attempts[-1]
        return (attempt.node, attempt.pid) in self._killed

    async def keep(self, value: Any, folder: JobFolder, attempt: int) -> None:
        """Return when a value is on the share, where a restart does not lose it; a failure leaves it as it is."""
        with contextlib.suppress(Exception):
            await self._keep.options(num_cpus=0).remote(value, str(self._settings.share_path), folder.uuid, attempt)

    async def pack(self, uuid: str) -> None:
        """Return when a job's outputs are packed."""
        options = ray_options(self._settings.queue_table["zip"])
        try:
            await self._pack.options(**options).remote(str(self._settings.share_path), uuid)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, OSError) and error.cause.errno in FULL:
                raise EngineNotReady("There is no room on the share to pack the outputs. Free some.") from error
            if isinstance(error.cause, PixyzException):
                raise error.cause from None
            raise

    async def remove(self, removals: Sequence[Removal]) -> Mapping[str, str | None]:
        """Remove the files of jobs, on the clean queue; return for each None, or why something is still there."""
        options = ray_options(self._settings.queue_table["clean"])
        answer = await self._remove.options(**options).remote(str(self._settings.share_path), list(removals))
        troubles: Mapping[str, str | None] = answer
        return troubles

    def warm_up(self) -> None:
        """Start the workers that the first jobs will find, and one to spare."""
        self._get_ready(1, int(cluster_resources().get("CPU", 0.0)))
        self.spare(1)

    def warm_up_machine(self, node_id: str, cpus: int) -> None:
        """Start the workers that the first jobs on a machine will find: one that was just lost may leave it many."""
        place = NodeAffinitySchedulingStrategy(node_id, soft=False)
        self._get_ready(1, cpus, scheduling_strategy=place)

    def spare(self, count: int = 2) -> None:
        """See to it that so many workers are idle: Ray starts one only when it is needed, which takes a second."""
        self._get_ready(0, count)

    def _get_ready(self, num_cpus: int, count: int, **options: Any) -> None:
        ready = self._warm.options(num_cpus=num_cpus, **options)
        references = [ready.remote() for _ in range(count)]

        async def wait() -> None:
            for reference in references:
                with contextlib.suppress(Exception):
                    await reference

        task = asyncio.ensure_future(wait())
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    def _on_queue(self, name: str, returns: int, fresh: bool, num_gpus: float, excluded: frozenset[str]) -> Any:
        if len(self._by_queue) >= _MAX_KEPT:
            self._by_queue.clear()
        run = (self._run_fresh if fresh else self._run).options(
            # Ray's own record of a task would cost each job a tenth of its time; the job's record is ours.
            enable_task_events=False,
            num_returns=returns,
            **ray_options(self._settings.queue_table[name], num_gpus, excluded),
        )
        self._by_queue[name, returns, fresh, num_gpus, excluded] = run
        return run

    def _spec(self, live: LiveJob) -> Mapping[str, Any]:
        job, settings = live.record, self._settings
        spec = {
            "uuid": job.uuid,
            "attempt": len(job.attempts),
            "share": str(settings.share_path),
            "share_id": self.share_id,
            "version": VERSION,
            "script": job.script,
            "digest": job.script_digest,
            "entrypoint": job.entrypoint,
            "params": job.params,
            "input_file": job.input_file,
            "config": dict(job.config),
            "queue": job.queue,
            "wait": job.wait,
            "wait_timeout": job.wait_timeout,
            "memory_limit": self.memory_limit(job) or 0,
            "max_log_bytes": settings.max_log_bytes,
            "max_result_bytes": settings.max_result_bytes,
            "max_growth": settings.max_worker_growth,
            "name": job.name,
            "requested": job.requested,
            "time_limit": job.time_limit,
        }
        if live.may_overlap:
            spec["may_overlap"] = True
        if job.graph is not None:
            spec |= {"home": job.home, "parent_id": job.parent_id, "hands_on": live.wants_value}
        if job.packed:
            spec["packed"] = job.packed
        if job.params_packed:
            spec["params_packed"] = True
        if job.calls:
            spec["calls"] = job.calls
        if live.grant.num_gpus:
            spec |= {"gpus": live.grant.num_gpus, "gpu_memory": live.grant.limit or 0}
        return spec


def _is_over(reference: Any) -> bool:
    """Return whether a task has ended by itself: its worker may be at another one already."""
    over, _ = ray.wait([reference], timeout=0, fetch_local=False)
    return bool(over)


def cluster_nodes() -> list[dict[str, Any]]:
    """Return what Ray knows of each machine that is or was in the cluster."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def cluster_resources() -> Mapping[str, float]:
    """Return what the machines of the cluster have together."""
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources
