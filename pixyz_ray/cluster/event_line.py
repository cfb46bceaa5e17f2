"""A worker's line to the tracker's channel: what is told on it goes one way."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from pixyz_ray.cluster.channel import Endpoint, encode, send_at_once


class EventLine:
    """A worker's side: sends events and never waits for an answer. A line that breaks stays silent.

    An event is sent at once by who reports it: a thread could not, while native code holds the interpreter, and that is
    when one wants to know which step is running. Only those of a flood gather for a moment and go out together.
    """

    _PATIENCE_S = 2.0
    _WINDOW_S = 0.02
    _MAX_IN_WINDOW = 20
    _GATHER_S = 0.02
    _MAX_GATHERED = 10_000

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket: socket.socket | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._gathered: list[bytes] = []
        self._latest: dict[str, bytes] = {}
        self._window_began = 0.0
        self._in_window = 0
        self._more = threading.Event()
        with suppress(OSError):
            self._socket = socket.create_connection((endpoint.host, endpoint.port), timeout=self._PATIENCE_S)
            send_at_once(self._socket)
            self._socket.sendall(encode(endpoint.secret))
            threading.Thread(target=self._send_gathered, name="pixyz-events", daemon=True).start()

    @property
    def broken(self) -> bool:
        """Whether what is sent goes nowhere."""
        return self._socket is None

    def send(self, method: str, *arguments: Any, replaces: str | None = None) -> None:
        """Send an event.

        Args:
            method: name of the message.
            arguments: JSON values.
            replaces: kind of event; in a flood only the latest of a kind is sent. None sends every event.
        """
        try:
            text = json.dumps(arguments, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            # A script may report anything; what is not JSON is not told.
            return
        self.send_text(method, text, replaces)

    def send_text(self, method: str, arguments: str, replaces: str | None = None) -> None:
        """Send an event whose arguments are JSON already."""
        # In a process that the script forked there is no thread to send, and the line is its parent's.
        if self._socket is None or os.getpid() != self._pid:
            return
        line = f'[0,"{method}",{arguments}]\n'.encode("ascii")
        with self._lock:
            if replaces is not None:
                # Reinsert it at the end to keep the order of reports.
                self._latest.pop(replaces, None)
                self._latest[replaces] = line
            else:
                self._gathered += self._latest.values()
                self._latest.clear()
                self._gathered.append(line)
            if self._is_flood() and len(self._gathered) < self._MAX_GATHERED:
                self._more.set()
            else:
                self._send_now()

    def flush(self) -> None:
        """Send what has gathered, now."""
        with self._lock:
            self._send_now()

    def _is_flood(self) -> bool:
        """Count an event, and return whether there were many in a short time."""
        now = time.monotonic()
        if now - self._window_began > self._WINDOW_S:
            self._window_began, self._in_window = now, 0
        self._in_window += 1
        return self._in_window > self._MAX_IN_WINDOW

    def _send_now(self) -> None:
        gathered, self._gathered = [*self._gathered, *self._latest.values()], []
        self._latest.clear()
        if self._socket is None or not gathered:
            return
        try:
            self._socket.sendall(b"".join(gathered))
        except OSError:
            # Half a message may be out: nothing sensible can follow it on this line.
            self._hang_up()

    def close(self) -> None:
        """Close the connection; later events are discarded."""
        with self._lock:
            self._hang_up()
        self._more.set()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_gathered(self) -> None:
        while self._socket is not None:
            self._more.wait()
            time.sleep(self._GATHER_S)
            self._more.clear()
            self.flush()
