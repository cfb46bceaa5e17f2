"""StoredTurns: jobs whose turn has come and whose records only the store has; they are read in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.cluster.turns import Turns
from pixyz_ray.jobs import Job
from pixyz_ray.store import StoreUnusable

_log = logging.getLogger(__name__)
_AGAIN_AFTER_S = 1.0


class StoredTurns:
    """Reads records while there are any to read, on one event loop.

    Args:
        access: the store.
        turns: where jobs go back to while the store is away.
        start: runs a coroutine in the background.
        take_turn: begins a job; takes its id and its stored record, or None where there is none.
    """

    def __init__(
        self,
        access: StoreAccess,
        turns: Turns,
        start: Callable[[Coroutine[Any, Any, None]], None],
        take_turn: Callable[[str, Job | None], None],
    ) -> None:
        self._access = access
        self._turns = turns
        self._start = start
        self._take_turn = take_turn
        self._waiting: list[str] = []
        self._is_reading = False

    def add(self, uuid: str) -> None:
        """Begin a job once its record has been read."""
        self._waiting.append(uuid)
        if not self._is_reading:
            self._is_reading = True
            self._start(self._read_all())

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                uuids, self._waiting = self._waiting, []
                await self._begin(uuids)
        finally:
            # Whatever went wrong, the next job whose turn has come starts this again.
            self._is_reading = False
        self._turns.pump()

    async def _begin(self, uuids: Sequence[str]) -> None:
        try:
            found = await self._access.read(self._access.store.get_many, uuids)
        except StoreUnusable:
            self._put_back(uuids)
            return
        except Exception:
            # A fault of ours: not at once again, or nothing else would be done.
            _log.exception("the records of %d jobs whose turn had come could not be read", len(uuids))
            asyncio.get_running_loop().call_later(_AGAIN_AFTER_S, self._put_back, uuids)
            return
        for uuid in uuids:
            self._take_turn(uuid, found.get(uuid))

    def _put_back(self, uuids: Sequence[str]) -> None:
        for uuid in uuids:
            self._turns.put_back(uuid)
        self._turns.pump()
