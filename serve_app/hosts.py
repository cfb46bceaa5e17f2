"""Check of the header Host, against DNS rebinding.

A hostile web page can make its own host name resolve to 127.0.0.1; its scripts then have the same origin as a service
there. The browser still sends the page's host name as Host. Such a page has no token: callers with a valid token may
use any name.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.auth import TOKEN_HEADER
from serve_app.errors import error_response

_HOST = re.compile(rb"(?:(?P<name>[A-Za-z0-9._-]{1,253})|\[(?P<address>[0-9A-Fa-f:.]{2,45})\])(?::[0-9]{0,5})?")


class HostCheck:
    """Refuses requests for host names that are not allowed.

    Args:
        app: the application.
        allowed_hosts: further names, besides addresses, loopback names and this machine's; `*.example.org` is any name
            below it, `*` any name.
        is_known: returns whether a token is valid.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str], is_known: Callable[[str], bool]) -> None:
        self._app = app
        self._names = {"localhost", socket.gethostname().lower(), *allowed_hosts}
        self._domains = (".localhost", *(one[1:] for one in allowed_hosts if one.startswith("*.")))
        self._any = "*" in allowed_hosts
        self._is_known = is_known
        self._read = functools.lru_cache(maxsize=1024)(_host_of)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (called by the server)."""
        if scope["type"] == "http":
            refusal = await self._refusal(scope)
            if refusal is not None:
                status, details = refusal
                await error_response(status, details)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return why a request is refused, as status and details; None if it is not."""
        found = [value for name, value in scope["headers"] if name == b"host"]
        if not found and scope["http_version"] == "1.0":
            # No browser sends such a request; simple health checks do.
            return None
        if len(found) != 1:
            return (
                400,
                f"The request has {len(found) or 'no'} header{'s' if len(found) > 1 else ''} Host; one is needed.",
            )
        host = self._read(found[0])
        if host is None:
            return 400, "The header Host is not a host name or an address with an optional port."
        if self._is_allowed(host) or await self._is_own_name(host):
            return None
        token = Headers(scope=scope).get(TOKEN_HEADER)
        if token is not None and self._is_known(token):
            return None
        return 421, (
            f"Without a valid token, this server does not answer to the host name {host!r}. Use an address of the "
            "server, send your token as x-api-key, or let the operator add the name to ALLOWED_HOSTS."
        )

    def _is_allowed(self, host: str) -> bool:
        return self._any or host in self._names or host.endswith(self._domains) or _is_address(host)

    async def _is_own_name(self, host: str) -> bool:
        """Return whether a name is this machine's full name; this may query DNS."""
        if not host.startswith(f"{socket.gethostname().lower().partition('.')[0]}."):
            return False
        return host == await asyncio.to_thread(_full_name)


@functools.cache
def _full_name() -> str:
    return socket.getfqdn().lower().rstrip(".")


def _host_of(header: bytes) -> str | None:
    """Return the host of a header Host, in lower case and without its port; None if it is malformed."""
    found = _HOST.fullmatch(header)
    if found is None:
        return None
    address = found["address"]
    if address is not None:
        return address.decode().lower() if _is_address(address.decode()) else None
    return found["name"].decode().lower().rstrip(".") or None


@functools.lru_cache(maxsize=1024)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
