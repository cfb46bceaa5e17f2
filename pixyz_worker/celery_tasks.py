"""Celery's ways to make tasks: `@shared_task`, `current_app`, and the tasks that scripts found in pixyz_worker.tasks.

A function becomes a FunctionTask (see function.py): each call is a job, whose result is the bare return value. Options
that cannot be honoured are refused when the task is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from math import inf
from typing import Any, NoReturn

from pixyz_worker.current import CURRENT
from pixyz_worker.exception import NotAvailable
from pixyz_worker.function import FunctionTask
from pixyz_worker.generated import name_of
from pixyz_worker.nearest import SIMILAR, nearest
from pixyz_worker.not_available import Unavailable
from pixyz_worker.result import AsyncResult, GroupResult, ResultHandle
from pixyz_worker.running_task import DEFAULT_MAX_RETRIES

_SCHEDULE = frozenset({"queue", "time_limit", "wait", "timeout"})
_WITHOUT_EFFECT = frozenset(
    {
        "acks_late",
        "acks_on_failure_or_timeout",
        "compression",
        "ignore_result",
        "reject_on_worker_lost",
        "send_events",
        "serializer",
        "shared",
        "store_errors_even_if_ignored",
        "task_reject_on_worker_lost",
        "track_started",
        "trail",
        "typing",
    }
)
"""Options about how Celery stores and delivers a task; accepted without effect."""

_RETRIES = "run it again yourself with self.retry(exc=..., countdown=...), or let @pixyz_schedule(retries=...) do it"
_REFUSED: Mapping[str, str] = {
    "after_return": "put it into the function, with try/finally",
    "autoretry_for": _RETRIES,
    "base": "there is no Task class to derive from; write functions",
    "before_start": "put it at the beginning of the function",
    "expires": "give it to .apply_async()",
    "on_failure": "put it into the function, with try/except, or use link_error",
    "on_retry": "put it into the function",
    "on_success": "put it at the end of the function, or use link",
    "priority": "give it to .apply_async() or .set()",
    "rate_limit": "limit how many run at a time with pools: @pixyz_schedule(pools=...)",
    "resultrepr_maxsize": "results are kept whole",
    "retry_backoff": _RETRIES,
    "retry_backoff_max": _RETRIES,
    "retry_jitter": _RETRIES,
    "retry_kwargs": _RETRIES,
    "soft_time_limit": "use time_limit; at it SoftTimeLimitExceeded is raised, half a second before the task is killed",
}


class CeleryTask(FunctionTask[..., Any]):
    """A function task with the attributes and methods of Celery's tasks."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.bound = BoundTask(
            name=options.get("name") or f"{function.__module__}.{name_of(function)}",
            max_retries=options.get("max_retries", DEFAULT_MAX_RETRIES),
            default_retry_delay=options.get("default_retry_delay"),
        )
        """First argument of a function with bind=True."""
        super().__init__(
            _WithTask(function, self.bound) if options.get("bind") else function,
            **{name: value for name, value in options.items() if name in _SCHEDULE and value is not None},
        )

    @property
    def name(self) -> str:
        """The option `name`, else the names of module and function."""
        return self.bound.name

    @property
    def request(self) -> Any:
        """Request of the running task."""
        return CURRENT.request

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function in place, now."""
        return self(*args, **kwargs)

    def signature(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        immutable: bool = False,
        **options: Any,
    ) -> Any:
        """A signature with options."""
        return (self.si if immutable else self.s)(*args, **(kwargs or {})).set(**options)

    subtask = signature

    def AsyncResult(self, id: str) -> AsyncResult:
        """Handle on a task by its id."""
        return AsyncResult(id)

    def retry(self, *args: Any, **options: Any) -> NoReturn:
        """Run the running task again: always raises Retry; see CurrentTask.retry."""
        self.bound.retry(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        advice = "compose it with chain, group, chord and .chunks(), start it with .delay() or .apply_async()"
        raise AttributeError(f"a task has no {name!r} here: {advice}", name=name, obj=self)


@dataclass(frozen=True, kw_only=True)
class BoundTask:
    """The running task as a function with bind=True sees it: `self.request.id`, `self.retry(exc=error)`."""

    name: str
    """Name of the task."""

    max_retries: int | None
    """Retries that `retry` allows; None for no limit."""

    default_retry_delay: float | None
    """Seconds before a retry, unless `retry` gets a countdown or an eta."""

    def retry(self, *args: Any, **options: Any) -> NoReturn:
        """Run the running task again: always raises Retry; see CurrentTask.retry."""
        most = inf if self.max_retries is None else self.max_retries
        if options.get("max_retries") is None:
            options["max_retries"] = most
        if options.get("eta") is None and options.get("countdown") is None:
            options["countdown"] = self.default_retry_delay
        CURRENT.retry(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Pickle looks for special methods, and must not find those of the running task.
            raise AttributeError(name)
        return getattr(CURRENT, name)


class _WithTask:
    """Calls a function with the running task as its first argument."""

    def __init__(self, function: Callable[..., Any], task: BoundTask) -> None:
        self._function = function
        self._task = task
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(self._task, *args, **kwargs)


def shared_task(*args: Any, **options: Any) -> Any:
    """Make a function a task: `@shared_task`, or `@shared_task(bind=True, queue="gpu", time_limit=600)`.

    With bind=True the running task is its first argument: `self.request.id`, `self.retry(...)`.

    Raises:
        NotAvailable: an option cannot be honoured; the message says what to use instead.
        TypeError: an option does not exist, or there are positional arguments.
    """
    if len(args) == 1 and not options and callable(args[0]):
        return CeleryTask(args[0], {})
    if args:
        raise TypeError("a task takes options by name: @shared_task(queue='gpu')")
    _check(options)
    return lambda function: CeleryTask(function, options)


def _check(options: Mapping[str, Any]) -> None:
    own = {"bind", "name", "max_retries", "default_retry_delay"}
    for name, value in options.items():
        if name in _REFUSED and value not in (None, False, (), 0):
            raise NotAvailable(f"the option {name!r} of a task is not available here: {_REFUSED[name]}")
        known = _SCHEDULE | _WITHOUT_EFFECT | own | _REFUSED.keys()
        if name not in known:
            near = nearest(name, known, cutoff=SIMILAR)
            raise TypeError(f"a task has no option {name!r}{f'; do you mean {near!r}?' if near else ''}")


class App:
    """`celery.current_app` and `pixyz_worker.tasks.app`: the platform, with the interface of a Celery app."""

    main = "pixyz_worker"
    name = main
    task = staticmethod(shared_task)
    AsyncResult = AsyncResult
    GroupResult = GroupResult

    @property
    def current_task(self) -> Any:
        """The running task."""
        return CURRENT

    @property
    def control(self) -> _Control:
        """Control of running tasks."""
        return _Control()

    def signature(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        """A signature of pixyz_execute, named or given."""
        from pixyz_worker.celery_names import signature

        return signature(task, *args, **kwargs)

    def send_task(
        self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Start a task by its name; the only name is pixyz_execute."""
        handle: ResultHandle = self.signature(name, args, kwargs).apply_async(**options)
        return handle

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        advice = _NO_APP.get(name, "there is no application of Celery here; see docs/scripts.md for what there is")
        raise AttributeError(f"the app has no {name!r} here: {advice}", name=name, obj=self)

    def __repr__(self) -> str:
        return "<app: the platform that runs this script>"

    def __reduce__(self) -> str:
        return "app"


_SETTINGS = "the platform has no settings of Celery; pixyz_worker.config has what scripts may know"
_NO_APP: Mapping[str, str] = {
    "backend": "ask handles for results: pc.AsyncResult(id)",
    "broker_connection": "there is no broker",
    "conf": _SETTINGS,
    "config_from_object": _SETTINGS,
    "connection": "there is no broker",
    "events": "clients follow a job with GET /jobs/{id}/events",
    "tasks": "tasks are not registered by name; use the function itself",
    "worker_main": "`pixyz up` starts the platform with its workers",
}


class _Control:
    """`app.control`: cancels tasks."""

    def revoke(self, task_id: str | Iterable[str], terminate: bool = False, **options: Any) -> None:
        """Cancel a task, or several."""
        for each in [task_id] if isinstance(task_id, str) else task_id:
            AsyncResult(each).revoke(terminate=terminate, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"control has no {name!r} here: `pixyz queue` and `pixyz jobs` are for operators", name=name
        )


app = App()
"""The only instance."""

package = Unavailable(
    "package", "the outputs of a job are packed when a client asks for them: `pixyz download_all -j ID`"
)
cleanup_share_file = Unavailable(
    "cleanup_share_file", "the platform removes old jobs by itself; operators set CLEANUP_ENABLED and CLEANUP_DELAY"
)


def _sleep(t: float) -> float:
    """Sleep `t` seconds and return them; a task to try a platform out."""
    time.sleep(t)
    return t


sleep = CeleryTask(_sleep, {"name": "sleep", "queue": "gpu"})
"""The task that sleeps: `sleep(2)`, `sleep.delay(2)`."""
