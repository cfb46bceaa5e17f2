"""The list of jobs: one page of it, or all of it in portions, from what is in memory and from the store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, dropwhile, islice
from typing import Any

from pixyz_ray.cluster.errors import UnknownJob, UnreadableRecord
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.overview import Overview
from pixyz_ray.jobs import Job, JobState

MAX_PAGE = 1000
PORTION = 500
"""Jobs in one answer while all of them are listed: few enough not to hold up the event loop."""
_STORED_LIVE = frozenset({JobState.PENDING, JobState.RETRY})
"""States of jobs that have not ended and yet may be in the store alone, because they wait for their turn."""


class JobList:
    """Lists jobs, newest first; part of the tracker.

    Args:
        jobs: all that have not ended, and the store.
        graphs: nodes that have not begun are known there alone.
        overview: says what a job waits for.
    """

    def __init__(self, jobs: Lifecycle, graphs: Graphs, overview: Overview) -> None:
        self._jobs = jobs
        self._graphs = graphs
        self._overview = overview
        self._read = jobs.access.read
        self._store = jobs.store

    async def page(self, state: str | None, limit: int, after: str | None, why: bool) -> list[dict[str, Any]]:
        """Return a page of the list.

        Args:
            state: only jobs in this state.
            limit: how many at most.
            after: only jobs older than this one.
            why: whether jobs that have not begun say what they wait for.
        """
        limit = min(limit, MAX_PAGE)
        wanted = None if state is None else JobState(state)
        if wanted is not None and not wanted.terminal:
            rows = await self._live_page(wanted, limit, after)
        else:
            rows = self._current(await self._read(self._store.page, state=wanted, limit=limit, after=after), wanted)
        return await self._explained(rows) if why else rows

    async def _live_page(self, state: JobState, limit: int, after: str | None) -> list[dict[str, Any]]:
        """Return a page of jobs that have not ended: first those in memory, then those that wait in the store."""
        live = self._jobs.live
        waiting = self._graphs.lookup.all_waiting() if state is JobState.PENDING else ()
        inside = chain(waiting, (one.record for one in reversed(live.values())))
        found: Iterator[Job] = (job for job in inside if job.state is state)
        place: int | None = None
        if after is not None:
            last = await self._jobs.find(after)
            if after in live or self._graphs.waiting(after) is not None:
                # Nodes of a graph were all requested at once: only its place tells what comes after one of them.
                started = last.state is not state
                rest = dropwhile(lambda job: job.uuid != after, found)
                found = (job for job in found if job.requested <= last.requested) if started else islice(rest, 1, None)
            else:
                place = await self._read(self._store.place_of, after)
                found = iter(())
        rows = [job.as_list_item() for job in islice(found, limit)]
        if len(rows) < limit and state in _STORED_LIVE:
            # Of jobs that are in memory, too, the store may have an older state.
            stored, _ = await self._read(self._store.portion, state=state, limit=limit + len(live), before=place)
            rows += [row for row in stored if row["uuid"] not in live]
        return rows[:limit]

    # --- All jobs ----------------------------------------------------------------------------------------------------

    async def in_memory(self, state: str, after: str | None) -> list[str]:
        """Return the ids of the jobs in memory that have a state which is not terminal.

        Args:
            state: the state.
            after: only jobs older than this one.
        """
        wanted = JobState(state)
        before = math.inf if after is None else (await self._jobs.find(after)).requested
        live = (one.record for one in reversed(self._jobs.live.values()))
        ids = [job.uuid for job in live if job.state is wanted and job.requested < before]
        return [*self._graphs.lookup.waiting_ids(before), *ids] if wanted is JobState.PENDING else ids

    async def items(self, uuids: Iterable[str], state: str, why: bool) -> list[dict[str, Any]]:
        """Return the items of those jobs that still have a state."""
        found = []
        for uuid in uuids:
            with suppress(UnknownJob):
                found.append(await self._jobs.find(uuid))
        rows = [job.as_list_item() for job in found if str(job.state) == state]
        return await self._explained(rows) if why else rows

    async def portion(
        self, state: str | None, before: int | None, after: str | None, why: bool
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return the next items of the store, and the place to go on from; None when these are the last.

        Args:
            state: only jobs in this state.
            before: place that the portion before this one ended at; None for the first portion.
            after: only jobs older than this one; for the first portion.
            why: whether jobs that have not begun say what they wait for.
        """
        wanted = None if state is None else JobState(state)
        if wanted is not None and not wanted.terminal and wanted not in _STORED_LIVE:
            return [], None
        if before is None and after is not None and (before := await self._read(self._store.place_of, after)) is None:
            return [], None
        rows, place = await self._read(self._store.portion, state=wanted, limit=PORTION, before=before)
        last = len(rows) < PORTION
        rows = self._current(rows, wanted)
        return await self._explained(rows) if why else rows, None if last else place

    # --- Items -------------------------------------------------------------------------------------------------------

    def _current(self, rows: Sequence[dict[str, Any]], wanted: JobState | None) -> list[dict[str, Any]]:
        """Return items of the store with the state that jobs in memory have now."""
        if wanted is not None and wanted.terminal:
            return list(rows)
        live = self._jobs.live
        now = [live[row["uuid"]].job.as_list_item() if row["uuid"] in live else row for row in rows]
        return now if wanted is None else [row for row in now if row["status"] == str(wanted)]

    async def _explained(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add to each item what its job waits for."""
        # Most of these jobs are not in memory; one query gets them all.
        missing = [row["uuid"] for row in rows if row["uuid"] not in self._jobs.live]
        stored = await self._read(self._store.get_many, missing)
        for row in rows:
            uuid = row["uuid"]
            row["waiting"] = None
            # A job that was removed meanwhile, or whose record cannot be read, must not cost the others their list.
            try:
                row["waiting"] = self._overview.waiting(stored[uuid] if uuid in stored else await self._jobs.find(uuid))
            except UnreadableRecord as error:
                row["error"] = str(error)
            except UnknownJob:
                continue
        return rows
