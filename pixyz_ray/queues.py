"""Queues: what each one is for, its Ray resources and time limit, and where a failed attempt goes next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pixyz_ray.gpu_need import GPU_MODES, PREFER, REQUIRE, GpuNeed
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import suggestion


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """One queue, a row of the table below."""

    name: str
    """Word that scripts and callers use."""
    purpose: str
    """What it is for, for help texts and error messages."""
    num_cpus: float
    """CPUs that Ray reserves for one task."""
    num_gpus: float = 0.0
    """GPUs that Ray reserves for one task, on a cluster that has any; for less than one it is a fraction."""
    gpu: str | None = None
    """`prefer`: its jobs run on CPU where no machine has such a GPU; `require`: they wait for one. None for `require`
    where machines with GPUs are expected to join (GPU_EXPECTED), else `prefer`."""
    gpu_memory: int | None = None
    """Bytes of memory that a job needs on a card, in place of `num_gpus`: several jobs then share a card."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom Ray resources that one task takes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Ray node labels that a node must carry to run its tasks."""
    retry_queue: str | None = None
    """Where an attempt that crashed, ran out of memory or out of time goes, once; None ends the job."""
    long: bool = False
    """Whether PIXYZ_RETRY_TIME_LIMIT rules here instead of PIXYZ_TIME_LIMIT, and MAX_MEMORY_USAGE_GPUHIGH."""
    concurrency: int | None = None
    """Most jobs that run on it at a time, over all machines; None for as many as there is room for."""
    memory_limit: int | None = None
    """Bytes that one attempt's processes may take; None for MAX_MEMORY_USAGE."""

    def problem(self, queues: Mapping[str, Queue]) -> str | None:
        """Return why a queue that an operator has set cannot work among the others, or None."""
        for name in ("concurrency", "memory_limit", "gpu_memory"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                return f"{name} must be a whole number above 0, or null, not {value!r}."
        for name in ("num_cpus", "num_gpus"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not value >= 0:
                return f"{name} must be a number from 0 on, not {value!r}."
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            return f"num_gpus must be a fraction of one card, or a whole number of cards, not {self.num_gpus!r}."
        if self.gpu is not None and self.gpu not in GPU_MODES:
            hint = suggestion(str(self.gpu), GPU_MODES) or " The number of cards is num_gpus."
            return f"gpu must be 'require' or 'prefer', not {self.gpu!r}.{hint}"
        if self.retry_queue is not None and self.retry_queue not in queues:
            return f"its retry_queue {self.retry_queue!r} is none of {', '.join(queues)}."
        return None


DEFAULT_QUEUES: Mapping[str, Queue] = {
    queue.name: queue
    for queue in (
        Queue(name="cpu", purpose="computing", num_cpus=1, retry_queue="gpuhigh"),
        Queue(name="gpu", purpose="computing on a GPU", num_cpus=1, num_gpus=1, retry_queue="gpuhigh"),
        Queue(name="gpuhigh", purpose="high-end GPU, and retries", num_cpus=1, num_gpus=1, long=True),
        Queue(name="control", purpose="tasks that wait for others", num_cpus=0, retry_queue="control", long=True),
        Queue(name="zip", purpose="packing outputs", num_cpus=0, retry_queue="zip"),
        Queue(name="clean", purpose="retention", num_cpus=0, retry_queue="clean"),
    )
}


def find_queue(queues: Mapping[str, Queue], name: str) -> Queue:
    """Return the queue of that name.

    Raises:
        InvalidBackendParameter: there is none; the message lists those that exist.
    """
    try:
        return queues[name]
    except KeyError:
        known = ", ".join(queues)
        raise InvalidBackendParameter(f"There is no queue {name!r}. Use one of: {known}.") from None


def gpu_need(
    queue: Queue, mode: str | None, memory: int | None, *, expected: bool, moved: bool = False
) -> GpuNeed | None:
    """Return what a job needs of GPUs on a queue, or None for nothing.

    Args:
        queue: where it runs.
        mode: `require` or `prefer`, where the job itself asks for it.
        memory: bytes on a card that the job itself asks for.
        expected: whether machines with GPUs are expected to join.
        moved: whether it is a retry that was moved here from another queue.
    """
    wanted = memory or queue.gpu_memory
    cards = queue.num_gpus or (1.0 if wanted else 0.0)
    if not cards:
        return None
    if moved:
        # It is here since it failed with less: it gets what this queue gives.
        memory = queue.gpu_memory
        wanted = None if memory is None else max(memory, wanted or 0)
    # A job of a queue without GPUs comes here as a retry, and has run without one before.
    usual = REQUIRE if expected and not moved else PREFER
    return GpuNeed(mode=mode or queue.gpu or usual, cards=cards, memory=wanted)


def ray_options(queue: Queue, num_gpus: float = 0.0, excluded: Collection[str] = ()) -> dict[str, Any]:
    """Return the options of a Ray task on that queue.

    Args:
        queue: the queue.
        num_gpus: GPUs that the task reserves.
        excluded: Ray's ids of nodes on which it must not run.
    """
    options: dict[str, Any] = {"num_cpus": queue.num_cpus}
    if num_gpus:
        options["num_gpus"] = num_gpus
    if queue.resources:
        options["resources"] = dict(queue.resources)
    labels = dict(queue.labels)
    if excluded:
        labels["ray.io/node-id"] = f"!in({','.join(sorted(excluded))})"
    if labels:
        options["label_selector"] = labels
    return options
