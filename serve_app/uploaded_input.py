"""The input of a job while it is uploaded: written in the threads for the share, so that a share that hangs or is slow
holds up nobody else."""

from __future__ import annotations

from contextlib import suppress
from typing import BinaryIO

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.threads import share_threads
from pixyz_ray.storage import JobFolder

_WRITE_BYTES = 1 << 20


class UploadedInput:
    """One input file; what was added is written in pieces of about 1 MiB.

    Args:
        folder: folder of the job to come, which is made with the first piece.
        name: name of the file.
    """

    def __init__(self, folder: JobFolder, name: str) -> None:
        self.name = name
        self._folder = folder
        self._pending = bytearray()
        self._file: BinaryIO | None = None
        self._is_whole = False

    def add(self, data: bytes) -> None:
        """Take the next bytes; they stay in memory until `write`."""
        self._pending += data

    def finish(self) -> None:
        """Record that it is whole."""
        self._is_whole = True

    async def write(self) -> None:
        """Write what has gathered, if it is enough or the file is whole; then close that.

        Raises:
            OSError: it cannot be written.
            EngineNotReady: the share does not answer.
        """
        if len(self._pending) >= _WRITE_BYTES or (self._is_whole and (self._pending or self._file is None)):
            pending, self._pending = self._pending, bytearray()
            await share_threads().run(lambda: self._write(pending))
        if self._is_whole:
            await self.close()

    async def close(self) -> None:
        """Close the file; an input that is not whole stays as it is."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError, EngineNotReady):
                await share_threads().run(file.close)

    def _write(self, data: bytearray) -> None:
        if self._file is None:
            # Never the share itself: where that is gone, no other may come into being in its place.
            self._folder.path.mkdir()
            # By this file the folder is known as one of the platform's, should the request never be finished.
            self._folder.lock.touch()
            self._folder.inputs.mkdir()
            self._file = (self._folder.inputs / self.name).open("xb", buffering=0)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
