"""SteadyClock: seconds since the epoch that go on evenly, whatever becomes of the machine's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

_JUMP_S = 60.0
"""Drift between the two clocks from which on the wall clock counts as set; less is what NTP corrects all the time."""


def since_boot() -> float:
    """Return seconds that only ever grow; on Linux the time that the machine was suspended counts too."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SteadyClock:
    """The time that the wall clock would show if nobody had set it since the start.

    Args:
        wall: seconds since the epoch, as the machine has them; may jump.
        steady: seconds since whenever; never jumps.
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
        """Seconds by which the wall clock was set since the start; 0.0 as long as it goes with the steady one."""
        drift = self._wall() - self.now()
        return drift if abs(drift) > _JUMP_S else 0.0

    def earlier(self) -> float:
        """Return seconds since the epoch by whichever of the clocks is behind: no time is over that is not on both."""
        return min(self._wall(), self.now())

    def since(self, stamp: float) -> float:
        """Return when, by the steady clock, that was which a stamp of the wall clock tells of; never in the future.

        Once the clock was set, nothing is believed to be older than the start.
        """
        now = self.now()
        if not self.jump_s:
            return min(stamp, now)
        return now - min(max(0.0, self._wall() - stamp), self._steady() - self._began)

    def rest(self, due: float, most_s: float | None = None) -> float:
        """Return how long it is until a time of the wall clock, in seconds, never negative.

        Args:
            due: the time.
            most_s: how long it can be at most, where that is known: the length of a pause.
        """
        rest = max(0.0, due - self._wall())
        return rest if most_s is None else min(rest, max(0.0, most_s))
