"""Handle of one task: ask for its state, wait for its result, walk its graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Protocol

from pixyz_worker.exception import InvalidBackendParameter, PixyzException, PixyzTimeout, TaskRevokedError
from pixyz_worker.outcome import TERMINAL_STATES, Outcomes, TaskOutcome

OnMessage = Callable[[dict[str, Any]], object]


class ResultHandle(Protocol):
    """Interface of all handles, on one task or on several."""

    @property
    def id(self) -> str:
        """Id of the task, or of the group."""

    @property
    def parent(self) -> ResultHandle | None:
        """Handle on the task or group before it in its chain; None for the first."""

    @property
    def children(self) -> list[ResultHandle] | None:
        """Handles on its members."""

    @property
    def state(self) -> str:
        """Status, such as PENDING or SUCCESS."""

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        on_message: OnMessage | None = None,
        **options: Any,
    ) -> Any:
        """Wait for the result, at most `timeout` seconds."""

    def ready(self) -> bool:
        """Return whether it has ended, successfully or not."""

    def as_tuple(self) -> tuple[Any, Any]:
        """Return the ids of the graph that ends here."""

    def as_list(self) -> list[str]:
        """Return the same ids, flat."""


class Handle:
    """Base of the handles on a task and on a group."""

    def __init__(self, id: str, parent: ResultHandle | None, children: Sequence[ResultHandle] | None) -> None:
        self.id = id
        self.parent = parent
        self._members = None if children is None else list(children)

    @property
    def children(self) -> list[ResultHandle] | None:
        """Handles on the members of a group, or on the tasks that a task has started."""
        return self._members

    @property
    def state(self) -> str:
        """Status, as jobs have it."""
        raise NotImplementedError

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        on_message: OnMessage | None = None,
        **options: Any,
    ) -> Any:
        """Wait for the result, at most `timeout` seconds."""
        raise NotImplementedError

    @property
    def task_id(self) -> str:
        """Same as `id`."""
        return self.id

    @property
    def status(self) -> str:
        """Same as `state`."""
        return self.state

    def ready(self) -> bool:
        """Return whether it has ended, successfully or not."""
        return self.state in TERMINAL_STATES

    def successful(self) -> bool:
        """Return whether it has ended with SUCCESS."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Return whether it has ended with FAILURE."""
        return self.state == "FAILURE"

    def forget(self) -> None:
        """Drop the outcome that is cached here; the platform keeps its jobs until retention removes them."""
        raise NotImplementedError

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[ResultHandle, Any]]:
        """Yield (handle, result) of this task and of all its descendants, waiting for each in turn.

        Args:
            intermediate: accepted as in Celery, without effect: every result is waited for.
            options: as for `get`.
        """
        pending: deque[ResultHandle] = deque([self])
        seen: set[str] = set()
        while pending:
            handle = pending.popleft()
            if handle.id in seen:
                continue
            seen.add(handle.id)
            yield handle, handle.get(**options)
            pending.extend(handle.children or ())

    def as_tuple(self) -> tuple[Any, Any]:
        """Ids of the graph that ends here: ((id, parent's tuple or None), members' tuples or None)."""
        line: list[ResultHandle] = list(lineage(self))
        made: tuple[Any, Any] | None = None
        for handle in reversed(line):
            members = members_of(handle)
            made = ((handle.id, made), None if members is None else [each.as_tuple() for each in members])
        assert made is not None
        return made

    def as_list(self) -> list[str]:
        """Ids of the graph that ends here, this one first."""
        ids: list[str] = []
        for handle in lineage(self):
            ids.append(handle.id)
            for member in members_of(handle) or ():
                ids.extend(member.as_list() if isinstance(member, Handle) else [member.id])
        return ids

    def __reduce__(self) -> tuple[Any, ...]:
        # Flat, since a chain may be longer than pickle can nest. The backend belongs to this process: elsewhere the
        # handle asks the current one.
        from pixyz_worker.group_result import revive

        return revive, ([(type(each), each.id, members_of(each)) for each in reversed([*lineage(self)])],)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"


class AsyncResult(Handle):
    """Handle on one task; without a backend it asks the current one."""

    def __init__(
        self,
        id: str,
        backend: Outcomes | None = None,
        *,
        parent: ResultHandle | None = None,
        children: Sequence[ResultHandle] | None = None,
    ) -> None:
        super().__init__(id, parent, children)
        self._backend = backend
        self._final: TaskOutcome | None = None

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        on_message: OnMessage | None = None,
        **options: Any,
    ) -> Any:
        """Wait for the result; the error of a failed task is raised, or returned with propagate=False.

        Args:
            timeout: seconds to wait at most; None for no limit.
            propagate: whether the error of a failed task is raised.
            interval: accepted as in Celery, without effect: the platform says when the task has ended.
            on_message: called with {task_id, status, result, traceback, children} when the task has ended.
            options: `callback`, called with (task id, result); Celery's other options about how to wait are accepted
                without effect.

        Raises:
            PixyzTimeout: the task did not end in time.
            InvalidBackendParameter: there is no such option.
        """
        callback = callback_of(options)
        outcome = self._outcome(timeout)
        if outcome.state not in TERMINAL_STATES:
            raise PixyzTimeout(f"task {self.id} is {outcome.state}: it did not end within {timeout} s")
        if on_message is not None:
            on_message(self._message(outcome))
        if outcome.state == "SUCCESS" and outcome.error is None:
            value = outcome.result
        else:
            value = _error_of(outcome, self.id)
            if propagate:
                raise value
        if callback is not None:
            callback(self.id, value)
        return value

    wait = get

    @property
    def state(self) -> str:
        """Status of the task; while it runs, the state that its script gave `update_state`."""
        outcome = self._outcome(0)
        return outcome.own_state or outcome.state

    @property
    def result(self) -> Any:
        """The result if it is there; the exception of a failed task; None before."""
        outcome = self._outcome(0)
        return outcome.error if outcome.state == "FAILURE" else outcome.result

    @property
    def info(self) -> Any:
        """The result of a task that has ended; before, what its script gave `update_state`, or its progress."""
        outcome = self._outcome(0)
        return self.result if outcome.state in TERMINAL_STATES else outcome.info

    @property
    def date_done(self) -> datetime | None:
        """When the task ended, naive and in UTC; None before."""
        stopped = self._outcome(0).stopped
        return None if stopped is None else datetime.fromtimestamp(stopped, UTC).replace(tzinfo=None)

    @property
    def children(self) -> list[ResultHandle]:
        """Handles on the tasks after it in its graph, callbacks included, and on the graphs that its script started."""
        from pixyz_worker.group_result import result_from_tuple

        if self._members is not None:
            return self._members
        outcomes = self._outcomes()
        return [result_from_tuple(ids, outcomes) for ids in outcomes.children(self.id)]

    def forget(self) -> None:
        """Drop the cached outcome: the next access asks the platform again."""
        self._final = None

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> Any:
        """Raise the error of a failed task, or return the result so far."""
        return self.get(timeout=0, propagate=propagate, callback=callback) if self.ready() else None

    @property
    def traceback(self) -> str | None:
        """Traceback of a failed task."""
        return self._outcome(0).traceback

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancel the graph that ends here: this task and those before it; tasks that have ended are left alone."""
        self._outcomes().revoke(self.as_list())

    def _outcome(self, timeout_s: float | None) -> TaskOutcome:
        if self._final is None:
            self._learn(outcome := self._outcomes().outcome(self.id, timeout_s))
            return outcome
        return self._final

    def _learn(self, outcome: TaskOutcome) -> None:
        """Cache an outcome that is final."""
        if outcome.state in TERMINAL_STATES:
            self._final = outcome

    def _outcomes(self) -> Outcomes:
        if self._backend is None:
            from pixyz_worker.backend import current_backend

            return current_backend()
        return self._backend

    def _message(self, outcome: TaskOutcome) -> dict[str, Any]:
        return {
            "task_id": self.id,
            "status": outcome.state,
            "result": outcome.error if outcome.state == "FAILURE" else outcome.result,
            "traceback": outcome.traceback,
            "children": self._members,
        }


def allow_join_result() -> AbstractContextManager[None]:
    """Return a context manager without effect: here a task may always wait for another one."""
    return nullcontext()


_WAITING_OPTIONS = frozenset(
    {
        "no_ack",
        "follow_parents",
        "disable_sync_subtasks",
        "EXCEPTION_STATES",
        "PROPAGATE_STATES",
        "max_iterations",
    }
)


def callback_of(options: dict[str, Any]) -> Callable[[str, Any], object] | None:
    """Return the `callback` among the further options of `get`, or None.

    Raises:
        InvalidBackendParameter: one of the options does not exist here.
    """
    if unknown := options.keys() - _WAITING_OPTIONS - {"callback"}:
        raise InvalidBackendParameter(
            f"get() has no option {min(unknown)!r}; it takes timeout, propagate, callback, on_message"
        )
    callback: Callable[[str, Any], object] | None = options.get("callback")
    return callback


def _error_of(outcome: TaskOutcome, id: str) -> BaseException:
    """Return the error of a task that did not end well; of one that was revoked, as Celery's users catch it."""
    error = outcome.error or PixyzException(f"task {id} ended as {outcome.state}")
    if outcome.state != "REVOKED" or isinstance(error, TaskRevokedError):
        return error
    return TaskRevokedError(str(error))


def members_of(handle: ResultHandle) -> list[ResultHandle] | None:
    """Return the members of a group's handle; None for the handle of a task."""
    return handle._members if isinstance(handle, Handle) else handle.children


def lineage(handle: ResultHandle) -> Iterable[ResultHandle]:
    """Yield the handle, its parent, the parent's parent, ..."""
    current: ResultHandle | None = handle
    while current is not None:
        yield current
        current = current.parent
