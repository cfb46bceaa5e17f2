"""Progress of one task: how many steps there are, which have begun, how long each took."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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

    values: Mapping[str, Any] | None = None
    """Values that the script gave with the text: `output`, and any others."""

    def as_info(self) -> dict[str, Any]:
        """Return it as scripts read it in `step_infos`."""
        return {"info": self.info, "duration": self.duration, **(self.values or {})}


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
        self._running: Step | None = None
        self._began = 0.0
        self._stopped = False
        self.time_request: datetime | None = None
        """When the task was requested, naive UTC; None if unknown."""
        self.time_started = _utc_now()
        """When the task began, naive UTC."""
        self.time_stopped: datetime | None = None
        """When its last step ended, naive UTC; None while it runs."""

    @property
    def total(self) -> int | None:
        """Number of steps announced, or None."""
        return self._total

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps begun so far; the last one has duration -1 while it runs."""
        with self._lock:
            running = () if self._running is None else (self._running,)
            return (*self._ended, *running)

    @property
    def step_total(self) -> int:
        """Number of steps announced; 0 before."""
        return self._total or 0

    @property
    def step_current(self) -> int:
        """Number of steps begun so far."""
        return len(self.steps)

    @property
    def step_infos(self) -> list[dict[str, Any]]:
        """The steps begun so far, each as `{"info", "duration", ...}` with the values that the script gave."""
        return [step.as_info() for step in self.steps]

    @property
    def time_info(self) -> dict[str, str | None]:
        """Times of request, start and end in ISO 8601; None for one that is not known yet."""
        moments = {"request": self.time_request, "started": self.time_started, "stopped": self.time_stopped}
        return {name: None if moment is None else moment.isoformat() for name, moment in moments.items()}

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

    def next(self, info: Any = None, output: Any = None, **values: Any) -> None:
        """Begin the next step, which ends the one before.

        Args:
            info: what the step does; "step N" without it, with N from 0.
            output: goes along with the event.
            values: values of the script's own; `step_infos` has them.
        """
        values = values if output is None else {"output": output, **values}
        with self._lock:
            self._end_step()
            index = len(self._ended)
            text = f"step {index}" if info is None else str(info)
            self._running = Step(text, values=values or None)
            self._began = perf_counter()
        event = {"kind": "step", "info": text, "index": index}
        self._send(event if output is None else event | {"output": output})

    def output(self, value: Any) -> None:
        """Give the running step an output, shown in `step_infos`; without a running step, do nothing."""
        with self._lock:
            if self._running is not None:
                step = self._running
                self._running = Step(step.info, step.duration, {**(step.values or {}), "output": value})

    def stop(self) -> None:
        """End the last step; all is done."""
        with self._lock:
            changed = self._running is not None or not self._stopped
            self._end_step()
            self._stopped = True
            self.time_stopped = _utc_now()
        if changed:
            self._send({"kind": "stop"})

    def _end_step(self) -> None:
        if self._running is not None:
            step = self._running
            self._ended.append(Step(step.info, perf_counter() - self._began, step.values))
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


TaskProgress = Progress
"""The name that the class had in the scheduler before this one."""


def _utc_now() -> datetime:
    # Naive, as scripts compare it with datetime.utcnow().
    return datetime.now(UTC).replace(tzinfo=None)
