"""The Ray tasks: run one attempt of a job, pack a job's outputs. Each runs on a worker of the cluster."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.backend import RayBackend
from pixyz_ray.cluster.channel import Endpoint, EventLine
from pixyz_ray.runner import RunSpec, run
from pixyz_ray.storage import JobFolder


def run_script(order: str, *values: Any) -> Any:
    """Run one attempt; return what the next node gets, if there is one that wants it.

    Its outcome goes down the line, which is quick, and to the disk, which is sure; Ray hears only that it is over.

    Args:
        order: JSON of the fields of a RunSpec, those of the tracker's Endpoint, and the shape of a Feed or None.
        values: what the Feed's references point to.
    """
    spec, endpoint, shape = json.loads(order)
    run_spec = RunSpec(**spec)
    address = Endpoint(*endpoint)
    share = Path(run_spec.share)

    def report(event: Mapping[str, Any]) -> None:
        _line(address).send("event", run_spec.uuid, run_spec.attempt, {"time": time.time(), **event})

    if shape is not None:
        run_spec = replace(run_spec, params=_fed(shape, values, share))
    backend = RayBackend(run_spec.uuid, run_spec.home or run_spec.uuid, share)
    outcome, value = run(run_spec, report, backend)
    plain = outcome.as_plain()
    folder = JobFolder(share, run_spec.uuid)
    if folder.is_given_up(run_spec.attempt):
        # Ray ends a task's child processes before the worker. A script that waited for one returns here, and the blow
        # that is still to come would hit the next job.
        os._exit(1)
    _line(address).send("ended", run_spec.uuid, run_spec.attempt, plain)
    _line(address).flush()
    folder.write_outcome(run_spec.attempt, plain)
    return (None, value) if run_spec.hands_on else None


def _fed(shape: Any, values: Sequence[Any], share: Path) -> Any:
    """Return the params that a Feed gives."""
    kind, what = shape
    if kind == "list":
        return [_fed(each, values, share) for each in what]
    if kind == "ref":
        return values[what]
    return JobFolder(share, what).kept_value() if kind == "kept" else what


def keep_value(value: Any, share: str, uuid: str) -> None:
    """Write a node's value to the share, where a restart does not lose it."""
    JobFolder(Path(share), uuid).keep_value(value)


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
