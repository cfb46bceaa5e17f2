"""Downloads of files that are already open, even if they were renamed or replaced since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from pixyz_ray.cluster.threads import Threads, share_threads
from pixyz_ray.storage import OpenedFile
from serve_app.errors import error_response

T = TypeVar("T")
_BAD_RANGES = {
    400: "The header Range cannot be understood: send bytes=FIRST-LAST.",
    416: "The file has no such range: Content-Range says how long it is.",
}


class OpenedFileResponse(FileResponse):
    """The content of an open file, which is closed at the end; supports Range.

    It is read in the threads for the share, so that a share that hangs does not block other requests.
    """

    # One switch to a thread per MiB, not per 64 KiB.
    chunk_size = 1 << 20

    def __init__(self, opened: OpenedFile, *, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(opened.path, media_type=media_type, headers=headers, stat_result=opened.status)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file (called by the server); a bad range is refused in the form of all errors."""
        refusals: list[Message] = []

        async def send_unless_refused(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _BAD_RANGES:
                refusals.append(message)
            elif not refusals:
                await send(message)

        try:
            await super().__call__(scope, receive, send_unless_refused)
        finally:
            self._opened.close()
        for refusal in refusals:
            answer = error_response(refusal["status"], _BAD_RANGES[refusal["status"]])
            answer.raw_headers += [item for item in refusal["headers"] if item[0] == b"content-range"]
            await answer(scope, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        reader = await share_threads().run(partial(open, self.path, "rb"), dispose=lambda file: file.close())
        try:
            yield _Reader(reader, share_threads())
        finally:
            reader.close()


class _Reader:
    """The methods of an asynchronous file that FileResponse uses."""

    def __init__(self, file: Any, threads: Threads) -> None:
        self._file = file
        self._threads = threads

    async def read(self, size: int) -> bytes:
        content: bytes = await self._threads.run(partial(self._file.read, size))
        return content

    async def seek(self, offset: int) -> int:
        position: int = self._file.seek(offset)
        return position
