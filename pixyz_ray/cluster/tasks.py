"""The Ray tasks: run one attempt of a job, pack a job's outputs. Each runs on a worker of the cluster."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.backend import RayBackend
from pixyz_ray.cluster.channel import Endpoint, EventLine
from pixyz_ray.runner import RunSpec, run
from pixyz_ray.storage import JobFolder


def run_script(order: str) -> None:
    """Run one attempt, given as JSON: the fields of a RunSpec, and those of the tracker's Endpoint.

    Its outcome goes down the line, which is quick, and to the disk, which is sure; Ray hears only that it is over.
    """
    spec, endpoint = json.loads(order)
    run_spec = RunSpec(**spec)
    address = Endpoint(*endpoint)

    def report(event: Mapping[str, Any]) -> None:
        _line(address).send("event", run_spec.uuid, run_spec.attempt, {"time": time.time(), **event})

    outcome = run(run_spec, report, RayBackend(run_spec.uuid)).as_plain()
    folder = JobFolder(Path(run_spec.share), run_spec.uuid)
    if folder.is_given_up(run_spec.attempt):
        # Ray ends a task's child processes before the worker. A script that waited for one returns here, and the blow
        # that is still to come would hit the next job.
        os._exit(1)
    _line(address).send("ended", run_spec.uuid, run_spec.attempt, outcome)
    _line(address).flush()
    folder.write_outcome(run_spec.attempt, outcome)


def pack_outputs(share: str, uuid: str) -> None:
    """Write the zip of a job's outputs."""
    JobFolder(Path(share), uuid).pack()


def warm_up() -> None:
    """Get a worker ready, which has imported all that a job needs: the collector need not look at that any more."""
    gc.collect()
    gc.freeze()


def _line(endpoint: Endpoint) -> EventLine:
    line = _open_line(endpoint)
    if line.broken:
        _open_line.cache_clear()
        line = _open_line(endpoint)
    return line


@lru_cache(maxsize=1)
def _open_line(endpoint: Endpoint) -> EventLine:
    """Return this worker's line to the tracker; one serves all its jobs."""
    return EventLine(endpoint)
