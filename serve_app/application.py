"""The HTTP service: one FastAPI application over an engine."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.version import VERSION
from serve_app.auth import token_check
from serve_app.cors import add_cors
from serve_app.description import ANY_ROUTE, describe
from serve_app.errors import add_error_handlers
from serve_app.hosts import HostCheck
from serve_app.request_ids import RequestIds
from serve_app.routes.backend import backend_router
from serve_app.routes.config import config_router
from serve_app.routes.jobs import jobs_router
from serve_app.routes.nodes import nodes_router
from serve_app.routes.processes import processes_router
from serve_app.routes.queues import queues_router
from serve_app.routes.reference import reference_router
from serve_app.routes.service import service_router
from serve_app.security_headers import SecurityHeaders


def build_app(engine: Engine, local_token_sha256: str) -> ASGIApp:
    """Return the application over an engine.

    Args:
        engine: what it asks.
        local_token_sha256: digest (hex) of this machine's own token, accepted beside the operator's.
    """
    app = FastAPI(
        title="Pixyz on Ray",
        version=VERSION,
        description="Run Python scripts for 3D and CAD data preparation: one file, one call.",
        docs_url=None,
        redoc_url=None,
        responses=ANY_ROUTE,
    )
    check = token_check(engine.settings, local_token_sha256)
    for router in (
        service_router(engine, check),
        processes_router(engine),
        jobs_router(engine, check),
        backend_router(engine, check),
        queues_router(engine, check),
        config_router(engine, check, local_token_sha256),
        nodes_router(engine, check),
        reference_router(),
    ):
        app.include_router(router)
    describe(app)
    add_error_handlers(app, debug=engine.settings.debug)
    settings = engine.settings
    app.add_middleware(
        HostCheck,
        allowed_hosts=[settings.api_host.lower(), *settings.allowed_hosts],
        is_known=lambda token: settings.submitter_of(token, local_token_sha256) is not None,
    )
    # Around the check of hosts: a browser's preflight request has no token.
    add_cors(app, settings.cors_origins)
    # Outermost, since an answer to an internal error needs them too.
    return RequestIds(SecurityHeaders(app))
