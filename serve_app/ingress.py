"""What stands between Serve's HTTP server and the application, named by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""

from __future__ import annotations

from itertools import product

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.security_headers import SecurityHeaders
from serve_app.serve_fixes import reuse_address

_BYPASS = (b"x-request-disconnect-disabled", b"?1")
_SERVES_OWN = frozenset(
    {
        _BYPASS[0],
        b"x-request-timeout-seconds",
        *(b"x%ssession%sid" % dashes for dashes in product((b"-", b"_"), repeat=2)),
        *(b"serve%smultiplexed%smodel%sid" % dashes for dashes in product((b"-", b"_"), repeat=3)),
    }
)
"""Headers with which a caller could control Serve, or make it fail, since it expects UTF-8."""
_REQUEST_ID = b"x-request-id"
_MAX_REQUEST_ID_BYTES = 200


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
            scope["headers"] = [*(item for item in scope["headers"] if not _is_serves_own(item)), _BYPASS]
        await self._app(scope, receive, send)


def _is_serves_own(item: tuple[bytes, bytes]) -> bool:
    name, value = item
    if name in _SERVES_OWN:
        return True
    return name == _REQUEST_ID and not (value.isascii() and len(value) <= _MAX_REQUEST_ID_BYTES)


def middlewares() -> list[Middleware]:
    """Return what Serve's server puts around the application (called by Serve, right before it listens)."""
    reuse_address()
    return [Middleware(DirectBody), Middleware(SecurityHeaders)]
