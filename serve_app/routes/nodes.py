"""Routes of the cluster's machines: what each has and does, and draining one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from pixyz_ray.cluster.engine import Engine
from serve_app import schemas
from serve_app.answers import JsonAnswer
from serve_app.auth import TokenCheck, operator_check
from serve_app.description import error_responses

Name = Annotated[str, Path(description="Host name, address, or at least 6 characters of the id.", max_length=255)]
Deadline = Annotated[
    float | None,
    Query(ge=0, le=1e9, description="Seconds after which attempts that still run are ended, to run elsewhere."),
]


def nodes_router(engine: Engine, check_token: TokenCheck) -> APIRouter:
    """Return the routes of machines; those that change one ask for the operator's token, the others for any."""
    router = APIRouter(tags=["nodes"], dependencies=[Depends(check_token)])
    one: dict[str, Any] = {"response_model": schemas.Node, "responses": error_responses(401, 404)}
    operator: dict[str, Any] = {
        "dependencies": [Depends(operator_check(check_token))],
        "responses": error_responses(401, 403, 404),
    }
    machines = engine.machines

    @router.get("/nodes", response_model=schemas.Nodes, responses=error_responses(401))
    async def get_nodes() -> Response:
        """Return the machines of the cluster, with what they have and run."""
        return JsonAnswer({"nodes": await machines.nodes()})

    @router.get("/nodes/{node}", **one)
    async def get_node(node: Name) -> Response:
        """Return one machine."""
        return JsonAnswer(await machines.node(node))

    @router.post("/nodes/{node}/check", **one)
    async def check_node(node: Name) -> Response:
        """Look at a machine now, such as after its share was mounted, and return it."""
        return JsonAnswer(await machines.check(node))

    @router.post("/nodes/{node}/drain", response_model=schemas.DrainedNode, **operator)
    async def drain_node(node: Name, deadline: Deadline = None) -> Response:
        """Let no more attempts begin on a machine, and return it. It is `drained` when nothing runs there any more."""
        return JsonAnswer(await machines.drain(node, deadline))

    @router.delete("/nodes/{node}/drain", response_model=schemas.Node, **operator)
    async def undrain_node(node: Name) -> Response:
        """Let attempts begin on a machine again, and return it."""
        return JsonAnswer(await machines.undrain(node))

    return router
