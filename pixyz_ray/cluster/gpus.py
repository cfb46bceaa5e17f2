"""GPUs of the cluster: which machines have cards, how much memory these have, and what a job gets of them.

Ray packs tasks on cards by fractions of a card, not by memory. A need for memory becomes the fraction of the smallest
card that has as much; machines whose cards have less are excluded. On a larger card a job reserves more than it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixyz_ray.cluster.placement import fits
from pixyz_ray.gpu_need import PREFER, REQUIRE, GpuNeed
from pixyz_ray.queues import Queue
from pixyz_ray.units import format_memory, parse_size

MEMORY_LABEL = "pixyz.io/gpu-memory"
"""Label of a node with the memory of its smallest card, such as 16GB, where NVML does not report it."""
_GRAIN = 10_000
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuNode:
    """A machine with GPUs."""

    id: str
    """Ray's id of the node."""
    resources: Mapping[str, float]
    """All that Ray has to give there."""
    labels: Mapping[str, str]
    """Ray's labels of the node."""
    memory: int | None
    """Bytes of the smallest card; None where it is not known."""
    probed: bool
    """Whether `memory` is all that will be known of it."""

    @property
    def cards(self) -> float:
        """GPUs that Ray has to give there."""
        return self.resources.get("GPU", 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a job gets of the cluster's GPUs now."""

    num_gpus: float = 0.0
    """GPUs that Ray is to reserve for it."""
    excluded: frozenset[str] = frozenset()
    """Nodes on which it must not run, since their cards have too little memory."""
    limit: int | None = None
    """Bytes that it may take on a card; None for any."""
    missing: str | None = None
    """Why no machine can give what it needs, as the beginning of a sentence; None where one can."""
    note: str | None = None
    """What to tell the job's owner, or None."""

    @property
    def waits(self) -> bool:
        """Whether the job waits for a machine that is not there; otherwise it can run, on CPU if need be."""
        return self.missing is not None and self.num_gpus > 0


NO_GPU = Grant()
"""For a job that needs none."""


class Gpus:
    """The GPUs of the machines that are alive.

    Args:
        expected: whether machines with GPUs join when they are needed.
    """

    def __init__(self, expected: bool = False) -> None:
        self.expected = expected
        self.version = 0
        """Changes with what `grant` answers."""
        self._nodes: dict[str, GpuNode] = {}
        self._grants: dict[tuple[str, GpuNeed], Grant] = {}

    def take_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> bool:
        """Record the machines that may run jobs; return whether their GPUs changed.

        Args:
            nodes: what `ray.nodes()` returns of each, and `GpuMemories`: bytes of each card, empty where they are
                not known, None before the first probe.
        """
        found = {node.id: node for node in self._with_gpus(nodes)}
        if found == self._nodes:
            return False
        self._nodes = found
        self._forget_grants()
        return True

    def expect(self, expected: bool) -> None:
        """Record whether machines with GPUs join when they are needed."""
        self.expected = expected
        self._forget_grants()

    def _forget_grants(self) -> None:
        self._grants.clear()
        self.version += 1

    def _with_gpus(self, nodes: Sequence[Mapping[str, Any]]) -> Iterable[GpuNode]:
        for node in nodes:
            resources, labels, id = node.get("Resources", {}), node.get("Labels", {}), node["NodeID"]
            if node.get("Alive", True) and resources.get("GPU"):
                declared = _size(labels.get(MEMORY_LABEL))
                read = node.get("GpuMemories")
                memory = declared or min(read or (), default=None)
                probed = bool(declared) or read is not None
                yield GpuNode(id=id, resources=resources, labels=labels, memory=memory, probed=probed)

    @property
    def is_reading(self) -> bool:
        """Whether the cards of some machine are not known yet."""
        return any(not node.probed for node in self._nodes.values())

    def grant(self, queue: Queue, need: GpuNeed | None) -> Grant:
        """Return what a job gets on a queue."""
        if need is None:
            return NO_GPU
        key = queue.name, need
        if key not in self._grants:
            if len(self._grants) > 1000:
                self._grants.clear()
            self._grants[key] = self._make_grant(queue, need)
        return self._grants[key]

    def _make_grant(self, queue: Queue, need: GpuNeed) -> Grant:
        fitting = [node for node in self._nodes.values() if _fits(queue, need, node)]
        if not fitting:
            return self._missing(queue, need, self._no_machine(need))
        if need.memory is None:
            return Grant(num_gpus=need.cards)
        large = [node for node in fitting if node.memory is not None and node.memory >= need.memory]
        unknown = [node for node in fitting if node.memory is None and node.probed]
        if not large and not unknown:
            return self._missing(queue, need, self._too_small(fitting, need.memory))
        chosen = large or unknown
        return Grant(
            num_gpus=_fraction(need, min(node.memory or 0 for node in chosen)),
            excluded=frozenset(self._nodes) - {node.id for node in chosen},
            limit=need.memory,
            note=None if large else _UNKNOWN.format(format_memory(need.memory)),
        )

    def _missing(self, queue: Queue, need: GpuNeed, why: str) -> Grant:
        if need.mode == PREFER:
            if not self._nodes:
                # An old text, which users and documents know.
                return Grant(missing=why, note=f"The cluster has no GPU: queue {queue.name} runs on CPU.")
            return Grant(missing=why, note=f"{why[:1].upper()}{why[1:]}: queue {queue.name} runs on CPU.")
        note = f"{why[:1].upper()}{why[1:]}: the job waits for one (gpu: {REQUIRE})."
        # Ray is asked for it all the same where machines are expected: its autoscaler then starts one.
        cards = need.cards if need.memory is None else max(1.0, need.cards)
        return Grant(num_gpus=cards, limit=need.memory, missing=why, note=note, excluded=frozenset(self._nodes))

    def _no_machine(self, need: GpuNeed) -> str:
        if not self._nodes:
            return "no machine of the cluster has a GPU"
        cards = "a GPU" if need.cards <= 1 else f"{need.cards:g} GPUs"
        return f"no machine of the cluster has {cards} together with what else the queue needs"

    @staticmethod
    def _too_small(fitting: Sequence[GpuNode], memory: int) -> str:
        known = [node.memory for node in fitting if node.memory is not None]
        if not known:
            return "the memory of the cluster's GPUs is being read"
        return (
            f"no GPU of the cluster has {format_memory(memory)} of memory, the largest has {format_memory(max(known))}"
        )

    def too_small_for(self, queue: Queue, need: GpuNeed | None) -> str | None:
        """Return why a job can never run on the machines that there are, where no others are expected; else None."""
        if need is None or need.mode != REQUIRE or need.memory is None or self.expected:
            return None
        fitting = [node for node in self._nodes.values() if _fits(queue, need, node)]
        known = bool(fitting) and all(node.memory is not None for node in fitting)
        return self.grant(queue, need).missing if known else None


_UNKNOWN = (
    "The memory of the cluster's GPUs is not known (no NVML): the job, which needs {} on a GPU, has a whole one. "
    f"The label {MEMORY_LABEL} of a node has the same effect."
)


def _fits(queue: Queue, need: GpuNeed, node: GpuNode) -> bool:
    """Return whether a machine has all that a job of a queue needs, memory of cards aside."""
    return node.resources.get("GPU", 0.0) >= need.cards and fits(queue, node.resources, node.labels)


def _fraction(need: GpuNeed, card: int) -> float:
    """Return the GPUs to reserve for a need of memory on cards with that many bytes, 0 for an unknown number."""
    if need.cards > 1 or need.memory is None or not card:
        return max(1.0, need.cards)
    return math.ceil(need.memory * _GRAIN / card) / _GRAIN


def _size(text: str | None) -> int | None:
    """Return the bytes that a node's label says, None where it says none."""
    try:
        return parse_size(text) if text else None
    except ValueError:
        return None
