"""Route of the settings in force."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.setting_overview import overview
from pixyz_ray.version import VERSION
from serve_app import schemas
from serve_app.answers import JsonAnswer
from serve_app.auth import TokenCheck
from serve_app.description import error_responses


def config_router(engine: Engine, check_token: TokenCheck, key: str) -> APIRouter:
    """Return the route of the settings in force, which asks for the token.

    Args:
        engine: has the settings.
        check_token: dependency that checks the token.
        key: key of the fingerprints of secrets.
    """
    router = APIRouter(tags=["service"], dependencies=[Depends(check_token)])

    @router.get("/config", response_model=schemas.Config, responses=error_responses(401))
    async def get_config() -> Response:
        """Return the settings in force and where each comes from; values of secrets are left out."""
        rows = [row.answer() for row in overview(engine.settings, key)]
        return JsonAnswer({"version": VERSION, "settings": rows})

    return router
