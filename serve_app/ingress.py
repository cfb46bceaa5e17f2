"""What stands between Serve's HTTP server and the application, named by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""

from __future__ import annotations

import functools
import socket
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

_BYPASS = (b"x-request-disconnect-disabled", b"?1")


class DirectBody:
    """Hands the application the server's own `receive`.

    Serve reads a request's body ahead into a queue without bound, so as to notice a client that goes away: an upload
    of 1 GiB took 1 GiB in the replica. With this header, meant for clients, it does not; the application notices by
    itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on (called by the server)."""
        if scope["type"] == "http":
            scope["headers"] = [*(item for item in scope["headers"] if item[0] != _BYPASS[0]), _BYPASS]
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Serve's server puts around the application (called by Serve, right before it listens)."""
    _reuse_the_address()
    return [Middleware(DirectBody)]


def _reuse_the_address() -> None:
    """Let a replica listen although connections of the one before it have not quite ended.

    Serve binds without SO_REUSEADDR: when a replica was killed while somebody was connected, its port would be refused
    to the next one for a minute, and Serve would move to another port.
    """
    from ray.serve._private import http_util, replica

    start = http_util.start_asgi_http_server

    def reuse(sock: socket.socket) -> bool:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return True

    @functools.wraps(start)
    async def start_reusing(*arguments: Any, **options: Any) -> Any:
        return await start(*arguments, **{**options, "enable_so_reuseport": True})

    # Not SO_REUSEPORT, which would let two servers share the port.
    http_util.set_socket_reuse_port = reuse
    replica.start_asgi_http_server = start_reusing  # type: ignore[attr-defined]
