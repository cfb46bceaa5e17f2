"""Which machines can run the jobs of a queue, by Ray's resources and labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from pixyz_ray.queues import Queue


def fits(queue: Queue, resources: Mapping[str, float], labels: Mapping[str, str]) -> bool:
    """Return whether a machine has what a job of a queue needs, GPUs aside.

    Args:
        queue: the queue.
        resources: all of Ray's resources of the machine, used or not.
        labels: Ray's labels of the machine.
    """
    wanted = {"CPU": queue.num_cpus, **queue.resources}
    if any(resources.get(name, 0.0) < amount for name, amount in wanted.items()):
        return False
    return all(_matches(selector, labels.get(name)) for name, selector in queue.labels.items())


class Machine(Protocol):
    """A machine as the registry has it."""

    @property
    def name(self) -> str:
        """Host name."""
        ...

    @property
    def resources(self) -> Mapping[str, float]:
        """Ray's resources."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """Ray's labels."""
        ...


def unserved_notes(queues: Iterable[Queue], drained: Machine, usable: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what to tell about queues whose last machine is being drained; nothing where there is none.

    Args:
        queues: all queues.
        drained: the machine.
        usable: Ray's records of the machines that may still run jobs.
    """
    rest = [(one["Resources"], one["Labels"]) for one in usable]
    served = [queue for queue in queues if fits(queue, drained.resources, drained.labels)]
    without = [queue.name for queue in served if not any(fits(queue, *machine) for machine in rest)]
    if not without:
        return []
    undo = f"`pixyz drain {drained.name} --undo` lets jobs begin there again."
    if not rest:
        return [f"No machine can run jobs now: all wait until there is one. {undo}"]
    return [f"No machine can run jobs of these queues now: {', '.join(without)}. They wait. {undo}"]


def _matches(selector: str, value: str | None) -> bool:
    """Return whether a label has what Ray's selector asks for: `a`, `!a`, `in(a,b)` or `!in(a,b)`."""
    wanted = selector.removeprefix("!")
    inside = wanted.startswith("in(") and wanted.endswith(")")
    values: Collection[str] = [each.strip() for each in wanted[3:-1].split(",")] if inside else [wanted]
    return (value in values) != selector.startswith("!")
