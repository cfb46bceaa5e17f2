"""Who may call: the token in the header `x-api-key`, compared in constant time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader

from pixyz_ray.settings import LOCAL, OPERATOR, Settings
from serve_app.errors import Forbidden, Unauthorized

TokenCheck = Callable[..., Awaitable[None]]
"""A dependency that lets a request pass and notes whose it is, as `request.state.submitter`, or raises Unauthorized."""

TOKEN_HEADER = "x-api-key"

TokenSeen = Callable[[Request], Awaitable[bool]]
"""Returns whether a request has a valid token; for routes that need none."""

_HEADER = APIKeyHeader(name=TOKEN_HEADER, auto_error=False, description="The token of this server.")


def token_check(settings: Settings, local_token_sha256: str) -> TokenCheck:
    """Return the dependency that lets a request pass or raises Unauthorized.

    Args:
        settings: holds the digest of the operator's token, if there is one.
        local_token_sha256: digest (hex) of the token of the machine that the platform was started on.
    """

    async def check(request: Request, token: Annotated[str | None, Security(_HEADER)]) -> None:
        if token is None:
            raise Unauthorized("The header x-api-key is missing: send your token in it.")
        submitter = settings.submitter_of(token, local_token_sha256)
        if submitter is None:
            raise Unauthorized("The token in the header x-api-key is wrong.")
        request.state.submitter = submitter

    return check


def operator_check(check_token: TokenCheck) -> TokenCheck:
    """Return the dependency that lets pass only whoever may change the platform: the operator and its own machine.

    Args:
        check_token: dependency that checks the token.
    """

    async def check(request: Request, token: Annotated[str | None, Security(_HEADER)]) -> None:
        await check_token(request, token)
        if request.state.submitter not in (OPERATOR, LOCAL):
            raise Forbidden(
                "This token may send and see jobs, not change the platform. Use the operator's token, that of "
                "GOD_PASSWORD_SHA256, or the command on the platform's own machine."
            )

    return check


def token_seen(check_token: TokenCheck) -> TokenSeen:
    """Return the dependency that returns whether a request has a valid token."""

    async def seen(request: Request) -> bool:
        try:
            await check_token(request, request.headers.get(TOKEN_HEADER))
        except Unauthorized:
            return False
        return True

    return seen
