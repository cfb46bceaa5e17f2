"""Shapes of the REST contract's answers, as typed dictionaries: what the server sent, unchanged."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class JobInfo(TypedDict):
    """JobState of the REST contract."""

    uuid: str
    name: str
    status: str
    progress: int | None
    error: str | None


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
