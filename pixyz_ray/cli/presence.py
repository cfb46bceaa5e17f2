"""Which machines are there, and which have died and are not back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixyz_ray.client import NodeInfo


def living(nodes: Sequence[NodeInfo]) -> list[NodeInfo]:
    """Return the machines that live."""
    return [node for node in nodes if node["state"] != "dead"]


def missing(nodes: Sequence[NodeInfo]) -> list[NodeInfo]:
    """Return the last run of Ray of each machine that has left and is not back, by name."""
    seen = {_place(node) for node in living(nodes)}
    found = []
    for node in sorted(nodes, key=lambda one: one["left"] or "", reverse=True):
        if node["state"] == "dead" and _place(node) not in seen:
            seen.add(_place(node))
            found.append(node)
    return sorted(found, key=lambda node: node["name"])


def dead_s(node: NodeInfo) -> float:
    """Return the seconds since a machine was found dead."""
    left = node["left"]
    return 0.0 if left is None else max(0.0, (datetime.now(UTC) - datetime.fromisoformat(left)).total_seconds())


def _place(node: NodeInfo) -> tuple[str, str]:
    return node["name"], node["address"]
