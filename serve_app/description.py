"""The OpenAPI description, /openapi.json, with exactly the statuses that each route may answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from serve_app import schemas

_WHEN = {
    400: "The request cannot be understood.",
    401: "The token is missing or wrong.",
    403: "The token has no right to change the platform.",
    404: "There is no such job, output, machine or path.",
    413: "The request, or a field of it, is larger than the server accepts.",
    416: "The file has no such range.",
    421: "The server does not answer to this host name without a token.",
    425: "Too early: ask again after Retry-After seconds.",
    429: "Too many jobs wait: send it again after Retry-After seconds.",
    500: "The server failed; its log says why.",
    503: "The engine is not ready: ask again after Retry-After seconds.",
}
"""Status of an error -> its description."""


_ERROR = {"schema": {"$ref": "#/components/schemas/Error"}}


def error_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of errors by their status, for a route or a router."""
    return {code: {"model": schemas.Error, "description": _WHEN[code]} for code in codes}


ANY_ROUTE = error_responses(400, 421, 500, 503)
"""What each route may answer."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
"""Content of an answer that is a file."""


def describe(app: FastAPI) -> None:
    """Make an application's description match its errors: validation errors have status 400, and all are JSON."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = generate()
            for operations in description["paths"].values():
                for operation in operations.values():
                    # FastAPI's default, which our error handler replaces.
                    operation["responses"].pop("422", None)
                    for status, response in operation["responses"].items():
                        # FastAPI describes them with the content type of the route's success.
                        if status >= "400" and "application/json" not in response["content"]:
                            response["content"] = {"application/json": _ERROR}
            for name in ("HTTPValidationError", "ValidationError"):
                description["components"]["schemas"].pop(name, None)
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
