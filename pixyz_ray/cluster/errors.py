"""Errors of the cluster, and how errors cross a channel: by name from a table, never unpickled."""

from __future__ import annotations

from typing import Any

from pixyz_ray.admission import QueueFull
from pixyz_ray.record_errors import UnknownJob, UnreadableRecord
from pixyz_ray.store import StoreFull, StoreUnusable
from pixyz_worker import exception as sdk
from pixyz_worker.exception import InternalError, PixyzException

__all__ = [
    "ConnectionLost",
    "EngineNotReady",
    "StoreFull",
    "StoreUnusable",
    "UnknownJob",
    "UnknownNode",
    "UnreadableRecord",
    "decode_error",
    "encode_error",
]


class EngineNotReady(InternalError):
    """The engine cannot take the request now; the same request may succeed in a moment."""


class ConnectionLost(EngineNotReady):
    """The other end of a channel went away."""


class UnknownNode(PixyzException):
    """There is no machine with that name in the cluster."""


_OURS: dict[str, type[PixyzException]] = {
    kind.__name__: kind
    for kind in (EngineNotReady, StoreFull, StoreUnusable, UnknownJob, UnknownNode, UnreadableRecord)
}


def encode_error(error: Exception) -> dict[str, Any]:
    """Return an error as plain values."""
    value = {"type": type(error).__name__, "message": str(error), "ours": isinstance(error, PixyzException)}
    return {**value, "retry_after_s": error.retry_after_s} if isinstance(error, QueueFull) else value


def decode_error(value: dict[str, Any]) -> PixyzException:
    """Return the error that `encode_error` made plain; one of a kind that is not ours becomes an InternalError."""
    name, message = value["type"], value["message"]
    if not value["ours"]:
        return InternalError(f"{name}: {message}")
    if name == QueueFull.__name__:
        return QueueFull(message, value["retry_after_s"])
    kind = _OURS.get(name) or getattr(sdk, name, None)
    if not (isinstance(kind, type) and issubclass(kind, PixyzException)):
        return InternalError(message)
    try:
        return kind(message)
    except TypeError:
        return InternalError(message)
