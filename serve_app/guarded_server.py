"""Limits for the connections of Serve's HTTP server.

Serve 2.60 builds uvicorn's configuration itself and has no option for the protocol class. This module replaces the
private `ray.serve._private.http_util.start_asgi_http_server`, which returns the server before it starts: uvicorn loads
its configuration, with the protocol class, only then. Tests check this against the pinned version.
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
    """Limit the connections of this process's HTTP server; call it before Serve starts the server.

    Raises:
        InternalError: this version of Serve has no such function.
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
