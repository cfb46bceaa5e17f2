"""Routes of queues: what waits, what runs, and how much there is of what jobs wait for."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from pixyz_ray.cluster.engine import Engine
from serve_app import schemas
from serve_app.answers import JsonAnswer
from serve_app.auth import TokenCheck
from serve_app.description import error_responses


def queues_router(engine: Engine, check_token: TokenCheck) -> APIRouter:
    """Return the routes of queues, each of which asks for the token."""
    router = APIRouter(tags=["queues"], dependencies=[Depends(check_token)])

    @router.get("/queues", response_model=schemas.Queues, responses=error_responses(401))
    async def get_queues() -> Response:
        """Tell how queues, pools and submitters stand."""
        return JsonAnswer(await engine.queues())

    return router
