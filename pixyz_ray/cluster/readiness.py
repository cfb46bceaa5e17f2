"""Whether the HTTP service answers at the address that will be announced."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import suppress
from urllib.parse import urlsplit

from pixyz_worker.exception import InternalError

_ONE_ANSWER_S = 3.0
_ASK_EVERY_S = 0.1


def wait_until_ready(url: str, *, deadline_s: float) -> str | None:
    """Wait until the service is ready to take jobs.

    Args:
        url: base URL of the service.
        deadline_s: seconds to wait.

    Returns:
        None when it is ready; else what it says about itself after that time, such as that the share is full.

    Raises:
        InternalError: nothing answers there, or something else does.
    """
    deadline = time.monotonic() + deadline_s
    found: tuple[str, bool] = "nothing answers", False
    while time.monotonic() < deadline:
        problem = _ask(url)
        if problem is None:
            return None
        found = problem
        time.sleep(_ASK_EVERY_S)
    message, is_ours = found
    if is_ours:
        return message
    raise InternalError(
        f"The HTTP service does not answer at {url}: {message}. Something else may use the port, or Serve was started "
        "by another application with settings of its own. Choose another port with  pixyz up --port PORT"
    )


def _ask(url: str) -> tuple[str, bool] | None:
    """Return None when the service is ready, else (what is wrong, whether it is our service that says so)."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_ONE_ANSWER_S)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        text = answer.read(1 << 16)
    except (OSError, http.client.HTTPException) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__, False
    finally:
        connection.close()
    with suppress(ValueError, AttributeError, KeyError):
        health = json.loads(text)
        if answer.status == 200 and health["ready"]:
            return None
        bad = {name: found for name, found in health["checks"].items() if found != "ok"}
        return f"it is not ready: {', '.join(bad)}", True
    return f"the answer to GET /health/ready has status {answer.status} and is not ours", False
