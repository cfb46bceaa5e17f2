"""Running tasks in this process, at once and without a cluster."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

from pixyz_worker.backend import TaskCall
from pixyz_worker.cause import EXPIRED, not_called, not_run, not_wanted
from pixyz_worker.console import say
from pixyz_worker.current import current_task
from pixyz_worker.exception import PixyzException, PixyzExitFault, Retry, TaskRevokedError
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
from pixyz_worker.pc import copied
from pixyz_worker.plan import GatherNode, Node, PartNode, Plan, TaskNode
from pixyz_worker.progress import Progress
from pixyz_worker.result import AsyncResult, GroupResult, ResultHandle, task_handles
from pixyz_worker.running_task import RunningTask, TaskRequest, retry_delay_s
from pixyz_worker.task_options import due_time, expiry_time, start_options
from pixyz_worker.task_params import merged
from pixyz_worker.values import NotJson, passed_on, task_record

_SILENT_WAIT_S = 1.0


class LocalBackend:
    """Runs each task in this process when it is submitted, and keeps its outcome for as long as it lives.

    Limits and queues mean nothing here: a task runs until it ends. A task with a countdown is waited for.
    """

    is_local = True
    ends: Container[str] = ()

    def __init__(self) -> None:
        self._outcomes: dict[str, TaskOutcome] = {}
        self._names: dict[str, str] = {}
        self._children: dict[str, list[Any]] = {}
        self._skipped: set[str] = set()

    def submit_plan(self, plan: Plan, bare: str | None = None) -> ResultHandle:
        """Run a graph to its end, one task after another.

        Args:
            plan: the graph.
            bare: id of a task whose result is what its entrypoint returns, whether its context is raw or not.
        """
        from pixyz_worker.plan import FAIL_FAST, handles_of
        from pixyz_worker.wire import plan_as_plain

        # What could not be sent to a cluster is refused here too, before anything of it runs.
        plan_as_plain(plan, lambda context: "")
        handles = handles_of(plan, self)
        self._know_children(plan, handles)
        asked_for = {*handles[plan.end].as_list()}
        failed: dict[str, str] = {}
        began = time()
        kinds = {node.id: type(node) for node in plan.nodes}
        bodies = {node.id for node in plan.nodes if node.after is not None and kinds[node.after] is GatherNode}
        for node in plan.nodes:
            call = _first_call(node)
            self._names[node.id] = call.context["entrypoint"] if call else ""
            scope = call.options.get(FAIL_FAST) if call else None
            if scope in failed and not self._blocked(node):
                self._outcomes[node.id] = _not_wanted(failed[scope])
                continue
            outcome = replace(self._run_node(node, call, bare, began, bodies), stopped=time())
            self._outcomes[node.id] = outcome
            if outcome.state == "FAILURE" and node.id not in asked_for:
                # A callback: no handle that the script has will raise its error.
                say(f"A callback failed: {outcome.traceback}", sys.stderr)
            if scope and outcome.state == "FAILURE":
                failed.setdefault(scope, node.id)
        return handles[plan.end]

    def result(self, task_id: str) -> ResultHandle:
        """Handle on a task by its id."""
        return AsyncResult(task_id, self)

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """Return the outcome of a task; every task that was started here has ended."""
        known = self._outcomes.get(task_id)
        if known is None and timeout_s is None:
            raise PixyzException(f"no task {task_id} was started in this process; waiting for it would not end")
        return known or TaskOutcome(state="PENDING")

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        """Return the outcomes of several tasks."""
        return [self.outcome(task_id, timeout_s) for task_id in task_ids]

    def children(self, task_id: str) -> list[Any]:
        """Return the ids of the tasks after a task in its graph, and of the graphs that it has started."""
        return list(self._children.get(task_id, ()))

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Do nothing: every task that was started here has ended."""

    def _know_children(self, plan: Plan, handles: Mapping[str, ResultHandle]) -> None:
        parent = current_task.get()
        if parent is not None:
            self._children.setdefault(parent.id, []).append(handles[plan.end].as_tuple())
        for child, above in plan.parents.items():
            (id, _), members = handles[child].as_tuple()
            self._children.setdefault(above, []).append(((id, None), members))

    def _blocked(self, node: Node) -> bool:
        """Return whether the node cannot run because the one before it did not end with SUCCESS."""
        return node.after is not None and self._outcomes[node.after].state != "SUCCESS"

    def _run_node(
        self, node: Node, call: TaskCall | None, bare: str | None, began: float, bodies: set[str]
    ) -> TaskOutcome:
        before = self._outcomes[node.after] if node.after else None
        if node.after and before and (blocked := self._not_run(node, before, bodies)):
            self._skipped.add(node.id)
            return blocked
        if call is None:
            assert isinstance(node, GatherNode)
            return self._gathered(node.members)
        ready = before.stopped if before and before.stopped else began
        return self._started(call, ready, lambda: self._run_task(node, before, bare))

    def _run_task(self, node: Node, before: TaskOutcome | None, bare: str | None) -> TaskOutcome:
        from pixyz_worker.wire import as_sent

        if isinstance(node, PartNode):
            return _attempted(lambda: [run_in_place(as_sent(call), by_itself=True) for call in node.calls])
        assert isinstance(node, TaskNode)
        call = as_sent(node.call)
        if before and node.fed:
            call = replace(call, params=node.after if node.on_failure else before.result)
        return _attempted(partial(run_in_place, call, by_itself=True, bare=node.id == bare))

    def _not_run(self, node: Node, before: TaskOutcome, bodies: set[str]) -> TaskOutcome | None:
        """Return the outcome of a node that cannot run because of the one before it; None for one that can.

        An error callback runs when its task has failed itself, or is the body of a chord whose header has.
        """
        assert node.after is not None
        name = self._names.get(node.after, "")
        if isinstance(node, TaskNode) and node.on_failure:
            if before.state == "FAILURE" and (node.after not in self._skipped or node.after in bodies):
                return None
            text = not_called(node.after, name, before.state)
            return TaskOutcome(state="REVOKED", error=TaskRevokedError(text), traceback=text)
        return None if before.state == "SUCCESS" else _not_run(node.after, name, before)

    def _started(self, call: TaskCall, ready: float, run: Callable[[], TaskOutcome]) -> TaskOutcome:
        """Run a task after its countdown, which begins at `ready`; revoke it instead if it has expired by then."""
        options = start_options(call.options)
        now = time()
        due, expiry = due_time(options, ready), expiry_time(options, ready)
        if due is not None and due > now and (expiry is None or due < expiry):
            _wait(due - now, "countdown")
        if expiry is not None and max(time(), due or 0.0) >= expiry:
            return TaskOutcome(
                state="REVOKED", error=TaskRevokedError(EXPIRED), traceback=f"TaskRevokedError: {EXPIRED}"
            )
        return run()

    def _gathered(self, members: Iterable[str]) -> TaskOutcome:
        results: list[Any] = []
        for member in members:
            outcome = self._outcomes[member]
            if outcome.state != "SUCCESS":
                return _not_run(member, self._names.get(member, ""), outcome)
            results.append(outcome.result)
        return TaskOutcome(state="SUCCESS", result=results)


def run_in_place(call: TaskCall, *, by_itself: bool = False, bare: bool = False) -> Any:
    """Run one call here and return its result: the record, or the bare value of a raw one.

    SystemExit and Retry pass through. For a task that runs `by_itself`, exit code 0 is a success, and Retry runs it
    again.

    Args:
        call: what to run.
        by_itself: whether it is a task, and not a call inside of one.
        bare: whether the bare value is returned for a context that is not raw, too.
    """
    started = datetime.now(UTC)
    raw = bool(call.context.get("raw"))
    for attempt in count():
        progress = Progress()
        try:
            result = execute(call, progress, attempt)
            break
        except SystemExit as error:
            if not by_itself or error.code not in (None, 0):
                raise
            result = None
            break
        except Retry as error:
            if not by_itself:
                raise
            _wait(retry_delay_s(error, time()), "retry")
    value, _ = passed_on(result, raw=raw)
    return value if raw or bare else _record(call, value, progress, started, attempt)


def execute(call: TaskCall, progress: Progress, attempt: int = 0, default_queue: str = "gpu") -> Any:
    """Load the script of a call, run its entrypoint in a fresh session and return the result.

    Args:
        call: what to run.
        progress: takes its steps.
        attempt: attempts before this one.
        default_queue: queue that its context shows where neither its options nor its schedule name one.
    """
    return in_own_session(_execute, call, progress, attempt, default_queue)


def _execute(call: TaskCall, progress: Progress, attempt: int, default_queue: str) -> Any:
    context = call.context.clone()
    if not context.get("script"):
        raise PixyzException("the context names no script; make it with ProgramContext.from_local(__file__)")
    # Params are copied as a cluster would: a task that changes its own changes nobody else's.
    params = merged(context.get("params"), copied(call.params))
    script = Path(context["script"])
    with script_folder(script):
        module = load_script(script)
        try:
            function = get_entrypoint(module, context["entrypoint"])
            schedule = getattr(function, "schedule", None)
            schedule = schedule if isinstance(schedule, Schedule) else Schedule()
            queue = call.options.get("queue") or schedule.queue or default_queue
            limit = call.options.get("time_limit") or schedule.time_limit
            task = RunningTask(request=_request(call, params, attempt, queue, limit))
            running = {"params": params, "progress": progress, "task": task, "task_id": call.id, "retry": attempt}
            dict.update(context, running, queue=queue, time_limit=limit)
            progress.time_request = context["time_request"]
            context.open_input()
            value = call_entrypoint(function, context, params)
            if schedule.wait and isinstance(value, AsyncResult | GroupResult):
                value = wait_for(value, progress, call.options.get("timeout") or schedule.timeout)
        finally:
            unload_script(module)
    progress.stop()
    return value


def _request(call: TaskCall, params: Any, attempt: int, queue: str, limit: float | None) -> TaskRequest:
    return TaskRequest(
        id=call.id,
        retries=attempt,
        root_id=call.id,
        args=(params,),
        delivery_info={"routing_key": queue},
        timelimit=(limit, None),
        hostname=platform.node(),
        is_eager=True,
    )


def _wait(seconds: float, why: str) -> None:
    """Wait as the platform would, and say so where that takes long."""
    if seconds > _SILENT_WAIT_S:
        say(f"Waiting {seconds:.0f} s ({why})", sys.stderr)
    sleep(max(0.0, seconds))


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
    """Run a task and return its outcome."""
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
    """Return the outcome of a task that depends on a failed one: the same error, and a text that names the cause."""
    if cause.state == "REVOKED":
        text = not_run(cause_id, name, cause.traceback, cancelled=True)
        return TaskOutcome(state="REVOKED", error=PixyzException(text), traceback=text)
    return TaskOutcome(state="FAILURE", error=cause.error, traceback=not_run(cause_id, name, cause.traceback))


def _not_wanted(failed_id: str) -> TaskOutcome:
    """Return the outcome of a task that is cancelled because another one of its fail_fast composition failed."""
    text = not_wanted(failed_id)
    return TaskOutcome(state="REVOKED", error=PixyzException(text), traceback=text)


def _first_call(node: Node) -> TaskCall | None:
    """Return the call of a task, or the first call of a part; None for a group."""
    if isinstance(node, GatherNode):
        return None
    return node.calls[0] if isinstance(node, PartNode) else node.call


def _record(call: TaskCall, value: Any, progress: Progress, started: datetime, attempt: int) -> dict[str, Any]:
    requested = call.context.get("time_request")
    return task_record(
        uuid=call.id,
        name=call.context["entrypoint"],
        requested=f"{requested.isoformat()}+00:00" if isinstance(requested, datetime) else requested,
        started=started.isoformat(),
        stopped=datetime.now(UTC).isoformat(),
        steps=[step.as_view() for step in progress.steps],
        retry=attempt,
        result=value,
    )
