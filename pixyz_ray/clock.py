"""SteadyClock: seconds since the epoch, unaffected by changes of the machine's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

_JUMP_S = 60.0
"""Drift in seconds above which the wall clock counts as set; smaller drifts are NTP's usual corrections."""


def since_boot() -> float:
    """Return monotonic seconds; on Linux they include time for which the machine was suspended."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SteadyClock:
    """The time that the wall clock would show if nobody had set it since the start.

    Args:
        wall: seconds since the epoch, as the machine has them; may jump.
        steady: monotonic seconds with any origin.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot) -> None:
        self._wall = wall
        self._steady = steady
        self._began = steady()
        self._offset = wall() - self._began

    def now(self) -> float:
        """Return seconds since the epoch, by the steady clock."""
        return self._steady() + self._offset

    @property
    def jump_s(self) -> float:
        """Seconds by which the wall clock was set since the start; 0.0 while both clocks agree."""
        drift = self._wall() - self.now()
        return drift if abs(drift) > _JUMP_S else 0.0

    def earlier(self) -> float:
        """Return seconds since the epoch by the slower clock: a time has passed only if it has on both."""
        return min(self._wall(), self.now())

    def since(self, stamp: float) -> float:
        """Convert a time of the wall clock to the steady clock; the result is never in the future.

        Once the clock was set, no time is taken to be earlier than the start.
        """
        now = self.now()
        if not self.jump_s:
            return min(stamp, now)
        return now - min(max(0.0, self._wall() - stamp), self._steady() - self._began)

    def rest(self, due: float, most_s: float | None = None) -> float:
        """Return the seconds until a time of the wall clock; never negative.

        Args:
            due: the time.
            most_s: upper bound of the result, such as the length of a pause; None for no bound.
        """
        rest = max(0.0, due - self._wall())
        return rest if most_s is None else min(rest, max(0.0, most_s))
