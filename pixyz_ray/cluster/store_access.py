"""StoreAccess: the tracker's access to its store. Nothing on the event loop waits for a database.

Reads run in one thread, slow writes (see journal.py) in another; each has a deadline. A store that does not answer in
time is unavailable: callers get an error at once until a probe gets an answer again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import ParamSpec, TypeVar

from pixyz_ray.store import JobStore, StoreFenced, StoreUnusable

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
PATIENCE_S = 3.0
"""Seconds that a statement may take."""
_FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
"""Longest pause in seconds between two attempts to write to a store that does not answer."""


class Side(StrEnum):
    """Use of the store; reading may fail while writing works, and the other way round."""

    READING = "reading"
    WRITING = "writing"


class StoreAccess:
    """Calls a store off the event loop, and tracks whether it answers. Belongs to one event loop.

    Args:
        store: the store.
        patience_s: seconds that a statement may take.
    """

    def __init__(self, store: JobStore, *, patience_s: float = PATIENCE_S) -> None:
        self.store = store
        self.patience_s = patience_s
        self.on_change: Callable[[], None] = lambda: None
        """Called when the store becomes unavailable or available."""
        self.on_fenced: Callable[[], None] = lambda: None
        """Called when another tracker has taken over the store: nothing can be written any more."""
        self._troubles: dict[Side, str] = {}
        self._threads = {side: ThreadPoolExecutor(1, f"store-{side}") for side in Side}
        self._back: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._probing: asyncio.Task[None] | None = None

    # --- Whether it answers ------------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """Error message of the store; None while it answers."""
        return next(iter(self._troubles.values()), None)

    def check(self) -> None:
        """Check that the last write to the store has not failed.

        Raises:
            StoreUnusable: it has failed.
        """
        if (trouble := self._troubles.get(Side.WRITING)) is not None:
            raise StoreUnusable(trouble)

    def failed(self, side: Side, error: StoreUnusable) -> None:
        """Record that a call has failed. Reads are retried here, writes by the journal."""
        if isinstance(error, StoreFenced):
            _log.critical("%s", error)
            self.on_fenced()
        if self._gone is not None:
            self._gone.set_result(None)
            self._gone = None
        if side not in self._troubles:
            _log.warning("%s Trying again until it is back; no job begins meanwhile.", error)
        self._troubles[side] = str(error)
        if side is Side.READING and (self._probing is None or self._probing.done()):
            self._probing = asyncio.get_running_loop().create_task(self._probe())
        self.on_change()

    def answered(self, side: Side) -> None:
        """Record that a call has been answered."""
        if self._troubles.pop(side, None) is None:
            return
        if not self._troubles:
            _log.info("the job store is back")
            if self._back is not None:
                self._back.set_result(None)
                self._back = None
        self.on_change()

    async def away(self) -> None:
        """Wait until the store does not answer."""
        while not self._troubles:
            if self._gone is None:
                self._gone = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._gone)

    async def back(self) -> None:
        """Wait until the store answers."""
        if self._troubles:
            if self._back is None:
                self._back = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._back)

    async def _probe(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while Side.READING in self._troubles:
            await asyncio.sleep(pause_s)
            pause_s = next_pause(pause_s)
            try:
                await self._read(self.store.known, ["-"])
            except StoreUnusable as error:
                self._troubles[Side.READING] = str(error)

    # --- Calls -------------------------------------------------------------------------------------------------------

    async def read(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Return what a reading method of the store returns.

        Raises:
            StoreUnusable: the store is unavailable, or does not answer in time.
        """
        trouble = self._troubles.get(Side.READING)
        # When no statement is pending, the store may be back already: try it.
        if trouble is not None and self.store.unanswered_s(writing=False) > 0:
            raise StoreUnusable(trouble)
        return await self._read(call, *arguments, **options)

    async def insist(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Return what a reading method of the store returns, however long the store is away."""
        while True:
            try:
                return await self.read(call, *arguments, **options)
            except StoreUnusable:
                await self.back()

    async def _read(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        future = self.start(Side.READING, lambda: call(*arguments, **options))
        try:
            left_s = self.patience_s
            while not (await asyncio.wait((future,), timeout=left_s))[0]:
                # A call may consist of many statements with work between them.
                left_s = self.left_s(Side.READING)
                if left_s <= 0:
                    future.cancel()
                    self.store.cut_off_reader()
                    raise self.timeout_error()
                if (trouble := self._troubles.get(Side.READING)) is not None:
                    # An earlier call has failed meanwhile.
                    future.cancel()
                    raise StoreUnusable(trouble)
            value = future.result()
        except StoreUnusable as error:
            self.failed(Side.READING, error)
            raise
        except asyncio.CancelledError:
            future.cancel()
            raise
        self.answered(Side.READING)
        return value

    def left_s(self, side: Side) -> float:
        """Return the seconds that the current statement may still take."""
        return self.patience_s - self.store.unanswered_s(writing=side is Side.WRITING)

    def timeout_error(self) -> StoreUnusable:
        """Return the error for a call that has exceeded its deadline."""
        return StoreUnusable(f"The job store does not answer: no answer within {self.patience_s:g} s.")

    def start(self, side: Side, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run work in the thread of one side, after the work queued there before."""
        return asyncio.get_running_loop().run_in_executor(self._threads[side], work)

    def close(self) -> None:
        """Stop the threads."""
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)


def next_pause(pause_s: float) -> float:
    """Return the pause in seconds before the next attempt: twice the last one, at most LONGEST_PAUSE_S."""
    return min(LONGEST_PAUSE_S, 2 * pause_s)


def first_pause() -> float:
    """Return the pause in seconds before the first retry."""
    return _FIRST_PAUSE_S
