"""The watchdog's line to the tracker's channel: JSON, a message to a line. It never waits, and breaks silently."""

from __future__ import annotations

import _socket
import select
import time
from _json import encode_basestring_ascii

from pixyz_ray.watchdog.page import Endpoint

_UNANSWERED_MS = 15_000
_TCP_USER_TIMEOUT = 18

Value = int | float | str | bool | None


class Line:
    """One connection; opened by what is said on it first."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.established = False
        """Whether the other side has ever taken anything."""
        self.broken = False
        """Whether the connection is gone."""
        self._out = bytearray()
        self._in = bytearray()
        family = _socket.AF_INET6 if ":" in endpoint[0] else _socket.AF_INET
        self._socket = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            # A machine that was switched off says no more than one that has nothing to say.
            self._socket.setsockopt(_socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, _UNANSWERED_MS)
            self._socket.connect_ex(endpoint[:2])
        except OSError:
            self.broken = True
        self._write(_json(endpoint[2]))

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    @property
    def waits_for(self) -> int:
        """What to poll the descriptor for."""
        return select.POLLIN | (select.POLLOUT if self._out else 0)

    def say(self, number: int, method: str, uuid: str, attempt: int, about: dict[str, Value] | None = None) -> None:
        """Send a call about an attempt; without an answer if its number is 0."""
        more = ""
        if about is not None:
            more = ",{" + ",".join(f"{_json(name)}:{_json(value)}" for name, value in about.items()) + "}"
        self._write(f"[{number},{_json(method)},[{_json(uuid)},{attempt}{more}]]")

    def hear(self) -> list[tuple[int, str, float]]:
        """Return what came in: number of the call, the reason to stop it, and the seconds of grace."""
        self._pump()
        try:
            while not self.broken:
                data = self._socket.recv(65536)
                self.established = True
                if not data:
                    self.close()
                self._in += data
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        *lines, rest = self._in.split(b"\n")
        self._in = bytearray(rest)
        # Only those that matter are read: the reader of JSON takes a megabyte.
        return [stop for line in lines if b'"stop"' in line and (stop := _stop_in(bytes(line)))]

    def flush(self, patience_s: float) -> None:
        """Wait until all is sent, or the line is broken, or that long."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        deadline = time.monotonic() + patience_s
        while self._out and not self.broken and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self._pump()

    def close(self) -> None:
        """Hang up."""
        self.broken = True
        self._socket.close()

    def _write(self, text: str) -> None:
        self._out += text.encode() + b"\n"
        self._pump()

    def _pump(self) -> None:
        try:
            while self._out and not self.broken:
                del self._out[: self._socket.send(self._out)]
                self.established = True
        except BlockingIOError:
            pass
        except OSError:
            self.close()


def _json(value: Value) -> str:
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _stop_in(line: bytes) -> tuple[int, str, float] | None:
    """Return what a message tells to stop. A call may be answered so at once, by who knows already."""
    import json

    try:
        number, _, value = json.loads(line)
        return int(number), str(value["stop"]), float(value.get("grace", 0.0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
