"""What can go wrong between a client and the platform, and how an HTTP answer becomes an error.

PixyzException
+-- PixyzWebError(status_code, url, message)  the server refused
|   +-- ServerBusy(..., retry_after)          not now, perhaps later: 425, 429, 502, 503, 504
+-- PlatformUnreachable                       nothing answers, or the connection broke for good
+-- JobFailed(message, uuid, status, error)   the job ended, but not with SUCCESS
+-- InvalidClientConfig                       the configuration file or the URL makes no sense
+-- FileNotWritten                            a download cannot be saved under the name that was asked for
"""

from __future__ import annotations

import httpx

from pixyz_ray.run_record import outage
from pixyz_worker.exception import PixyzException, PixyzWebError

LATER = frozenset({425, 429, 502, 503, 504})
"""Answers that mean "not now": the same request may succeed later."""


class PlatformUnreachable(PixyzException):
    """Nothing answers at the URL, or the connection broke and did not come back."""


class InvalidClientConfig(PixyzException):
    """The client's configuration file, or the URL that it names, cannot be used."""


class FileNotWritten(PixyzException):
    """A downloaded file cannot be saved: no permission, no space, or another program holds the target open."""


class ServerBusy(PixyzWebError):
    """The server cannot do it now; the same request may succeed later."""

    def __init__(self, status_code: int, url: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status_code, url, message)
        self.retry_after = retry_after
        """Seconds that the server asks to wait; None where it does not say."""


class JobFailed(PixyzException):
    """A job ended with FAILURE or REVOKED; `error` has the traceback of the user's script."""

    def __init__(self, message: str, uuid: str = "", status: str = "FAILURE", error: str | None = None) -> None:
        super().__init__(message)
        self.uuid = uuid
        self.status = status
        self.error = error


def unreachable(url: str, error: Exception) -> PlatformUnreachable:
    """Return the sentence for a connection that could not be made or broke."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        if (message := outage(url)) is not None:
            return PlatformUnreachable(
                f"The platform at {url} does not answer just now, {message}. Try again in a minute."
            )
        return PlatformUnreachable(
            f"No platform answers at {url}. Start one on this machine with `pixyz up`, "
            "or name another with -u URL (or PIXYZ_URL)."
        )
    if isinstance(error, httpx.TimeoutException):
        return PlatformUnreachable(f"The platform at {url} did not answer in time. See `pixyz doctor`.")
    return PlatformUnreachable(f"The connection to {url} broke: {error or type(error).__name__}. Try again.")


def check_answer(response: httpx.Response) -> None:
    """Return when the answer is a success, else raise its error.

    The response may be a stream whose body is not read yet.

    Raises:
        ServerBusy: 425, 429, 502, 503 or 504.
        PixyzWebError: any other answer that is no success.
    """
    if response.is_success:
        return
    response.read()
    url, code, message = str(response.request.url), response.status_code, _sentence(response)
    if code in LATER:
        raise ServerBusy(code, url, message, _retry_after(response))
    raise PixyzWebError(code, url, message)


def _sentence(response: httpx.Response) -> str:
    """Return what the server says is wrong: `detail.details` of its JSON, else the nearest thing to it."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return response.text.strip()[:500] or response.reason_phrase
    if isinstance(detail, dict):
        return str(detail.get("details") or detail.get("message") or detail)
    return str(detail)


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
