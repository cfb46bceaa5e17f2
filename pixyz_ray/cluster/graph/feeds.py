"""Feeds: a node's inputs, from values in Ray's object store, in memory, or in the job store."""

from __future__ import annotations

from typing import Any

from pixyz_ray.cluster.graph.run import GraphRun
from pixyz_ray.cluster.live import Feed
from pixyz_ray.jobs import Job


def feed_of(run: GraphRun, id: str) -> Feed | None:
    """Return a node's inputs, all of which must be available; None for a node without inputs."""
    node = run.nodes[id]
    if not node.fed or node.after is None or node.on_failure:
        return None
    references: list[Any] = []
    return Feed(run.shape(node.after, references), references)


def shape_of(job: Job) -> list[Any]:
    """Return the shape of a value that is in the record or on the share."""
    return ["kept", job.uuid] if job.opaque else ["value", job.value]
