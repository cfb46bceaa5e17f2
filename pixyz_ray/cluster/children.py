"""Child jobs: tasks that a running script starts become jobs of their own, with their parent's script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixyz_ray.jobs import Job
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder, inside
from pixyz_ray.submission import effective_config
from pixyz_worker.loader import inspect_source


def child_job(parent: Job, call: Mapping[str, Any], settings: Settings) -> Job:
    """Stage a child's files and return its record.

    Args:
        parent: job whose script starts it.
        call: `uuid`, `params`, `context` and `options` of the task.
        settings: folders, queues and limits.
    """
    context, options = call["context"], call["options"]
    source = (JobFolder(settings.share_path, parent.uuid).script / parent.script).read_bytes()
    folder = JobFolder(settings.share_path, call["uuid"])
    folder.stage(parent.script, source)
    asked = {key: context[key] for key in ("entrypoint", "root_file", "compute_only", "raw") if key in context}
    asked |= {key: options[key] for key in ("queue", "time_limit") if options.get(key) is not None}
    config = effective_config(asked, inspect_source(source, parent.script), settings)
    return Job(
        uuid=call["uuid"],
        name=f"{parent.name}/{config.entrypoint}",
        process=parent.process,
        script=parent.script,
        script_digest=parent.script_digest,
        entrypoint=config.entrypoint,
        input_file=_shared_input(context.get("input_file"), parent, folder, settings.share_path),
        params=call["params"],
        config=config.extra | {"data": context.get("data")},
        queue=config.queue,
        time_limit=config.time_limit,
        wait=config.wait,
        wait_timeout=config.wait_timeout,
        parent_id=parent.uuid,
        notes=config.notes,
    )


def record_of(job: Job) -> Any:
    """Return what a handle's `get()` gives: the bare value of a raw task, else the task's record."""
    return job.result if job.config.get("raw") else job.as_details()


def _shared_input(given: str | None, parent: Job, folder: JobFolder, share: Path) -> str | None:
    """Give a child its parent's input by a hard link: no copy, and it outlives the parent's removal."""
    if given is None or parent.input_file is None:
        return None
    source = inside(JobFolder(share, parent.uuid).inputs, parent.input_file)
    if Path(given).resolve() != source:
        return None
    os.link(source, folder.inputs / parent.input_file)
    return parent.input_file
