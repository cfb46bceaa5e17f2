"""The HTTP service of the platform, on Ray Serve: `serve run serve_app:app` starts it on a Ray cluster."""

from __future__ import annotations

from typing import Any

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    # Fetched when Serve asks for it: the rest of the package does not need Serve.
    if name == "app":
        from serve_app.builder import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
