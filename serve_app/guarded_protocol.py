"""The HTTP server's protocol, with limits: it reports the state of each connection to the server's Connections."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pixyz_worker.exception import InternalError
from serve_app.connections import Connections, Limits
from serve_app.errors import error_response
from serve_app.security_headers import SECURITY_HEADERS

_MAX_HEADER_BYTES = 64 * 1024
_MAX_HEADERS = 100


def apply_limits(config: Any, limits: Limits) -> None:
    """Give a server limits for its connections.

    Args:
        config: configuration of uvicorn, which it has not read yet.
        limits: what its connections may take.

    Raises:
        InternalError: it has been read.
    """
    if config.loaded:
        raise InternalError("The HTTP server has begun before its connections were bounded.")
    config.http = functools.partial(GuardedProtocol, connections=Connections(limits))
    # The service has none, and such a connection would leave our protocol.
    config.ws = "none"
    if limits.trusted_proxies:
        config.forwarded_allow_ips = [str(network) for network in limits.trusted_proxies]


class GuardedProtocol(HttpToolsProtocol):
    """The server's own protocol, which reports in which state its connection is."""

    def __init__(self, *, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._guard = connections
        self._header_bytes = 0
        self._header_complete = False
        self._body_complete = False
        self._framing_bytes = 0
        self._got_body = False
        self._refusal = 400
        self._dropped = False
        self.client_host = ""
        """Address of the other end; empty where it has none."""
        self.address = ""
        """The same, shortened to the network that one client has."""
        self.last_byte = 0.0
        """The loop's time when the last bytes came."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes of answers that the other end has not read."""
        return self.transport.get_write_buffer_size()

    @property
    def reading_paused(self) -> bool:
        """Whether it is us who take no more of the body for now."""
        return bool(self.flow.read_paused)

    def drop(self, status: int | None = None) -> None:
        """Close the connection at once.

        Args:
            status: code of the answer where a header has begun; None for no answer.
        """
        if self._dropped:
            return
        self._dropped = True
        self._guard.leave(self)
        # Bytes that nobody reads are no reason to keep it, so that an answer is only tried.
        if status is not None and self._header_bytes and not self.unsent_bytes:
            self._refusal = status
            self.send_400_response("")
        else:
            self.transport.abort()

    # --- Called by the event loop and by the parser ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self.client_host = self.client[0] if self.client else ""
        self.address = _network(self.client_host)
        self._guard.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._guard.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._dropped or self.transport.is_closing():
            return
        self._guard.idle(self, waits=False)
        self.last_byte = self.loop.time()
        self._got_body = False
        super().data_received(data)
        self._bound_framing(len(data))
        cycle = self.cycle
        in_progress = self._header_complete and cycle is not None and not cycle.response_complete
        if in_progress:
            self._header_bytes = 0
            self._guard.not_half_open(self)
        elif not self.transport.is_closing():
            # Part of a header, line breaks before one, or the rest of a body that nobody wants any more.
            self._header_bytes += len(data)
            self._guard.half_open(self)
            if self._header_bytes > _MAX_HEADER_BYTES and not self._header_complete:
                self._refuse(431)
        self._guard.receiving(self, more=in_progress and not self._body_complete)

    def _bound_framing(self, size: int) -> None:
        """Refuse a body of which nothing but framing comes: the parser keeps all of its trailers in memory."""
        if not self._header_complete or self._body_complete or self._got_body:
            self._framing_bytes = 0
        elif not self.transport.is_closing():
            self._framing_bytes += size
            if self._framing_bytes > _MAX_HEADER_BYTES:
                self._refuse(431)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._got_body = True
        super().on_body(body)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._header_complete = self._body_complete = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the application, unless the header is too large."""
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        if len(self.headers) > _MAX_HEADERS or size > _MAX_HEADER_BYTES:
            self._refusal = 431
            raise httptools.HttpParserError("the header is too large")
        self._header_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request."""
        self._body_complete = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.transport.is_closing():
            # What is unsent would keep it open for as long as the other end likes.
            self._guard.answering(self, waits=True)
        else:
            self._guard.receiving(self, more=False)
            self._guard.idle(self, waits=self.timeout_keep_alive_task is not None)

    def pause_writing(self) -> None:
        """Stop the application: the other end reads more slowly than it writes."""
        self._guard.answering(self, waits=True)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Let the application go on."""
        if not self.transport.is_closing():
            self._guard.answering(self, waits=False)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, with or without the other end's having read everything."""
        self.drop()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or too much of it, in the form of all errors, and close the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer is on its way; another one in its midst would be taken for a part of it.
            self.transport.abort()
            return
        answer = error_response(self._refusal, _REFUSALS[self._refusal])
        headers = [*answer.raw_headers, *SECURITY_HEADERS, (b"connection", b"close")]
        lines = [f"HTTP/1.1 {self._refusal} {_PHRASES[self._refusal]}".encode()]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self._guard.answering(self, waits=True)
        self.transport.close()

    def _refuse(self, status: int) -> None:
        self._refusal = status
        self._guard.leave(self)
        self.send_400_response("")


_PHRASES = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
_REFUSALS = {
    400: "This is not an HTTP request that the server understands.",
    408: "The header of the request did not arrive in time.",
    431: f"The header of the request is too large: it may have {_MAX_HEADERS} fields and {_MAX_HEADER_BYTES} bytes.",
}


@functools.lru_cache(maxsize=4096)
def _network(host: str) -> str:
    """Return the address that a limit per client counts: of IPv6 the /64 network, which one client has all of."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
