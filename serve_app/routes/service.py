"""Routes of the service itself: welcome, health, metrics, and a place to send webhooks to while developing."""

from __future__ import annotations

import json
import logging

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.liveness import Liveness
from pixyz_ray.version import VERSION
from serve_app import schemas
from serve_app.answers import JsonAnswer
from serve_app.auth import TokenCheck, token_seen
from serve_app.description import error_responses
from serve_app.errors import NotOffered
from serve_app.metrics import render_metrics
from serve_app.replica_warning import replica_warnings
from serve_app.request_body import json_body

_log = logging.getLogger(__name__)
_MAX_CALLBACK_BYTES = 1 << 20
_GOOD = "ok"
"""What a check of the engine says when it finds nothing."""
_ANY_JSON = {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}
_HIDDEN = "Not working. Ask with a token for the details."
"""Shown to callers without a token instead of details, which may contain paths, hosts and SQL."""


def service_router(engine: Engine, check_token: TokenCheck) -> APIRouter:
    """Return the routes of the service, open to everybody; the one for webhooks, with DEBUG, to who has a token."""
    router = APIRouter(tags=["service"])
    liveness = Liveness()
    has_token = token_seen(check_token)

    @router.get("/", response_class=PlainTextResponse)
    async def welcome() -> Response:
        """Say hello with the version."""
        return PlainTextResponse(f"Welcome to Pixyz on Ray {VERSION}\n")

    @router.get("/health", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
    @router.get("/health/ready", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
    async def health(request: Request) -> Response:
        """Return whether jobs can be taken: 200 when they can, else 503; a caller with a token is told why."""
        checks, found = await engine.health()
        warnings = [*found, *await replica_warnings(engine)]
        ready = all(found == _GOOD for found in checks.values())
        status = "ok" if ready else "degraded" if checks["tracker"] == _GOOD else "starting"
        if (not ready or warnings) and not await has_token(request):
            checks = {name: found if found == _GOOD else _HIDDEN for name, found in checks.items()}
            warnings = []
        answer = {"status": status, "version": VERSION, "live": True, "ready": ready, "checks": checks}
        answer["warnings"] = warnings
        return JsonAnswer(answer, status_code=200 if ready else 503)

    @router.get("/health/live", response_model=schemas.Life, responses={503: {"model": schemas.LostLife}})
    async def life() -> Response:
        """Answer 200, or 503 when the platform cannot come back by itself; tracker and store are not asked."""
        problem = liveness.problem()
        if problem is not None:
            lost = {"status": "lost", "version": VERSION, "live": False, "problem": problem}
            return JsonAnswer(lost, status_code=503)
        return JsonAnswer({"status": "ok", "version": VERSION, "live": True})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the platform's figures in Prometheus text form."""
        text, media_type = render_metrics(await engine.meters())
        return Response(text, media_type=media_type)

    async def check_debug() -> None:
        if not engine.settings.debug:
            raise NotOffered("There is /dev/callback only with DEBUG=true.")

    # DEBUG first: without it the path is not there for anybody.
    @router.post(
        "/dev/callback",
        dependencies=[Depends(check_debug), Depends(check_token)],
        response_model=schemas.Received,
        openapi_extra=_ANY_JSON,
        responses=error_responses(401, 404, 413),
    )
    async def callback(request: Request) -> Response:
        """Log a JSON body: a helper to test webhooks, with DEBUG and a token."""
        value = await json_body(request, _MAX_CALLBACK_BYTES)
        _log.info("callback: %s", json.dumps(value))
        return JsonAnswer({"status": "ok"})

    return router
