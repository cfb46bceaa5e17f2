"""Ray's id of the machine of this process."""

from __future__ import annotations

from functools import cache

import ray


@cache
def own_node_id() -> str:
    """Return the id, in hexadecimal; a process does not change it."""
    return str(ray.get_runtime_context().get_node_id())
