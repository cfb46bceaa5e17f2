"""Records: a job as plain values, for JSON in the store and on its way between processes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pixyz_ray import policy
from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job, JobState, StepRecord

_BY_HAND = {"result", "steps", "attempts", "policy"}
_RECORD_FIELDS = tuple(field.name for field in fields(Job) if field.name not in _BY_HAND)
RECORD_KEYS = frozenset(_RECORD_FIELDS) | (_BY_HAND - {"result"})
"""Names of what a record of this version may have."""
_ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt))


_NEVER = object()
_ALWAYS = {"alias"}
"""Fields that are written whatever their value: a record without one was written by an older version."""
_LEFT_OUT = {
    field.name: field.default
    for field in fields(Job)
    if field.default in (None, False, "task", "local", ()) and field.name not in _ALWAYS
}
"""Values that a record does without, to stay small."""


def encode_job(job: Job) -> dict[str, Any]:
    """Return a job as plain values for JSON or msgpack, without its result."""
    record = {name: value for name in _RECORD_FIELDS if (value := getattr(job, name)) != _LEFT_OUT.get(name, _NEVER)}
    record["steps"] = [step.as_plain() for step in job.steps]
    record["attempts"] = [_plain_attempt(attempt) for attempt in job.attempts]
    if job.policy is not policy.DEFAULT:
        record["policy"] = policy.as_plain(job.policy)
    return record


def decode_job(record: dict[str, Any], result: Any = None) -> Job:
    """Return the job that `encode_job` made plain."""
    values = {name: record[name] for name in _RECORD_FIELDS if name in record}
    values["state"] = JobState(record["state"])
    for name in ("notes", "calls"):
        values[name] = tuple(record.get(name, ()))
    values["alias"] = alias_of(record)
    steps = tuple(map(StepRecord.from_plain, record.get("steps", ())))
    attempts = tuple(_attempt(attempt) for attempt in record.get("attempts", ()))
    asked = policy.from_plain(record.get("policy", {}))
    return Job(**values, steps=steps, attempts=attempts, result=result, policy=asked)


def alias_of(record: dict[str, Any]) -> str | None:
    """Return the name that the caller gave to the job of a record.

    Older records only have a name, which is the alias, or the name of the process or script when there was none.
    """
    if "alias" in record:
        alias: str | None = record["alias"]
        return alias
    name: str = record["name"]
    is_node = record.get("graph") is not None
    unnamed = ("graph",) if record.get("kind") == "graph" else (record["process"], record["script"])
    return None if is_node or name in unnamed else name


def _plain_attempt(attempt: Attempt) -> dict[str, Any]:
    return {name: value for name in _ATTEMPT_FIELDS if (value := getattr(attempt, name)) is not None}


def _attempt(values: dict[str, Any]) -> Attempt:
    failure = values.get("failure")
    return Attempt(**{**values, "failure": FailureClass(failure) if failure else None})
