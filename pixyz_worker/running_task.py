"""The running task as a script sees it in `pc['task']`: its request, the state that it shows, and retries.

The names are Celery's: `self` of a bound task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from pixyz_worker.exception import InvalidBackendParameter, MaxRetriesExceededError, NotAvailable, Retry
from pixyz_worker.outcome import TERMINAL_STATES
from pixyz_worker.task_options import epoch_seconds

DEFAULT_RETRY_DELAY_S = 180.0
MAX_RETRY_DELAY_S = 365 * 86400.0
DEFAULT_MAX_RETRIES = 3
MAX_META_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRequest:
    """The request of a task: Celery's `self.request`."""

    id: str
    """Id of the task."""
    retries: int = 0
    """Attempts before this one."""
    root_id: str | None = None
    """Job at the top of the graph; the task itself where there is none."""
    parent_id: str | None = None
    """Job whose script started the task."""
    args: tuple[Any, ...] = ()
    """Its params."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Always empty: a task has params."""
    delivery_info: Mapping[str, Any] = field(default_factory=dict)
    """`routing_key`: the queue."""
    timelimit: tuple[float | None, None] = (None, None)
    """Seconds that the attempt may take, and None: there is no soft limit."""
    hostname: str | None = None
    """Machine that the task runs on."""
    task: str = "pixyz_execute"
    """Name of the task."""
    is_eager: bool = False
    """Whether it runs in the process that started it, without a cluster."""
    called_directly: bool = False
    """Never: the entrypoint of a script is always run as a task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningTask:
    """The running task."""

    request: TaskRequest
    """Its request."""
    is_cancelled: Callable[[], bool] = bool
    """Returns whether the task is being stopped."""
    report: Callable[[str | None, Any], None] = lambda state, meta: None
    """Takes what `update_state` is given."""

    name = "pixyz_execute"
    max_retries = DEFAULT_MAX_RETRIES
    default_retry_delay = DEFAULT_RETRY_DELAY_S

    @property
    def id(self) -> str:
        """Id of the task."""
        return self.request.id

    @property
    def retries(self) -> int:
        """Attempts before this one."""
        return self.request.retries

    def cancelled(self) -> bool:
        """Return whether the task is being stopped: cancelled, or out of time."""
        return self.is_cancelled()

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **request: Any
    ) -> None:
        """Show a value while the task runs: `.info` of its handle gives `meta`, `.state` gives `state`.

        In the REST API the status stays RUNNING.

        Raises:
            InvalidBackendParameter: `task_id` is another task's, `state` says that the task has ended, or `meta` is not
                JSON or larger than 64 KiB.
        """
        if state in TERMINAL_STATES:
            raise InvalidBackendParameter(
                f"the platform sets {state} when the script ends; show another word meanwhile"
            )
        if task_id not in (None, self.id):
            raise InvalidBackendParameter(f"update_state can only change the running task, not task {task_id}")
        try:
            size = len(json.dumps(meta))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidBackendParameter(f"meta of update_state must be JSON: {error}") from None
        if size > MAX_META_BYTES:
            raise InvalidBackendParameter(f"meta of update_state is {size} bytes of JSON; {MAX_META_BYTES} are taken")
        self.report(state, meta)

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
        """Run the task again from its beginning, later: `raise pc["task"].retry(countdown=10)`.

        Args:
            args: not available: the next attempt has the same params.
            kwargs: the same.
            exc: the error that is the reason; raised when the retries are used up.
            throw: has to be True: the attempt ends here.
            eta: when to run again; instead of `countdown`.
            countdown: seconds to wait; 180 by default.
            max_retries: attempts after the first that the task may have; 3 by default, `math.inf` for any number.
            options: none; Celery's others are refused.

        Raises:
            Retry: the task will be run again.
            MaxRetriesExceededError: the retries are used up, and there is no `exc` to raise instead.
            NotAvailable: with other arguments, or with throw=False.
        """
        refused = [*(name for name, value in (("args", args), ("kwargs", kwargs)) if value), *options]
        if refused or not throw:
            name = refused[0] if refused else "throw=False"
            raise NotAvailable(
                f"retry takes no {name} here: it runs the same script again with the same params. To run another task "
                "later, start it: pixyz_execute.apply_async((params, pc), countdown=...)"
            ) from exc
        most = DEFAULT_MAX_RETRIES if max_retries is None else max_retries
        if self.retries >= most:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(f"the task was run again {self.retries} times, as often as it may be")
        when = eta if eta is not None else DEFAULT_RETRY_DELAY_S if countdown is None else float(countdown)
        raise Retry(exc=exc, when=when) from exc


def retry_delay_s(retry: Retry, now: float) -> float:
    """Return the seconds to wait before the attempt that a script asked for, at most MAX_RETRY_DELAY_S.

    A script may raise Retry itself, with anything in it: what is no time counts as not given.

    Args:
        retry: what the script raised.
        now: seconds since the epoch.
    """
    if isinstance(retry.when, datetime):
        delay = epoch_seconds(retry.when) - now
    elif isinstance(retry.when, int | float):
        delay = float(retry.when)
    else:
        delay = DEFAULT_RETRY_DELAY_S
    return min(max(0.0, delay), MAX_RETRY_DELAY_S)
