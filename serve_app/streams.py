"""Streams of a job: its events in server-sent form, its log as text."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.events import JobEvents
from pixyz_ray.jobs import JobState

_KEEP_ALIVE_S = 15.0
_PIECE_BYTES = 256 * 1024


async def event_stream(events: JobEvents) -> AsyncIterator[bytes]:
    """Yield events in the form of server-sent events, with a comment when nothing happens for a while."""
    iterator = aiter(events)
    pending: asyncio.Future[object] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(iterator))
            done, _ = await asyncio.wait({pending}, timeout=_KEEP_ALIVE_S)
            if not done:
                yield b": still here\n\n"
                continue
            event, pending = pending, None
            yield event.result().encode()  # type: ignore[attr-defined]
    except StopAsyncIteration:
        return
    finally:
        if pending is not None:
            pending.cancel()


async def log_stream(engine: Engine, uuid: str, path: Path, offset: int, *, follow: bool) -> AsyncIterator[bytes]:
    """Yield a log from a byte offset to its present end; with `follow` to its end when the job has ended."""
    wait = 0.02
    while True:
        # Asked before reading: what was printed before the end is then certainly in the file.
        ended = not follow or JobState((await engine.state(uuid))["status"]).terminal
        while piece := await asyncio.to_thread(_read, path, offset):
            offset += len(piece)
            wait = 0.02
            yield piece
        if ended:
            return
        await asyncio.sleep(wait)
        wait = min(0.25, wait * 1.5)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            # A caller may name any offset, and a file system seeks only so far.
            if offset >= os.fstat(file.fileno()).st_size:
                return b""
            file.seek(offset)
            return file.read(_PIECE_BYTES)
    except FileNotFoundError:
        return b""
