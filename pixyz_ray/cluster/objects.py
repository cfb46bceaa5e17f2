"""Where Ray keeps the objects of a graph, as their owner knows it; nothing is fetched or waited for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ray.experimental import get_local_object_locations

_INLINE_BYTES = 100 * 1024
"""Larger objects are held by the machine that made them; smaller ones come with Ray's answer (Ray's own default)."""


def is_gone(reference: Any, lost_nodes: Collection[str]) -> bool:
    """Return whether no machine that is heard holds an object.

    Once Ray has reported an object as lost to a task, the machine of that task counts as one that holds it.

    Args:
        reference: Ray's reference of an object that is owned by this process.
        lost_nodes: Ray's ids (hex) of machines that are lost, which Ray itself may not know yet.
    """
    found = get_local_object_locations([reference]).get(reference)
    if found is None or found["did_spill"]:
        return False
    if not found["node_ids"]:
        return (found["object_size"] or 0) > _INLINE_BYTES
    return all(node in lost_nodes for node in found["node_ids"])


def has_no_place(reference: Any) -> bool:
    """Return whether no machine holds an object: it came with Ray's answer, or it is the error of its task."""
    found = get_local_object_locations([reference]).get(reference)
    return found is None or not (found["node_ids"] or found["did_spill"])
