"""Engine: submit, follow, cancel and fetch jobs. The flow of a job begins here; an HTTP replica holds one engine.

The engine owns nothing that matters: it stages files, asks the tracker, and finds the tracker again when that was
restarted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import ray

from pixyz_ray.admission import QueueFull
from pixyz_ray.cluster.channel import Channel, Endpoint
from pixyz_ray.cluster.errors import ConnectionLost, EngineNotReady, UnknownJob, UnreadableRecord
from pixyz_ray.cluster.inspection import inspector
from pixyz_ray.cluster.job_feed import JobEvents, JobFeeds
from pixyz_ray.cluster.names import NAMESPACE, TRACKER
from pixyz_ray.cluster.node_calls import NodeCalls
from pixyz_ray.cluster.resubmission import clear_abandoned, folder_for_key
from pixyz_ray.cluster.threads import inspection_threads, ray_threads, share_threads
from pixyz_ray.jobs import JobState
from pixyz_ray.json_fields import json_object
from pixyz_ray.processes import process_help, process_names
from pixyz_ray.records import encode_job
from pixyz_ray.settings import Settings
from pixyz_ray.share_marker import share_problem
from pixyz_ray.storage import JobFolder, OpenedFile, is_uuid
from pixyz_ray.store import EndedJobs, StoreUnusable
from pixyz_ray.submission import Request, Script, make_graph_job, make_job, read_script, with_input
from pixyz_worker.exception import PixyzException

T = TypeVar("T")

_PORTION = 500
_PATIENCE_S = 12.0
_REMOVAL_PATIENCE_S = 120.0
_MAX_WAITING = 5000
"""Requests that wait for the tracker's answer; more are refused at once."""
_RETRY_DELAY_S = 0.1
_PACKING_PATIENCE_S = 5.0
_HEALTH_PATIENCE_S = 2.0


class Engine:
    """What the HTTP service can ask of the platform.

    Args:
        settings: folders, limits and queues.
        patience_s: seconds that a request waits for the tracker.
    """

    def __init__(self, settings: Settings, *, patience_s: float = _PATIENCE_S) -> None:
        self.settings = settings
        self._patience_s = patience_s
        self._channel: Channel | None = None
        self._opening: asyncio.Task[Channel] | None = None
        self._waiting = 0
        self._share_id = ""
        self._share = share_threads()
        self._inspector = inspector()
        self._inspector.start()
        self._feeds = JobFeeds(self._subscribe, self._share)
        self._ended = EndedJobs(settings.job_store_url)
        self.machines = NodeCalls(self._patiently)

    # --- Submitting --------------------------------------------------------------------------------------------------

    def new_folder(self) -> JobFolder:
        """Return the folder of a job to come; nothing is on disk yet."""
        return JobFolder(self.settings.share_path, str(uuid4()))

    def folder_for_key(self, submitter: str, key: str) -> JobFolder:
        """Return the folder of the job that a submitter sends with an idempotency key: always the same."""
        return folder_for_key(self.settings.share_path, submitter, key)

    async def submitted(self, folder: JobFolder) -> dict[str, Any] | None:
        """Return the JobState of a job that was sent before with the same key; None where it may be sent (again).

        Raises:
            EngineNotReady: the tracker does not answer, or another request with the key may still be in progress.
        """
        # A job has a folder, so that nothing else is asked for a key that is new.
        if not await self._share.run(folder.path.is_dir):
            return None
        with suppress(UnknownJob):
            return await self.state(folder.uuid)
        if not await self._share.run(partial(clear_abandoned, folder)):
            raise EngineNotReady("Another request with this Idempotency-Key is in progress. Try again in a moment.")
        return None

    async def submit(self, folder: JobFolder, request: Request) -> dict[str, Any]:
        """Accept a job whose input is staged in its folder; when its JobState is returned, the job is on disk.

        Raises:
            InvalidBackendParameter, InvalidScript: the request cannot be accepted; nothing of it is kept.
            EngineNotReady: the tracker does not answer, and whether it has the job is not known.
        """
        try:
            script = await self._read_script(request)
            job, source = make_job(folder.uuid, request, self.settings, script)
            record = encode_job(job)
        except BaseException:
            await self.discard(folder)
            raise
        # The tracker writes the job down while the script is staged. Whoever runs the job waits for the script, and
        # knows it by its digest.
        staged = asyncio.ensure_future(self._share.run(partial(folder.stage, job.script, source)))
        asked = asyncio.ensure_future(self._patiently(lambda channel, again: channel.call("submit", record, again)))
        problem: Exception | None = None
        try:
            await staged
        except (OSError, EngineNotReady) as error:
            problem = error
        if problem is not None:
            # Whether or not the tracker has accepted it: without its script it cannot run, so cancel and remove it.
            with suppress(PixyzException):
                await asked
                await self.cancel(folder.uuid)
            await self.discard(folder)
            raise _not_written(problem) from problem
        try:
            answer: dict[str, Any] = await asked
        except (StoreUnusable, QueueFull):
            await self.discard(folder)
            raise
        return answer

    async def submit_graph(self, folder: JobFolder, request: Request) -> dict[str, Any]:
        """Accept a graph that comes from outside; its job lasts until the graph has ended.

        Raises:
            InvalidBackendParameter, InvalidScript: the request cannot be accepted; nothing of it is kept.
            EngineNotReady: the tracker does not answer, and whether it has the job is not known.
        """
        try:
            job, scripts = make_graph_job(folder.uuid, request, self.settings)
            plan = json.dumps(with_input(json_object(request.graph, "graph"), folder, job.input_file))
            for name, source in scripts.items():
                await self._share.run(partial(folder.stage, name, source))
            record = encode_job(job)
            answer: dict[str, Any] = await self._patiently(
                lambda channel, again: channel.call("submit_graph", record, plan, again)
            )
        except EngineNotReady:
            raise
        except OSError as error:
            await self.discard(folder)
            raise _not_written(error) from error
        except BaseException:
            await self.discard(folder)
            raise
        return answer

    async def _read_script(self, request: Request) -> Script:
        """Return a request's script, read and inspected in another thread unless it is cached."""
        if request.process == "custom" and request.script is not None and request.script_name is not None:
            digest = hashlib.sha256(request.script).hexdigest()
            if (info := self._inspector.known(digest, request.script_name)) is not None:
                return Script(name=request.script_name, source=request.script, digest=digest, info=info)
        return await inspection_threads().run(partial(read_script, request, self.settings, self._inspector.inspect))

    async def discard(self, folder: JobFolder) -> None:
        """Remove the files of a refused job; if the share does not answer they stay."""
        with suppress(EngineNotReady):
            await self._share.run(folder.remove)

    # --- Asking ------------------------------------------------------------------------------------------------------

    async def state(self, uuid: str) -> dict[str, Any]:
        """Return a job's JobState."""
        if is_uuid(uuid) and (ended := self._ended.state(uuid)) is not None:
            return ended
        answer: dict[str, Any] = await self._ask_of("state", uuid)
        return answer

    async def details(self, uuid: str) -> dict[str, Any]:
        """Return a job's JobDetails."""
        answer: dict[str, Any] = await self._ask_of("details", uuid)
        return answer

    async def task_meta(self, uuid: str) -> dict[str, Any]:
        """Return a job's TaskMeta."""
        answer: dict[str, Any] = await self._ask_of("task_meta", uuid)
        return answer

    async def graph(self, uuid: str) -> dict[str, Any]:
        """Return the graphs that a job has started, or the one that it is a node of: nodes, edges, states, times."""
        answer: dict[str, Any] = await self._ask_of("graph", uuid)
        return answer

    async def page(
        self, *, state: str | None, limit: int, after: str | None, why: bool = False
    ) -> list[dict[str, Any]]:
        """Return JobStates, newest first; with `why`, what those wait for that have not begun."""
        answer: list[dict[str, Any]] = await self._ask("page", state, limit, after, why)
        return answer

    async def all_jobs(self, *, state: str | None, after: str | None, why: bool) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the items of all jobs in portions, newest first.

        Each job that was there at the start and has not been removed comes once; none that came later does. With a
        state, jobs are listed that have it when their portion is read; those in the tracker's memory come first.

        Args:
            state: only jobs in this state.
            after: only jobs older than this one.
            why: whether jobs that have not begun say what they wait for.
        """
        listed: set[str] = set()
        if state is not None and not JobState(state).terminal:
            uuids: list[str] = await self._ask("in_memory", state, after)
            for start in range(0, len(uuids), _PORTION):
                yield await self._ask("items", uuids[start : start + _PORTION], state, why)
            listed.update(uuids)
        place: int | None = None
        while True:
            items, place = await self._ask("portion", state, place, after, why)
            yield [item for item in items if item["uuid"] not in listed] if listed else items
            if place is None:
                return

    async def queues(self) -> dict[str, Any]:
        """Return what waits and what runs, by queue, pool and submitter."""
        answer: dict[str, Any] = await self._ask("queues")
        return answer

    async def meters(self) -> dict[str, Any]:
        """Return what has been counted and timed, for metrics."""
        answer: dict[str, Any] = await self._ask("meters")
        return answer

    async def pin(self, uuid: str, pinned: bool) -> dict[str, Any]:
        """Keep a job whatever its age, or not; return its JobState."""
        answer: dict[str, Any] = await self._ask_of("pin", uuid, pinned)
        return answer

    async def cancel(self, uuid: str) -> dict[str, Any]:
        """Cancel a job and return its JobState."""
        answer: dict[str, Any] = await self._ask_of("cancel", uuid)
        return answer

    async def health(self) -> tuple[dict[str, str], list[str]]:
        """Return how tracker, store and share are: `ok`, or what is wrong in a sentence; and warnings.

        A warning is about a part without which the platform takes jobs, such as one of its machines.
        """
        try:
            async with asyncio.timeout(_HEALTH_PATIENCE_S):
                answer: dict[str, Any] = await (await self._connected()).call("health")
        except (EngineNotReady, TimeoutError):
            return {"tracker": "The tracker does not answer: it is being started, or started again."}, []
        warnings, share_id = answer.pop("warnings", []), answer.pop("share_id", "")
        self._share_id = share_id
        # What the tracker says about its own machine is more exact.
        if answer.get("share") == "ok" and (problem := await self.share_problem()) is not None:
            answer["share"] = f"The machine of the HTTP service {problem}. Mount the share (SHARE_PATH) there."
        if stuck := self._share.stuck:
            answer["share"] = f"SHARE_PATH does not answer: {stuck} threads of the HTTP service wait for it."
        return {"tracker": "ok", **answer}, warnings

    async def share_problem(self) -> str | None:
        """Return why this process, which may run on another machine than the tracker, cannot use the share.

        The share's id is known from the first call of `health` on; before that, and without an id, it is not checked.
        """
        if not self._share_id:
            return None
        try:
            async with asyncio.timeout(_HEALTH_PATIENCE_S):
                return await self._share.run(partial(share_problem, str(self.settings.share_path), self._share_id))
        except (EngineNotReady, TimeoutError):
            return f"gets no answer from the share {self.settings.share_path}"

    async def remove(self, uuid: str) -> dict[str, Any]:
        """Remove a job that has ended, with its files and all that it started; return the JobState that it had.

        Raises:
            InvalidBackendParameter: it has not ended, is pinned, or is part of another's graph.
        """
        # Removing files may take long; check first whether the tracker answers, whatever it says of the job.
        with suppress(UnreadableRecord):
            await self._ask_of("state", uuid)
        removed: dict[str, Any] = await self._patiently(
            lambda channel, _again: channel.call("remove", uuid), patience_s=_REMOVAL_PATIENCE_S
        )
        return removed

    # --- Following ---------------------------------------------------------------------------------------------------

    async def events(self, uuid: str, last_id: str | None) -> JobEvents:
        """Return what happens to a job, from the event after `last_id` on.

        Raises:
            UnknownJob: there is no such job.
        """
        _check_id(uuid)
        events = self._feeds.follow(JobFolder(self.settings.share_path, uuid), last_id)
        if events.over:
            await self.state(uuid)
        else:
            await events.open()
        return events

    async def log_piece(self, uuid: str, offset: int, max_bytes: int) -> bytes:
        """Return a piece of a job's log from a byte offset on; empty at its end, and where there is none."""
        return await self._share.run(partial(JobFolder(self.settings.share_path, uuid).read_log, offset, max_bytes))

    # --- Fetching ----------------------------------------------------------------------------------------------------

    async def outputs(self, uuid: str) -> list[str]:
        """Return the relative paths of a job's outputs."""
        await self.state(uuid)
        return await self._share.run(JobFolder(self.settings.share_path, uuid).list_outputs)

    async def output(self, uuid: str, name: str) -> OpenedFile:
        """Open one output; the caller closes it."""
        await self.state(uuid)
        folder = JobFolder(self.settings.share_path, uuid)
        return await self._share.run(partial(folder.open_output, name), dispose=OpenedFile.close)

    async def archive(self, uuid: str) -> OpenedFile | None:
        """Open the zip of a job's outputs, which the caller closes; None while the job or the packing is not done."""
        if not JobState((await self.state(uuid))["status"]).terminal:
            return None
        folder = JobFolder(self.settings.share_path, uuid)
        if (archive := await self._share.run(folder.open_archive, dispose=_close)) is not None:
            return archive
        with suppress(TimeoutError):
            async with asyncio.timeout(_PACKING_PATIENCE_S):
                await self._ask("pack", uuid)
        return await self._share.run(folder.open_archive, dispose=_close)

    # --- Processes ---------------------------------------------------------------------------------------------------

    async def processes(self) -> list[str]:
        """Return the names of the pre-built processes."""
        return await inspection_threads().run(partial(process_names, self.settings))

    async def process_help(self, name: str) -> dict[str, Any]:
        """Return the documentation of one process, and its parameters."""
        return await inspection_threads().run(partial(process_help, name, self.settings, self._inspector.inspect))

    # --- The tracker -------------------------------------------------------------------------------------------------

    async def _ask_of(self, method: str, uuid: str, *arguments: Any) -> Any:
        _check_id(uuid)
        return await self._ask(method, uuid, *arguments)

    async def _ask(self, method: str, *arguments: Any) -> Any:
        return await self._patiently(lambda channel, _again: channel.call(method, *arguments))

    async def _subscribe(self, uuid: str) -> tuple[Channel, int, asyncio.Queue[Any]]:
        async def subscribe(channel: Channel, _again: bool) -> tuple[Channel, int, asyncio.Queue[Any]]:
            return channel, *await channel.subscribe("watch", uuid)

        return await self._patiently(subscribe)

    async def _patiently(self, use: Callable[[Channel, bool], Awaitable[T]], *, patience_s: float | None = None) -> T:
        """Use the channel, and again while the tracker is being restarted. Every method may be asked twice.

        Args:
            use: takes the channel, and whether it was tried before.
            patience_s: seconds to wait for an answer; None for the default.

        Raises:
            EngineNotReady: the tracker does not answer: it is being restarted, is frozen, or has too much to do.
        """
        if self._waiting >= _MAX_WAITING:
            raise EngineNotReady("Too many requests wait for the engine. Try again in a moment.")
        self._waiting += 1
        again = False
        try:
            async with asyncio.timeout(self._patience_s if patience_s is None else patience_s) as limit:
                while True:
                    try:
                        return await use(await self._connected(), again)
                    except ConnectionLost:
                        again = True
                        await asyncio.sleep(_RETRY_DELAY_S)
        except TimeoutError:
            if not limit.expired():
                raise
            reason = "is being restarted" if again else "does not answer"
            raise EngineNotReady(f"The engine {reason}. Try again in a moment.") from None
        finally:
            self._waiting -= 1

    async def _connected(self) -> Channel:
        if self._channel is not None and not self._channel.closed:
            return self._channel
        # One attempt shared by all waiting requests; it goes on if one of them gives up.
        if self._opening is None or self._opening.done():
            self._opening = asyncio.ensure_future(self._open_channel())
            self._opening.add_done_callback(_ignore_outcome)
        return await asyncio.shield(self._opening)

    async def _open_channel(self) -> Channel:
        self._channel = await Channel.open(await self._find_tracker())
        return self._channel

    async def _find_tracker(self) -> Endpoint:
        try:
            tracker = await ray_threads().run(partial(ray.get_actor, TRACKER, NAMESPACE))
            async with asyncio.timeout(_PATIENCE_S):
                return Endpoint(*await tracker.endpoint.remote())
        except (ValueError, TimeoutError, EngineNotReady, ray.exceptions.RayError) as error:
            raise ConnectionLost(f"the tracker is not there: {error}") from error


def _not_written(error: Exception) -> EngineNotReady:
    words = (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")
    return EngineNotReady(f"The job's files cannot be written: {words}.")


def _close(file: OpenedFile | None) -> None:
    if file is not None:
        file.close()


def _ignore_outcome(task: asyncio.Task[Channel]) -> None:
    """Retrieve a task's error, so that asyncio does not warn if nobody awaits it."""
    if not task.cancelled():
        task.exception()


def _check_id(uuid: str) -> None:
    """Refuse what cannot be the id of a job, before it becomes part of a path or a message."""
    if not is_uuid(uuid):
        raise UnknownJob(f"There is no job {uuid[:64]!r}.")
