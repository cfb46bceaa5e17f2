"""Read an untrusted tar archive: forward only, with limits for headers, each member and the total.

`tarfile` reads a header's extension (a PAX record, a long name, the map of a sparse file) into memory at whatever size
the header gives. Its input is therefore a stream that limits what a header may read.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pixyz_worker.exception import UnsafeFile

MAX_HEADER_BYTES = 256 * 1024
"""Maximum bytes of one member's headers, extensions included. A path takes at most 26 KB, Linux attributes 64 KB."""
_CHUNK = 64 * 1024
_BLOCK = 512
# `tarfile` searches PAX records with a pattern that is quadratic in a run of digits. A name has at most 255.
_LONG_NUMBER = re.compile(rb"[0-9]{300}")


@contextmanager
def opened(path: Path, allowed: float) -> Iterator[BoundedTar]:
    """Open a .tar, or a .tar.gz by any other name, for reading its members in order.

    Args:
        path: the archive.
        allowed: maximum number of unpacked bytes, headers included.

    Raises:
        UnsafeFile: a header, or the whole stream, is larger than allowed; also while members are read.
        tarfile.TarError, OSError, EOFError, zlib.error: it is damaged; also while members are read.
    """
    import gzip

    with path.open("rb") as raw:
        source: Any = raw if path.name.lower().endswith(".tar") else gzip.GzipFile(fileobj=raw)
        stream = _ForwardStream(source, path.name, allowed)
        with tarfile.open(fileobj=stream, mode="r:") as file:
            yield BoundedTar(file, stream, path.name)


class BoundedTar:
    """The members of a tar, in order; each must be read before the next is asked for."""

    def __init__(self, file: tarfile.TarFile, stream: _ForwardStream, name: str) -> None:
        self._file = file
        self._stream = stream
        self._name = name

    def members(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        """Yield each member with a file to read it from; None if it is not a regular file."""
        while True:
            self._stream.allow_header()
            info = self._file.next()
            if info is None:
                return
            self._forget_what_was_read()
            if info.size < 0:
                raise tarfile.ReadError(f"the size of {info.name[:200]!r} is negative")
            self._stream.allow_content(info.size)
            yield info, self._file.extractfile(info) if info.isreg() else None

    def _forget_what_was_read(self) -> None:
        # TarFile keeps every member and all global headers in memory.
        self._file.members.clear()  # type: ignore[attr-defined]
        size = sum(len(key) + len(value) for key, value in self._file.pax_headers.items())
        if size > MAX_HEADER_BYTES:
            raise _too_large(self._name)


class _ForwardStream(io.RawIOBase):
    """Input of `tarfile`: forward only, with a limit for the current header or content."""

    def __init__(self, source: Any, name: str, allowed: float) -> None:
        self._source = source
        self._name = name
        self._allowed = allowed
        self._position = 0
        self._left = MAX_HEADER_BYTES
        self._in_header = True

    def allow_header(self) -> None:
        """Allow the headers of the next member."""
        self._left, self._in_header = MAX_HEADER_BYTES, True

    def allow_content(self, size: int) -> None:
        """Allow a member's content and one more block, since the parts of a sparse file may lie apart."""
        self._left, self._in_header = size + _BLOCK, False

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; only forward seeks work."""
        return True

    def tell(self) -> int:
        """Return the number of bytes that were read or skipped."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Skip to a place.

        Raises:
            tarfile.StreamError: the position is behind.
        """
        if whence != io.SEEK_SET or offset < self._position:
            raise tarfile.StreamError("a member lies before its header")
        while self._position < offset:
            if not self.read(min(_CHUNK, offset - self._position)):
                break
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read exactly that many bytes, fewer at the end.

        Raises:
            UnsafeFile: it exceeds the limit of the current part or of the archive.
        """
        if size < 0 or size > self._left:
            raise _too_large(self._name)
        data: bytes = self._source.read(size)
        self._left -= len(data)
        self._position += len(data)
        if self._position > self._allowed:
            setting = "MAX_ARCHIVE_BYTES, MAX_ARCHIVE_RATIO"
            raise UnsafeFile(
                f"{self._name} unpacks to more than {int(self._allowed)} bytes with its headers, the most it may "
                f"({setting})."
            )
        if self._in_header and len(data) > _BLOCK and _LONG_NUMBER.search(data):
            raise UnsafeFile(f"{self._name} has a header in it with a number of 300 digits or more.")
        return data


def _too_large(name: str) -> UnsafeFile:
    return UnsafeFile(
        f"{name} has headers of more than {MAX_HEADER_BYTES} bytes for one file in it, the most that are read. "
        "Pack it again with usual names and without extended attributes."
    )
