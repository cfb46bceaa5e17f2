"""Feeds: a node's inputs, from values in Ray's object store, in memory, or in the job store."""

from __future__ import annotations

from typing import Any

from pixyz_ray.cluster.graph.run import GraphRun, Value
from pixyz_ray.cluster.live import Feed
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.jobs import Job


def feed_of(run: GraphRun, id: str) -> Feed | None:
    """Return a node's inputs, all of which must be available; None for a node without inputs."""
    node = run.nodes[id]
    if not node.fed or node.after is None or node.on_failure:
        return None
    references: list[Any] = []
    return Feed(run.shape(node.after, references), references)


async def fetch_values(run: GraphRun, id: str, access: StoreAccess) -> list[str]:
    """Fetch a node's missing inputs from the store, however long it is away; return the ids that it does not have."""
    found = await access.insist(access.store.get_many, run.missing(id))
    run.values.update((source, Value(shape=shape_of(job))) for source, job in found.items())
    return run.missing(id)


def forget_values(run: GraphRun, id: str) -> None:
    """Discard the inputs of a node that is run again: Ray's references may point to lost objects."""
    after = run.nodes[id].after
    assert after is not None
    for source in run.sources(after):
        run.values.pop(source, None)
    run.starved.add(id)


def shape_of(job: Job) -> list[Any]:
    """Return the shape of a value that is in the record or on the share."""
    return ["kept", job.uuid] if job.opaque else ["value", job.value]
