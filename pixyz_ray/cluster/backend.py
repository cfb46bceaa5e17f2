"""RayBackend: where the tasks go that a script starts while it runs on the cluster. Each becomes a job of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayTaskError

from pixyz_ray.cluster.names import NAMESPACE, TRACKER
from pixyz_ray.storage import JobFolder
from pixyz_worker.cause import error_of
from pixyz_worker.exception import PixyzException, PixyzFileNotFound
from pixyz_worker.generated import is_generated
from pixyz_worker.outcome import TaskOutcome
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import Plan, linked
from pixyz_worker.result import AsyncResult, ResultHandle
from pixyz_worker.wire import plan_as_plain


class _ValueLost(Exception):
    """Ray has lost the value of a task with the machine that held it."""

    def __init__(self, task_id: str, error: ObjectLostError) -> None:
        super().__init__(task_id)
        self.task_id = task_id
        self.error = error


class RayBackend:
    """Starts graphs through the tracker, and asks it how they stand.

    Args:
        parent: job whose script runs here.
        attempt: which run of it this is.
        home: job whose folder has that script.
        share: SHARE_PATH.
    """

    is_local = False

    def __init__(self, parent: str, attempt: int, home: str, share: Path) -> None:
        self._parent = parent
        self._attempt = attempt
        self._share = share
        self._home = home
        self._started = 0
        self._ends: set[str] = set()
        self.ends: Container[str] = self._ends

    def submit_plan(self, plan: Plan) -> ResultHandle:
        """Start a graph, which goes on whatever becomes of this process; return the handle of its end."""
        plain = plan_as_plain(plan, self._script_name)
        ids = _ask("submit_graph", self._parent, json.dumps(plain), self._started, self._attempt)
        self._started += 1
        # An earlier run of this script may have started it: then its nodes have the ids that they got there.
        now = dict(zip((node["id"] for node in plain["nodes"]), ids, strict=True))
        members = (
            (now[node["id"]], [now[each] for each in node["members"]] if "members" in node else None)
            for node in plain["nodes"]
        )
        parents = {now[id]: now[parent] for id, parent in plan.parents.items()}
        self._ends.add(now[plan.end])
        return linked(members, parents, self)[now[plan.end]]

    def result(self, task_id: str) -> AsyncResult:
        """Return the handle of a task by its id."""
        return AsyncResult(task_id, backend=self)

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """Return how a task stands, waited for at most so many seconds."""
        return self.outcomes([task_id], timeout_s, until_failure=False)[0]

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        """Return how tasks stand, waited for at most so many seconds.

        Waiting in `ray.get` gives this worker's CPU back to the cluster, so that the awaited tasks can have it.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            answers = _ask("outcomes", self._parent, list(task_ids), timeout_s, until_failure)
            try:
                return [self._outcome(id, **answer) for id, answer in zip(task_ids, answers, strict=True)]
            except _ValueLost as lost:
                # Its task runs again; the time for that is the caller's.
                if not _ask("value_lost", lost.task_id):
                    raise lost.error from None
            timeout_s = None if deadline is None else max(0.0, deadline - time.monotonic())

    def children(self, task_id: str) -> list[Any]:
        """Return the ids of the tasks after a task in its graph, and of the graphs that its script has started."""
        found: list[Any] = _ask("children", task_id)
        return found

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Cancel tasks."""
        _ask("revoke", list(task_ids))

    def _outcome(
        self,
        task_id: str,
        state: str,
        value: Any = None,
        error: str | None = None,
        reference: list[Any] | None = None,
        stopped: float | None = None,
        shown: Sequence[Any] | None = None,
        progress: int | None = None,
    ) -> TaskOutcome:
        if reference is None:
            own_state, info = shown or (None, {"progress": progress})
            return TaskOutcome(
                state=state,
                result=value,
                error=error_of(error) if error else None,
                traceback=error,
                stopped=stopped,
                own_state=own_state if state == "RUNNING" else None,
                info=info,
            )
        # No JSON: here, or else on the share.
        try:
            value = ray.get(reference[0]) if reference else JobFolder(self._share, task_id).kept_value()
        except ObjectLostError as error:
            raise _ValueLost(task_id, error) from error
        except PixyzFileNotFound as gone:
            return TaskOutcome(state=state, error=gone, stopped=stopped)
        return TaskOutcome(state=state, result=value, stopped=stopped)

    def _scripts(self) -> Path:
        return JobFolder(self._share, self._home).script

    def _script_name(self, context: ProgramContext) -> str:
        script = Path(context.get("script") or "")
        if script.parent != self._scripts():
            if not is_generated(script):
                raise PixyzException(
                    f"{script} is not this job's script; its tasks are entrypoints of the script that was sent"
                )
            self._add_script(script)
        return script.name

    def _add_script(self, script: Path) -> None:
        """Put a script made of a function beside the job's own; its name tells its content."""
        target = self._scripts() / script.name
        if not target.exists():
            part = target.with_name(f"{target.name}.{os.getpid()}.part")
            part.write_bytes(script.read_bytes())
            part.replace(target)


def _ask(method: str, *arguments: Any) -> Any:
    """Call the tracker and wait; what it refuses is raised here as if it had been refused here."""
    tracker = ray.get_actor(TRACKER, namespace=NAMESPACE)
    try:
        return ray.get(getattr(tracker, method).remote(*arguments))
    except RayTaskError as error:
        if isinstance(error.cause, PixyzException):
            raise error.cause from None
        raise
