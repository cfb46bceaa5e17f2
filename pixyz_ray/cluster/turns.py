"""Turns: which jobs Ray is given, and when. They wait here, above Ray, and Ray has no more than keeps it busy."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from pixyz_ray.admission import Admission, Limits, Needs, SubmitterLimit, Waiting
from pixyz_ray.clock import SteadyClock
from pixyz_ray.cluster.gpus import NO_GPU, Gpus, Grant
from pixyz_ray.gpu_need import REQUIRE, GpuNeed
from pixyz_ray.jobs import Job, iso_time
from pixyz_ray.logs import job_logger
from pixyz_ray.queues import gpu_need
from pixyz_ray.settings import Settings

_log = logging.getLogger(__name__)
REFRESH_EVERY_S = 2.0
_MIN_WINDOW = 16
_WINDOW_PER_PLACE = 4
_MAX_PARKED = 16
"""Jobs that Ray has while no machine can run them: its autoscaler starts machines for what it has."""


class Turns:
    """The queue above Ray, on one event loop.

    Args:
        settings: queues, pools, tokens and limits.
        begin: starts the job whose turn has come.
        clock: clock for waiting times.
    """

    def __init__(self, settings: Settings, begin: Callable[[str], None], *, clock: SteadyClock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SteadyClock()
        self._paused: str | None = None
        self._closed: str | None = None
        self._begin = begin
        self._capacity: Mapping[str, float] = {}
        self._windows: dict[str, int] = {}
        self.gpus = Gpus(bool(settings.gpu_expected))
        self._fractions: dict[str, float] = {}
        self._parked: set[str] = set()
        self._pumping = False
        self._alarm: asyncio.TimerHandle | None = None
        self._admission = Admission(
            Limits(
                windows=self._window,
                concurrency={name: q.concurrency for name, q in settings.queue_table.items() if q.concurrency},
                pools=settings.pools,
                submitters={
                    name: SubmitterLimit(share=t.share, concurrency=t.concurrency, max_queued=t.max_queued)
                    for name, t in settings.tokens.items()
                },
                max_queued=settings.max_queued_jobs,
                obstacles=self._obstacle,
            ),
            ageing_s=settings.priority_ageing,
            clock=self._clock.now,
        )
        self.check_room = self._admission.check_room
        self.withdraw = self._admission.withdraw
        self.resume = self._admission.resume

    # --- What there is room for --------------------------------------------------------------------------------------

    def take_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> bool:
        """Record the machines that may run jobs (see Gpus.take_nodes); return whether their GPUs changed."""
        changed = self.gpus.take_nodes(nodes)
        total: dict[str, float] = {}
        for node in nodes:
            for name, amount in node["Resources"].items() if node["Alive"] else ():
                total[name] = total.get(name, 0.0) + amount
        if changed:
            self._fractions.clear()
            self._capacity = {}
        self.take_capacity(total)
        return changed

    def take_capacity(self, resources: Mapping[str, float]) -> None:
        """Record what the cluster has, which grows and shrinks."""
        if resources != self._capacity:
            self._capacity = dict(resources)
            self._windows = {}
            self.pump()

    @property
    def capacity(self) -> Mapping[str, float]:
        """What the cluster has: CPU, GPU and whatever else."""
        return self._capacity

    def _window(self, name: str) -> int:
        """Return how many tasks of a queue Ray is given at a time.

        More than it can run at once, so that it goes on without us, and so that its autoscaler sees that there is more.
        """
        if name not in self._windows:
            self._windows[name] = max(_MIN_WINDOW, int(_WINDOW_PER_PLACE * self._places(name)))
        return self._windows[name]

    def _places(self, name: str) -> float:
        queue = self._settings.queue_table.get(name)
        wanted = {"CPU": queue.num_cpus, "GPU": queue.num_gpus, **queue.resources} if queue is not None else {}
        if queue is not None and (fraction := self._fractions.get(name)):
            wanted["GPU"] = fraction
        # A cluster without any GPU runs them on its CPUs.
        have = {key: self._capacity.get(key, 0.0) for key in wanted if key != "GPU" or self._capacity.get("GPU")}
        limits = [have[key] / wanted[key] for key in have if wanted[key]]
        return min(limits, default=self._capacity.get("CPU", 0.0))

    # --- GPUs --------------------------------------------------------------------------------------------------------

    def gpu_need_of(self, job: Job) -> GpuNeed | None:
        """Return what a job needs of GPUs on its queue; None for nothing."""
        return self._gpu_need(job.queue, *_gpu_of(job))

    def _gpu_need(self, name: str, mode: str | None, memory: int | None, moved: bool) -> GpuNeed | None:
        queue = self._settings.queue_table.get(name)
        return None if queue is None else gpu_need(queue, mode, memory, expected=self.gpus.expected, moved=moved)

    def gpu_grant(self, job: Job) -> Grant:
        """Return what a job gets of the cluster's GPUs now."""
        need = self.gpu_need_of(job)
        if need is None:
            return NO_GPU
        grant = self.gpus.grant(self._settings.queue_table[job.queue], need)
        if need.memory is not None and 0 < grant.num_gpus < self._fractions.get(job.queue, 1.0):
            # Ray is given as many as fit on the cards.
            self._fractions[job.queue] = grant.num_gpus
            self._windows.pop(job.queue, None)
        return grant

    def never_fits(self, job: Job) -> str | None:
        """Return why no machine will ever have the GPU memory that a job requires; None where one may."""
        queue = self._settings.queue_table.get(job.queue)
        return None if queue is None else self.gpus.too_small_for(queue, self.gpu_need_of(job))

    def _obstacle(self, needs: Needs) -> Callable[[], str | None] | None:
        """Return what says why no job with these needs can start: it requires a GPU that no machine has."""
        need, queue = self._gpu_need(needs.queue, *needs.gpu), self._settings.queue_table.get(needs.queue)
        if need is None or queue is None:
            return None

        version, why = -1, None

        def missing() -> str | None:
            # Called for each job that is dispatched.
            nonlocal version, why
            if version != self.gpus.version:
                version, need = self.gpus.version, self._gpu_need(needs.queue, *needs.gpu)
                why = None if need is None or need.mode != REQUIRE else self.gpus.grant(queue, need).missing
            if why is None or (self.gpus.expected and len(self._parked) < _MAX_PARKED):
                return None
            return f"{why}: waits for a machine with one to join"

        return missing

    def park(self, uuid: str) -> None:
        """Let a job that Ray has give its place back: no machine can run it now."""
        self._parked.add(uuid)
        self._admission.rest(uuid)

    def unpark(self, uuid: str) -> None:
        """Let a parked job that has begun take its place again."""
        if uuid in self._parked:
            self._parked.discard(uuid)
            self._admission.resume(uuid)

    def without_machine(self) -> dict[str, int]:
        """Return what no machine of the cluster has, and how many jobs wait for that."""
        found = self._admission.obstructed()
        if self._parked:
            found["no machine with such a GPU: Ray has been asked for one"] = len(self._parked)
        return found

    # --- Waiting -----------------------------------------------------------------------------------------------------

    def wait(self, uuid: str, job: Job, since: float) -> None:
        """Let a job wait for its turn; `pump` then gives it, which may be at once.

        Args:
            uuid: the job.
            job: what it asks for.
            since: when it got in line.
        """
        self._wait(uuid, needs_of(job), since, job.not_before, job.pause)

    def recover(self, rows: Iterable[tuple[str, float, list[Any]]]) -> None:
        """Let jobs wait that waited before a restart: id, when accepted, and what `Job.waits` says."""
        for uuid, requested, (queue, submitter, priority, pools, not_before, *more) in rows:
            # What an older version has written says neither how long the pause was, nor what the job needs of GPUs.
            pause, gpu = (*more, None, None)[:2]
            seats = tuple((name, seats) for name, seats in pools)
            needs = _needs(queue, submitter, priority, seats, tuple(gpu or (None, None, False)))
            self._wait(uuid, needs, requested, not_before, pause)

    def _wait(self, uuid: str, needs: Needs, since: float, not_before: float | None, pause_s: float | None) -> None:
        # Times of records are of the wall clock, which may be set; waiting uses the steady clock.
        now = self._clock.now()
        rest = 0.0 if not_before is None else self._clock.rest(not_before, pause_s)
        since = self._clock.since(since)
        if rest > 0:
            self._admission.add_later(uuid, needs, since, now + rest)
            self._set_alarm()
        else:
            self._admission.add(uuid, needs, since)

    def release(self, uuid: str) -> None:
        """Take back all that a job holds; one that holds nothing is left alone."""
        self._parked.discard(uuid)
        self._admission.release(uuid)

    def put_back(self, uuid: str) -> None:
        """Put a dispatched job that could not begin back into its old place in line."""
        self._parked.discard(uuid)
        self._admission.put_back(uuid)

    def pause(self, reason: str) -> None:
        """Dispatch no jobs until `go_on`; the reason is shown to waiting jobs."""
        self._paused = reason

    @property
    def is_paused(self) -> bool:
        """Whether dispatching is paused, or closed."""
        return self._paused is not None or self._closed is not None

    def close(self, reason: str) -> None:
        """Dispatch no jobs any more, whatever else happens; the reason is shown to waiting jobs."""
        self._closed = reason

    @property
    def is_closed(self) -> bool:
        """Whether no job is dispatched any more."""
        return self._closed is not None

    def go_on(self) -> None:
        """Resume dispatching."""
        self._paused = None
        self.pump()
        self._set_alarm()

    def pump(self) -> None:
        """Give their turn to all who may have it now."""
        if self._pumping or self.is_paused:
            return
        self._pumping = True
        try:
            # What begins may end at once, and make room.
            while not self.is_paused and (uuids := self._admission.admit()):
                for uuid in uuids:
                    self._begin_or_release(uuid)
        finally:
            self._pumping = False

    def _begin_or_release(self, uuid: str) -> None:
        if self.is_paused:
            # The job dispatched before has found the store unavailable.
            self._admission.put_back(uuid)
            return
        # What goes wrong with one must not keep its place, nor the others from beginning.
        try:
            self._begin(uuid)
        except Exception:
            job_logger(_log, uuid).exception("its turn came and it could not begin")
            self.release(uuid)

    def _set_alarm(self) -> None:
        due = self._admission.next_due()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None:
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, due - self._clock.now()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.pump()
        if self._paused is None:
            self._set_alarm()

    # --- Holding -----------------------------------------------------------------------------------------------------

    def may_follow(self, before: str, job: Job) -> bool:
        """Return whether what a job asks for may be taken over from the one before it, without standing in line."""
        return not self.is_closed and self._admission.may_follow(before, needs_of(job))

    def hold(self, uuid: str, job: Job) -> None:
        """Count a job as running that has not stood in line; what it asks for says another."""
        self._admission.hold(uuid, needs_of(job))

    def rest(self, uuid: str) -> None:
        """Let others run while a job waits for some of them."""
        self._admission.rest(uuid)
        self.pump()

    # --- Asked by those who look -------------------------------------------------------------------------------------

    def waiting(self, uuid: str) -> dict[str, Any] | None:
        """Return where a waiting job stands and why, as plain values; None for one that does not wait."""
        found: Waiting | None = self._admission.waiting(uuid)
        if found is None:
            return None
        expected = None if found.expected_wait_s is None else iso_time(time.time() + found.expected_wait_s)
        pause = self._closed or self._paused
        reason = found.reason if pause is None else f"no job begins now: {pause}"
        return {"position": found.position, "reason": reason, "expected_start": expected}

    def queues(self) -> list[dict[str, Any]]:
        """Return what goes on at each queue."""
        now = self._clock.now()
        known = {stats.name: stats for stats in self._admission.queues()}
        rows = []
        for name, queue in self._settings.queue_table.items():
            stats = known.get(name)
            rows.append(
                {
                    "name": name,
                    "purpose": queue.purpose,
                    "waiting": stats.waiting + stats.delayed if stats else 0,
                    "running": stats.running if stats else 0,
                    "concurrency": queue.concurrency,
                    "places": stats.places if stats else min(self._window(name), queue.concurrency or 1 << 30),
                    "oldest_wait": max(0.0, now - stats.oldest) if stats and stats.oldest is not None else None,
                    "mean_run": stats.mean_run_s if stats else None,
                    "started_last_minute": stats.started_last_minute if stats else 0,
                }
            )
        return rows

    def pools(self) -> list[dict[str, Any]]:
        """Return what goes on at each pool."""
        return [asdict(pool) for pool in self._admission.pool_stats()]

    def submitters(self) -> list[dict[str, Any]]:
        """Return what each submitter has."""
        return [asdict(submitter) for submitter in self._admission.submitter_stats()]


def needs_of(job: Job) -> Needs:
    """Return what a job asks for; jobs that ask for the same share the value."""
    return _needs(job.queue, job.submitter, job.policy.priority, job.policy.pools, _gpu_of(job))


def _gpu_of(job: Job) -> tuple[str | None, int | None, bool]:
    policy = job.policy
    return policy.gpu, policy.gpu_memory, job.has_moved


@lru_cache(maxsize=4096)
def _needs(
    queue: str,
    submitter: str,
    priority: int,
    pools: tuple[tuple[str, int], ...],
    gpu: tuple[str | None, int | None, bool],
) -> Needs:
    return Needs(queue, submitter, priority, pools, gpu)
