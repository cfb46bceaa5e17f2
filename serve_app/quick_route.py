"""A route without FastAPI's machinery for parameters, for endpoints that take no more than the request and its path.

Resolving dependencies costs as much as the rest of such a request. The documentation is made as for any other route.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from serve_app.auth import TOKEN_HEADER, TokenCheck


def quick_route(check_token: TokenCheck) -> type[APIRoute]:
    """Return a class of routes that ask for the token themselves."""

    class QuickRoute(APIRoute):
        """A route whose handler calls the endpoint directly where it can."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Return what handles a request (called by FastAPI)."""
            wanted = set(signature(self.endpoint).parameters)
            if not wanted <= {"request", *self.param_convertors}:
                return super().get_route_handler()
            endpoint = self.endpoint
            wants_request = "request" in wanted

            async def handle(request: Request) -> Response:
                await check_token(request, request.headers.get(TOKEN_HEADER))
                arguments = {**request.path_params, "request": request} if wants_request else request.path_params
                response: Response = await endpoint(**arguments)
                return response

            return handle

    return QuickRoute
