"""Whoever kills the platform's parts at random, and cancels jobs."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import psutil

from benchmarks.faults.chaos_jobs import Sent
from benchmarks.faults.outages import Outage, Outages
from benchmarks.faults.platform import REPLICA, TRACKER, WORKER, Fragile, kill
from pixyz_ray.client import PlatformUnreachable
from pixyz_worker.exception import PixyzWebError

_WEIGHTS = {"worker": 5, "watchdog": 2, "tracker": 2, "replica": 2, "cancel": 2}
_TRY_EVERY_S = 0.1
_BLOWS_PER_OUTAGE = 2


class Killer(threading.Thread):
    """Strikes every few seconds, until it is told to stop.

    Args:
        platform: what it hurts.
        sent: the jobs so far, of which it cancels some; it grows meanwhile.
        pause_s: the least and the most seconds between two blows.
        outages: what takes the whole platform down; one of them, in any order, after every few blows.
        chance: what decides.
    """

    def __init__(
        self,
        platform: Fragile,
        sent: Sequence[Sent],
        pause_s: tuple[float, float],
        outages: Sequence[Outage],
        chance: random.Random,
    ) -> None:
        super().__init__(daemon=True)
        self._platform = platform
        self._sent = sent
        self._pause_s = pause_s
        self._chance = chance
        self._to_come = chance.sample(outages, len(outages))
        self._outages = Outages(platform)
        self._over = threading.Event()
        self._blows: dict[str, Callable[[], bool]] = {
            "worker": lambda: self._kill_one(self._platform.titled(WORKER)),
            "watchdog": lambda: self._kill_one([psutil.Process(pid) for pid in self._platform.watchdogs()]),
            "tracker": lambda: self._kill_one(self._platform.titled(TRACKER)),
            "replica": lambda: self._kill_one(self._platform.titled(REPLICA)),
            "cancel": self._cancel_one,
        }
        self.done: Counter[str] = Counter()
        """Blows by kind."""
        self.history: list[tuple[float, str]] = []
        """When each was struck, in seconds since the epoch, and its kind."""
        self.recoveries = self._outages.recoveries
        """How the platform came back from each outage."""
        self.trouble: Exception | None = None
        """What ended the thread before it was told to stop."""

    @property
    def kills(self) -> int:
        """Processes killed, those of outages not counted."""
        return self.done.total() - self.done["cancel"]

    @property
    def outages_to_come(self) -> int:
        """Outages that have not been made yet."""
        return len(self._to_come)

    def run(self) -> None:
        """Strike."""
        try:
            self._run()
        except Exception as trouble:
            self.trouble = trouble

    def _run(self) -> None:
        # Each kind once, then by chance: a short run is to have all of them too.
        kinds = list(_WEIGHTS)
        self._chance.shuffle(kinds)
        while not self._over.wait(self._chance.uniform(*self._pause_s)):
            if self._to_come and self.done.total() % _BLOWS_PER_OUTAGE == 0:
                outage = self._to_come[-1]
                self.history.append((time.time(), str(outage)))
                self._outages.make(outage)
                self._to_come.pop()
            kind = kinds.pop() if kinds else self._chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            # There may be none just now: no worker that runs a job, no tracker after the last blow.
            while not self._strike(kind) and not self._over.wait(_TRY_EVERY_S):
                pass

    def stop(self) -> None:
        """Strike no more."""
        self._over.set()
        self.join()

    def _strike(self, kind: str) -> bool:
        at = time.time()
        try:
            struck = self._blows[kind]()
        except psutil.Error:
            struck = False
        if struck:
            self.done[kind] += 1
            self.history.append((at, kind))
        return struck

    def _kill_one(self, processes: Sequence[psutil.Process]) -> bool:
        return bool(processes) and kill(self._chance.choice(processes).pid)

    def _cancel_one(self) -> bool:
        """Cancel one of the jobs that were sent last: those before have ended."""
        candidates = [one for one in self._sent[-40:] if one.cancelled is None and not one.seen]
        if not candidates:
            return False
        sent = self._chance.choice(candidates)
        sent.cancelled = "unknown"
        try:
            with self._platform.client() as client:
                sent.cancelled = client.cancel(sent.uuid)["status"]
        except (PlatformUnreachable, PixyzWebError):
            return False
        return True
