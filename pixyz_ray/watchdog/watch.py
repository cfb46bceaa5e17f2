"""One attempt as its watchdog sees it: what its processes take, whether it was told to stop, what is told of it."""

from __future__ import annotations

import os
import time

from pixyz_ray.watchdog.gpu_usage import GpuUsage
from pixyz_ray.watchdog.line import Line, Value
from pixyz_ray.watchdog.log_file import trim
from pixyz_ray.watchdog.page import Order, Page
from pixyz_ray.watchdog.process_tree import Process, Tree, proportional, unshared

LOST_GRACE_S = 1.0
"""Seconds that an attempt has to end when its tracker is gone."""

_YOUNG_S = 0.1
_LOOK_S = 0.1
_CLOSE_LOOK_S = 0.05
_USAGE_EVERY_S = 1.0
_ALIVE_EVERY_S = 1.0
_CONNECT_PATIENCE_S = 5.0
_MEASURING_SHARE = 0.1
_SHORTAGE_S = 3.0
_CHANCE_S = 0.4


class Watch:
    """Keeps an eye on one attempt.

    Args:
        order: the attempt.
        page: takes what was seen.
        tree: the worker's processes.
    """

    def __init__(self, order: Order, page: Page, tree: Tree) -> None:
        self.order = order
        self.name = f"{order.uuid}/{order.attempt}"
        """What its processes carry as their mark."""
        self.number = order.serial
        """Number of the call to the tracker; new for each attempt."""
        self.reason = ""
        """Why it was told to stop: "memory", "gpu_memory", "machine" or "stopped"; empty while it was not."""
        self.wanted = ""
        """The same, also when it had ended already: its worker may have seen it nevertheless, and leave."""
        self.told = False
        """Whether the tracker was told, on the line that is open, that this attempt is looked after."""
        self.looked = False
        """Whether it lasted long enough to be looked at."""
        self.look_s = _CLOSE_LOOK_S if order.memory_limit else _LOOK_S
        """Seconds between two looks."""
        self._page = page
        self._tree = tree
        self._kill_at = float("inf")
        self._began = order.began_ns / 1e9
        self._rss = self._uss = self._cpu_us = self._peak_rss = self._peak_uss = 0
        self._measure_again = 0.0
        self._short_since = float("inf")
        self._chance = _CHANCE_S * os.urandom(1)[0] / 255
        self._said: dict[str, Value] = {}
        self._said_at = 0.0
        self._gpu = GpuUsage() if order.gpu_limit else None

    def is_young_for(self) -> float:
        """Return the seconds for which it is too young to be worth a look."""
        return self._began + _YOUNG_S - time.monotonic()

    def is_given_up(self, line: Line) -> bool:
        """Return whether the tracker is gone, now that the line to it is broken."""
        return line.established or time.monotonic() > self._began + _CONNECT_PATIENCE_S

    def look(self) -> bool:
        """Measure its processes, trim its log; return whether they have too much memory."""
        self.looked = True
        processes = self._tree.look()
        self._rss = sum(process.rss for process in processes)
        self._uss = sum(map(unshared, processes))
        # The worker's own clock did not start with this attempt.
        cpu_us = sum(process.cpu_us for process in processes) - self.order.cpu_us
        self._cpu_us = max(self._cpu_us, cpu_us)
        self._peak_rss = max(self._peak_rss, self._rss)
        self._peak_uss = max(self._peak_uss, self._uss)
        if self._gpu is not None:
            self._gpu.look(processes)
        peak_gpu = self._gpu.peak if self._gpu is not None else 0
        self._page.write_usage(self.order.serial, self._peak_rss, self._peak_uss, self._cpu_us, peak_gpu)
        self.trim_log()
        return not self.reason and self._is_too_large(processes)

    def _is_too_large(self, processes: list[Process]) -> bool:
        if not self.order.memory_limit or self._uss <= self.order.memory_limit:
            return False
        if len(processes) == 1:
            return True
        # Pages that a fork shares with its parent were counted twice. To count them well takes time.
        begin = time.monotonic()
        if begin < self._measure_again:
            return False
        memory = sum(map(proportional, processes))
        end = time.monotonic()
        self._measure_again = end + (end - begin) / _MEASURING_SHARE
        return memory > self.order.memory_limit

    def has_too_much_of_a_gpu(self) -> bool:
        """Return whether it has more memory on a GPU than it declared."""
        return not self.reason and self._gpu is not None and self._gpu.now > self.order.gpu_limit

    def is_in_the_way(self, machine_is_full: bool, taken: int) -> bool:
        """Return whether it has to go, for the machine's memory is used up: the larger an attempt is, the sooner.

        So the largest goes first, and the others see that there is room again, with nobody to compare them. One that
        has a third of what is taken goes within a second, a small one not before three; chance decides among equals.
        """
        if not machine_is_full or self.reason:
            self._short_since = float("inf")
            return False
        now = time.monotonic()
        self._short_since = min(self._short_since, now)
        patience = _SHORTAGE_S * max(0.0, 1.0 - self._uss / taken) ** 4
        return now >= self._short_since + patience + self._chance

    def trim_log(self) -> None:
        """Keep its log within bounds."""
        if self.order.log and self.order.max_log_bytes:
            trim(self.order.log, self.order.max_log_bytes)

    def stop(self, reason: str, grace_s: float) -> None:
        """Note that it is told to stop."""
        self.reason = self.reason or reason
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)

    def time_left(self) -> float:
        """Return the seconds until it is killed; infinity while it was not told to stop."""
        return self._kill_at - time.monotonic()

    def report(self, line: Line | None) -> None:
        """Tell the tracker what it takes, or at least that it lives."""
        if line is None or not self.told:
            return
        now = time.monotonic()
        about: dict[str, Value] = {
            "rss": self._rss,
            "uss": self._uss,
            "cpu": round(self._cpu_us / 1e6, 2),
            "peak_rss": self._peak_rss,
            "peak_uss": self._peak_uss,
        }
        if self._gpu is not None and self._gpu.known:
            about["peak_gpu_memory"] = self._gpu.peak
        if about != self._said and now >= self._said_at + _USAGE_EVERY_S:
            line.say(0, "usage", self.order.uuid, self.order.attempt, about)
            self._said, self._said_at = about, now
        elif now >= self._said_at + _ALIVE_EVERY_S:
            line.say(0, "alive", self.order.uuid, self.order.attempt)
            self._said_at = now

    def peaks(self) -> dict[str, Value]:
        """Return what it took, as far as it was seen."""
        return {
            "peak_rss": self._peak_rss or None,
            "peak_uss": self._peak_uss or None,
            "peak_gpu_memory": self._gpu.peak if self._gpu is not None and self._gpu.known else None,
            "cpu_time": round(self._cpu_us / 1e6, 3) if self.looked else None,
        }
