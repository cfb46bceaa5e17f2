"""Batches of the journal: records written in one commit, their waiting callers, and replacements of refused records."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pixyz_ray.failure import FailureClass
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.logs import job_logger
from pixyz_ray.store import JobStore
from pixyz_ray.store_errors import StoreFull, StoreUnusable

_log = logging.getLogger(__name__)

Follow = Callable[[Job], None]
"""Follow-up of a change; called with the job as it was written: as given, or ended if the store refused it."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A new job, a new graph, or both, whose caller waits."""

    job: Job | None
    graph: Graph | None
    written: asyncio.Future[None]
    insists: bool
    """Whether the caller waits however long the store is away."""
    given_up: bool = False
    """Whether the caller has been told that it is not written."""


@dataclass(slots=True, eq=False)
class Removal:
    """Jobs to be removed (see JobStore.forget)."""

    uuids: Sequence[str]
    root: str | None
    removed: asyncio.Future[dict[str, int]]


@dataclass(slots=True, eq=False)
class Batch:
    """Records written in one commit."""

    jobs: dict[str, Job] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    ended_graphs: list[str] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    then: list[tuple[Job, Follow]] = field(default_factory=list)
    doubtful: list[Arrival] = field(default_factory=list)
    """Arrivals given up after their write had begun: they are removed first, in case they were written."""

    def __bool__(self) -> bool:
        return bool(self.jobs or self.arrivals or self.ended_graphs or self.removals or self.doubtful)

    def followed_by(self, after: Batch) -> Batch:
        """Return this batch, to be written again, with what has come after it; later changes take precedence.

        Removals are not among what is written again: their callers were told.
        """
        return Batch(
            jobs={**self.jobs, **after.jobs},
            arrivals=self.arrivals + after.arrivals,
            ended_graphs=self.ended_graphs + after.ended_graphs,
            removals=after.removals,
            then=self.then + after.then,
            doubtful=self.doubtful + after.doubtful,
        )


@dataclass(slots=True)
class Written:
    """Outcome of a batch."""

    refused: dict[str, Exception] = field(default_factory=dict)
    """Jobs and graphs that the store does not take, and why."""
    no_room: set[str] = field(default_factory=set)
    """Jobs and graphs for which the store's disk has no room now, ended graphs included."""
    full: StoreFull | None = None
    """The error in that case."""
    removed: list[dict[str, int]] = field(default_factory=list)
    """For each removal, the number of jobs removed by state."""


def without_room(batch: Batch, no_room: set[str]) -> Batch:
    """Return the part of a batch to write again once there is room: all that was not reported as failed."""
    arrivals = [one for one in batch.arrivals if one.insists and no_room.intersection(ids_of(one))]
    kept = no_room - {uuid for one in batch.arrivals if not one.insists for uuid in ids_of(one)}
    return Batch(
        jobs={uuid: job for uuid, job in batch.jobs.items() if uuid in kept},
        arrivals=arrivals,
        ended_graphs=[uuid for uuid in batch.ended_graphs if uuid in kept],
        then=[(job, follow) for job, follow in batch.then if job.uuid in kept],
    )


def ended_by_refusal(job: Job, refusal: Exception) -> Job:
    """Return the replacement of a job whose record the store refuses: ended, without fields that may be the cause."""
    error = f"The platform cannot keep the job's record: {refusal}"
    attempts = job.attempts
    if attempts:
        last = replace(attempts[-1], failure=FailureClass.INTERNAL, error=error, log=None)
        attempts = (*attempts[:-1], replace(last, stopped=last.stopped or time.time()))
    bare = replace(job, attempts=attempts, result=None, opaque=False, steps=(), total=None, notes=(), awaits=None)
    return replace(bare, state=JobState.FAILURE, error=error, stopped=job.stopped or time.time())


def parts_of(arrivals: Iterable[Arrival]) -> tuple[list[Job], list[Graph]]:
    """Return the jobs and the graphs of arrivals."""
    arrivals = list(arrivals)
    return [one.job for one in arrivals if one.job is not None], [
        one.graph for one in arrivals if one.graph is not None
    ]


def ids_of(arrival: Arrival) -> list[str]:
    """Return the ids of an arrival's job and graph."""
    return [part.uuid for part in (arrival.job, arrival.graph) if part is not None]


# --- Writing ---------------------------------------------------------------------------------------------------------


def write_batch(store: JobStore, batch: Batch) -> Written:
    """Write a batch; runs in any thread.

    Raises:
        StoreUnusable: the store failed before everything was written.
    """
    written = Written()
    if not batch:
        store.ping()
    if batch.doubtful:
        store.take_back(*parts_of(batch.doubtful))
    if batch.jobs or batch.arrivals or batch.ended_graphs:
        try:
            store.write(batch.jobs.values(), parts_of(batch.arrivals)[1], batch.ended_graphs)
        except StoreFull:
            # There may still be room for small ones.
            _write_apart(store, batch, written)
        except StoreUnusable:
            raise
        except Exception:
            # Whatever the error: one bad record must not block the others.
            _write_apart(store, batch, written)
    written.removed = [store.forget(removal.uuids, removal.root) for removal in batch.removals]
    return written


def _write_apart(store: JobStore, batch: Batch, written: Written) -> None:
    """Write each job and each graph separately; collect those that are refused or find no room."""
    new = {uuid for arrival in batch.arrivals for uuid in ids_of(arrival)}
    for arrival in batch.arrivals:
        _write_part(store, written, ids_of(arrival), *parts_of([arrival]))
    for job in batch.jobs.values():
        if job.uuid in new:
            continue
        _write_part(store, written, [job.uuid], [job])
        if (error := written.refused.get(job.uuid)) is not None:
            bare = Written()
            _write_part(store, bare, [job.uuid], [ended_by_refusal(job, error)])
            if bare.refused:
                job_logger(_log, job.uuid).error("the store refuses even a minimal record of its end")
    for graph in batch.ended_graphs:
        _write_part(store, written, [graph], ended_graphs=[graph])


def _write_part(
    store: JobStore,
    written: Written,
    ids: Sequence[str],
    jobs: Sequence[Job] = (),
    graphs: Sequence[Graph] = (),
    ended_graphs: Sequence[str] = (),
) -> None:
    try:
        store.write(jobs, graphs, ended_graphs)
    except StoreFull as error:
        written.no_room.update(ids)
        written.full = error
    except StoreUnusable:
        raise
    except Exception as error:
        written.refused.update(dict.fromkeys(ids, error))
