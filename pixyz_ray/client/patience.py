"""How a client keeps trying after a broken connection: growing waits, until nothing came for too long."""

from __future__ import annotations

import time

import httpx

_FIRST_S = 0.05
_LONGEST_S = 2.0


def silence_limit(http: httpx.Client, seconds: float | None) -> httpx.Timeout:
    """Return a connection's time limits with another one for the silence between two reads."""
    return httpx.Timeout(**{**http.timeout.as_dict(), "read": seconds})


class Patience:
    """Spaces attempts out, and ends when `seconds` have passed without any success."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Start over: something came."""
        self._delay = _FIRST_S
        self._ends = time.monotonic() + self._seconds

    def pause(self, wanted_s: float | None = None) -> bool:
        """Sleep before the next attempt; return False, without sleeping, when the time is over.

        Args:
            wanted_s: what the server asked for; the own growing delay where it did not say.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            return False
        delay = self._delay if wanted_s is None else wanted_s
        time.sleep(min(delay, left))
        self._delay = min(self._delay * 2, _LONGEST_S)
        return True
