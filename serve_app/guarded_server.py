"""How Serve's HTTP server gets limits for its connections.

Serve 2.60 builds the configuration of uvicorn itself and lets nobody change it. What this uses of Serve's inside is
`ray.serve._private.http_util.start_asgi_http_server`, which returns the server before it has begun: uvicorn reads its
configuration when it starts, and takes the class of its protocol from there. Checked against the pinned version by
tests.
"""

from __future__ import annotations

import functools
from typing import Any

from ray.serve._private import http_util

from pixyz_ray.settings import Settings
from pixyz_worker.exception import InternalError
from serve_app.connections import limits_of, raise_descriptor_limit
from serve_app.guarded_protocol import apply_limits

_START = "start_asgi_http_server"


def guard_server(settings: Settings) -> None:
    """Make the HTTP server of this process bound its connections; call it before Serve starts it.

    Raises:
        InternalError: this version of Serve does it differently.
    """
    start = getattr(http_util, _START, None)
    if start is None:
        raise InternalError("The connections of this version of Ray Serve cannot be bounded; use the pinned one.")
    limits = limits_of(settings, raise_descriptor_limit())

    @functools.wraps(start)
    async def start_guarded(*arguments: Any, **options: Any) -> Any:
        task, server = await start(*arguments, **options)
        apply_limits(server.config, limits)
        return task, server

    setattr(http_util, _START, start_guarded)
