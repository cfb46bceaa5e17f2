"""The body of a request, piece by piece, and no more of it than the server accepts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect, Request

from pixyz_ray.json_fields import json_value
from serve_app.errors import BadRequest, UploadTooLarge

_MAX_LENGTH_DIGITS = 20


async def request_body(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the pieces of a request's body.

    Args:
        request: the request.
        max_bytes: the most that it may have.

    Raises:
        UploadTooLarge: it has more, or says so beforehand.
        BadRequest: it is compressed, or the client went away before the end.
    """
    if (coding := request.headers.get("content-encoding", "").strip().lower()) not in ("", "identity"):
        raise BadRequest(f"The body comes with Content-Encoding {coding[:100]!r}: send it unencoded.")
    declared = request.headers.get("content-length", "").lstrip("0")
    # Python refuses to read numbers of thousands of digits.
    if declared.isdecimal() and (len(declared) > _MAX_LENGTH_DIGITS or int(declared) > max_bytes):
        raise _too_large(max_bytes)
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise BadRequest("The connection broke before the upload was complete.") from None


async def json_body(request: Request, max_bytes: int) -> Any:
    """Return the JSON value that is a request's body.

    Args:
        request: the request.
        max_bytes: the most that the body may have.

    Raises:
        UploadTooLarge: it has more, or says so beforehand.
        BadRequest: it is not UTF-8, or the client went away before the end.
        InvalidBackendParameter: it is not JSON, or nested too deeply.
    """
    body = b"".join([chunk async for chunk in request_body(request, max_bytes)])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    if not text.strip():
        raise BadRequest("The body is empty: send JSON.")
    return json_value(text, "body")


def _too_large(max_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(f"The upload is larger than this server's limit of {max_bytes} bytes.")
