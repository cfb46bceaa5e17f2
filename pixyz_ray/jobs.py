"""Jobs and their states, as pure data: what a job is, and which change of state is legal.

    SENT -> PENDING -> RECEIVED -> STARTED -> RUNNING -> SUCCESS | FAILURE | REVOKED
                          ^                      |
                          +------- RETRY <-------+

A terminal state is final: `Job.become` refuses to leave it. `Job.run_again` is the one exception: a task of a graph
whose value was lost with a machine before its consumer had it goes from SUCCESS back to RETRY.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pixyz_ray.failure import FailureClass
from pixyz_ray.policy import DEFAULT, Policy
from pixyz_worker.exception import InternalError
from pixyz_worker.steps import Step
from pixyz_worker.values import task_record


class JobState(StrEnum):
    """Status words of the REST contract."""

    SENT = "SENT"
    PENDING = "PENDING"
    RECEIVED = "RECEIVED"
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    RETRY = "RETRY"
    REVOKED = "REVOKED"

    @property
    def terminal(self) -> bool:
        """Whether a job in this state has ended for good."""
        return self in TERMINAL


StepRecord = Step
"""One step of a job's progress, or several in the middle that are kept as one."""
TERMINAL = frozenset({JobState.SUCCESS, JobState.FAILURE, JobState.REVOKED})
_WAITING = frozenset({JobState.PENDING, JobState.RECEIVED, JobState.STARTED, JobState.RUNNING})
_ENDING = TERMINAL | {JobState.RETRY}

LEGAL: Mapping[JobState, frozenset[JobState]] = {
    JobState.SENT: _WAITING | _ENDING,
    JobState.PENDING: (_WAITING - {JobState.PENDING}) | _ENDING,
    JobState.RECEIVED: frozenset({JobState.STARTED, JobState.RUNNING}) | _ENDING,
    JobState.STARTED: frozenset({JobState.RUNNING}) | _ENDING,
    JobState.RUNNING: _ENDING,
    JobState.RETRY: _WAITING | TERMINAL,
    JobState.SUCCESS: frozenset(),
    JobState.FAILURE: frozenset(),
    JobState.REVOKED: frozenset(),
}


class IllegalTransition(InternalError):
    """A state change that the table does not allow, such as leaving a terminal state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One run of a job on a worker."""

    number: int
    """1 for the first run."""
    queue: str
    """Queue whose resources it ran on."""
    started: float | None = None
    """When the worker began, in seconds since the epoch."""
    stopped: float | None = None
    """When it ended, in seconds since the epoch."""
    node: str | None = None
    """Name of the machine."""
    pid: int | None = None
    """Process id of the worker on that machine."""
    failure: FailureClass | None = None
    """Why it failed; None for a success or while it runs."""
    error: str | None = None
    """A sentence: what happened, and what to do."""
    log: str | None = None
    """Last lines that it printed, if it failed."""
    signal: int | None = None
    """Number of the signal that killed its process."""
    exit_code: int | None = None
    """Code that its process left with before its end."""
    peak_rss: int | None = None
    """Most memory, in bytes, that its processes had in use at a time, shared pages counted in each."""
    peak_uss: int | None = None
    """The same without what they share with others."""
    peak_gpu_memory: int | None = None
    """Most bytes that they had in use at a time on one GPU."""
    cpu_time: float | None = None
    """Seconds of processor time that they took."""
    uncounted: bool | None = None
    """Whether the platform itself ended it, such as for an upgrade: `retry` leaves it out. None for no."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Everything that the platform knows of a job. A change makes a new value."""

    uuid: str
    """Identity, chosen by the platform."""
    name: str
    """Label for people: the alias, else the name of the process or script; a node's begins with that of its parent."""
    process: str
    """Name of the pre-built process, or `custom` for an uploaded script."""
    script: str
    """File name of the script inside the job's `inputs` folder."""
    alias: str | None = None
    """Name given by the caller."""
    script_digest: str = ""
    """SHA-256 of the script as it was accepted."""
    entrypoint: str = "main"
    """Function of the script that is called."""
    input_file: str | None = None
    """File name of the uploaded input inside `inputs`; None when there is none."""
    params: Any = field(default_factory=dict)
    """JSON value passed to the entrypoint."""
    params_packed: bool = False
    """Whether `params` is the pickle, as text, of a value that is not JSON; only for the tasks of a script."""
    packed: Mapping[str, str] | None = None
    """Values of the task's context that are not JSON, pickled, by key."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The caller's other settings: root_file, compute_only, raw, keys of the script's own."""
    queue: str = "cpu"
    """Queue that it runs on now; a retry may move it."""
    time_limit: float = 3600.0
    """Seconds that one attempt may take."""
    policy: Policy = DEFAULT
    """Scheduling options: priority, seats, retries, limits."""
    submitter: str = "local"
    """Whose token sent it."""
    pinned: bool = False
    """Whether it is kept whatever its age."""
    not_before: float | None = None
    """When its next attempt may begin, in seconds since the epoch; None for at once."""
    wait: bool = False
    """Whether the entrypoint returns a handle whose result is the job's result."""
    wait_timeout: float | None = None
    """Seconds that it waits for it; None for no limit of its own."""
    kind: str = "task"
    """`task`; `part`: several calls, one after another; `group`: its members' results, no run of its own; `graph`: a
    graph sent from outside, which has no script of its own."""
    parent_id: str | None = None
    """Job whose script started this one."""
    graph: str | None = None
    """Graph that it is a node of."""
    home: str | None = None
    """Job whose folder has the script and the input; its own when None."""
    calls: tuple[Mapping[str, Any], ...] = ()
    """Calls of a part: `entrypoint`, `params` and `config` of each."""
    awaits: str | None = None
    """Job whose end is this one's: the entrypoint has returned its handle."""
    opaque: bool = False
    """Whether what it returned is no JSON; `result` then only describes it."""
    done: int | None = None
    """Members of a group that have ended."""
    state: JobState = JobState.SENT
    """Status word."""
    requested: float = field(default_factory=time.time)
    """When it was accepted, in seconds since the epoch."""
    started: float | None = None
    """When its last attempt began."""
    stopped: float | None = None
    """When it ended."""
    total: int | None = None
    """Number of steps announced by the script."""
    steps: tuple[StepRecord, ...] = ()
    """Steps begun so far; of more than 10,000 those in the middle are kept as one."""
    result: Any = None
    """JSON value returned by the entrypoint."""
    error: str | None = None
    """Why it failed, as text for its owner."""
    attempts: tuple[Attempt, ...] = ()
    """Runs so far, the current one last."""
    notes: tuple[str, ...] = ()
    """What the platform did differently from what was asked, in sentences."""

    @property
    def progress(self) -> int | None:
        """0 to 100, or None while nothing is known of it.

        While a job runs this is 100 * (steps begun - 1) / total, as in the REST contract.
        """
        if self.state is JobState.SUCCESS:
            return 100
        if self.done is not None:
            return 100 * self.done // self.total if self.total else 0
        if not self.total:
            return 0 if self.state.terminal or self.steps else None
        begun = sum(step.count for step in self.steps)
        return max(0, min(100, 100 * (begun - 1) // self.total))

    @property
    def retry(self) -> int:
        """Number of attempts after the first, without those that the platform itself ended."""
        return max(0, len(self.attempts) - 1 - sum(bool(attempt.uncounted) for attempt in self.attempts))

    @property
    def waits(self) -> str | None:
        """What it waits for its turn with, as JSON, or None if it does not wait.

        Queue, submitter, priority, seats, not_before; then, if there are such, the length of the pause before that, and
        what it asks for of GPUs.
        A node of a graph has its turn from its graph.
        """
        waiting = self.state is JobState.RETRY or (self.state is JobState.PENDING and not self.attempts)
        if not waiting or self.graph is not None or self.kind != "task" or self.awaits is not None:
            return None
        policy = self.policy
        more: list[Any] = [] if self.pause is None else [self.pause]
        if policy.gpu or policy.gpu_memory or self.has_moved:
            more = [self.pause, [policy.gpu, policy.gpu_memory, self.has_moved]]
        return json.dumps([self.queue, self.submitter, policy.priority, policy.pools, self.not_before, *more])

    @property
    def has_moved(self) -> bool:
        """Whether a failure has moved it from the queue of its first attempt to another one."""
        return bool(self.attempts) and self.attempts[0].queue != self.queue

    @property
    def pause(self) -> float | None:
        """Seconds between its last attempt and the time before which it may not begin: it never waits longer."""
        stopped = self.attempts[-1].stopped if self.attempts else None
        return None if self.not_before is None or stopped is None else max(0.0, self.not_before - stopped)

    @property
    def keep(self) -> bool | float | None:
        """How long it is kept after its end: True to keep it forever, seconds, or None for the operator's delay."""
        return True if self.pinned else self.policy.keep

    def become(self, state: JobState, **changes: Any) -> Job:
        """Return this job in another state.

        Raises:
            IllegalTransition: the table of legal changes does not have this one.
        """
        if state not in LEGAL[self.state]:
            raise IllegalTransition(f"job {self.uuid} cannot go from {self.state} to {state}")
        if state.terminal:
            # A clock that was set back meanwhile must not make a run of negative length.
            changes.setdefault("stopped", max(time.time(), changes.get("started", self.started) or self.requested))
        return replace(self, state=state, **changes)

    def run_again(self, reason: str) -> Job:
        """Return this job, which has succeeded, waiting for another attempt.

        Args:
            reason: why the last attempt counts for nothing; becomes its error.

        Raises:
            IllegalTransition: the job has not succeeded.
        """
        if self.state is not JobState.SUCCESS:
            raise IllegalTransition(f"job {self.uuid} cannot run again from {self.state}")
        job = self.with_attempt({"failure": FailureClass.NODE_LOST, "error": reason})
        fresh = replace(job, started=None, stopped=None, total=None, steps=(), result=None, opaque=False)
        return replace(fresh, state=JobState.RETRY)

    def with_attempt(self, attempt: Mapping[str, Any], **changes: Any) -> Job:
        """Return this job with its current attempt changed, and whatever else."""
        return replace(self, attempts=(*self.attempts[:-1], replace(self.attempts[-1], **attempt)), **changes)

    def with_done(self, done: int) -> Job:
        """Return this group with this number of its members ended."""
        return replace(self, done=done)

    def as_state(self) -> dict[str, Any]:
        """Return the JobState of the REST contract."""
        return {
            "uuid": self.uuid,
            "name": self.alias,
            "status": str(self.state),
            "progress": self.progress,
            "error": self.error,
        }

    def as_list_item(self) -> dict[str, Any]:
        """Return the JobState of the REST contract, with what a list needs to be readable."""
        return {**self.as_state(), "label": self.name, "process": self.process, "script": self.script}

    def as_details(self) -> dict[str, Any]:
        """Return the JobDetails of the REST contract, with what is new of ours."""
        return {
            **self.as_state(),
            "time_info": self._time_info(),
            "steps": self._step_views(),
            "retry": self.retry,
            "result": self.result,
            "label": self.name,
            "process": self.process,
            "script": self.script,
            "entrypoint": self.entrypoint,
            "queue": self.queue,
            "time_limit": self.time_limit,
            "attempt": len(self.attempts),
            "attempts": [_attempt_view(attempt) for attempt in self.attempts],
            "parent_id": self.parent_id,
            "kind": self.kind,
            "graph": self.graph,
            "notes": list(self.notes),
            "priority": self.policy.priority,
            "submitter": self.submitter,
            "pools": dict(self.policy.pools),
            "retries": self.policy.retries,
            "retry_on": None if self.policy.retry_on is None else list(self.policy.retry_on),
            "isolation": self.policy.isolation,
            "memory_limit": self.policy.memory_limit,
            "gpu": self.policy.gpu,
            "gpu_memory": self.policy.gpu_memory,
            "keep": self.policy.keep,
            "pinned": self.pinned,
            "waiting": None,
        }

    def as_record(self) -> dict[str, Any]:
        """Return the record that a task which is not raw hands to the next one, and a handle to who asks it."""
        return task_record(
            uuid=self.uuid,
            name=self.name,
            requested=iso_time(self.requested),
            started=iso_time(self.started),
            stopped=iso_time(self.stopped),
            steps=self._step_views(),
            retry=self.retry,
            result=self.result,
        )

    @property
    def value(self) -> Any:
        """What the task's handle gives: the bare value of a raw task, else the task's record."""
        return self.result if self.config.get("raw") or self.kind != "task" else self.as_record()

    def as_task_meta(self, children: Sequence[Any] = (), result: Any = None) -> dict[str, Any]:
        """Return the TaskMeta of the REST contract.

        Args:
            children: `as_tuple()` of each graph that its script started.
            result: what the job has returned; None while it runs.
        """
        record = {
            "progress": self.progress,
            "steps": self._step_views(),
            "time_info": self._time_info(),
            "result": result,
        }
        return {
            "status": str(self.state),
            "result": record,
            "traceback": self.error,
            "children": list(children),
            "parent_id": self.parent_id,
            "task_id": self.uuid,
            "date_done": iso_time(self.stopped),
        }

    def _time_info(self) -> dict[str, str | None]:
        return {
            "request": iso_time(self.requested),
            "started": iso_time(self.started),
            "stopped": iso_time(self.stopped),
        }

    def _step_views(self) -> list[dict[str, Any]]:
        return [step.as_view() for step in self.steps]


def iso_time(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC, or None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "queue": attempt.queue,
        "node": attempt.node,
        "pid": attempt.pid,
        "started": iso_time(attempt.started),
        "stopped": iso_time(attempt.stopped),
        "failure": str(attempt.failure) if attempt.failure else None,
        "error": attempt.error,
        "log": attempt.log,
        "signal": attempt.signal,
        "exit_code": attempt.exit_code,
        "peak_rss": attempt.peak_rss,
        "peak_uss": attempt.peak_uss,
        "peak_gpu_memory": attempt.peak_gpu_memory,
        "cpu_time": attempt.cpu_time,
        "uncounted": bool(attempt.uncounted),
    }
