"""Tasks in this very process, at once: no cluster needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from pixyz_worker.backend import TaskCall, new_id
from pixyz_worker.cause import not_run, not_wanted
from pixyz_worker.console import say
from pixyz_worker.exception import PixyzException, PixyzExitFault
from pixyz_worker.loader import (
    Schedule,
    call_entrypoint,
    get_entrypoint,
    in_own_session,
    load_script,
    script_folder,
    unload_script,
)
from pixyz_worker.outcome import TaskOutcome
from pixyz_worker.pc import ProgramContext, copied
from pixyz_worker.progress import Progress
from pixyz_worker.result import AsyncResult, GroupResult, ResultHandle, task_handles
from pixyz_worker.values import NotJson, passed_on, task_record

if TYPE_CHECKING:
    from pixyz_worker.plan import Node, Plan


class LocalBackend:
    """Runs each task in this process when it is submitted, and keeps its outcome for as long as it lives.

    Limits and queues mean nothing here: a task runs until it ends.
    """

    is_local = True
    ends: Container[str] = ()

    def __init__(self) -> None:
        self._outcomes: dict[str, TaskOutcome] = {}
        self._names: dict[str, str] = {}

    def submit_plan(self, plan: Plan) -> ResultHandle:
        """Run a graph to its end, one task after another."""
        from pixyz_worker.plan import FAIL_FAST, handles_of
        from pixyz_worker.wire import plan_as_plain

        # What could not be sent to a cluster is refused here too, before anything of it runs.
        plan_as_plain(plan, lambda context: "")
        failed: dict[str, str] = {}
        for node in plan.nodes:
            call = _first_call(node)
            self._names[node.id] = call.context["entrypoint"] if call else ""
            scope = call.options.get(FAIL_FAST) if call else None
            if scope in failed and not self._blocked(node):
                self._outcomes[node.id] = _not_wanted(failed[scope])
                continue
            outcome = self._outcomes[node.id] = self._run_node(node)
            if scope and outcome.state == "FAILURE":
                failed.setdefault(scope, node.id)
        return handles_of(plan, self)[plan.end]

    def result(self, task_id: str) -> ResultHandle:
        """Handle on a task by its id."""
        return AsyncResult(task_id, self)

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """Outcome of a task; every task that was started here has ended."""
        known = self._outcomes.get(task_id)
        if known is None and timeout_s is None:
            raise PixyzException(f"no task {task_id} was started in this process; waiting for it would not end")
        return known or TaskOutcome(state="PENDING")

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        """Outcomes of many tasks."""
        return [self.outcome(task_id, timeout_s) for task_id in task_ids]

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Nothing: every task that was started here has ended."""

    def _blocked(self, node: Node) -> bool:
        """Whether the node cannot run, whatever else there is: what it depends on has not ended well."""
        return node.after is not None and self._outcomes[node.after].state != "SUCCESS"

    def _run_node(self, node: Node) -> TaskOutcome:
        from pixyz_worker.plan import GatherNode, PartNode
        from pixyz_worker.wire import as_sent

        before = self._outcomes[node.after] if node.after else None
        if node.after and before and before.state != "SUCCESS":
            return _not_run(node.after, self._names.get(node.after, ""), before)
        if isinstance(node, GatherNode):
            return self._gathered(node.members)
        if isinstance(node, PartNode):
            return _attempted(lambda: [run_in_place(as_sent(call), by_itself=True) for call in node.calls])
        fed = replace(node.call, params=before.result) if before and node.fed else as_sent(node.call)
        return _attempted(lambda: run_in_place(fed, by_itself=True))

    def _gathered(self, members: Iterable[str]) -> TaskOutcome:
        results: list[Any] = []
        for member in members:
            outcome = self._outcomes[member]
            if outcome.state != "SUCCESS":
                return _not_run(member, self._names.get(member, ""), outcome)
            results.append(outcome.result)
        return TaskOutcome(state="SUCCESS", result=results)


class LocalPixyzTask:
    """A script's entrypoint on the workstation, without a cluster."""

    @staticmethod
    def from_commandline(
        script: str | os.PathLike[str],
        output_dir: str | os.PathLike[str] | None,
        entrypoint: str,
        params: Any = None,
        input_file: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Run it, print its progress, and return what it returns; what it raises passes through."""
        pc = ProgramContext.from_local(script, input_file, output_dir).update(entrypoint=entrypoint)
        call = TaskCall(id=new_id(), params={} if params is None else params, context=pc)
        return execute(call, Progress(_PercentPrinter()))


def run_in_place(call: TaskCall, *, by_itself: bool = False) -> Any:
    """Run one call here and return its result: the record, or the bare value of a raw one.

    An exit with code 0 passes through like any other, but ends a task that stands `by_itself` well.
    """
    started = datetime.now(UTC)
    progress = Progress()
    raw = bool(call.context.get("raw"))
    try:
        result = execute(call, progress)
    except SystemExit as error:
        if not by_itself or error.code not in (None, 0):
            raise
        result = None
    value, _ = passed_on(result, raw=raw)
    return value if raw else _record(call, value, progress, started)


def execute(call: TaskCall, progress: Progress) -> Any:
    """Load the script of a call, run its entrypoint in a session of its own and return what that returns."""
    return in_own_session(_execute, call, progress)


def _execute(call: TaskCall, progress: Progress) -> Any:
    context = call.context.clone()
    if not context.get("script"):
        raise PixyzException("the context names no script; make it with ProgramContext.from_local(__file__)")
    # Params are copied as a cluster would: a task that changes its own changes nobody else's.
    params = copied(call.params)
    context |= {"params": params, "progress": progress, "task": call, "retry": 0}
    context["queue"] = call.options.get("queue") or context.get("queue")
    script = Path(context["script"])
    with script_folder(script):
        module = load_script(script)
        try:
            function = get_entrypoint(module, context["entrypoint"])
            value = call_entrypoint(function, context, params)
            schedule: Schedule | None = getattr(function, "schedule", None)
            if isinstance(schedule, Schedule) and schedule.wait and isinstance(value, AsyncResult | GroupResult):
                value = wait_for(value, progress, schedule.timeout)
        finally:
            unload_script(module)
    progress.stop()
    return value


def wait_for(handle: AsyncResult | GroupResult, progress: Progress, timeout_s: float | None = None) -> Any:
    """Wait for a graph that an entrypoint returned, one step for each task of it that has ended."""
    deadline = None if timeout_s is None else monotonic() + timeout_s
    tasks = task_handles(handle)
    progress.set_total(len(tasks))
    for task in tasks:
        task.get(timeout=None if deadline is None else max(0.0, deadline - monotonic()), propagate=False)
        progress.next(f"Task {task.id}: {task.state}")
    value = handle.get()
    # A raw task may return the record of another, which is its value.
    if isinstance(value, dict) and value.get("uuid") == handle.id and "time_info" in value:
        return value["result"]
    return value


def _attempted(task: Callable[[], Any]) -> TaskOutcome:
    """Outcome of a task that runs here and now."""
    try:
        return TaskOutcome(state="SUCCESS", result=task())
    except NotJson as error:
        return TaskOutcome(state="FAILURE", error=PixyzException(str(error)), traceback=str(error))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        return _failed(error, PixyzExitFault(code))
    except Exception as error:
        return _failed(error, error)


def _failed(error: BaseException, told: BaseException) -> TaskOutcome:
    from traceback import format_exception

    return TaskOutcome(state="FAILURE", error=told, traceback="".join(format_exception(error)))


def _not_run(cause_id: str, name: str, cause: TaskOutcome) -> TaskOutcome:
    """Outcome of what depends on a task that did not end well: the same error, and a text that names the cause."""
    if cause.state == "REVOKED":
        text = not_run(cause_id, name, cause.traceback, cancelled=True)
        return TaskOutcome(state="REVOKED", error=PixyzException(text), traceback=text)
    return TaskOutcome(state="FAILURE", error=cause.error, traceback=not_run(cause_id, name, cause.traceback))


def _not_wanted(failed_id: str) -> TaskOutcome:
    """Outcome of a task that is not to go on since another of its fail_fast composition has failed."""
    text = not_wanted(failed_id)
    return TaskOutcome(state="REVOKED", error=PixyzException(text), traceback=text)


def _first_call(node: Node) -> TaskCall | None:
    """The call of a task, the first one of a part, and None of a group."""
    from pixyz_worker.plan import GatherNode, PartNode

    if isinstance(node, GatherNode):
        return None
    return node.calls[0] if isinstance(node, PartNode) else node.call


def _record(call: TaskCall, value: Any, progress: Progress, started: datetime) -> dict[str, Any]:
    requested = call.context.get("time_request")
    return task_record(
        uuid=call.id,
        name=call.context["entrypoint"],
        requested=requested.isoformat() if isinstance(requested, datetime) else requested,
        started=started.isoformat(),
        stopped=datetime.now(UTC).isoformat(),
        steps=[(step.info, step.duration) for step in progress.steps],
        retry=0,
        result=value,
    )


class _PercentPrinter:
    """Prints each step with the percentage done when it begins."""

    def __init__(self) -> None:
        self._total = 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "total":
            self._total = event["total"]
        elif event["kind"] == "step":
            known = f"{min(100, 100 * event['index'] // self._total):3}%" if self._total else "  ? "
            say(f"[{known}] {event['info']}")
        else:
            say("[100%] Done")
