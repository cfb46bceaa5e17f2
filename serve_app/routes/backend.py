"""The result backend's view of a job, for clients that speak the scheduler's task protocol."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from pixyz_ray.cluster.engine import Engine
from serve_app import schemas
from serve_app.answers import JsonAnswer
from serve_app.auth import TokenCheck
from serve_app.description import error_responses


def backend_router(engine: Engine, check_token: TokenCheck) -> APIRouter:
    """Return the routes of the result backend, each of which asks for the token."""
    router = APIRouter(prefix="/backend", tags=["backend"], dependencies=[Depends(check_token)])

    @router.get("/get_task_meta/{uuid}", response_model=schemas.TaskMeta, responses=error_responses(401, 404))
    async def get_task_meta(uuid: str) -> Response:
        """Return a job as task meta."""
        return JsonAnswer(await engine.task_meta(uuid))

    return router
