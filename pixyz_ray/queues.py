"""Queues: what each one is for, its Ray resources and time limit, and where a failed attempt goes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pixyz_worker.exception import InvalidBackendParameter


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
    """GPUs that Ray reserves for one task, on a cluster that has any."""
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
        for name in ("concurrency", "memory_limit"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                return f"{name} must be a whole number above 0, or null, not {value!r}."
        for name in ("num_cpus", "num_gpus"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not value >= 0:
                return f"{name} must be a number from 0 on, not {value!r}."
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


def ray_options(queue: Queue, *, cluster_has_gpus: bool) -> dict[str, Any]:
    """Return the options of a Ray task on that queue; without any GPU in the cluster the GPU hint is left out."""
    options: dict[str, Any] = {"num_cpus": queue.num_cpus}
    if queue.num_gpus and cluster_has_gpus:
        options["num_gpus"] = queue.num_gpus
    if queue.resources:
        options["resources"] = dict(queue.resources)
    if queue.labels:
        options["label_selector"] = dict(queue.labels)
    return options
