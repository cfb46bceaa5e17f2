"""A job that has not ended, as the tracker holds it: its record, its running attempt, and who watches it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pixyz_ray.cluster.channel import Peer
from pixyz_ray.cluster.gpus import NO_GPU, Grant
from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Job, JobState
from pixyz_worker.steps import Step, StepLog

_PUBLISH_EVERY_S = 0.01
_TOLD = ("node", "uncounted", "log", "signal", "exit_code", "peak_rss", "peak_uss", "peak_gpu_memory", "cpu_time")


@dataclass(frozen=True, slots=True)
class Feed:
    """What the params of a node are made of, before anybody has looked at it."""

    shape: Any
    """`["ref", place]`, `["list", [shape, ...]]`, `["value", value]`, or `["kept", id]` of a value on the share;
    None when the references are only to be waited for."""
    references: Sequence[Any] = ()
    """Ray's object references, by place."""


class Watcher:
    """One subscription to a job: what it has been told, so that it is told only what is new."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self._told = 0

    def tell(self, job: Job, log: StepLog) -> None:
        """Send the job's state and the steps that changed since the last time."""
        # The last step told may have ended since.
        first = max(0, min(self._told, log.count) - 1)
        self._told = log.count
        changed = [(number, step.info, step.duration) for number, step in log.since(first)]
        self.peer.push(
            self.number,
            {"state": job.as_state(), "attempt": len(job.attempts), "total": job.total, "steps": changed},
        )


class LiveJob:
    """A job and what goes with it while it lives. Belongs to one event loop. Small: a graph may have thousands."""

    __slots__ = (
        "_moved",
        "_publishing",
        "_steps",
        "_watchers",
        "feed",
        "grant",
        "may_overlap",
        "overdue",
        "record",
        "reference",
        "settling",
        "shown",
        "stop_message",
        "stopped_for",
        "value",
        "wants_value",
    )

    def __init__(self, job: Job) -> None:
        self.record = job
        """The record without the steps of the running attempt, which change too often for a frozen value."""
        self.reference: Any = None
        """Ray's object reference of the running attempt."""
        self.value: Any = None
        """Ray's object reference of what it returns, if somebody will want that."""
        self.wants_value = False
        """Whether somebody will."""
        self.feed: Feed | None = None
        """What its params are made of, for a node that gets the result of others."""
        self.may_overlap = False
        """Whether an earlier attempt may still run, on a machine that is lost; it stays so for all later attempts."""
        self.grant: Grant = NO_GPU
        """What the running attempt was given of the cluster's GPUs."""
        self.settling = False
        """Whether the end of the job, or of its attempt, is being written: nothing else may end it meanwhile."""
        self.shown: tuple[str | None, Any] | None = None
        """State and value that the script shows while it runs (update_state)."""
        self.stopped_for: FailureClass | None = None
        """Why the platform itself ended the attempt, whatever Ray says of it then."""
        self.stop_message = ""
        """Error of the attempt that was stopped, where its class alone does not explain it."""
        self.overdue: asyncio.TimerHandle | None = None
        """Timer of the attempt's time limit, or of its waiting."""
        self._steps = StepLog(job.steps)
        self._moved = False
        self._watchers: dict[tuple[int, int], Watcher] | None = None
        self._publishing = False

    @property
    def job(self) -> Job:
        """The record as it stands now."""
        if self._moved:
            self._moved = False
            self.record = replace(self.record, steps=self._steps.steps)
        return self.record

    def become(self, job: Job) -> None:
        """Take over a changed record and tell the watchers."""
        self.record = job
        self._steps = StepLog(job.steps, began=self._steps.began)
        self._moved = False
        if job.state.terminal:
            self.cancel_timer()
            self._publish_now()
            for watcher in (self._watchers or {}).values():
                watcher.peer.on_close.pop(watcher.number, None)
            self._watchers = None
        else:
            self.publish()

    def take_event(self, event: Mapping[str, Any]) -> None:
        """Take over a progress event of the running attempt."""
        kind = event.get("kind")
        if kind == "state":
            self.shown = event.get("state"), event.get("meta")
            return
        self._moved = True
        if kind == "total":
            self.record = replace(self.record, total=event["total"])
        elif kind == "step":
            self._steps.begin(event["info"], event["time"], index=event.get("index"))
        elif kind == "stop":
            self._steps.end(event["time"])
        self.publish()

    @property
    def is_watched(self) -> bool:
        """Whether somebody is told of every change."""
        return bool(self._watchers)

    def is_running(self, attempt: int) -> bool:
        """Return whether that attempt can still be settled."""
        job = self.record
        return not self.settling and not job.state.terminal and job.awaits is None and attempt == len(job.attempts)

    @property
    def has_nothing_to_begin_with(self) -> bool:
        """Whether what Ray says of its attempt may be true of one before it, whose result it was to get."""
        waited = self.feed is not None and bool(self.feed.references)
        return waited and self.record.attempts[-1].started is None

    def with_outcome(self, outcome: Mapping[str, Any], state: JobState | None = None) -> Job:
        """Return the record with what its attempt has come to, and in the state that follows."""
        ended: dict[str, Any] = {
            "stopped": max(outcome.get("stopped") or time.time(), outcome.get("started") or self._began),
            "failure": FailureClass(outcome["failure"]) if outcome.get("failure") else None,
        }
        changes: dict[str, Any] = {"result": outcome.get("result"), "opaque": bool(outcome.get("opaque"))}
        ended |= {name: outcome[name] for name in _TOLD if outcome.get(name) is not None}
        if ended["failure"] is not None:
            ended["error"] = outcome.get("sentence") or outcome.get("error")
        if outcome.get("started"):
            ended["started"] = changes["started"] = outcome["started"]
        if outcome.get("steps") is not None:
            changes["steps"] = tuple(map(Step.from_plain, outcome["steps"]))
            changes["total"] = outcome.get("total")
        job = self.job
        if outcome.get("notes"):
            changes["notes"] = tuple(dict.fromkeys((*job.notes, *outcome["notes"])))
        changes["attempts"] = (*job.attempts[:-1], replace(job.attempts[-1], **ended))
        if state is None:
            return replace(job, **changes)
        return job.become(state, error=outcome.get("error"), stopped=ended["stopped"], **changes)

    def closed(self, failure: FailureClass, **changes: Any) -> Job:
        """Return the record with its running attempt, if there is one, ended now."""
        job = self.job
        running = bool(job.attempts) and job.attempts[-1].stopped is None
        stopped = max(time.time(), self._began)
        return job.with_attempt({"stopped": stopped, "failure": failure, **changes}) if running else job

    @property
    def _began(self) -> float:
        """When the running attempt began, as far as is known: it does not end before that, whatever the clock says."""
        attempts = self.record.attempts
        return (attempts[-1].started if attempts else None) or 0.0

    def with_ended_steps(self) -> Job:
        """Return the record with no step still running."""
        job = self.job
        return replace(job, steps=tuple(replace(step, duration=max(0.0, step.duration)) for step in job.steps))

    def start_over(self) -> None:
        """Forget the progress of an attempt that is run again."""
        self._steps = StepLog()
        self._moved = False
        self.record = replace(self.record, total=None, steps=())
        self.reference = self.value = None
        self.shown = None
        self.stopped_for = None
        self.cancel_timer()

    def cancel_timer(self) -> None:
        """Stop the time limit's clock."""
        if self.overdue is not None:
            self.overdue.cancel()
            self.overdue = None

    def watch(self, peer: Peer, number: int) -> None:
        """Tell a peer of every change from now on, beginning with how things stand."""
        watcher = Watcher(peer, number)
        watcher.tell(self.job, self._steps)
        if not self.record.state.terminal:
            self._watchers = self._watchers or {}
            self._watchers[id(peer), number] = watcher
            peer.on_close[number] = partial(self.unwatch, peer, number)

    def unwatch(self, peer: Peer, number: int) -> None:
        """Tell a peer no more."""
        if self._watchers:
            self._watchers.pop((id(peer), number), None)

    def publish(self) -> None:
        """Tell the watchers, a quick run of changes at once."""
        if self._watchers and not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_later(_PUBLISH_EVERY_S, self._publish_now)

    def _publish_now(self) -> None:
        self._publishing = False
        for watcher in list((self._watchers or {}).values()):
            watcher.tell(self.job, self._steps)
