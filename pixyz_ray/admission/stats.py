"""Figures of the waiting room, for the command line and for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from pixyz_ray.admission.places import Place, Pool, Submitter


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStats:
    """What goes on at one queue."""

    name: str
    """The queue."""
    waiting: int
    """Jobs in line."""
    delayed: int
    """Jobs beside them that are tried again later."""
    running: int
    """Jobs that hold a place."""
    places: int
    """Jobs that may hold one, now."""
    oldest: float | None
    """When the oldest in line was accepted."""
    mean_run_s: float | None
    """Seconds that a job holds its place; None before the first one has ended."""
    started_last_minute: int
    """Jobs that were given a place in the last minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStats:
    """What goes on at one pool."""

    name: str
    """The pool."""
    seats: int
    """Seats that there are."""
    held: int
    """Seats that are held."""
    resting: int
    """Seats of these that are held by jobs which wait for other jobs."""
    waiting: int
    """Jobs in line that need a seat of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitterStats:
    """What one submitter has."""

    name: str
    """Label of the token."""
    waiting: int
    """Jobs that wait, those that are tried again later among them."""
    running: int
    """Jobs that hold a place."""
    share: float
    """Weight among those who want the same queue."""
    concurrency: int | None
    """Most jobs at a time."""
    max_queued: int | None
    """Most jobs that wait."""


def of_place(place: Place, delayed: int, now: float) -> QueueStats:
    """Return the figures of a queue."""
    return QueueStats(
        name=place.name,
        waiting=sum(map(len, place.lines)),
        delayed=delayed,
        running=place.running,
        places=place.size,
        oldest=min((line.head[0] for line in place.lines), default=None),
        mean_run_s=place.mean_run_s,
        started_last_minute=place.recent_starts(now),
    )


def of_pool(pool: Pool) -> PoolStats:
    """Return the figures of a pool."""
    waiting = sum(map(len, pool.lines))
    return PoolStats(name=pool.name, seats=pool.seats, held=pool.held, resting=pool.resting, waiting=waiting)


def of_submitter(submitter: Submitter) -> SubmitterStats:
    """Return the figures of a submitter."""
    return SubmitterStats(
        name=submitter.name,
        waiting=submitter.waiting,
        running=submitter.running,
        share=submitter.limit.share,
        concurrency=submitter.limit.concurrency,
        max_queued=submitter.limit.max_queued,
    )
