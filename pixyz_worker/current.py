"""The task that runs here: one context variable, set by whoever runs it, and Celery's view of it.

A leaf: it imports nothing of the package but its errors, so that everybody may import it.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

from pixyz_worker.exception import MaxRetriesExceededError, NotAvailable, Retry

current_task: ContextVar[Any] = ContextVar("pixyz_current_task", default=None)
"""The running task, the same object that the script has as `pc["task"]`; None outside of a task."""

MAX_RETRIES = 3
"""Times that `retry` runs a task again when it is not told how often; as in Celery."""


class CurrentTask:
    """`celery.current_task`: stands for the task that runs where it is used, and is false where none runs.

    Attributes are those of the running task: `.request.id`, `.request.retries`, `.name`, ...

    >>> bool(CurrentTask())
    False
    """

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: float | None = None,
        **options: Any,
    ) -> NoReturn:
        """Run the task again: always raises.

        Args:
            args: not available: the task is run with the arguments that it has.
            kwargs: the same.
            exc: the error because of which it is to be run again.
            throw: has to be True.
            eta: when to run it.
            countdown: seconds from now after which to run it.
            max_retries: how often it may be run again, 3 when not given.
            options: other options of the task, kept with the error.

        Raises:
            Retry: it is to be run again.
            MaxRetriesExceededError: that happened as often as it may, and there is no `exc` to raise instead.
            NotAvailable: outside of a task, with other arguments, or with throw=False.
        """
        if self._running() is None:
            raise NotAvailable("retry is for a task that runs; no task runs here") from exc
        if args is not None or kwargs is not None or not throw:
            raise NotAvailable("retry runs the same task again: leave args, kwargs and throw out") from exc
        most = MAX_RETRIES if max_retries is None else max_retries
        if int(self.request.retries) >= most:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(f"the task was run again {most} times, as often as it may be")
        raise Retry(exc=exc, when=eta if countdown is None else countdown, max_retries=most, **options) from exc

    def update_state(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available: the platform alone sets the state of a task.

        Raises:
            NotAvailable: always; says how a script shows its progress.
        """
        raise NotAvailable("update_state: the platform sets a task's state; show progress with pc.progress_next(info)")

    def __getattr__(self, name: str) -> Any:
        running = self._running()
        if running is None:
            raise AttributeError(f"no task runs here, so there is no {name!r} of it", name=name, obj=self)
        return getattr(running, name)

    def __bool__(self) -> bool:
        return self._running() is not None

    def __repr__(self) -> str:
        return f"<current task: {self._running()!r}>"

    def __reduce__(self) -> str:
        return "CURRENT"

    def _get_current_object(self) -> Any:
        """Return the running task itself; the name is that of Celery's proxies."""
        return self._running()

    @staticmethod
    def _running() -> Any:
        return current_task.get()


CURRENT = CurrentTask()
"""The only instance that is needed."""
