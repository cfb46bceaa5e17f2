"""Node: one run of Ray on one machine, as the registry (nodes.py) knows it, and how it is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.fitness import drained_message
from pixyz_ray.cluster.lost_machines import DOUBT_S
from pixyz_ray.jobs import iso_time
from pixyz_ray.machine_gate import Closed

_MOST_JOBS = 50
"""Running jobs of a machine that are named."""
_LONGEST_DEATH = 300
"""Characters of Ray's message about the death of a machine that are shown."""


class NodeState(StrEnum):
    """Whether a machine gets jobs, and why not."""

    JOINING = "joining"
    """It has not answered its first probe; it gets jobs, which its workers refuse where it is unfit."""
    READY = "ready"
    """It gets jobs."""
    DRAINING = "draining"
    """No attempt begins there; some still run."""
    DRAINED = "drained"
    """No attempt runs there, and none begins."""
    UNFIT = "unfit"
    """It gets no jobs until what is wrong with it has been corrected."""
    DEAD = "dead"
    """It has left the cluster."""


@dataclass(slots=True, eq=False)
class Node:
    """One run of Ray on one machine."""

    id: str
    """Ray's id of it."""
    name: str
    """Host name."""
    address: str
    """IP address."""
    resources: Mapping[str, float]
    """What Ray offers there."""
    labels: Mapping[str, str]
    """Ray's labels."""
    session: str
    """Ray's folder on that machine."""
    joined: float = field(default_factory=time.time)
    """When it was first seen, in seconds since the epoch."""
    left: float | None = None
    """When it was found dead, in seconds since the epoch."""
    death: str = ""
    """Ray's message about why it left; empty where Ray does not say."""
    problem: str | None = None
    """Why it is unfit."""
    is_lost: bool = False
    """Whether attempts were lost there within the last seconds (LostMachines)."""
    gate: Closed | None = None
    """Why no attempt may begin there, as an operator wants it."""
    confirmed: bool = False
    """Whether the machine itself has the gate as it is wanted."""
    opening: bool = False
    """Whether its gate is to be opened and may still be closed."""
    report: Mapping[str, Any] | None = None
    """Last answer of the probe."""
    probed: float | None = None
    """When the last probe ended, as time.monotonic()."""
    silent: int = 0
    """Probes in a row without an answer."""
    running: set[str] = field(default_factory=set)
    """Jobs whose attempt runs there."""
    ended: set[str] = field(default_factory=set)
    """Of these, jobs whose attempt was ended at the deadline."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a probe runs."""

    @property
    def state(self) -> NodeState:
        """Whether it gets jobs, and why not."""
        if self.left is not None:
            return NodeState.DEAD
        if self.problem is not None or self.is_lost:
            return NodeState.UNFIT
        if self.gate is not None:
            return NodeState.DRAINED if self.is_idle else NodeState.DRAINING
        return NodeState.JOINING if self.report is None else NodeState.READY

    @property
    def is_excluded(self) -> bool:
        """Whether it lives and must get no job."""
        return self.left is None and (self.problem is not None or self.gate is not None)

    @property
    def gpu_memories(self) -> list[int] | None:
        """Bytes of memory of each of its GPUs; empty where NVML does not report them, None before the first probe."""
        if not self.resources.get("GPU"):
            return []
        if self.report is None:
            return [] if self.silent else None
        return [card["memory"] for card in self.report["gpus"]]

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs there, as far as the tracker and the machine itself know."""
        busy = self.report is None or self.report["workers"]["busy"]
        return self.confirmed and not self.running and not busy

    @property
    def reason(self) -> str | None:
        """Message about why it gets no jobs, or None."""
        if self.left is not None:
            return f"Machine {self.name} has left the cluster{f': {self.death}' if self.death else ''}."
        if self.problem is None and self.is_lost:
            return (
                f"Machine {self.name} is lost: it gets no jobs for {DOUBT_S:g} s, until Ray has noticed or it is back."
            )
        if self.problem is not None or self.gate is None:
            return self.problem
        if self.state is NodeState.DRAINED:
            return (
                f"Machine {self.name} is drained. Let attempts begin there again with  pixyz drain {self.name} --undo"
            )
        if not self.confirmed:
            return f"{drained_message(self.name)} The machine has not confirmed it yet."
        return drained_message(self.name)


def death_of(record: Mapping[str, Any]) -> str:
    """Return why a machine left, from what `ray.nodes()` returns of it; empty where Ray does not say."""
    message = str(record.get("DeathReasonMessage") or "").strip()
    return message.partition("\n")[0][:_LONGEST_DEATH].rstrip(". ")


def new_node(node_id: str, record: Mapping[str, Any]) -> Node:
    """Return a machine that has just joined.

    Args:
        node_id: Ray's id of it.
        record: what `ray.nodes()` returns of it.
    """
    return Node(
        id=node_id,
        name=str(record["NodeManagerHostname"]),
        address=str(record["NodeManagerAddress"]),
        resources=dict(record["Resources"]),
        labels=dict(record.get("Labels") or {}),
        # Ray does not report the folder itself.
        session=str(Path(record["RayletSocketName"]).parent.parent),
    )


def node_view(node: Node, used: Mapping[str, float] | None) -> dict[str, Any]:
    """Return a machine as plain values.

    Args:
        node: the machine.
        used: its resources in use; None where Ray does not tell.
    """
    report = node.report or {}
    memory = report.get("memory")
    return {
        "id": node.id,
        "name": node.name,
        "address": node.address,
        "state": str(node.state),
        "reason": node.reason,
        "cpus": {"total": node.resources.get("CPU", 0.0), "used": used and used.get("CPU", 0.0)},
        "gpus": {
            "total": node.resources.get("GPU", 0.0),
            "used": used and used.get("GPU", 0.0),
            "cards": list(report.get("gpus", ())),
        },
        "memory": memory and {"total": memory["total"], "used": memory["total"] - memory["available"]},
        "share": {"ok": None if not report else report["share"] is None, "disk": report.get("share_disk")},
        "spill_disk": report.get("spill_disk"),
        "pixyz": report.get("pixyz"),
        "python": report.get("python"),
        "ray": report.get("ray"),
        "workers": report.get("workers"),
        "running": len(node.running),
        "jobs": sorted(node.running)[:_MOST_JOBS],
        "labels": dict(node.labels),
        "joined": iso_time(node.joined),
        "left": iso_time(node.left),
        "probed": None if node.probed is None else max(0.0, time.monotonic() - node.probed),
        "drain": node.gate and {"since": iso_time(node.gate.since), "deadline": iso_time(node.gate.deadline)},
    }
