"""RayNodes: the machines of the cluster as Ray knows them, and the task that probes one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pixyz_ray.cluster import node_probe


class RayNodes:
    """Asks Ray, off the event loop; a call that hangs blocks one thread."""

    def __init__(self) -> None:
        # The probe must run where the project is missing, or has another version.
        ray.cloudpickle.register_pickle_by_value(node_probe)  # type: ignore[no-untyped-call]
        self._probe = ray.remote(num_cpus=0, max_retries=0)(node_probe.probe)

    async def nodes(self) -> Sequence[Mapping[str, Any]]:
        """Return Ray's records of all nodes."""
        found: Sequence[Mapping[str, Any]] = await asyncio.to_thread(ray.nodes)
        return found

    async def probe(self, node_id: str, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run the probe on a node and return its answer, however long it takes; when cancelled, take it back."""
        strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
        reference = self._probe.options(scheduling_strategy=strategy, enable_task_events=False).remote(dict(order))
        try:
            answer: Mapping[str, Any] = await reference
        except asyncio.CancelledError:
            with suppress(Exception):
                ray.cancel(reference, force=True)
            raise
        return answer


async def used_resources() -> Mapping[str, Mapping[str, float]]:
    """Return the resources in use on each machine, by Ray's id of it."""
    return await asyncio.to_thread(_used_resources)


def _used_resources() -> Mapping[str, Mapping[str, float]]:
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    return {
        str(node["NodeID"]): {
            name: max(0.0, total - free.get(node["NodeID"], {}).get(name, 0.0))
            for name, total in node["Resources"].items()
            if name in ("CPU", "GPU")
        }
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    }
