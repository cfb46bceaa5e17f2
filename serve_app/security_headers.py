"""Security headers of every answer, errors included.

Outputs are arbitrary files of scripts, HTML and SVG included; they must not run in a browser as pages of this service.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
"""Defaults; an answer that sets one of these headers itself keeps its own value."""


class SecurityHeaders:
    """Adds the headers to every answer of an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (called by the server)."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                names = {name for name, _ in headers}
                message["headers"] = [*headers, *(item for item in SECURITY_HEADERS if item[0] not in names)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
