"""Reference pages: Swagger UI at /docs, ReDoc at /redoc, without a connection to the internet.

Only the script files of the package fastapi-offline are used; a Content-Security-Policy allows only scripts of this
service.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from string import Template

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from pixyz_worker.exception import InternalError
from serve_app.errors import NotOffered

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
_START = "start-swagger-ui.js"
_START_SCRIPT = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Relative addresses: a reverse proxy may serve all of it below a path.
_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pixyz on Ray: reference</title>
<link rel="icon" type="image/png" href="reference/favicon.png">
$head</head>
<body>
$body</body>
</html>
""")
_SWAGGER = _PAGE.substitute(
    head='<link rel="stylesheet" href="reference/swagger-ui.css">\n',
    body='<div id="reference"></div>\n<script src="reference/swagger-ui-bundle.js"></script>\n'
    f'<script src="reference/{_START}"></script>\n',
)
_REDOC = _PAGE.substitute(
    head="",
    body='<redoc spec-url="openapi.json"></redoc>\n<script src="reference/redoc.standalone.js"></script>\n',
)
_HOUR = {"Cache-Control": "public, max-age=3600"}


def reference_router() -> APIRouter:
    """Return the routes of the pages, open to everybody."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def swagger() -> Response:
        """Return the page with Swagger UI."""
        return HTMLResponse(_SWAGGER, headers={"Content-Security-Policy": _POLICY})

    @router.get("/redoc")
    async def redoc() -> Response:
        """Return the page with ReDoc."""
        return HTMLResponse(_REDOC, headers={"Content-Security-Policy": _POLICY})

    @router.get(f"/reference/{_START}")
    async def start() -> Response:
        """Return the script that starts Swagger UI."""
        return Response(_START_SCRIPT, media_type="text/javascript", headers=_HOUR)

    @router.get("/reference/{name}")
    async def asset(name: str) -> Response:
        """Return a script, style sheet or picture of the pages."""
        if name not in _ASSETS:
            raise NotOffered("The pages have no such file.")
        return FileResponse(_folder() / name, media_type=_ASSETS[name], headers=_HOUR)

    return router


@functools.cache
def _folder() -> Path:
    # Not imported: only its files are used.
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise InternalError("The package fastapi-offline is missing: install the project with its dependencies.")
    return Path(found.origin).parent / "static"
