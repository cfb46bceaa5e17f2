"""Fetch a file in constant memory: to a temporary name, resumed after a break, renamed when whole."""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path
from typing import BinaryIO

import httpx

from pixyz_ray.client.errors import FileNotWritten, PlatformUnreachable, ServerBusy, check_answer, unreachable
from pixyz_ray.client.form import OnProgress
from pixyz_ray.client.patience import Patience

_HELD_OPEN_S = 2.0
"""Seconds that another program may hold the target of a download open."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def fetch(
    http: httpx.Client, path: str, target: Path, *, patience_s: float, on_progress: OnProgress | None = None
) -> Path:
    """Write what `path` answers to `target`, all of it or nothing, and return `target`.

    Args:
        http: connection to the platform.
        path: path of the file on the server.
        target: file to write; its folder is made when it is missing.
        patience_s: seconds without any byte before giving up, also while the server says "too early".
        on_progress: called with the bytes done and in all.

    Raises:
        PixyzWebError: the server refused.
        PlatformUnreachable: the connection broke and did not come back.
        FileNotWritten: the target cannot be written.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("xb") as file:
                _Download(http, path, file, on_progress).run(Patience(patience_s))
            _rename(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise FileNotWritten(f"Cannot write {target}: {error.strerror or error}.") from error
    return target


def _rename(draft: Path, target: Path) -> None:
    """Give the complete file its name.

    Windows refuses this while another program has the target open; a virus scanner lets go of it soon.
    """
    patience = Patience(_HELD_OPEN_S)
    while True:
        try:
            draft.replace(target)
            return
        except PermissionError as error:
            if not patience.pause():
                message = f"Cannot replace {target}: another program has it open. Close it, or choose another name."
                raise FileNotWritten(message) from error


class _Download:
    """One file on its way, over as many connections as it takes."""

    def __init__(self, http: httpx.Client, path: str, file: BinaryIO, on_progress: OnProgress | None) -> None:
        self._http = http
        self._path = path
        self._file = file
        self._on_progress = on_progress
        self._validator: str | None = None

    def run(self, patience: Patience) -> None:
        """Fetch until the file is whole."""
        while True:
            failure: Exception
            try:
                if self._receive(patience):
                    return
                failure = PlatformUnreachable(f"The server sent less than it announced of {self._path}.")
            except httpx.ConnectError as error:
                if not self._file.tell():
                    raise unreachable(str(self._http.base_url), error) from error
                failure = error
            except (httpx.TransportError, ServerBusy) as error:
                failure = error
            wanted_s = failure.retry_after if isinstance(failure, ServerBusy) else None
            if not patience.pause(wanted_s):
                known = isinstance(failure, ServerBusy | PlatformUnreachable)
                raise failure if known else unreachable(str(self._http.base_url), failure)

    def _receive(self, patience: Patience) -> bool:
        """Append what one connection brings; return whether the file is whole."""
        with self._http.stream("GET", self._path, headers=self._headers()) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and self._file.tell():
                self._start_over()
                return False
            check_answer(response)
            total = self._place(response)
            for chunk in response.iter_raw():
                self._file.write(chunk)
                patience.renew()
                if self._on_progress:
                    self._on_progress(self._file.tell(), total)
        return total is None or self._file.tell() == total

    def _headers(self) -> dict[str, str]:
        # Compressed, the length on the wire would say nothing about the file, and ranges would not add up.
        headers = {"Accept-Encoding": "identity"}
        if self._file.tell():
            headers["Range"] = f"bytes={self._file.tell()}-"
            if self._validator:
                headers["If-Range"] = self._validator
        return headers

    def _place(self, response: httpx.Response) -> int | None:
        """Move to where the answer belongs in the file; return the whole file's length if known."""
        tag = response.headers.get("ETag", "")
        # A weak tag may not guard a range.
        strong = tag and not tag.startswith("W/")
        self._validator = tag if strong else response.headers.get("Last-Modified")
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match and int(match[1]) == self._file.tell():
                return int(match[2])
            self._start_over()
            raise httpx.RemoteProtocolError("the server sent another part of the file than it was asked for")
        self._start_over()
        with contextlib.suppress(KeyError, ValueError):
            return int(response.headers["Content-Length"])
        return None

    def _start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
