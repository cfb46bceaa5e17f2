"""Replicas beside the head take no request about jobs while their machine does not see the head's share.

Without this, a job whose script was written to another folder would be accepted, and outputs would seem to be missing.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from pixyz_ray.cluster.engine import Engine
from serve_app.errors import error_response


class ShareGate:
    """Answers 503 to requests about jobs where the share cannot be used.

    Args:
        app: the application.
        engine: what checks the share; a check reads one small file.
    """

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (called by the server)."""
        if scope["type"] == "http" and scope["path"].startswith("/jobs"):
            problem = await self._engine.share_problem()
            if problem is not None:
                await error_response(503, f"The machine of the HTTP service {problem}.")(scope, receive, send)
                return
        await self._app(scope, receive, send)
