"""X-Request-ID: every answer has the id by which the log names its request."""

from __future__ import annotations

from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = b"x-request-id"
_MAX_BYTES = 200


class RequestIds:
    """Gives each request an id, unless it comes with a usable one, and its answer the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (called by the server)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == _HEADER]
        if len(given) == 1 and given[0].isascii() and 0 < len(given[0]) <= _MAX_BYTES:
            request_id = given[0]
        else:
            request_id = str(uuid4()).encode()
            others = [item for item in scope["headers"] if item[0] != _HEADER]
            scope["headers"] = [*others, (_HEADER, request_id)]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER, request_id)]
            await send(message)

        await self._app(scope, receive, send_with_id)
