"""Records: a job as plain values, for JSON in the store and on its way between processes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pixyz_ray.jobs import Attempt, FailureClass, Job, JobState, StepRecord

_RECORD_FIELDS = tuple(field.name for field in fields(Job) if field.name not in {"result", "steps", "attempts"})
_ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt))


_NEVER = object()
_LEFT_OUT = {field.name: field.default for field in fields(Job) if field.default in (None, False, "task", ())}
"""Values that a record does without, to stay small."""


def encode_job(job: Job) -> dict[str, Any]:
    """Return a job as plain values for JSON or msgpack, without its result."""
    record = {name: value for name in _RECORD_FIELDS if (value := getattr(job, name)) != _LEFT_OUT.get(name, _NEVER)}
    record["steps"] = [(step.info, step.duration) for step in job.steps]
    record["attempts"] = [{name: getattr(attempt, name) for name in _ATTEMPT_FIELDS} for attempt in job.attempts]
    return record


def decode_job(record: dict[str, Any], result: Any = None) -> Job:
    """Return the job that `encode_job` made plain."""
    values = {name: record[name] for name in _RECORD_FIELDS if name in record}
    values["state"] = JobState(record["state"])
    for name in ("notes", "calls"):
        values[name] = tuple(record.get(name, ()))
    steps = tuple(StepRecord(info=info, duration=duration) for info, duration in record.get("steps", ()))
    attempts = tuple(_attempt(attempt) for attempt in record.get("attempts", ()))
    return Job(**values, steps=steps, attempts=attempts, result=result)


def _attempt(values: dict[str, Any]) -> Attempt:
    failure = values.get("failure")
    return Attempt(**{**values, "failure": FailureClass(failure) if failure else None})
