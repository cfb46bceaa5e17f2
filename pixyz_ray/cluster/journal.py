"""Journal: writes job records to the store, all that came in one turn of the event loop in one commit."""

from __future__ import annotations

import asyncio
import logging

from pixyz_ray.jobs import Job
from pixyz_ray.store import JobStore, StoreUnusable

_log = logging.getLogger(__name__)
_LAZY_DELAY_S = 0.05
_RETRY_DELAY_S = 0.5


class Journal:
    """The one writer of a JobStore, used from one event loop.

    Args:
        store: where records go. A commit takes about half a millisecond on a local disk, less than handing it to a
        thread.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._added: list[Job] = []
        self._changed: dict[str, Job] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._scheduled = False

    async def add(self, job: Job) -> None:
        """Return when a new job is on disk.

        Raises:
            StoreUnusable: it is not, and nothing of it will be.
        """
        self._added.append(job)
        await self._committed()

    async def change(self, job: Job) -> None:
        """Return when a job's change is on disk, however long the store does not take it."""
        while True:
            self._changed[job.uuid] = job
            try:
                return await self._committed()
            except StoreUnusable as error:
                _log.warning("job %s: %s Trying again.", job.uuid, error)
                await asyncio.sleep(_RETRY_DELAY_S)

    def change_soon(self, job: Job) -> None:
        """Write a change that may be lost, such as the start of a run, with the next commit or a little later."""
        self._changed[job.uuid] = job
        asyncio.get_running_loop().call_later(_LAZY_DELAY_S, self._flush_lazy)

    def flush(self) -> None:
        """Commit what has gathered, now."""
        self._scheduled = False
        added, changed, waiting = self._added, self._changed, self._waiting
        self._added, self._changed, self._waiting = [], {}, []
        if not added and not changed:
            return
        try:
            self._store.write(added, changed.values())
        except Exception as error:
            # Whatever it is: those who wait for this commit must hear of it.
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _committed(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self.flush)
        return future

    def _flush_lazy(self) -> None:
        if self._changed and not self._scheduled:
            self.flush()
