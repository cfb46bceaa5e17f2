"""Names of `celery.result` that result.py does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.not_available import Unavailable
from pixyz_worker.outcome import TaskOutcome
from pixyz_worker.result import AsyncResult, GroupResult

ResultBase = AsyncResult | GroupResult

denied_join_result = Unavailable("denied_join_result", "a task may always wait for others here; leave it out")


class EagerResult(AsyncResult):
    """Handle on a task that ran in the process of its caller, with its result at hand.

    Args:
        id: id of the task.
        ret_value: what it returned, or the error that it raised.
        state: its status.
        traceback: of the error, as text.
        name: name of the task; not used.

    >>> EagerResult("an id", 42, "SUCCESS").get()
    42
    """

    def __init__(
        self, id: str, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        error = ret_value if isinstance(ret_value, BaseException) else None
        if state != "SUCCESS" and error is None:
            error = PixyzException(str(ret_value))
        result = None if error is not None else ret_value
        super().__init__(id, _Known(TaskOutcome(state=state, result=result, error=error, traceback=traceback)))

    def __reduce__(self) -> tuple[Any, ...]:
        outcome = self._outcome(0)
        return type(self), (self.id, outcome.error or outcome.result, outcome.state, outcome.traceback)


class _Known:
    """Backend of one task whose outcome is known."""

    def __init__(self, outcome: TaskOutcome) -> None:
        self._outcome = outcome

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """Return the outcome of the task."""
        return self._outcome

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        """Return the outcome of the task, once for each id."""
        return [self._outcome for _ in task_ids]

    def children(self, task_id: str) -> list[Any]:
        """Return no children: the task ran without the platform."""
        return []

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Do nothing: the task has ended."""
