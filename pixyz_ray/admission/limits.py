"""Needs of a job, limits of the platform, and the error of a platform that takes no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pixyz_worker.exception import InvalidBackendParameter, PixyzException


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job asks for. One value serves all jobs that ask for the same: make it once."""

    queue: str
    """Queue that it runs on."""
    submitter: str
    """Label of the token that sent it."""
    priority: int = 5
    """0 to 9, 9 first."""
    pools: tuple[tuple[str, int], ...] = ()
    """Names of pools and seats of each, sorted by name."""
    gpu: tuple[str | None, int | None, bool] = (None, None, False)
    """What it needs of GPUs: mode, bytes of memory, and whether it was moved here from another queue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitterLimit:
    """What one submitter may have."""

    share: float = 1.0
    """Weight among those who want the same queue: 2.0 gets twice as much as 1.0."""
    concurrency: int | None = None
    """Most jobs of theirs at a time; None for no limit."""
    max_queued: int | None = None
    """Most jobs of theirs that wait; None for no limit of their own."""

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise InvalidBackendParameter(f"A share must be more than 0, not {self.share}.")


Obstacle = Callable[[], str | None]
"""Returns why no job with some needs can start now, or None when it can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the platform may be given."""

    windows: Callable[[str], int]
    """Tasks of a queue that Ray is given at a time; asked anew each time, since clusters grow and shrink."""
    concurrency: Mapping[str, int] = field(default_factory=dict)
    """Most jobs of a queue at a time, where its operator has set a limit."""
    pools: Mapping[str, int] = field(default_factory=dict)
    """Seats of each pool."""
    submitters: Mapping[str, SubmitterLimit] = field(default_factory=dict)
    """What each submitter may have; others have the defaults."""
    max_queued: int = 200_000
    """Most jobs that wait."""
    obstacles: Callable[[Needs], Obstacle | None] = lambda _: None
    """Returns what can keep jobs with such needs from starting, whatever is free; None where nothing can."""


class QueueFull(PixyzException):
    """No more jobs are taken for now; `retry_after_s` tells when to try again."""

    def __init__(self, message: str = "", retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
