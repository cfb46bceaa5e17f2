"""What happens to a job, as a stream of events that can be taken up again after a break.

An event's id says all that its reader has seen: `attempt-status-steps-duration-log`. Whoever comes back with it is
told the difference to how things stand now, so that no history has to be kept anywhere, and a restart of anything in
between does not matter.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.channel import Channel
from pixyz_ray.cluster.errors import ConnectionLost
from pixyz_ray.jobs import JobState
from pixyz_ray.storage import JobFolder

_LOG_PIECE_BYTES = 64 * 1024
_FIRST_LOOK_S, _LAST_LOOK_S = 0.02, 0.25
_SILENCE_S = 15.0
_MAX_LOG_PIECES = 4
_MAX_OFFSET = 1 << 62

Subscription = tuple[Channel, int, "asyncio.Queue[Any]"]
Subscribe = Callable[[str], Awaitable[Subscription]]
_STATES = tuple(JobState)


@dataclass(frozen=True, slots=True)
class Seen:
    """How much of a job a reader has seen."""

    attempt: int = 0
    """Attempt that the steps belong to."""
    status: int = -1
    """Index of the last status told, -1 for none."""
    steps: int = 0
    """Steps told."""
    ended: int = 0
    """Steps whose duration was told."""
    log: int = 0
    """Bytes of the log told."""

    def __str__(self) -> str:
        return f"{self.attempt}-{self.status + 1}-{self.steps}-{self.ended}-{self.log}"

    @classmethod
    def parse(cls, text: str | None) -> Seen:
        """Return what an event's id says; an id that is not ours counts as nothing seen."""
        try:
            attempt, status, steps, ended, log = (int(part) for part in (text or "").split("-"))
        except ValueError:
            return cls()
        if min(attempt, status, steps, ended, log) < 0 or status > len(_STATES) or log > _MAX_OFFSET:
            return cls()
        return cls(attempt, status - 1, steps, ended, log)

    @property
    def terminal(self) -> bool:
        """Whether the end was told."""
        return self.status >= 0 and _STATES[self.status].terminal


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job."""

    id: str
    """What its reader has seen with it."""
    kind: str
    """`status`, `step` or `log`."""
    data: dict[str, Any]
    """JSON object."""

    def encode(self) -> bytes:
        """Return it in the form of server-sent events (WHATWG HTML, section 9.2)."""
        return f"id: {self.id}\nevent: {self.kind}\ndata: {json.dumps(self.data)}\n\n".encode()


class JobEvents:
    """The events of one job, from where a reader left off: open it, iterate over it, close it.

    Args:
        subscribe: opens a subscription at the tracker.
        folder: the job's files, for its log.
        last_id: id of the last event that the reader has seen.
    """

    def __init__(self, subscribe: Subscribe, folder: JobFolder, last_id: str | None) -> None:
        self._subscribe = subscribe
        self._folder = folder
        self._log = LogReader(folder.log, Seen.parse(last_id).log)
        self._seen = Seen.parse(last_id)
        self._subscription: Subscription | None = None

    @property
    def over(self) -> bool:
        """Whether the reader has seen the end."""
        return self._seen.terminal

    async def open(self) -> None:
        """Subscribe at the tracker, unless that was done.

        Raises:
            UnknownJob: there is no such job.
        """
        if self._subscription is None:
            self._subscription = await self._subscribe(self._folder.uuid)

    def close(self) -> None:
        """Want no more. Of a job that has ended the tracker tells no more by itself."""
        if self._subscription is not None:
            channel, number, _ = self._subscription
            channel.unsubscribe(number, tell=not self.over)
            self._subscription = None

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Yield events as they come, and none when nothing has happened for a while, so that a break is noticed."""
        while not self._seen.terminal:
            await self.open()
            assert self._subscription is not None
            try:
                async for events in self._from_subscription(self._subscription[2]):
                    yield events
            except ConnectionLost:
                self.close()

    async def _from_subscription(self, queue: asyncio.Queue[Any]) -> AsyncIterator[list[Event]]:
        look, silence = _FIRST_LOOK_S, 0.0
        while not self._seen.terminal:
            news = await _next_within(queue, look)
            if isinstance(news, Exception):
                raise news
            # What was printed before the job ended, or before a step began, is told first.
            events: list[Event] = []
            while text := self._log.read():
                self._seen = replace(self._seen, log=self._log.offset)
                events.append(Event(str(self._seen), "log", {"text": text}))
                if len(events) >= _MAX_LOG_PIECES:
                    yield events
                    events = []
            if events or news is not None:
                look, silence = _FIRST_LOOK_S, 0.0
            else:
                look, silence = min(_LAST_LOOK_S, look * 1.5), silence + look
            if news is not None:
                events += self._changes(news)
            if events or silence > _SILENCE_S:
                silence = 0.0
                yield events

    def _changes(self, news: dict[str, Any]) -> list[Event]:
        """Return the events that lead from what was seen to a snapshot: the end, if it is one, comes last."""
        if news["attempt"] != self._seen.attempt:
            self._seen = replace(self._seen, attempt=news["attempt"], steps=0, ended=0)
        status = JobState(news["state"]["status"])
        if status.terminal:
            return [*self._new_steps(news), *self._new_status(news["state"])]
        return [*self._new_status(news["state"]), *self._new_steps(news)]

    def _new_status(self, state: dict[str, Any]) -> Iterator[Event]:
        status = _STATES.index(JobState(state["status"]))
        if status != self._seen.status:
            self._seen = replace(self._seen, status=status)
            yield Event(str(self._seen), "status", state)

    def _new_steps(self, news: dict[str, Any]) -> Iterator[Event]:
        seen, total = self._seen, news["total"]
        for index, info, duration in news["steps"]:
            done = duration >= 0
            if index < seen.ended or (index < seen.steps and not done):
                continue
            seen = replace(seen, steps=max(seen.steps, index + 1), ended=index + 1 if done else seen.ended)
            self._seen = seen
            progress = min(100, 100 * index // total) if total else None
            data = {"index": index, "info": info, "duration": duration, "progress": progress}
            yield Event(str(seen), "step", data)


class LogReader:
    """Reads a growing log in pieces, cut between characters.

    Args:
        path: the log; it need not be there yet.
        offset: first byte wanted.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self.offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw_offset = offset

    def read(self) -> str:
        """Return the next piece, empty when there is nothing new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._raw_offset)
                data = file.read(_LOG_PIECE_BYTES)
        except OSError:
            # It is not there yet, or the offset is beyond what the file system has.
            return ""
        self._raw_offset += len(data)
        text = self._decoder.decode(data)
        # Bytes of a character that is not whole yet are read again by whoever takes up from this offset.
        self.offset = self._raw_offset - len(self._decoder.getstate()[0])
        return text


async def _next_within(queue: asyncio.Queue[Any], seconds: float) -> Any:
    """Return the newest value of the queue; None when none comes in time."""
    if not queue.empty():
        return queue.get_nowait()
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return None
