"""Headers that every answer has, an error too: what a browser may do with it.

Outputs are whatever a script wrote, HTML and SVG among it: nothing of it may run in a browser as a page of this
service.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = b"content-security-policy"
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (_POLICY, b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
"""Of an answer that brings no policy itself."""
_WITHOUT_POLICY = SECURITY_HEADERS[:-1]


class SecurityHeaders:
    """Adds the headers to every answer of an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (called by the server)."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                has_policy = any(name == _POLICY for name, _ in headers)
                message["headers"] = [*headers, *(_WITHOUT_POLICY if has_policy else SECURITY_HEADERS)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
