"""Shapes of the REST contract's answers, as typed dictionaries: what the server sent, unchanged."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class WaitingInfo(TypedDict):
    """Why a job has not begun."""

    position: int | None
    reason: str
    expected_start: str | None


class JobInfo(TypedDict):
    """JobState of the REST contract; `waiting` is there when it was asked for."""

    uuid: str
    name: str | None
    status: str
    progress: int | None
    error: str | None
    waiting: NotRequired[WaitingInfo | None]
    label: NotRequired[str]
    process: NotRequired[str]
    script: NotRequired[str]


class JobDetails(JobInfo):
    """JobDetails of the REST contract; newer servers add more."""

    time_info: dict[str, str | None]
    steps: list[dict[str, Any]]
    retry: int
    result: Any
    queue: NotRequired[str]
    attempts: NotRequired[list[dict[str, Any]]]
    notes: NotRequired[list[str]]


class ProcessParameter(TypedDict):
    """A parameter of a pre-built process: its name, type in words, default and meaning."""

    name: str
    type: str
    default: NotRequired[Any]
    doc: str


class ProcessInfo(TypedDict):
    """A pre-built process; `parameters` is None, or missing, where it does not declare them."""

    doc: str
    parameters: NotRequired[list[ProcessParameter] | None]


class JobPage(TypedDict):
    """Some jobs, newest first."""

    jobs: list[JobInfo]
    next: NotRequired[str | None]


class QueuesInfo(TypedDict):
    """How queues, pools of seats and submitters stand."""

    queues: list[dict[str, Any]]
    pools: list[dict[str, Any]]
    submitters: list[dict[str, Any]]
    queued: int
    max_queued: int
    cluster: dict[str, float]


class SettingInfo(TypedDict):
    """A setting in force; the value of a secret is None."""

    name: str
    value: str | None
    source: str
    is_set: bool
    fingerprint: str | None


class ConfigInfo(TypedDict):
    """The settings in force."""

    version: str
    settings: list[SettingInfo]


class NodeInfo(TypedDict):
    """A machine of the cluster; newer servers add more."""

    id: str
    name: str
    address: str
    state: str
    reason: str | None
    head: bool
    cpus: dict[str, float | None]
    gpus: dict[str, Any]
    memory: dict[str, float] | None
    share: dict[str, Any]
    spill_disk: dict[str, Any] | None
    pixyz: str | None
    python: str | None
    ray: str | None
    workers: dict[str, int] | None
    running: int
    jobs: list[str]
    labels: dict[str, str]
    joined: str | None
    left: str | None
    probed: float | None
    drain: dict[str, str | None] | None
    notes: NotRequired[list[str]]
    """Of a machine that was just drained: queues that no machine serves now."""


def job_label(job: JobInfo) -> str:
    """Return what to call a job: its alias, else its label, script, process or id, whichever the server gave."""
    process = job.get("process")
    named = process if process != "custom" else None
    return job["name"] or job.get("label") or job.get("script") or named or job["uuid"]
