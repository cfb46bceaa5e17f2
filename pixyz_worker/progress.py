"""Progress of one task: how many steps there are, which have begun, how long each took."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from pixyz_worker.console import say


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a task."""

    info: str
    """What the step does, for a person."""

    duration: float = -1.0
    """Seconds that it took; -1 until it ends."""


class ProgressSink(Protocol):
    """Where progress goes, as events.

    {"kind": "total", "total": n}, {"kind": "step", "info": text, "index": i} and {"kind": "stop"}; a step has
    an "output" too when the script gave one.
    """

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event; it must not block for long."""


class Progress:
    """Progress of the running task; without a sink it prints each step.

    >>> progress = Progress(sink=lambda event: None)
    >>> progress.set_total(2)
    >>> progress.next("Reading"); progress.percent
    0
    >>> progress.next("Writing"); progress.percent
    50
    >>> progress.stop(); progress.percent
    100
    """

    def __init__(self, sink: ProgressSink | None = None) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._total: int | None = None
        self._ended: list[Step] = []
        self._running: str | None = None
        self._began = 0.0
        self._stopped = False

    @property
    def total(self) -> int | None:
        """Number of steps announced, or None."""
        return self._total

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps begun so far; the last one has duration -1 while it runs."""
        with self._lock:
            running = () if self._running is None else (Step(self._running),)
            return (*self._ended, *running)

    @property
    def percent(self) -> int | None:
        """Percentage done: 100 when stopped, None as long as nothing is known."""
        if self._stopped:
            return 100
        if not self._total:
            return None
        return max(0, min(100, 100 * (len(self.steps) - 1) // self._total))

    def set_total(self, n: int) -> None:
        """Announce how many steps there will be."""
        self._total = max(0, int(n))
        self._send({"kind": "total", "total": self._total})

    def next(self, info: str, output: Any = None) -> None:
        """Begin the next step, which ends the one before; `output` goes along with the event."""
        with self._lock:
            self._end_step()
            self._running = str(info)
            self._began = perf_counter()
            index = len(self._ended)
        event = {"kind": "step", "info": str(info), "index": index}
        self._send(event if output is None else event | {"output": output})

    def stop(self) -> None:
        """End the last step; all is done."""
        with self._lock:
            changed = self._running is not None or not self._stopped
            self._end_step()
            self._stopped = True
        if changed:
            self._send({"kind": "stop"})

    def _end_step(self) -> None:
        if self._running is not None:
            self._ended.append(Step(self._running, perf_counter() - self._began))
            self._running = None

    def _send(self, event: Mapping[str, Any]) -> None:
        if self._sink is None:
            if event["kind"] == "step":
                say(event["info"])
            return
        # Progress is news, not work: a sink that fails must not fail the script.
        try:
            self._sink(event)
        except Exception:
            return
