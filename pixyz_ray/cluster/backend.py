"""RayBackend: where the tasks go that a script starts while it runs on the cluster. Each becomes a job of its own."""

from __future__ import annotations

from typing import Any

import ray

from pixyz_ray.cluster.names import NAMESPACE, TRACKER
from pixyz_worker.backend import TaskCall
from pixyz_worker.exception import PixyzException
from pixyz_worker.result import AsyncResult, TaskOutcome


class RayBackend:
    """Starts tasks through the tracker.

    Args:
        parent: job whose script runs here.
    """

    is_local = False
    supports_graphs = False

    def __init__(self, parent: str) -> None:
        self._parent = parent

    def submit(self, task: TaskCall) -> AsyncResult:
        """Start a task as a new job."""
        context = {key: value for key, value in task.context.items() if _is_plain(key, value)}
        call = {"uuid": task.id, "params": task.params, "context": context, "options": dict(task.options)}
        ray.get(self._tracker().submit_child.remote(self._parent, call))
        return self.result(task.id)

    def result(self, task_id: str) -> AsyncResult:
        """Return the handle of a task by its id."""
        return AsyncResult(task_id, backend=self)

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """Return how a task stands, waited for at most so many seconds.

        Waiting in `ray.get` gives this worker's CPU back to the cluster, so that the awaited task can have it.
        """
        state, result, error = ray.get(self._tracker().outcome.remote(task_id, timeout_s))
        failure = PixyzException(error.rstrip().rsplit("\n", 1)[-1]) if error else None
        return TaskOutcome(state=state, result=result, error=failure, traceback=error)

    def revoke(self, task_id: str) -> None:
        """Cancel a task."""
        ray.get(self._tracker().revoke.remote(task_id))

    def _tracker(self) -> Any:
        return ray.get_actor(TRACKER, namespace=NAMESPACE)


_OURS = frozenset({"script", "entrypoint", "input_file", "root_file", "compute_only", "raw", "data"})


def _is_plain(key: str, value: Any) -> bool:
    return key in _OURS and (value is None or isinstance(value, bool | int | float | str | list | dict))
