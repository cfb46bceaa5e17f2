"""Feeds of jobs: one reader of a job's log and of the tracker's pushes serves any number of listeners.

A listener is a position in the feed, not a queue: it asks for the events after its position, and waits when there are
none. A slow listener therefore takes no memory and loses nothing: log text that is no longer in the window is read
from the file. Listeners at the same position share their events, and are woken in batches, so that thousands of them
leave time for other requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from pixyz_ray.cluster.channel import Channel
from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.events import Event, Seen, Snapshot, is_terminal
from pixyz_ray.cluster.log_window import PIECE_BYTES, LogWindow, text_of
from pixyz_ray.cluster.threads import Threads
from pixyz_ray.storage import JobFolder

_FIRST_LOOK_S, _LAST_LOOK_S = 0.02, 0.25
_RETRY_S = 0.5
_SILENCE_S = 15.0
_MAX_LOG_PIECES = 4
_WINDOW_BYTES = 512 * 1024
_MAX_SHARED = 16
"""Positions whose events are kept for other listeners."""
_BATCH = 25
"""Listeners woken at a time."""
_PACED_FROM = 50
"""Number of listeners from which on the pause between two batches is as long as a batch took."""

Subscription = tuple[Channel, int, "asyncio.Queue[Any]"]
Subscribe = Callable[[str], Awaitable[Subscription]]


class JobFeeds:
    """The feeds of all jobs that somebody follows.

    Args:
        subscribe: opens a subscription at the tracker.
        threads: where logs are read.
    """

    def __init__(self, subscribe: Subscribe, threads: Threads) -> None:
        self._subscribe = subscribe
        self._threads = threads
        self._feeds: dict[str, JobFeed] = {}

    def follow(self, folder: JobFolder, last_id: str | None) -> JobEvents:
        """Return the events of a job from where a listener left off; `open` subscribes.

        Args:
            folder: the job's files, for its log.
            last_id: id of the last event that the listener has seen.
        """
        return JobEvents(partial(self._join, folder), Seen.parse(last_id))

    def _join(self, folder: JobFolder) -> JobFeed:
        feed = self._feeds.get(folder.uuid)
        if feed is None or feed.failed:
            feed = JobFeed(self._subscribe, folder, self._threads, self._forget)
            self._feeds[folder.uuid] = feed
        feed.join()
        return feed

    def _forget(self, feed: JobFeed) -> None:
        if self._feeds.get(feed.uuid) is feed:
            del self._feeds[feed.uuid]


class JobFeed:
    """The events of one job, while it has listeners.

    Args:
        subscribe: opens a subscription at the tracker.
        folder: the job's files.
        threads: where its log is read.
        forget: called with the feed when its last listener has left.
    """

    def __init__(
        self, subscribe: Subscribe, folder: JobFolder, threads: Threads, forget: Callable[[JobFeed], None]
    ) -> None:
        self.uuid = folder.uuid
        self.version = 0
        """Incremented with every change."""
        self._subscribe = subscribe
        self._folder = folder
        self._threads = threads
        self._forget = forget
        self._window = LogWindow(_WINDOW_BYTES)
        self._snapshot: Snapshot | None = None
        self._shared: dict[Seen, tuple[Seen, list[Event]]] = {}
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._listeners = 0
        self._error: Exception | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._run())

    # --- Listeners ---------------------------------------------------------------------------------------------------

    @property
    def failed(self) -> bool:
        """Whether the feed has failed."""
        return self._error is not None

    def join(self) -> None:
        """Count one more listener."""
        self._listeners += 1

    def leave(self) -> None:
        """Count one listener less; after the last one the feed ends."""
        self._listeners -= 1
        if self._listeners == 0:
            self._task.cancel()
            self._forget(self)

    async def opened(self) -> None:
        """Return when the tracker has accepted the subscription.

        Raises:
            UnknownJob: there is no such job.
            EngineNotReady: the tracker does not answer.
        """
        await asyncio.shield(self._opened)

    async def changed(self, version: int, patience_s: float) -> bool:
        """Wait for at most `patience_s` seconds; return whether there is something newer than a version.

        Raises:
            PixyzException: the feed has failed.
        """
        if self.version == version and self._error is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[future] = None
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await future
            finally:
                self._waiting.pop(future, None)
        if self._error is not None:
            raise self._error
        return self.version != version

    async def after(self, seen: Seen) -> tuple[Seen, list[Event]]:
        """Return the events that follow what a listener has seen: the log first, then the changes that came with it.

        Long output comes in parts: call it again until there are no events.
        """
        if (found := self._shared.get(seen)) is None:
            found = await self._made_after(seen)
        return found

    async def _made_after(self, seen: Seen) -> tuple[Seen, list[Event]]:
        before, version, snapshot, events = seen, self.version, self._snapshot, list[Event]()
        if snapshot is None:
            return seen, events
        while seen.log < self._window.end and len(events) < _MAX_LOG_PIECES:
            text, offset = await self._piece(seen.log)
            if offset == seen.log:
                break
            seen = replace(seen, log=offset)
            if text:
                events.append(Event(str(seen), "log", {"text": text}))
        if len(events) < _MAX_LOG_PIECES:
            seen, changes = snapshot.changes(seen)
            events += changes
        # Something new may have arrived while the file was read.
        if version == self.version and before.log >= self._window.start:
            if len(self._shared) >= _MAX_SHARED:
                self._shared.clear()
            self._shared[before] = seen, events
        return seen, events

    async def _piece(self, offset: int) -> tuple[str, int]:
        if offset >= self._window.start:
            return self._window.piece(offset)
        data = await self._threads.run(partial(self._folder.read_log, offset, PIECE_BYTES))
        if data:
            return text_of(data, offset)
        # The file was truncated: what was printed after that is in the window.
        return "", self._window.start

    # --- The reader --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._snapshot is None or not self._snapshot.terminal:
                await self._follow_once()
        except Exception as error:
            self._error = error
            if not self._opened.done():
                self._opened.set_exception(error)
                # Nobody may be waiting for it any more.
                self._opened.exception()
            await self._wake()

    async def _follow_once(self) -> None:
        """Follow one subscription until the job or the connection ends."""
        try:
            channel, number, queue = await self._subscribe(self.uuid)
        except EngineNotReady:
            if not self._opened.done():
                raise
            # The streams stay open: the tracker is being restarted, or is frozen.
            await asyncio.sleep(_RETRY_S)
            return
        if not self._opened.done():
            self._opened.set_result(None)
        try:
            # A lost connection ends it too.
            with suppress(EngineNotReady):
                await self._read(queue)
        finally:
            # The tracker sends nothing more about a job that has ended.
            channel.unsubscribe(number, tell=self._snapshot is None or not self._snapshot.terminal)

    async def _read(self, queue: asyncio.Queue[Any]) -> None:
        look = _FIRST_LOOK_S
        while self._snapshot is None or not self._snapshot.terminal:
            pushes = await _pushes_within(queue, look)
            if (lost := next((push for push in pushes if isinstance(push, Exception)), None)) is not None:
                raise lost
            # Send text that was printed before the job ended, or before a step began, first. A change of status
            # alone need not wait for the share.
            printed, ends = False, bool(pushes) and is_terminal(pushes[-1])
            if ends or not pushes or any(push["steps"] for push in pushes):
                printed = await self._read_log(wanted=ends)
            if not pushes and not printed:
                look = min(_LAST_LOOK_S, look * 1.5)
                continue
            look = _FIRST_LOOK_S
            for push in pushes:
                self._snapshot = self._snapshot or Snapshot(state=push["state"], attempt=push["attempt"], total=None)
                self._snapshot.apply(push)
            self.version += 1
            self._shared.clear()
            await self._wake()

    async def _read_log(self, *, wanted: bool) -> bool:
        """Read new text of the log into the window; return whether there was any.

        Args:
            wanted: whether to wait for a share that does not answer, since no event may follow a job's end.
        """
        while True:
            try:
                skipped, data = await self._threads.run(partial(_new_in_log, self._folder, self._window.end))
            except (EngineNotReady, OSError):
                if not wanted:
                    return False
                await asyncio.sleep(_RETRY_S)
                continue
            if skipped:
                self._window.move_to(self._window.end + skipped)
            self._window.append(data)
            return bool(data)

    async def _wake(self) -> None:
        """Wake the listeners that wait, batch by batch."""
        woken, self._waiting = self._waiting, {}
        began, count = time.monotonic(), 0
        for future in woken:
            if future.done():
                continue
            future.set_result(None)
            count += 1
            if count % _BATCH == 0:
                await asyncio.sleep(0)
                if len(woken) >= _PACED_FROM:
                    # The woken listeners send now; give other requests as much time.
                    await asyncio.sleep(0)
                    await asyncio.sleep(min(0.05, time.monotonic() - began))
                    began = time.monotonic()


class JobEvents:
    """The events of one job for one listener: open it, iterate over it, close it.

    Args:
        join: returns the job's feed, counting this listener.
        seen: what the listener has seen.
    """

    def __init__(self, join: Callable[[], JobFeed], seen: Seen) -> None:
        self._join = join
        self._seen = seen
        self._feed: JobFeed | None = None

    @property
    def over(self) -> bool:
        """Whether the listener has seen the end of the job."""
        return self._seen.terminal

    async def open(self) -> None:
        """Join the job's feed, if that was not done yet.

        Raises:
            UnknownJob: there is no such job.
            EngineNotReady: the tracker does not answer.
        """
        if self._feed is None:
            self._feed = self._join()
            try:
                await self._feed.opened()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Leave the feed."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.leave()

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Yield events as they come; after a silence yield an empty list, so that a broken connection is noticed."""
        await self.open()
        feed, version = self._feed, -1
        assert feed is not None
        while not self.over:
            if not await feed.changed(version, _SILENCE_S):
                yield []
                continue
            version = feed.version
            while not self.over:
                self._seen, events = await feed.after(self._seen)
                if not events:
                    break
                yield events


async def _pushes_within(queue: asyncio.Queue[Any], seconds: float) -> list[Any]:
    """Return all values of the queue; none when none comes in time."""
    pushes = []
    if queue.empty():
        try:
            async with asyncio.timeout(seconds):
                pushes.append(await queue.get())
        except TimeoutError:
            return []
    while not queue.empty():
        pushes.append(queue.get_nowait())
    return pushes


def _new_in_log(folder: JobFolder, offset: int) -> tuple[int, bytes]:
    """Return the number of bytes skipped, since only the end of a long log is kept, and the bytes after them."""
    size = folder.log_size()
    skipped = max(0, size - offset - _WINDOW_BYTES)
    return skipped, folder.read_log(offset + skipped, _WINDOW_BYTES) if size > offset else b""
