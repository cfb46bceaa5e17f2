"""The tracker: owns every task, keeps every state, and feeds the store. It lives in a named actor (see actor.py).

This is its face: what scripts, the HTTP service and workers may ask of it. Jobs live in lifecycle.py, graphs of them
in graphs.py. What is in memory here can be rebuilt from the journal: when the tracker dies its tasks die with it (Ray's
rule), it is started again by Ray, and `_recover` runs again what had not ended.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from pixyz_ray.cluster.channel import ChannelServer, Endpoint, Peer
from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.graph.recovery import Recovery
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.records import decode_job
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore

_MAX_PAGE = 1000


class Tracker:
    """Owns the tasks of all jobs, on one event loop.

    Args:
        settings: the platform's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs = Lifecycle(settings, JobStore(settings.job_store_url))
        self._graphs = Graphs(self._jobs)
        self._jobs.followers = self._graphs
        self._packing: dict[str, asyncio.Future[None]] = {}

    # --- Scripts' face -----------------------------------------------------------------------------------------------

    async def submit_graph(self, parent_id: str, plan: str, number: int) -> list[str]:
        """Start a graph for a running script; return the ids of its nodes."""
        return await self._graphs.submit(parent_id, plan, number)

    async def outcomes(
        self, asker: str, uuids: Sequence[str], timeout_s: float | None, until_failure: bool
    ) -> list[Any]:
        """Return (id, state, value, error, reference) of tasks, waited for at most so many seconds.

        Args:
            asker: job whose script asks.
            uuids: the tasks.
            timeout_s: None for no limit.
            until_failure: whether the failure of one ends the waiting.
        """
        if timeout_s != 0:
            self._graphs.let_others(asker)
            await self._all_ended(uuids, timeout_s, until_failure)
        return [self._outcome(uuid) for uuid in uuids]

    async def _all_ended(self, uuids: Sequence[str], timeout_s: float | None, until_failure: bool) -> None:
        over = asyncio.get_running_loop().create_future()
        left = len(uuids)

        def ended(job: Job) -> None:
            nonlocal left
            left -= 1
            failed = until_failure and job.state is not JobState.SUCCESS
            if (left == 0 or failed) and not over.done():
                over.set_result(None)

        for uuid in uuids:
            # One that is not known may come; but not for ever.
            with suppress(*(() if timeout_s is None else (UnknownJob,))):
                self._jobs.on_end(uuid, ended)
        with suppress(TimeoutError):
            await asyncio.wait_for(over, timeout_s)

    def _outcome(self, uuid: str) -> tuple[str, str, Any, str | None, list[Any] | None]:
        try:
            job = self._jobs.find(uuid)
        except UnknownJob:
            return uuid, str(JobState.PENDING), None, None, None
        if job.opaque:
            return job.uuid, str(job.state), None, None, self._graphs.lookup.reference(job.uuid)
        value = self._jobs.value_of(job) if job.state is JobState.SUCCESS else None
        return job.uuid, str(job.state), value, job.error, None

    async def revoke(self, uuids: Sequence[str]) -> None:
        """Cancel jobs."""
        for uuid in uuids:
            self._jobs.find(uuid)
        await self._graphs.cancel(uuids)

    # --- The channel's face ------------------------------------------------------------------------------------------

    async def open(self, host: str) -> Endpoint:
        """Listen on that address, take up what had not ended, and return where to call."""
        server = ChannelServer(
            {
                "submit": self._submit,
                "submit_graph": self._submit_graph,
                "state": self._state,
                "details": self._details,
                "task_meta": self._task_meta,
                "graph": self._graph,
                "page": self._page,
                "cancel": self._cancel,
                "watch": self._watch,
                "unwatch": self._unwatch,
                "pack": self._pack,
                "counts": self._count,
            },
            {"event": self._jobs.take_event, "ended": self._jobs.take_word},
        )
        endpoint = await server.listen(host)
        self._jobs.launcher = Launcher(self._settings, endpoint)
        self._recover()
        self._jobs.launcher.warm_up()
        return endpoint

    async def _submit(self, _peer: Peer, _number: int, record: dict[str, Any], again: bool) -> dict[str, Any]:
        # Sent again since no answer came: the tracker that had accepted it may be gone.
        if again and (known := self._jobs.store.get(record["uuid"])) is not None:
            return known.as_state()
        return await self._jobs.accept(decode_job(record))

    async def _submit_graph(
        self, _peer: Peer, _number: int, record: dict[str, Any], plan: str, again: bool
    ) -> dict[str, Any]:
        if again and (known := self._jobs.store.get(record["uuid"])) is not None:
            return known.as_state()
        return await self._graphs.submit_alone(decode_job(record), plan)

    async def _state(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        return self._jobs.find(uuid).as_state()

    async def _details(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        job = self._jobs.find(uuid)
        if job.kind == "group" and job.state is JobState.SUCCESS:
            return {**job.as_details(), "result": self._jobs.result_of(job)}
        return job.as_details()

    async def _task_meta(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        job = self._jobs.find(uuid)
        result = self._jobs.result_of(job) if job.state is JobState.SUCCESS else None
        return {**job.as_task_meta(self._graphs.lookup.children(uuid)), "result": result}

    async def _page(
        self, _peer: Peer, _number: int, state: str | None, limit: int, after: str | None
    ) -> list[dict[str, Any]]:
        limit = min(limit, _MAX_PAGE)
        wanted = None if state is None else JobState(state)
        if wanted is not None and not wanted.terminal:
            return self._live_page(wanted, limit, after)
        page = self._jobs.store.page(state=wanted, limit=limit, after=after)
        # How a live job stands is known here and not in the store.
        return [self._jobs.live[row["uuid"]].job.as_state() if row["uuid"] in self._jobs.live else row for row in page]

    def _live_page(self, state: JobState, limit: int, after: str | None) -> list[dict[str, Any]]:
        before = math.inf if after is None else self._jobs.find(after).requested
        live = (live.record for live in reversed(self._jobs.live.values()))
        waiting = self._graphs.lookup.all_waiting() if state is JobState.PENDING else ()
        found = (job for job in chain(waiting, live) if job.state is state and job.requested < before)
        return [job.as_state() for job in islice(found, limit)]

    async def _count(self, _peer: Peer, _number: int) -> dict[str, int]:
        return dict(self._jobs.counts)

    async def _watch(self, peer: Peer, number: int, uuid: str) -> None:
        self._jobs.find_live(uuid).watch(peer, number)

    async def _unwatch(self, peer: Peer, _number: int, watched: int) -> None:
        if stop := peer.on_close.pop(watched, None):
            stop()

    async def _pack(self, _peer: Peer, _number: int, uuid: str) -> None:
        """Return when the archive of a job's outputs is there."""
        self._jobs.find(uuid)
        packing = self._packing.get(uuid)
        if packing is None:
            packing = self._packing[uuid] = asyncio.ensure_future(self._jobs.launcher.pack(uuid))
            packing.add_done_callback(lambda _: self._packing.pop(uuid, None))
        await asyncio.shield(packing)

    async def _cancel(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        self._jobs.find(uuid)
        await self._graphs.cancel([uuid])
        return self._jobs.find(uuid).as_state()

    async def _graph(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        return self._graphs.lookup.view(self._jobs.find(uuid))

    # --- After a restart ---------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Take up every job that had not ended: what a worker left decides, else it is run again."""
        for job in self._jobs.store.live():
            self._jobs.live[job.uuid] = LiveJob(job)
        Recovery(self._jobs, self._graphs).recover()
        for live in list(self._jobs.live.values()):
            if live.record.awaits is not None:
                self._graphs.awaiting.watch(live)
            elif live.record.graph is None:
                self._jobs.begin(self._jobs.take_up(live))
