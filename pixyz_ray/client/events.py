"""A job's events as typed values, from a server-sent stream that survives broken connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from pixyz_ray.client.errors import ServerBusy, check_answer, unreachable
from pixyz_ray.client.patience import Patience, silence_limit
from pixyz_ray.jobs import JobState
from pixyz_worker.exception import PixyzTimeout

if TYPE_CHECKING:
    from httpx_sse import ServerSentEvent

_TERMINAL = frozenset(str(state) for state in JobState if state.terminal)
_SILENCE_S = 45.0
"""Seconds without a byte after which the stream counts as broken; the server says something every 15."""
_HELD_S = 1.0
"""Seconds that a connection must have held to count as a success, even when the job had nothing to say."""
_SLICE_S = 5.0
"""The same while a deadline runs, since a read cannot be shortened once it has begun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusEvent:
    """The job's state changed."""

    id: str
    """Place in the stream."""
    uuid: str
    """Identity of the job."""
    name: str | None
    """Alias of the job."""
    status: str
    """Status word of the REST contract."""
    progress: int | None
    """0 to 100, or None while nothing is known."""
    error: str | None
    """Why the job failed."""

    @property
    def terminal(self) -> bool:
        """Whether the job has ended for good."""
        return self.status in _TERMINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent:
    """A step of the job began, or ended (then with its duration); a short one is told once, when it has ended."""

    id: str
    """Place in the stream."""
    index: int
    """0 for the first step."""
    info: str
    """What the script says that it does."""
    duration: float
    """Seconds that it took; -1 until it ends."""
    progress: int | None
    """0 to 100, or None while nothing is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEvent:
    """The script printed something."""

    id: str
    """Place in the stream."""
    text: str
    """What it printed: any part of its output, not always a whole line."""


Event = StatusEvent | StepEvent | LogEvent


def parse_event(event: ServerSentEvent) -> Event | None:
    """Return a stream's message as an event, or None for one that this client does not know."""
    build = _BUILDERS.get(event.event)
    return build(event.id, json.loads(event.data)) if build else None


def _status(place: str, data: Mapping[str, Any]) -> Event:
    return StatusEvent(
        id=place,
        uuid=data["uuid"],
        name=data.get("name"),
        status=data["status"],
        progress=data.get("progress"),
        error=data.get("error"),
    )


def _step(place: str, data: Mapping[str, Any]) -> Event:
    return StepEvent(
        id=place,
        index=data["index"],
        info=data["info"],
        duration=data.get("duration", -1),
        progress=data.get("progress"),
    )


def _log(place: str, data: Mapping[str, Any]) -> Event:
    return LogEvent(id=place, text=data["text"])


_BUILDERS: Mapping[str, Callable[[str, Mapping[str, Any]], Event]] = {
    "status": _status,
    "step": _step,
    "log": _log,
}


def follow_events(http: httpx.Client, path: str, *, patience_s: float, timeout: float | None = None) -> Iterator[Event]:
    """Yield a job's events up to its terminal status, whatever happens to the connection meanwhile.

    Args:
        http: connection to the platform.
        path: path of the stream.
        patience_s: seconds without any event or keep-alive connection before the platform counts as gone.
        timeout: seconds that following may take in all; noticed a few seconds late at most.

    Raises:
        PixyzTimeout: the job did not end within `timeout`.
        PlatformUnreachable: the connection broke and did not come back.
        PixyzWebError: the server refused.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    stream = _Stream(http, path, Patience(patience_s))
    failure: Exception
    while True:
        try:
            if (yield from stream.read(deadline)):
                return
            failure = httpx.RemoteProtocolError("the stream of events ended before the job did")
        except (httpx.TransportError, ServerBusy) as error:
            failure = error
        if deadline is not None and time.monotonic() >= deadline:
            raise PixyzTimeout(f"The job did not end within {timeout:g} s; it goes on.")
        wanted_s = failure.retry_after if isinstance(failure, ServerBusy) else None
        if not stream.patience.pause(wanted_s):
            raise failure if isinstance(failure, ServerBusy) else unreachable(str(http.base_url), failure)


class _Stream:
    """Place in a job's events, kept from one connection to the next."""

    def __init__(self, http: httpx.Client, path: str, patience: Patience) -> None:
        self._http = http
        self._path = path
        self._last_id = ""
        self.patience = patience

    def read(self, deadline: float | None) -> Generator[Event, None, bool]:
        """Yield events of one connection; return whether the job has nothing more to say."""
        from httpx_sse import EventSource

        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        silence_s = _SILENCE_S if deadline is None else max(0.01, min(_SLICE_S, deadline - time.monotonic()))
        timeout = silence_limit(self._http, silence_s)
        opened = time.monotonic()
        try:
            with self._http.stream("GET", self._path, headers=headers, timeout=timeout) as response:
                check_answer(response)
                if response.status_code == httpx.codes.NO_CONTENT:
                    return True
                opened = time.monotonic()
                for message in EventSource(response).iter_sse():
                    event = self._take(message)
                    if event is None:
                        continue
                    yield event
                    if isinstance(event, StatusEvent) and event.terminal:
                        return True
                    if deadline is not None and time.monotonic() >= deadline:
                        return False
                return False
        finally:
            if time.monotonic() - opened >= _HELD_S:
                self.patience.renew()

    def _take(self, message: ServerSentEvent) -> Event | None:
        event = parse_event(message)
        self._last_id = message.id or self._last_id
        self.patience.renew()
        return event
