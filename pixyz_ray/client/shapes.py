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
    name: str
    status: str
    progress: int | None
    error: str | None
    waiting: NotRequired[WaitingInfo | None]


class JobDetails(JobInfo):
    """JobDetails of the REST contract; newer servers add more."""

    time_info: dict[str, str | None]
    steps: list[dict[str, Any]]
    retry: int
    result: Any
    queue: NotRequired[str]
    attempts: NotRequired[list[dict[str, Any]]]
    notes: NotRequired[list[str]]


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
