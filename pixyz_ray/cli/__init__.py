"""Command line `pixyz`: click, thin over `pixyz_ray.client`."""

from __future__ import annotations

from pixyz_ray.cli.app import main

__all__ = ["main"]
