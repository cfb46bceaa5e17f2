"""Size of a job in memory: the tracker keeps thousands of ended jobs, but no large ones."""

from __future__ import annotations

from typing import Any

from pixyz_ray.jobs import Job

_MAX_VALUES = 200
_MAX_CHARS = 64 * 1024


def is_light(job: Job) -> bool:
    """Return whether a job's params, config, steps and result are small; the time that this takes is bounded."""
    if len(job.steps) > _MAX_VALUES:
        return False
    pending: list[Any] = [job.result, job.params, job.config, job.packed, job.error, *job.calls]
    pending += [step.info for step in job.steps]
    pending += [attempt.log for attempt in job.attempts]
    values = chars = 0
    while pending:
        value = pending.pop()
        values += 1
        if isinstance(value, str):
            chars += len(value)
        elif isinstance(value, dict):
            if len(value) > _MAX_VALUES:
                return False
            chars += sum(map(len, value))
            pending += value.values()
        elif isinstance(value, list | tuple):
            if len(value) > _MAX_VALUES:
                return False
            pending += value
        if values > 2 * _MAX_VALUES or chars > _MAX_CHARS:
            return False
    return True
