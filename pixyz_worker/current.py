"""The running task: a context variable, set by the code that runs tasks, and Celery's proxy for it.

It imports nothing of the package but its errors, so that every module can import it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NoReturn

from pixyz_worker.exception import NotAvailable

current_task: ContextVar[Any] = ContextVar("pixyz_current_task", default=None)
"""The running task, the same object that the script has as `pc["task"]`; None outside of a task."""

running_context: ContextVar[Any] = ContextVar("pixyz_running_context", default=None)
"""The context of the running task, as its entrypoint got it; None outside of a task."""


class CurrentTask:
    """`celery.current_task`: a proxy for the running task; false where none runs.

    Attributes are those of the running task: `.request.id`, `.request.retries`, `.name`, ...

    >>> bool(CurrentTask())
    False
    """

    def retry(self, *args: Any, **options: Any) -> NoReturn:
        """Run the task again: always raises, as RunningTask.retry does.

        Raises:
            Retry: the task will be run again.
            NotAvailable: outside of a task.
        """
        running = self._running()
        if running is None:
            raise NotAvailable("retry is for a task that runs; no task runs here") from options.get("exc")
        running.retry(*args, **options)
        raise AssertionError("retry always raises")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Pickle and copy look for special methods, and must not find those of the running task.
            raise AttributeError(name)
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
