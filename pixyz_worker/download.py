"""Files from the web, for scripts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pixyz_worker.exception import InvalidBackendParameter, PixyzSecurityViolation, PixyzWebError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

MAX_DOWNLOAD_BYTES = 64 * 2**30
"""Size of the largest file that is downloaded unless another limit is given."""
TIMEOUT_S = 60.0
"""Seconds without any data after which a server is given up."""

_CHUNK = 1024**2
_MAX_MESSAGE = 1000


def get_filename_from_url(url: str) -> str:
    """Return the last part of the path of a URL.

    >>> get_filename_from_url("https://example.com/parts/bolt%20M4.step?version=2")
    'bolt M4.step'
    """
    return unquote(urlsplit(url).path).rpartition("/")[2]


def download_file(
    url: str,
    destination: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_DOWNLOAD_BYTES,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Download a file by HTTP; `destination` appears when it is complete.

    Args:
        url: an http or https address; redirections are followed.
        destination: path of the file to write.
        max_bytes: size from which on it is refused.
        timeout_s: seconds without any data after which the server is given up.

    Raises:
        PixyzWebError: the server answers with an error (its status_code), or cannot be reached (status_code 0).
        PixyzSecurityViolation: the file is larger than `max_bytes`.
        InvalidBackendParameter: the address is not one of http or https.
    """
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise InvalidBackendParameter(f"download_file takes http and https addresses, not {url!r}")
    target = Path(destination)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _fetch(url, partial, max_bytes, timeout_s)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _fetch(url: str, path: Path, max_bytes: int, timeout_s: float) -> None:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError

    try:
        with _opener().open(url, timeout=timeout_s) as answer, path.open("wb") as file:
            announced = answer.headers.get("Content-Length") or ""
            count = 0
            while chunk := answer.read(_CHUNK):
                count += len(chunk)
                if count > max_bytes:
                    raise PixyzSecurityViolation(f"{url} is larger than {max_bytes} bytes, the limit of this download")
                file.write(chunk)
            if announced.isdigit() and count != int(announced):
                raise PixyzWebError(answer.status, url, f"the answer broke off after {count} of {announced} bytes")
    except HTTPError as error:
        with error:
            text = error.read(_MAX_MESSAGE).decode("utf-8", "replace") or str(error.reason)
        raise PixyzWebError(error.code, url, text) from None
    except (HTTPException, URLError, TimeoutError, ConnectionError) as error:
        raise PixyzWebError(0, url, f"the server cannot be reached: {getattr(error, 'reason', error)}") from error


def _opener() -> OpenerDirector:
    """An opener for http and https alone: the usual one would follow a redirection to ftp too."""
    from urllib import request

    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
