"""Multipart form that streams files from disk, in chunks large enough for a fast network.

httpx would read files in chunks of 64 KiB; this body reads more at once and says how far it is.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pixyz_worker.exception import PixyzFileNotFound

CHUNK = 1024 * 1024
"""Bytes read from disk at once: half the processor time of 64 KiB, and more brings nothing."""

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes done and the bytes in all (None while unknown)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One file of a form."""

    filename: str
    """Name that the server sees."""
    size: int
    """Bytes."""
    source: Path | bytes
    """File on disk, or its content."""

    @classmethod
    def of(cls, source: str | os.PathLike[str] | bytes, filename: str) -> Upload:
        """Return a path's file, or content under a name of its own.

        Raises:
            PixyzFileNotFound: the path names no file.
        """
        if isinstance(source, bytes):
            return cls(filename=filename, size=len(source), source=source)
        path = Path(source)
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise PixyzFileNotFound(f"{path} {what}.")
        return cls(filename=_last_component(path), size=path.stat().st_size, source=path)

    def named(self, filename: str) -> Self:
        """Return the same file under another name."""
        return replace(self, filename=filename)

    def chunks(self) -> Iterator[bytes]:
        """Yield exactly `size` bytes.

        Raises:
            PixyzFileNotFound: the file became shorter since it was looked at.
        """
        if isinstance(self.source, bytes):
            yield self.source
            return
        left = self.size
        with self.source.open("rb", buffering=0) as file:
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise PixyzFileNotFound(f"{self.source} became shorter while it was sent. Send it again.")
                left -= len(chunk)
                yield chunk


class Form:
    """Body of a `multipart/form-data` request whose length is known before it is sent.

    Args:
        fields: text of each field.
        files: field and file of each upload; a field may have several.
        on_progress: called with the bytes sent and in all.
    """

    def __init__(
        self,
        fields: Mapping[str, str],
        files: Iterable[tuple[str, Upload]] = (),
        on_progress: OnProgress | None = None,
    ) -> None:
        self._boundary = secrets.token_hex(16)
        self._on_progress = on_progress
        # Small fields come first, so that the server can refuse them before it takes a large file.
        head = "".join(f"{self._head(name)}\r\n\r\n{value}\r\n" for name, value in fields.items())
        self._parts: list[bytes | Upload] = [head.encode()]
        for name, upload in files:
            kind = "Content-Type: application/octet-stream"
            title = f'{self._head(name)}; filename="{_escape(upload.filename)}"\r\n{kind}\r\n\r\n'
            self._parts += [title.encode(), upload, b"\r\n"]
        self._parts.append(f"--{self._boundary}--\r\n".encode())

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return sum(part.size if isinstance(part, Upload) else len(part) for part in self._parts)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the request needs."""
        kind = f"multipart/form-data; boundary={self._boundary}"
        return {"Content-Type": kind, "Content-Length": str(self.size)}

    def __iter__(self) -> Iterator[bytes]:
        sent, total = 0, self.size
        for chunk in self._joined():
            yield chunk
            sent += len(chunk)
            if self._on_progress:
                self._on_progress(sent, total)

    def _joined(self) -> Iterator[bytes]:
        """Yield the parts, small neighbours as one chunk: each chunk costs a system call."""
        waiting = b""
        for part in self._parts:
            for chunk in part.chunks() if isinstance(part, Upload) else (part,):
                if len(waiting) + len(chunk) > CHUNK:
                    yield waiting
                    waiting = chunk
                else:
                    waiting += chunk
        yield waiting

    def _head(self, name: str) -> str:
        return f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_escape(name)}"'


def _last_component(path: Path) -> str:
    """Return the file's own name, also where a name on POSIX has backslashes: the server may run on either system."""
    return path.name.rstrip("\\").rpartition("\\")[2] or path.name


def _escape(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
