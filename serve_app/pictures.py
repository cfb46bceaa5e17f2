"""Pictures of graphs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from fastapi.responses import Response

from pixyz_ray.graph_views import as_dot, as_mermaid, as_svg

GraphFormat = Literal["json", "mermaid", "dot", "svg"]

_WRITERS: Mapping[str, tuple[Callable[[Mapping[str, Any]], str], str]] = MappingProxyType(
    {
        "mermaid": (as_mermaid, "text/plain"),
        "dot": (as_dot, "text/plain"),
        "svg": (as_svg, "image/svg+xml"),
    }
)
"""Format -> what writes it, and its media type."""

PICTURES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}, "image/svg+xml": {}}}}
"""For the generated documentation: the answer in other types than JSON."""

_HEADERS = {
    # Names in it come from strangers. They are escaped; a browser is told to run and fetch nothing all the same.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
}
_LARGE = 200
"""Nodes from which drawing takes longer than a hop to a thread."""


async def graph_picture(view: dict[str, Any], format: GraphFormat) -> Response:
    """Return the answer that shows a graph."""
    write, media_type = _WRITERS[format]
    text = write(view) if len(view["nodes"]) < _LARGE else await asyncio.to_thread(write, view)
    return Response(text, media_type=media_type, headers=_HEADERS)
