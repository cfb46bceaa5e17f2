"""The supervisor's side of the driver process: start it, read its heartbeat, end it with everything it has started."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from pixyz_ray.cluster.diagnosis import Sign
from pixyz_ray.cluster.driver_order import MAX_MESSAGE_BYTES, DriverOrder
from pixyz_ray.cluster.liveness import SUPERVISOR
from pixyz_ray.reaper import SESSION_MARK, end_marked, kill_marked
from pixyz_ray.stop_request import StopRequest

DRIVER_COMMAND = (sys.executable, "-m", "pixyz_ray.cluster.driver")
_STOP_PATIENCE_S = 8.0
_DRAIN_OVERTIME_S = 25.0
_CLUSTER_PATIENCE_S = 45.0
_BEAT_OVERDUE_S = 3.0
_TRACKER_OVERDUE_S = 10.0


class DriverProcess:
    """One run of the driver.

    Args:
        order: what it is to start.
        on_change: called from another thread when everything is up, and when the driver has ended.
        command: its program; the descriptor of the connection is added.
        on_note: takes, from another thread, messages about what it is doing.
    """

    def __init__(
        self,
        order: DriverOrder,
        on_change: Callable[[], None],
        command: Sequence[str] = DRIVER_COMMAND,
        on_note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.addresses: dict[str, Any] | None = None
        """Addresses of its parts; None until everything is up."""
        self.error: str | None = None
        """Why it has ended, if it has reported that."""
        self.session = order.session
        """Mark in the environment of all its processes."""
        self._on_change = on_change
        self._on_note = on_note
        self._joins = order.options.address is not None
        self._beat = time.monotonic()
        self._tracker_silent_s = 0.0
        # Messages arrive whole; they are dropped while this process does not read.
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # Ctrl-C and the end of a terminal are for the supervisor alone.
                start_new_session=True,
                env={**os.environ, SESSION_MARK: order.session, SUPERVISOR: str(os.getpid())},
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(pickle.dumps(order))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Return whether the process has ended; then `error` is complete."""
        if self._process.poll() is None:
            return False
        self._reader.join(1.0)
        return True

    def sign(self) -> Sign:
        """Return the sign of the driver itself."""
        if self._process.poll() is not None:
            return Sign.GONE
        return Sign.SILENT if time.monotonic() - self._beat > _BEAT_OVERDUE_S else Sign.GOOD

    def tracker_sign(self) -> Sign:
        """Return whether the tracker answers to the driver."""
        return Sign.SILENT if self._tracker_silent_s > _TRACKER_OVERDUE_S else Sign.GOOD

    def stop(self, request: StopRequest) -> None:
        """Stop in order what the driver has started, then end the remaining processes."""
        if (self.addresses is not None or self._joins) and self._process.poll() is None:
            patience_s = _CLUSTER_PATIENCE_S if self._joins else _STOP_PATIENCE_S
            if request.drain_s > 0:
                patience_s += request.drain_s + _DRAIN_OVERTIME_S
            with suppress(OSError):
                self._line.send(json.dumps(asdict(request)).encode())
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        end_marked(self.session, patience_s=3.0)
        self._close()

    def kill(self) -> None:
        """Kill all processes of the run at once."""
        kill_marked(self.session)
        self._close()

    def _close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(1.0)
        self._line.close()

    def _read(self) -> None:
        """Read messages until the driver has ended."""
        with suppress(OSError):
            while message := self._line.recv(MAX_MESSAGE_BYTES):
                self._take(json.loads(message))
        self._on_change()

    def _take(self, message: dict[str, Any]) -> None:
        self._beat = time.monotonic()
        if message["kind"] == "up":
            self.addresses = message
            self._on_change()
        elif message["kind"] == "failed":
            self.error = message["error"]
        elif message["kind"] == "note":
            self._on_note(message["text"])
        else:
            self._tracker_silent_s = message["tracker_silent_s"]
