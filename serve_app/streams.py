"""Streams of a job: its events in server-sent form, its log as text."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.job_feed import JobEvents
from pixyz_ray.jobs import JobState
from pixyz_worker.exception import PixyzException

_log = logging.getLogger(__name__)
_STILL_HERE = b": still here\n\n"
_PIECE_BYTES = 256 * 1024


class EventStream(Response):
    """The events of a job in the form of server-sent events, until the job has ended or nobody listens any more.

    Lighter than Starlette's StreamingResponse, which starts a group of tasks for each stream.
    """

    media_type = "text/event-stream"

    def __init__(self, events: JobEvents) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream (called by the server)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # The request has no body, so that the next message is that the client has gone.
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async for news in self._events:
                if gone.done():
                    return
                body = b"".join(event.encoded for event in news) or _STILL_HERE
                more = not self._events.over
                await send({"type": "http.response.body", "body": body, "more_body": more})
                if not more:
                    return
        except PixyzException as error:
            # The client gets a complete answer without the job's end, and reconnects with the id of its last event.
            _log.info("the events of a job end early: %s", error)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._events.close()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def job_list_stream(
    first: list[dict[str, Any]], portions: AsyncIterator[list[dict[str, Any]]]
) -> AsyncIterator[bytes]:
    """Yield the JSON of a whole list of jobs piece by piece, so that it is never in memory at once.

    An error in a portion breaks the connection: the client must not take a part for the whole.

    Args:
        first: the first portion.
        portions: those that follow.
    """
    yield b'{"jobs":['
    begun = False

    def piece(items: list[dict[str, Any]]) -> bytes:
        body = json.dumps(items, separators=(",", ":"), allow_nan=False)[1:-1].encode("ascii")
        return b"," + body if begun and body else body

    yield piece(first)
    begun = bool(first)
    async for items in portions:
        yield piece(items)
        begun = begun or bool(items)
    yield b'],"next":null}'


async def log_stream(engine: Engine, uuid: str, offset: int, *, follow: bool) -> AsyncIterator[bytes]:
    """Yield a log from a byte offset to its present end; with `follow` to its end when the job has ended.

    The first item, which may be empty, comes at once, so that an error before it still gets its status code.
    """
    wait, first = 0.02, True
    while True:
        # Asked before reading: what was printed before the end is then certainly in the file.
        ended = not follow or JobState((await engine.state(uuid))["status"]).terminal
        while (piece := await engine.log_piece(uuid, offset, _PIECE_BYTES)) or first:
            offset += len(piece)
            wait, first = 0.02, False
            yield piece
        if ended:
            return
        await asyncio.sleep(wait)
        wait = min(0.25, wait * 1.5)


async def with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield an item that was taken from a stream already, then the rest of the stream."""
    yield first
    async for item in rest:
        yield item
