"""The HTTP service: one FastAPI application, and the Serve deployment that runs it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.logs import configure_logging
from pixyz_ray.private_files import use_share_mask
from pixyz_ray.settings import Settings
from pixyz_ray.version import VERSION
from serve_app.auth import token_check
from serve_app.cors import add_cors
from serve_app.description import ANY_ROUTE, describe
from serve_app.errors import add_error_handlers
from serve_app.guarded_server import guard_server
from serve_app.hosts import HostCheck
from serve_app.routes.backend import backend_router
from serve_app.routes.config import config_router
from serve_app.routes.jobs import jobs_router
from serve_app.routes.nodes import nodes_router
from serve_app.routes.processes import processes_router
from serve_app.routes.queues import queues_router
from serve_app.routes.reference import reference_router
from serve_app.routes.service import service_router
from serve_app.serve_fixes import keep_grpc_on_node_address, listen_on

_MAX_ONGOING = 10_000


def build_app(engine: Engine, local_token_sha256: str) -> FastAPI:
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
        nodes_router(engine, check),
        config_router(engine, check, local_token_sha256),
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
    return app


def deployment(settings: Settings, local_token_sha256: str) -> Any:
    """Return the Serve application, ready for `serve.run`."""

    def builder() -> FastAPI:
        # Serve calls this in the replica's process, before it opens any port.
        keep_grpc_on_node_address()
        listen_on(settings.api_host)
        use_share_mask()
        guard_server(settings)
        configure_logging(settings.log_level, settings.log_format)
        return build_app(Engine(settings), local_token_sha256)

    # The replica takes no CPU from the jobs, and holds nothing that would be lost with it.
    @serve.deployment(
        name="api",
        num_replicas=1,
        max_ongoing_requests=_MAX_ONGOING,
        graceful_shutdown_timeout_s=2,
        health_check_period_s=2,
        health_check_timeout_s=10,
        ray_actor_options={"num_cpus": 0},
        # Serve would log every request, and writes metrics of each anyway.
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    @serve.ingress(builder)
    class Api:
        """The replica: it only holds the application."""

    return Api.bind()  # type: ignore[attr-defined]
