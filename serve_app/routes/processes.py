"""Routes of pre-built processes: which there are, and what they do."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from pixyz_ray.cluster.engine import Engine
from serve_app import schemas
from serve_app.answers import JsonAnswer


def processes_router(engine: Engine) -> APIRouter:
    """Return the routes of processes, open to everybody."""
    router = APIRouter(prefix="/processes", tags=["processes"])

    @router.get("", response_model=schemas.ProcessList)
    async def list_processes() -> Response:
        """List the pre-built processes."""
        return JsonAnswer({"processes": await engine.processes()})

    @router.get("/{name}", response_model=schemas.ProcessDoc)
    async def get_process(name: str) -> Response:
        """Return the documentation of one process, and the parameters that it declares."""
        return JsonAnswer(await engine.process_help(name))

    return router
