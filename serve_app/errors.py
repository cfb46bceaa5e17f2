"""HTTP errors, made in one place: one table from our errors to status codes, one form of body."""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pixyz_ray.admission import QueueFull
from pixyz_ray.cluster.errors import EngineNotReady, UnknownJob, UnknownNode, UnreadableRecord
from pixyz_ray.store import StoreFull, StoreUnusable
from pixyz_worker.exception import (
    InvalidBackendParameter,
    InvalidFile,
    InvalidScript,
    PixyzException,
    PixyzFileNotFound,
    PixyzSecurityViolation,
)
from pixyz_worker.nearest import SIMILAR, suggestion
from serve_app.answers import JsonAnswer

_log = logging.getLogger(__name__)


class Unauthorized(PixyzException):
    """The token is missing or wrong."""


class Forbidden(PixyzException):
    """The token is right, and has no right to do this."""


class UploadTooLarge(PixyzException):
    """The request is larger than the server takes."""


class NotOffered(PixyzException):
    """A path that this server does not have as it is set up."""


class TooEarly(PixyzException):
    """What is asked for is not there yet."""


class BadRequest(PixyzException):
    """The request cannot be understood."""


STATUS_OF: Mapping[type[Exception], int] = {
    BadRequest: 400,
    InvalidBackendParameter: 400,
    InvalidScript: 400,
    InvalidFile: 400,
    PixyzSecurityViolation: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotOffered: 404,
    UnknownJob: 404,
    UnknownNode: 404,
    UnreadableRecord: 500,
    PixyzFileNotFound: 404,
    UploadTooLarge: 413,
    TooEarly: 425,
    QueueFull: 429,
    EngineNotReady: 503,
    StoreFull: 503,
    StoreUnusable: 503,
}
_IN_THE_LOG: Mapping[type[Exception], str] = {
    StoreFull: "The disk of the job store is full. Remove jobs, or free some space: then jobs are accepted again.",
    StoreUnusable: "The job store cannot be used at the moment. Try again; the server's log says what is wrong.",
}
"""Errors whose messages may contain SQL, hosts or paths -> what callers get instead; the log has the message."""
_MOST_SHOWN_CHARS = 100
_RETRY_AFTER_S = {425: "1", 429: "5", 503: "2"}


def error_response(status: int, details: str, retry_after_s: float | None = None) -> JsonAnswer:
    """Return the contract's answer for an HTTP error.

    Args:
        status: its code.
        details: a sentence.
        retry_after_s: seconds after which it may work; None for what is usual with this code.
    """
    headers = {"Retry-After": _RETRY_AFTER_S[status]} if status in _RETRY_AFTER_S else {}
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        headers["WWW-Authenticate"] = "ApiKey"
    message = HTTPStatus(status).phrase
    content = {"detail": {"code": status, "message": message, "details": details}}
    return JsonAnswer(content, status_code=status, headers=headers)


def _named(request: Request) -> str:
    """Return a request as the log names it, with the id that its answer has as X-Request-ID."""
    return f"{request.method} {request.url.path!r} (request {request.headers.get('x-request-id', '-')!r})"


def _invalid(item: Mapping[str, Any]) -> str:
    """Return what is wrong with a value of a request, from the validation's own record of it."""
    if item["type"] not in ("enum", "literal_error"):
        return f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
    choices = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
    given = str(item["input"])[:_MOST_SHOWN_CHARS]
    advice = suggestion(given, choices, cutoff=SIMILAR)
    return f"{item['loc'][-1]!r} must be one of {', '.join(choices)}, not {given!r}.{advice}"


def add_error_handlers(app: FastAPI, *, debug: bool) -> None:
    """Make an app answer every error in the contract's form.

    Args:
        app: the application.
        debug: whether a fault of ours is answered with its traceback.
    """

    async def on_ours(request: Request, error: Exception) -> JsonAnswer:
        for kind in type(error).__mro__:
            if kind in _IN_THE_LOG:
                _log.error("%s failed: %s", _named(request), error)
                return error_response(STATUS_OF[kind], _IN_THE_LOG[kind])
            if kind in STATUS_OF:
                retry_after_s = error.retry_after_s if isinstance(error, QueueFull) else None
                return error_response(STATUS_OF[kind], str(error), retry_after_s)
        return await on_fault(request, error)

    async def on_http(_request: Request, error: Exception) -> JsonAnswer:
        assert isinstance(error, HTTPException)
        return error_response(error.status_code, str(error.detail))

    async def on_validation(_request: Request, error: Exception) -> JsonAnswer:
        assert isinstance(error, RequestValidationError)
        return error_response(400, "; ".join(map(_invalid, error.errors())))

    async def on_fault(request: Request, error: Exception) -> JsonAnswer:
        _log.error("%s failed", _named(request), exc_info=error)
        text = "".join(traceback.format_exception(error)) if debug else "The server failed; its log says why."
        return error_response(500, text)

    app.add_exception_handler(PixyzException, on_ours)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(Exception, on_fault)
