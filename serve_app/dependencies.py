"""What routes are handed: the engine of the application that they belong to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from pixyz_ray.cluster.engine import Engine


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


TheEngine = Annotated[Engine, Depends(_engine)]
