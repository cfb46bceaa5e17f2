"""The view of a graph: what every picture of it, and the REST interface, shows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, iso_time


def graph_view(top: Job, graphs: Iterable[Graph], jobs: Mapping[str, Job]) -> dict[str, Any]:
    """Return nodes and edges of the graphs that a job has started, itself or through what it started.

    Args:
        top: that job; it becomes the first node.
        graphs: the graphs.
        jobs: the jobs of their nodes by id.
    """
    nodes = [_node(top, "job", None)]
    edges: list[dict[str, str]] = []
    for graph in graphs:
        groups = graph.group_of()
        nodes += [_node(jobs[id], node.kind, groups.get(id)) for id, node in graph.nodes.items()]
        edges += [
            {"source": source or graph.parent_id, "target": target, "kind": kind}
            for source, target, kind in graph.edges()
        ]
    return {"uuid": top.uuid, "state": str(top.state), "nodes": nodes, "edges": edges}


def _node(job: Job, kind: str, group: str | None) -> dict[str, Any]:
    error = job.error.rstrip().rpartition("\n")[2] if job.error else None
    return {
        "id": job.uuid,
        "kind": kind,
        "name": job.name,
        "entrypoint": job.entrypoint or None,
        "queue": None if kind == "group" else job.queue,
        "state": str(job.state),
        "progress": job.progress,
        "error": error,
        "started": iso_time(job.started),
        "stopped": iso_time(job.stopped),
        "duration": _duration(job),
        "retry": job.retry,
        "group": group,
        "parent_id": job.parent_id,
    }


def _duration(job: Job) -> float | None:
    if job.started is None:
        return None
    return round(max(0.0, (job.stopped or time.time()) - job.started), 6)
