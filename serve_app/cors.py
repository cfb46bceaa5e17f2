"""CORS: which web pages may call the service from a browser."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware


def add_cors(app: FastAPI, origins: Sequence[str]) -> None:
    """Let web pages of some origins call an application from a browser; none without this.

    A caller is known by its token alone, never by a cookie, so that browsers need not send credentials.

    Args:
        app: the application.
        origins: such as `https://app.example.com`; `*` for any.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Content-Disposition", "Content-Range", "Retry-After"],
        )
