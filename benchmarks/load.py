"""The client that everything is measured with: HTTP/1.1 by hand over one kept-open socket, which costs little."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
LARGE_FILE = "large.bin"
"""Name of the file whose transfer is measured."""
_PIECE_BYTES = 1 << 20
_SUCCESS = re.compile(rb'"status": ?"SUCCESS"')
_BOUNDARY = "a-boundary-that-no-script-holds"


class Refused(Exception):
    """The server's answer is not the one expected."""


class Connection:
    """One kept-open connection; one request at a time.

    Args:
        port: where the server listens on this machine.
        token: value of the header `x-api-key`.
    """

    def __init__(self, port: int, token: str | None = None) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", buffering=1 << 16)
        self._common = f"Host: {HOST}:{port}\r\n" + (f"x-api-key: {token}\r\n" if token else "")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def get(self, path: str) -> bytes:
        """Return the body of an answer."""
        return b"".join(self.stream(self.request("GET", path)))

    def get_json(self, path: str) -> Any:
        """Return the JSON value of an answer."""
        return json.loads(self.get(path))

    def post(self, path: str, form: Form) -> Any:
        """Send a form and return the JSON value of the answer."""
        head = self._head("POST", path, form.headers)
        if form.file is None:
            self._socket.sendall(head + form.start + form.end)
        else:
            self._socket.sendall(head + form.start)
            with form.file.open("rb") as file:
                self._socket.sendfile(file)
            self._socket.sendall(form.end)
        return json.loads(b"".join(self.stream(self._answer_head())))

    def request(self, method: str, path: str, headers: str = "") -> dict[str, str]:
        """Send a request without a body and return the headers of the answer."""
        self._socket.sendall(self._head(method, path, headers))
        return self._answer_head()

    def stream(self, headers: dict[str, str]) -> Iterator[bytes]:
        """Yield the pieces of an answer's body as they arrive; to be read to the end."""
        if headers.get("transfer-encoding") != "chunked":
            yield from self._sized(int(headers["content-length"]))
            return
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._file.read1(min(left, _PIECE_BYTES)) if left > 1 << 16 else self._file.read(left)
            if not piece:
                raise Refused("the connection broke")
            left -= len(piece)
            yield piece

    def discard(self, headers: dict[str, str]) -> None:
        """Take a large body and throw it away."""
        left = int(headers["content-length"])
        # What the buffer holds already comes first, then straight from the socket.
        buffered = len(self._file.peek())
        left -= len(self._file.read(min(left, buffered)))
        buffer = bytearray(_PIECE_BYTES)
        view = memoryview(buffer)
        while left:
            count = self._socket.recv_into(view[: min(left, _PIECE_BYTES)])
            if not count:
                raise Refused("the connection broke")
            left -= count

    def _head(self, method: str, path: str, headers: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\n{self._common}{headers}\r\n".encode()

    def _answer_head(self) -> dict[str, str]:
        status = self._file.readline().split(b" ", 2)
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode()
        if len(status) < 2 or status[1] not in (b"200", b"206"):
            raise Refused(f"{b' '.join(status)!r} {b''.join(self.stream(headers))[:500]!r}")
        headers["status"] = status[1].decode()
        return headers


class Form:
    """A multipart form, encoded once.

    Args:
        script: content of the field `script`.
        file: path of the field `file`, which is read while sending.
        fields: other fields, as text.
    """

    def __init__(
        self, script: bytes | None = None, file: Path | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        self.file = file
        texts = b"".join(_text_part(name, value) for name, value in (fields or {}).items())
        start = texts + _part("script", "noop.py", script) + b"\r\n" if script is not None else texts
        self.start = start + _part("file", file.name, b"") if file is not None else start
        self.end = (b"\r\n" if file is not None else b"") + f"--{_BOUNDARY}--\r\n".encode()
        size = len(self.start) + len(self.end) + (file.stat().st_size if file else 0)
        self.headers = f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {size}\r\n"


def _text_part(name: str, value: str) -> bytes:
    return f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def _part(name: str, file_name: str, content: bytes) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"'
    return f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n".encode() + content


def wait_for_success(connection: Connection, uuid: str) -> float:
    """Read a job's event stream to its end and return when SUCCESS was seen, on the clock `perf_counter`."""
    text, seen = b"", 0.0
    for piece in connection.stream(connection.request("GET", f"/jobs/{uuid}/events")):
        text += piece
        if not seen and _SUCCESS.search(text):
            seen = time.perf_counter()
    if not seen:
        raise Refused(f"job {uuid} did not succeed: {text.decode()[-2000:]}")
    return seen
