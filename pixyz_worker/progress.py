"""Progress of one task: how many steps there are, which have begun, how long each took."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol

from pixyz_worker.console import say
from pixyz_worker.steps import MAX_NAME_BYTES, Step, StepLog, cut_name

__all__ = ["Progress", "ProgressSink", "Step", "TaskProgress"]

MAX_TOTAL = 2**53 - 1
"""Most steps that can be announced."""


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
        self._log = StepLog()
        self._cut = 0
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
        """Steps begun so far; the last one has duration -1 while it runs. Of more than 10,000 the middle is one."""
        with self._lock:
            return self._log.steps

    @property
    def step_total(self) -> int:
        """Number of steps announced; 0 before."""
        return self._total or 0

    @property
    def step_current(self) -> int:
        """Number of steps begun so far."""
        return self._log.count

    @property
    def step_infos(self) -> list[dict[str, Any]]:
        """The steps begun so far, each as `{"info", "duration", ...}` with the values that the script gave."""
        return [step.as_info() for step in self.steps]

    def steps_from(self, number: int) -> list[Step]:
        """Return the steps begun so far, from a number on."""
        with self._lock:
            return [step for _, step in self._log.since(number)]

    @property
    def notes(self) -> list[str]:
        """Sentences about steps that were cut or aggregated, for the job's notes."""
        notes = []
        if left_out := next((step.count for step in self.steps if step.count > 1), 0):
            notes.append(f"The job has {self.step_current} steps: {left_out} in the middle are shown as one.")
        if self._cut:
            notes.append(f"Texts of steps are cut off after {MAX_NAME_BYTES} bytes: {self._cut} were longer.")
        return notes

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
        return max(0, min(100, 100 * (self._log.count - 1) // self._total))

    def set_total(self, n: int) -> None:
        """Announce how many steps there will be."""
        self._total = max(0, min(int(n), MAX_TOTAL))
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
            index = self._log.count
            given = f"step {index}" if info is None else str(info)
            text = cut_name(given)
            self._cut += text is not given
            self._log.begin(text, perf_counter(), values=values or None)
        event = {"kind": "step", "info": text, "index": index}
        self._send(event if output is None else event | {"output": output})

    def output(self, value: Any) -> None:
        """Give the running step an output, shown in `step_infos`; without a running step, do nothing."""
        with self._lock:
            self._log.set_values({"output": value})

    def stop(self) -> None:
        """End the last step; all is done."""
        with self._lock:
            changed = self._log.running is not None or not self._stopped
            self._log.end(perf_counter())
            self._stopped = True
            self.time_stopped = _utc_now()
        if changed:
            self._send({"kind": "stop"})

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
