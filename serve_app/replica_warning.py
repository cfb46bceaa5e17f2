"""The warning that the HTTP service runs on fewer machines than it should."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.errors import EngineNotReady

_ANSWER_S = 2.0


async def replica_warnings(engine: Engine) -> list[str]:
    """Return a warning when API_REPLICAS is more than the machines of the cluster, else nothing."""
    wanted = engine.settings.api_replicas
    if wanted == 1:
        return []
    with suppress(EngineNotReady, TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            there = sum(node["state"] != "dead" for node in await engine.machines.nodes())
        if there < wanted:
            machines = f"{there} machine{'' if there == 1 else 's'}"
            return [f"API_REPLICAS is {wanted}, but the cluster has {machines}: the others start when some join."]
    return []
