"""The tracker: owns every task, keeps every state, and feeds the store. It lives in a named actor (see actor.py).

This is its face: what scripts, the HTTP service and workers may ask of it. Jobs live in lifecycle.py, graphs of them
in graphs.py. What is in memory here can be rebuilt from the journal: when the tracker dies its tasks die with it (Ray's
rule), it is started again by Ray, and `_recover` runs again what had not ended.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from pixyz_ray.cluster import messages
from pixyz_ray.cluster.channel import ChannelServer, Endpoint, Peer
from pixyz_ray.cluster.cleaner import Cleaner
from pixyz_ray.cluster.drain import Drain
from pixyz_ray.cluster.errors import EngineNotReady, UnknownJob, UnreadableRecord
from pixyz_ray.cluster.gpu_expectation import gpus_are_expected
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.graph.recovery import Recovery
from pixyz_ray.cluster.job_list import JobList
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.machines import ABOUT_MACHINES, Machines
from pixyz_ray.cluster.messages import MAX_EVENT_BYTES, MAX_OUTCOME_BYTES
from pixyz_ray.cluster.node_id import own_node_id
from pixyz_ray.cluster.overview import Overview
from pixyz_ray.cluster.turns import REFRESH_EVERY_S
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.records import decode_job
from pixyz_ray.settings import Settings
from pixyz_ray.store import JobStore, StoreUnusable

T = TypeVar("T")


class Tracker:
    """Owns the tasks of all jobs, on one event loop.

    Args:
        settings: the platform's settings.
        holder: name of the platform, for which the job store is claimed.
        on_fenced: called when another tracker has taken over the job store; it has to end this process.
    """

    _cleaner: Cleaner
    _machines: Machines | None = None

    def __init__(
        self, settings: Settings, holder: str | None = None, on_fenced: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._jobs = Lifecycle(settings, JobStore(settings.job_store_url, holder=holder))
        self._jobs.access.on_fenced = on_fenced
        self._graphs = Graphs(self._jobs)
        self._jobs.followers = self._graphs
        self._attempts = self._jobs.attempts
        self._overview = Overview(self._jobs, self._graphs)
        self._blocked: Counter[str] = Counter()
        self._drain = Drain(self._jobs, self._graphs, lambda: self._blocked.keys())
        self._list = JobList(self._jobs, self._graphs, self._overview)
        self._packing: dict[str, asyncio.Future[None]] = {}
        self._begun: set[asyncio.Future[Any]] = set()

    # --- Scripts' face -----------------------------------------------------------------------------------------------

    async def submit_graph(self, parent_id: str, plan: str, number: int, attempt: int) -> list[str]:
        """Start a graph for a running script; return the ids of its nodes."""
        messages.check_attempt(parent_id, attempt)
        messages.check_plan(plan, number, self._settings.max_message_bytes)
        return await self._graphs.submit(parent_id, plan, number, attempt)

    async def outcomes(
        self, asker: str, uuids: Sequence[str], timeout_s: float | None, until_failure: bool
    ) -> list[Any]:
        """Return (id, state, value, error, reference) of tasks, waiting for at most `timeout_s` seconds.

        Args:
            asker: job whose script asks.
            uuids: the tasks.
            timeout_s: None for no limit.
            until_failure: whether the failure of one ends the waiting.
        """
        messages.check_question(asker, uuids, timeout_s)
        if timeout_s != 0:
            # Who waits for others does not stand in their way.
            self._jobs.turns.rest(asker)
            self._blocked[asker] += 1
            try:
                await self._all_ended(uuids, timeout_s, until_failure)
            finally:
                self._jobs.turns.resume(asker)
                self._blocked[asker] -= 1
                self._blocked += Counter()
        return [await self._outcome(uuid) for uuid in uuids]

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
            # An unknown id may still be created; tolerate it only when there is a timeout.
            with suppress(*(() if timeout_s is None else (UnknownJob,))):
                await self._jobs.on_end(uuid, ended)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(over, timeout_s)
        finally:
            # A script may ask again and again, with short timeouts.
            for uuid in uuids:
                self._jobs.off_end(uuid, ended)

    async def _outcome(self, uuid: str) -> dict[str, Any]:
        try:
            job = await self._jobs.find(uuid, insist=True)
        except UnknownJob:
            return {"state": str(JobState.PENDING)}
        about: dict[str, Any] = {"state": str(job.state), "stopped": job.stopped}
        if job.opaque:
            return {**about, "reference": self._graphs.lookup.reference(job.uuid)}
        if not job.state.terminal:
            live = self._jobs.live.get(uuid)
            return {**about, "shown": live.shown if live else None, "progress": job.progress, "error": job.error}
        return {
            **about,
            "value": await self._jobs.value_of(job, insist=True) if job.state is JobState.SUCCESS else None,
            "error": job.error,
        }

    async def value_lost(self, uuid: str) -> bool:
        """Run a task again whose value Ray has lost; return whether there will be a value."""
        messages.check_ids([uuid])
        return await self._graphs.value_lost(uuid)

    async def children(self, uuid: str) -> list[Any]:
        """Return the ids of the tasks after a job in its graph, and of the graphs that its script has started."""
        messages.check_ids([uuid])
        lookup = self._graphs.lookup
        try:
            return [*await lookup.followers(await self._jobs.find(uuid)), *await lookup.started(uuid)]
        except UnknownJob:
            return []

    async def revoke(self, uuids: Sequence[str]) -> None:
        """Cancel jobs."""
        messages.check_ids(uuids)
        # Those that are not known, any more or yet, are left out, as in Celery.
        await self._graphs.cancel([uuid for uuid in uuids if await self._is_known(uuid)])

    async def _is_known(self, uuid: str) -> bool:
        try:
            await self._jobs.find(uuid, insist=True)
        except UnknownJob:
            return False
        return True

    # --- The driver's face -------------------------------------------------------------------------------------------

    async def drain(self, deadline_s: float, message: str) -> dict[str, Any]:
        """Bring running attempts to an end; no other begins, and jobs are still accepted (see Drain.run)."""
        return await self._drain.run(deadline_s, message)

    def standing(self) -> dict[str, Any]:
        """Return the `state` (see Drain), how many attempts are `running`, and whether nothing is to do (`idle`)."""
        running = len(self._drain.running())
        return {"state": self._drain.state, "running": running, "idle": not running and not self._jobs.live}

    # --- The channel's face ------------------------------------------------------------------------------------------

    async def open(self, host: str) -> Endpoint:
        """Listen on that address, take up what had not ended, and return where to call."""
        endpoint = await self._server().listen(host, self._settings.tracker_port)
        jobs, launcher = self._jobs, Launcher(self._settings, endpoint)
        self._attempts.guards.own_node = own_node_id()
        self._attempts.launcher = launcher
        self._machines = machines = Machines(self._settings, jobs, launcher)
        self._cleaner = Cleaner(self._settings, jobs.journal, launcher, jobs.is_needed, jobs.forget)
        if self._settings.gpu_expected is None:
            jobs.turns.gpus.expect(await asyncio.to_thread(gpus_are_expected))
        await machines.look()
        await machines.read_gpus()
        await self._recover()
        launcher.warm_up()
        for work in (self._attempts.look(), self._watch_capacity(machines), self._cleaner.run()):
            jobs.begin(work)
        return endpoint

    def _server(self) -> ChannelServer:
        """Return the server of the channel, with all that may be called."""
        return ChannelServer(
            {
                "submit": self._submit,
                "submit_graph": self._submit_graph,
                "state": self._state,
                "details": self._details,
                "task_meta": self._task_meta,
                "graph": self._graph,
                "page": self._page,
                "in_memory": self._in_memory,
                "items": self._items,
                "portion": self._portion,
                "cancel": self._cancel,
                "pin": self._pin,
                "remove": self._remove,
                "watch": self._watch,
                "unwatch": self._unwatch,
                "pack": self._pack,
                "queues": self._queues,
                "meters": self._meters,
                "health": self._health,
                **{name: partial(self._ask_machines, name) for name in ABOUT_MACHINES},
                "guard": self._attempts.guards.take_guard,
            },
            {
                "event": self._attempts.take_event,
                "ended": self._attempts.take_word,
                "usage": self._attempts.guards.take_usage,
                "alive": self._attempts.guards.take_alive,
                "died": self._attempts.guards.take_died,
            },
            max_message_bytes=self._settings.max_message_bytes,
            limits={
                "ended": self._settings.max_result_bytes + MAX_OUTCOME_BYTES,
                **dict.fromkeys(("event", "usage", "alive", "died", "guard"), MAX_EVENT_BYTES),
            },
        )

    async def _watch_capacity(self, machines: Machines) -> None:
        """Follow the cluster as it grows and shrinks, for good."""
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            with suppress(Exception):
                await machines.look()

    async def _ask_machines(self, method: str, peer: Peer, number: int, *arguments: Any) -> Any:
        if self._machines is None:
            raise EngineNotReady("The tracker is just starting. Try again in a moment.")
        return await getattr(self._machines, method)(peer, number, *arguments)

    async def _submit(self, _peer: Peer, _number: int, record: dict[str, Any], again: bool) -> dict[str, Any]:
        # Sent again since no answer came: the tracker that had accepted it may be gone.
        if again and (known := await self._known(record["uuid"])) is not None:
            return known.as_state()
        return await self._jobs.accept(decode_job(record))

    async def _known(self, uuid: str) -> Job | None:
        return await self._jobs.access.read(self._jobs.store.get, uuid)

    async def _submit_graph(
        self, _peer: Peer, _number: int, record: dict[str, Any], plan: str, again: bool
    ) -> dict[str, Any]:
        if again and (known := await self._known(record["uuid"])) is not None:
            return known.as_state()
        return await self._graphs.submit_alone(decode_job(record), plan)

    async def _state(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        await self._jobs.journal.settled(uuid)
        return (await self._jobs.find(uuid)).as_state()

    async def _details(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        await self._jobs.journal.settled(uuid)
        return await self._overview.details(uuid)

    async def _task_meta(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        await self._jobs.journal.settled(uuid)
        return await self._overview.task_meta(uuid)

    async def _page(
        self, _peer: Peer, _number: int, state: str | None, limit: int, after: str | None, why: bool
    ) -> list[dict[str, Any]]:
        return await self._list.page(state, limit, after, why)

    async def _in_memory(self, _peer: Peer, _number: int, state: str, after: str | None) -> list[str]:
        return await self._list.in_memory(state, after)

    async def _items(
        self, _peer: Peer, _number: int, uuids: Sequence[str], state: str, why: bool
    ) -> list[dict[str, Any]]:
        return await self._list.items(uuids, state, why)

    async def _portion(
        self, _peer: Peer, _number: int, state: str | None, before: int | None, after: str | None, why: bool
    ) -> tuple[list[dict[str, Any]], int | None]:
        return await self._list.portion(state, before, after, why)

    async def _queues(self, _peer: Peer, _number: int) -> dict[str, Any]:
        return self._overview.queues()

    async def _meters(self, _peer: Peer, _number: int) -> dict[str, Any]:
        return self._overview.meters()

    async def _health(self, _peer: Peer, _number: int) -> dict[str, Any]:
        health = {**await self._overview.health(), "warnings": [*self._overview.warnings()]}
        if self._machines is None:
            return health
        warnings = [*health["warnings"], *self._machines.registry.warnings()]
        return {**health, "share_id": self._machines.share_id, "warnings": warnings}

    async def _remove(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        await self._jobs.journal.settled(uuid)
        try:
            state = (await self._jobs.find(uuid)).as_state()
        except UnreadableRecord as error:
            state = {"uuid": uuid, "name": None, "status": str(JobState.FAILURE), "progress": 0, "error": str(error)}
        await self._cleaner.remove_now(uuid)
        return state

    async def _pin(self, _peer: Peer, _number: int, uuid: str, pinned: bool) -> dict[str, Any]:
        if self._cleaner.is_removing(uuid):
            raise UnknownJob(f"There is no job {uuid} any more: it is just being removed.")
        said = "pinned" if pinned else "unpinned"
        return await self._unless_away(self._jobs.pin(uuid, pinned), f"Job {uuid} is {said} when it is back.")

    async def _watch(self, peer: Peer, number: int, uuid: str) -> None:
        (await self._jobs.find_live(uuid)).watch(peer, number)

    async def _unwatch(self, peer: Peer, _number: int, watched: int) -> None:
        if stop := peer.on_close.pop(watched, None):
            stop()

    async def _pack(self, _peer: Peer, _number: int, uuid: str) -> None:
        """Return when the archive of a job's outputs is there."""
        await self._jobs.find(uuid)
        packing = self._packing.get(uuid)
        if packing is None:
            packing = self._packing[uuid] = asyncio.ensure_future(self._attempts.launcher.pack(uuid))
            packing.add_done_callback(lambda _: self._packing.pop(uuid, None))
        await asyncio.shield(packing)

    async def _cancel(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        self._jobs.access.check()
        await self._jobs.find(uuid)
        await self._unless_away(self._graphs.cancel([uuid]), f"Job {uuid} is cancelled when it is back.")
        return (await self._jobs.find(uuid)).as_state()

    async def _unless_away(self, work: Coroutine[Any, Any, T], what: str) -> T:
        """Return the result of work that waits for the store.

        Raises:
            StoreUnusable: the store does not answer any more. The work continues in the background.
        """
        task = asyncio.ensure_future(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        away = asyncio.ensure_future(self._jobs.access.away())
        await asyncio.wait((task, away), return_when=asyncio.FIRST_COMPLETED)
        away.cancel()
        if not task.done():
            raise StoreUnusable(f"The job store does not answer. {what}")
        return task.result()

    async def _graph(self, _peer: Peer, _number: int, uuid: str) -> dict[str, Any]:
        await self._jobs.journal.settled(uuid)
        return await self._graphs.lookup.view(await self._jobs.find(uuid))

    # --- After a restart ---------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Take up every job that had not ended: what a worker left decides, else it is run again."""
        read, store = self._jobs.access.insist, self._jobs.store
        left = [LiveJob(job) for job in await read(store.live)]
        self._jobs.live.update((live.record.uuid, live) for live in left)
        waiting = await read(lambda: [*store.waiting()])
        self._jobs.turns.recover((uuid, requested, json.loads(waits)) for uuid, requested, waits in waiting)
        await Recovery(self._jobs, self._graphs).recover()
        for live in left:
            if live.record.awaits is not None:
                self._graphs.awaiting.watch(live)
            elif live.record.graph is None:
                self._jobs.begin(self._jobs.take_up(live))
        self._jobs.turns.pump()
