"""Cleaner: removes jobs that ended long ago, files first, record last.

Until its record has gone a job is found again, and all of it is done again: a crash in between leaves nothing over that
nobody knows of. Uploads that never became a job are removed at the start; a job's folder is
never removed without its record.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from pixyz_ray.clock import SteadyClock
from pixyz_ray.cluster.errors import UnknownJob, UnreadableRecord
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.jobs import Job
from pixyz_ray.logs import job_logger
from pixyz_ray.retention import Removal, find_leftovers
from pixyz_ray.settings import Settings
from pixyz_worker.exception import InternalError, InvalidBackendParameter, PixyzException, SharePathNotFoundError

_log = logging.getLogger(__name__)
_DAY_S = 86400.0
_AT_A_TIME = 100
_MAX_FOLDERS = 20_000
_ROWS_AT_A_TIME = 200
_MAX_TROUBLE = 1000


class Remover(Protocol):
    """Whoever has a worker remove files."""

    async def remove(self, removals: Sequence[Removal]) -> Mapping[str, str | None]:
        """Return for each job None, or why something of it is still there (see `retention.remove_jobs`)."""


class Cleaner:
    """Removes jobs, one clean-up at a time, on the tracker's event loop.

    Args:
        settings: whether jobs are removed by themselves, and when.
        journal: their records.
        remover: who removes their files.
        is_needed: whether a job must stay that the store takes for removable: what is not written yet counts too.
        forgotten: told which jobs are no more, and how many of them were in each state.
        clock: time from which the age of jobs is computed.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        remover: Remover,
        is_needed: Callable[[str], bool],
        forgotten: Callable[[Sequence[str], Mapping[str, int]], None],
        *,
        clock: SteadyClock | None = None,
    ) -> None:
        self._clock = clock or SteadyClock()
        self._told_of_jump = False
        self._settings = settings
        self._journal = journal
        self._read = journal.access.read
        self._store = journal.access.store
        self._remover = remover
        self._is_needed = is_needed
        self._forgotten = forgotten
        self._one_at_a_time = asyncio.Lock()
        self._removing: set[str] = set()
        self._in_trouble: set[str] = set()

    async def run(self) -> None:
        """Remove jobs that are too old, again and again; one that fails is tried again next time."""
        if not self._settings.cleanup_enabled:
            return
        await self._undisturbed(self.sweep)
        while True:
            await self._undisturbed(self.clean)
            await asyncio.sleep(min(60.0, max(1.0, self._settings.cleanup_delay / 10)))

    def _now(self) -> float:
        """Return the time from which the age of jobs is computed, without jumps forward of the machine's clock."""
        jump_s = self._clock.jump_s
        if jump_s > 0 and not self._told_of_jump:
            _log.warning(
                "the machine's clock was set forward by %.0f s since the platform was started; the age of jobs is "
                "computed as if it had not been. If the clock is right now, restart the platform.",
                jump_s,
            )
        self._told_of_jump = jump_s > 0
        return self._clock.earlier()

    def is_removing(self, uuid: str) -> bool:
        """Return whether a job is just being removed: it cannot be pinned any more."""
        return uuid in self._removing

    async def clean(self) -> int:
        """Remove the jobs whose time has come; return how many there were.

        Raises:
            SharePathNotFoundError: the share is not there.
        """
        if not await share_threads().wait_for(self._settings.share_path.is_dir):
            raise SharePathNotFoundError(f"The share {self._settings.share_path} is not there.")
        removed, now = 0, self._now()
        passed_over: set[str] = set()
        while len(passed_over) < _MAX_TROUBLE:
            async with self._one_at_a_time:
                delay_s = self._settings.cleanup_delay
                found = await self._read(self._store.expired, now, delay_s, _AT_A_TIME + len(passed_over))
                due = [uuid for uuid in found if uuid not in passed_over]
                if not due:
                    break
                passed_over.update(uuid for uuid in due if self._is_needed(uuid))
                tried = [uuid for uuid in due if uuid not in passed_over]
                troubles = await self._remove(tried)
            passed_over.update(troubles)
            removed += len(tried) - len(troubles)
        if removed:
            _log.info("%d jobs were removed, their time being over", removed)
        return removed

    async def remove_now(self, uuid: str) -> None:
        """Remove one job that has ended, with all that it started, whatever its age.

        Raises:
            UnknownJob: there is none of that id.
            InvalidBackendParameter: it cannot be removed as it stands.
            InternalError: something of its files is still there, and so is its record.
        """
        async with self._one_at_a_time:
            try:
                job = await self._read(self._store.get, uuid)
                if job is None:
                    raise UnknownJob(f"There is no job {uuid}.")
                await self._check_removable(job)
            except UnreadableRecord:
                # An unreadable record can only be removed.
                await self._check_graphs(uuid)
            if trouble := (await self._remove([uuid])).get(uuid):
                raise InternalError(f"Job {uuid} cannot be removed: {trouble}")

    async def sweep(self) -> None:
        """Finish removals that were cut short, and remove uploads that never became a job.

        Folders of jobs that the store does not know are kept: they belong to another store, or are newer than a store
        that was restored, or the store is a new one.
        """
        before = self._now() - max(_DAY_S, self._settings.cleanup_delay)
        left = await share_threads().wait_for(partial(find_leftovers, self._settings.share_path, before))
        async with self._one_at_a_time:
            for some in _portions(left.cut_short, _AT_A_TIME):
                self._tell(await self._remover.remove([(uuid, ()) for uuid in some]))
            for some in _portions(left.uploads, _AT_A_TIME):
                strays = await self._unknown(some)
                if strays:
                    self._tell(await self._remover.remove([(uuid, (uuid,)) for uuid in strays]))
                    _log.info("%d folders of uploads that never became a job were removed", len(strays))
        unknown = [uuid for some in _portions(left.jobs, _AT_A_TIME) for uuid in await self._unknown(some)]
        if unknown:
            _log.warning(
                "%d folders on the share belong to no job of this store and are kept, such as %s",
                len(unknown),
                unknown[0],
            )

    async def _unknown(self, uuids: Sequence[str]) -> list[str]:
        """Return the ids that no job of this store has."""
        known = set(await self._read(self._store.known, uuids))
        return [uuid for uuid in uuids if uuid not in known and not self._is_needed(uuid)]

    async def _check_removable(self, job: Job) -> None:
        if not job.state.terminal or self._is_needed(job.uuid):
            raise InvalidBackendParameter(f"Job {job.uuid} has not ended. Cancel it, or wait for its end.")
        if job.home is not None:
            raise InvalidBackendParameter(f"Job {job.uuid} is a part of job {job.home}. Remove that one.")
        if job.pinned:
            raise InvalidBackendParameter(f"Job {job.uuid} is pinned. Unpin it first.")
        await self._check_graphs(job.uuid)

    async def _check_graphs(self, uuid: str) -> None:
        if await self._read(self._store.has_live_graphs, uuid):
            raise InvalidBackendParameter(f"What job {uuid} started has not ended. Cancel it, or wait for its end.")

    async def _remove(self, roots: Sequence[str]) -> dict[str, str]:
        """Remove jobs; return those that are still there, and why."""
        troubles: dict[str, str] = {}
        self._removing.update(roots)
        try:
            nodes: dict[str, list[str]] = {}
            for root in roots:
                try:
                    nodes[root] = await self._read(self._store.nodes_under, root)
                except UnreadableRecord as error:
                    # Which folders belong to its nodes is unknown: keep all rather than leave some behind.
                    troubles.update(self._tell({root: str(error)}))
                if sum(map(len, nodes.values())) > _MAX_FOLDERS or root == roots[-1]:
                    troubles.update(await self._remove_some(nodes))
                    nodes = {}
        finally:
            self._removing.difference_update(roots)
        return troubles

    async def _remove_some(self, nodes: Mapping[str, Sequence[str]]) -> dict[str, str]:
        if not nodes:
            return {}
        answers = await self._remover.remove([(root, (root, *below)) for root, below in nodes.items()])
        troubles = self._tell({root: answers.get(root, "nothing was said of it") for root in nodes})
        for root, below in nodes.items():
            if root not in troubles:
                await self._forget(root, below)
        return troubles

    async def _forget(self, root: str, nodes: Sequence[str]) -> None:
        states: Counter[str] = Counter()
        for some in _portions(nodes, _ROWS_AT_A_TIME):
            states.update(await self._journal.forget(some))
        states.update(await self._journal.forget([root], root))
        self._in_trouble.discard(root)
        self._forgotten([root, *nodes], states)

    def _tell(self, answers: Mapping[str, str | None]) -> dict[str, str]:
        """Return those that are still there, and why; it is told once of each."""
        troubles = {uuid: reason for uuid, reason in answers.items() if reason is not None}
        for uuid in troubles.keys() - self._in_trouble:
            job_logger(_log, uuid).warning("its files cannot be removed: %s", troubles[uuid])
        self._in_trouble |= troubles.keys()
        return troubles

    async def _undisturbed(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except (PixyzException, OSError) as error:
            _log.warning("a clean-up was cut short and goes on later: %s", error)
        except Exception:
            _log.exception("a clean-up was cut short and goes on later")


def _portions(uuids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (uuids[start : start + size] for start in range(0, len(uuids), size))
