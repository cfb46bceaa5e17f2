"""Memory that an attempt's processes take on the machine's GPUs, as NVML tells it."""

from __future__ import annotations

import time

from pixyz_ray.watchdog.nvml import Nvml
from pixyz_ray.watchdog.page import UNWATCHED
from pixyz_ray.watchdog.process_tree import Process

_EVERY_S = 1.0
_opened: list[Nvml | None] = []
"""NVML of this process, once something has asked for it: to open it takes a tenth of a second."""


class GpuUsage:
    """What one attempt takes, looked at once a second."""

    def __init__(self) -> None:
        if not _opened:
            _opened.append(Nvml.open())
        self._nvml = _opened[0]
        self._next = 0.0
        self.now = 0
        """Bytes of all its processes together on the GPU where they take most."""
        self.peak = 0 if self._nvml is not None else UNWATCHED
        """The most that `now` was; UNWATCHED where that is not known."""

    @property
    def known(self) -> bool:
        """Whether the driver reports how much it takes."""
        return self.peak != UNWATCHED

    def look(self, processes: list[Process]) -> None:
        """Ask NVML, unless that was less than a second ago."""
        now = time.monotonic()
        if self._nvml is None or now < self._next:
            return
        pids = {process.pid for process in processes}
        cards = self._nvml.usage()
        if cards is None:
            # The driver has no figures per process: in a virtual machine with a part of a card, for example.
            self._nvml, self.now, self.peak = None, 0, self.peak or UNWATCHED
            return
        self.now = max((sum(taken for pid, taken in card.items() if pid in pids) for card in cards), default=0)
        self.peak = max(self.peak, self.now)
        # Counted from here: a driver that is slow to answer is not asked all the time.
        self._next = time.monotonic() + _EVERY_S
