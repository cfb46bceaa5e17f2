"""Outages: a part that the whole platform rests on is killed or frozen; how long until the service answers again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import httpx
import psutil

from benchmarks.faults.platform import REPLICA, TRACKER, Fragile, patiently, wait_until
from pixyz_ray.client import PlatformUnreachable
from pixyz_worker.exception import PixyzTimeout, PixyzWebError

PARTS: Mapping[str, Callable[[Fragile], list[psutil.Process]]] = {
    "raylet": lambda platform: platform.programs("raylet"),
    "GCS": lambda platform: platform.programs("gcs_server"),
    "Serve controller": lambda platform: platform.titled("ray::ServeController"),
    "driver": lambda platform: platform.drivers(),
    "supervisor": lambda platform: platform.supervisors(),
    "tracker": lambda platform: platform.titled(TRACKER),
    "replica": lambda platform: platform.titled(REPLICA),
}
"""Parts by name, with what finds their process."""
SHORT_S, LONG_S = 15.0, 65.0
"""Seconds for which parts are frozen."""
_PROBE = b"def main(pc, params):\n    return None\n"
_PROBE_EVERY_S = 0.25
_PROBE_TIMEOUT_S = 3.0
_PATIENCE_S = 120.0
_STEADY_S = 12.0
"""Seconds without a failed request after which an outage is over. Some faults take the service down only later, such as
the death of a supervisor; and a platform that is up for less each time counts as one that cannot be restarted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """A fault that is injected into one part of the platform."""

    part: str
    """Name of the part."""
    frozen_s: float | None = None
    """Seconds between SIGSTOP and SIGCONT; None for SIGKILL."""

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.part} killed" if self.frozen_s is None else f"{self.part} frozen for {self.frozen_s:g} s"


KILLS = tuple(Outage(part=part) for part in ("raylet", "GCS", "Serve controller", "driver", "supervisor"))
"""Each part killed that chance does not kill anyway."""
FREEZES = tuple(Outage(part=part, frozen_s=seconds) for part in PARTS for seconds in (SHORT_S, LONG_S))
"""Each part frozen, for a short and for a long time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """How the platform came back from an outage."""

    outage: Outage
    """The injected fault."""
    service_s: float
    """Seconds from the first request that failed to the last one; 0 if none failed."""
    job_s: float
    """Seconds from the fault until a job had ended that was sent at once, or after the last failed request."""


class Outages:
    """Makes one outage after another on a platform, and times how it comes back.

    Args:
        platform: what it hurts.
    """

    def __init__(self, platform: Fragile) -> None:
        self._platform = platform
        self.recoveries: list[Recovery] = []
        """One for each outage so far."""

    def make(self, outage: Outage) -> None:
        """Make an outage, and return when the platform works again and nothing is frozen any more.

        Raises:
            TimeoutError: it does not come back.
        """
        # What the one before has broken may still be starting.
        processes = wait_until(lambda: PARTS[outage.part](self._platform), f"there is a {outage.part}")
        url = self._platform.running.url
        began = time.monotonic()
        with _watched(url) as failures:
            with _struck(processes, outage.frozen_s):
                self._run_probe_job(outage)
                ended = time.monotonic()
            time.sleep(_STEADY_S)
            while failures and failures[-1][1] > ended:
                self._run_probe_job(outage)
                ended = time.monotonic()
                time.sleep(_STEADY_S)
        service_s = failures[-1][1] - failures[0][0] if failures else 0.0
        self.recoveries.append(Recovery(outage=outage, service_s=service_s, job_s=ended - began))

    def _run_probe_job(self, outage: Outage) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            # An answer that got lost leaves a job behind that does nothing.
            with suppress(PlatformUnreachable, PixyzWebError, PixyzTimeout), self._platform.client() as client:
                handle = client.submit(_PROBE, name=f"probe: {outage}", config={"priority": 9, "retries": 10})
                patiently(partial(handle.wait, timeout=_PATIENCE_S), _PATIENCE_S)
                return
            time.sleep(_PROBE_EVERY_S)
        raise TimeoutError(f"{outage}: the platform has not come back within {_PATIENCE_S:g} s")


@contextmanager
def _struck(processes: Sequence[psutil.Process], frozen_s: float | None) -> Iterator[None]:
    """Kill processes, or freeze them and thaw them in time; leave when none is frozen any more."""
    for process in processes:
        _signal(process, signal.SIGKILL if frozen_s is None else signal.SIGSTOP)
    if frozen_s is None:
        yield
        return
    thaw = threading.Timer(frozen_s, lambda: [_signal(process, signal.SIGCONT) for process in processes])
    thaw.start()
    try:
        yield
        while any(_is_stopped(process) for process in processes) and thaw.is_alive():
            time.sleep(_PROBE_EVERY_S)
    finally:
        thaw.cancel()
        for process in processes:
            _signal(process, signal.SIGCONT)


@contextmanager
def _watched(url: str) -> Iterator[list[tuple[float, float]]]:
    """Poll the service's health; the list gets the start and the end of each request that failed."""
    failures: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PROBE_EVERY_S):
            asked = time.monotonic()
            try:
                healthy = httpx.get(f"{url}/health", timeout=_PROBE_TIMEOUT_S).status_code == httpx.codes.OK
            except httpx.HTTPError:
                healthy = False
            if not healthy:
                failures.append((asked, time.monotonic()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield failures
    finally:
        over.set()
        watcher.join()


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    # psutil's own check keeps a stranger from being hurt that got the number.
    with suppress(psutil.Error, ProcessLookupError):
        if process.is_running():
            os.kill(process.pid, number)


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False
