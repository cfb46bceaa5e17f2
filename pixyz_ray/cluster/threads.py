"""Bounded pools of threads for calls that may block: one for the share, one for Ray.

A share that hangs blocks only the threads of its own pool: requests that do not need it go on, requests that do get an
error within seconds, and the number of stuck threads is bounded and reported.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pixyz_ray.cluster.errors import EngineNotReady

T = TypeVar("T")
_SHARE_THREADS, _RAY_THREADS, _INSPECTION_THREADS = 16, 2, 8
_INSPECTION_PATIENCE_S = 30.0
_MAX_WAITING = 2000
_PATIENCE_S = 5.0


@dataclass(eq=False, slots=True)
class _Call:
    """One call, waiting or running."""

    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    dispose: Callable[[Any], None] | None
    abandoned: bool = False
    """Whether its caller has given up."""
    began: float | None = None
    """When a thread began it, as time.monotonic(); None while it waits."""

    def run(self) -> None:
        try:
            result, error = self.function(), None
        except BaseException as raised:
            result, error = None, raised
        # The loop is closed when the process ends.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._finish, result, error)

    def _finish(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            if error is None and self.dispose is not None:
                self.dispose(result)
        elif error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Threads:
    """A pool of daemon threads: a stuck one does not keep the process from exiting.

    Args:
        subject: the resource that the calls need; the subject of the error message.
        size: maximum number of threads.
        max_waiting: maximum number of calls that wait for a thread.
        patience_s: seconds after which a caller gives up, and after which a running call counts as stuck.
    """

    def __init__(
        self, subject: str, size: int, *, max_waiting: int = _MAX_WAITING, patience_s: float = _PATIENCE_S
    ) -> None:
        self._subject = subject
        self._size = size
        self._max_waiting = max_waiting
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._running: set[_Call] = set()
        self._threads = self._idle = 0

    @property
    def stuck(self) -> int:
        """Number of calls that have been running for longer than a caller waits."""
        before = time.monotonic() - self._patience_s
        with self._changed:
            return sum(1 for call in self._running if call.began is not None and call.began < before)

    async def run(self, function: Callable[[], T], *, dispose: Callable[[T], None] | None = None) -> T:
        """Run a function in a thread and return its result.

        Args:
            function: the function to call.
            dispose: called with a result that arrives after the caller has given up, such as an open file.

        Raises:
            EngineNotReady: there is no answer in time, or too many calls wait already.
        """
        if len(self._waiting) >= self._max_waiting or self.stuck >= self._size:
            raise self._not_ready()
        call = self._begin(function, dispose)
        try:
            async with asyncio.timeout(self._patience_s) as limit:
                result: T = await self._result(call)
                return result
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._not_ready() from None

    async def wait_for(self, function: Callable[[], T]) -> T:
        """Run a function in a thread and return its result, however long it takes."""
        result: T = await self._result(self._begin(function, None))
        return result

    def _not_ready(self) -> EngineNotReady:
        return EngineNotReady(f"{self._subject} does not answer. Try again in a moment.")

    def _begin(self, function: Callable[[], Any], dispose: Callable[[Any], None] | None) -> _Call:
        loop = asyncio.get_running_loop()
        call = _Call(function, loop, loop.create_future(), dispose)
        with self._changed:
            self._waiting.append(call)
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=f"pixyz-{self._subject}", daemon=True).start()
        return call

    async def _result(self, call: _Call) -> Any:
        try:
            return await call.future
        finally:
            call.abandoned = True
            if call.began is None:
                with self._changed, suppress(ValueError):
                    self._waiting.remove(call)

    def _work(self) -> None:
        while True:
            call = self._next()
            if not call.abandoned:
                call.run()
            with self._changed:
                self._running.discard(call)

    def _next(self) -> _Call:
        with self._changed:
            self._idle += 1
            while not self._waiting:
                self._changed.wait()
            self._idle -= 1
            call = self._waiting.popleft()
            call.began = time.monotonic()
            self._running.add(call)
            return call


@lru_cache(maxsize=1)
def share_threads() -> Threads:
    """Return this process's threads for calls that need the share."""
    return Threads("The share", _SHARE_THREADS)


@lru_cache(maxsize=1)
def inspection_threads() -> Threads:
    """Return this process's threads for reading scripts; the inspector bounds their time."""
    return Threads("The inspection of scripts", _INSPECTION_THREADS, patience_s=_INSPECTION_PATIENCE_S)


@lru_cache(maxsize=1)
def ray_threads() -> Threads:
    """Return this process's threads for blocking calls of Ray."""
    return Threads("Ray", _RAY_THREADS)
