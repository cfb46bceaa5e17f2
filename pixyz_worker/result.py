"""Handles on tasks: ask how one is, wait for its result, walk its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from pixyz_worker.exception import PixyzException, PixyzTimeout

TERMINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""States that a task never leaves."""

OnMessage = Callable[[dict[str, Any]], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutcome:
    """How a task stands."""

    state: str
    """One of the status words of a job."""

    result: Any = None
    """What `get()` gives: the task's record, or the bare value of a raw one."""

    error: BaseException | None = None
    """What it failed with; for a task that was not run, what its cause failed with."""

    traceback: str | None = None
    """The same for a person, ending with `Type: message`."""


class Outcomes(Protocol):
    """Who knows how tasks stand: all that a handle needs of a backend."""

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """TaskOutcome of a task, waited for up to `timeout_s` seconds (None: until it ends, 0: at once)."""

    def revoke(self, task_id: str) -> None:
        """Cancel a task."""


class ResultHandle(Protocol):
    """What every handle can do, that of one task and that of many."""

    @property
    def id(self) -> str:
        """Id of the task, or of the group."""

    @property
    def parent(self) -> ResultHandle | None:
        """Handle of what ran before it in its chain."""

    @property
    def children(self) -> list[ResultHandle] | None:
        """Handles of its members."""

    @property
    def state(self) -> str:
        """Status word."""

    def get(
        self,
        timeout: float | None = None,
        on_message: OnMessage | None = None,
        propagate: bool = True,
        **options: Any,
    ) -> Any:
        """Wait for the result, at most `timeout` seconds."""

    def ready(self) -> bool:
        """Whether it has ended, well or not."""

    def as_tuple(self) -> tuple[Any, Any]:
        """Ids of the graph that ends here."""


class _Handle:
    """What the handle of a task and that of a group have in common."""

    def __init__(self, id: str, parent: ResultHandle | None, children: Sequence[ResultHandle] | None) -> None:
        self.id = id
        self.parent = parent
        self.children = None if children is None else list(children)

    @property
    def state(self) -> str:
        """Status word, in the words of a job."""
        raise NotImplementedError

    def get(
        self,
        timeout: float | None = None,
        on_message: OnMessage | None = None,
        propagate: bool = True,
        **options: Any,
    ) -> Any:
        """Wait for the result, at most `timeout` seconds."""
        raise NotImplementedError

    @property
    def task_id(self) -> str:
        """The id, by its other name."""
        return self.id

    @property
    def status(self) -> str:
        """The state, by its other name."""
        return self.state

    def ready(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in TERMINAL_STATES

    def successful(self) -> bool:
        """Whether it has ended well."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Whether it has failed."""
        return self.state == "FAILURE"

    def as_tuple(self) -> tuple[Any, Any]:
        """Ids of the graph that ends here: ((id, parent's tuple or None), members' tuples or None)."""
        line: list[ResultHandle] = list(_lineage(self))
        made: tuple[Any, Any] | None = None
        for handle in reversed(line):
            members = handle.children
            made = ((handle.id, made), None if members is None else [each.as_tuple() for each in members])
        assert made is not None
        return made

    def as_list(self) -> list[str]:
        """Ids of the graph that ends here, this one first."""
        ids: list[str] = []
        for handle in _lineage(self):
            ids.append(handle.id)
            for member in handle.children or ():
                ids.extend(member.as_list() if isinstance(member, _Handle) else [member.id])
        return ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"


class AsyncResult(_Handle):
    """Handle on one task. Without a backend it asks the one that tasks run on where it is used."""

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

    def get(
        self,
        timeout: float | None = None,
        on_message: OnMessage | None = None,
        propagate: bool = True,
        **options: Any,
    ) -> Any:
        """Wait for the result; a failed task raises what it failed with, or gives it with propagate=False.

        `on_message` is called with {task_id, status, result, traceback, children} when the task has ended.
        Options that only mean something to other schedulers (`interval`, ...) are accepted and not used.
        """
        outcome = self._outcome(timeout)
        if outcome.state not in TERMINAL_STATES:
            raise PixyzTimeout(f"task {self.id} is {outcome.state}: it did not end within {timeout} s")
        if on_message is not None:
            on_message(self._message(outcome))
        if outcome.state == "SUCCESS":
            return outcome.result
        error = outcome.error or PixyzException(f"task {self.id} ended as {outcome.state}")
        if propagate:
            raise error
        return error

    wait = get

    @property
    def state(self) -> str:
        """Status word of the task."""
        return self._outcome(0).state

    @property
    def result(self) -> Any:
        """The result if it is there; the exception of a failed task; None before."""
        outcome = self._outcome(0)
        return outcome.error if outcome.state == "FAILURE" else outcome.result

    @property
    def traceback(self) -> str | None:
        """Traceback of a failed task."""
        return self._outcome(0).traceback

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancel the task; one that has ended stays as it is."""
        self._outcomes().revoke(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        # The backend is a live thing of this process; there, the handle asks the backend that it finds.
        return _revive_async_result, (self.id, self.parent, self.children)

    def _outcome(self, timeout_s: float | None) -> TaskOutcome:
        return self._outcomes().outcome(self.id, timeout_s)

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
            "children": self.children,
        }


class GroupResult(_Handle):
    """Handle on tasks that run side by side; its result is the list of theirs, in order."""

    children: list[ResultHandle]

    def __init__(self, id: str, results: Iterable[ResultHandle] = (), *, parent: ResultHandle | None = None) -> None:
        super().__init__(id, parent, [*results])

    @property
    def results(self) -> list[ResultHandle]:
        """The members' handles, in order."""
        return self.children

    def get(
        self,
        timeout: float | None = None,
        on_message: OnMessage | None = None,
        propagate: bool = True,
        **options: Any,
    ) -> list[Any]:
        """Results of all members, in order; `timeout` is for all of them together."""
        deadline = None if timeout is None else monotonic() + timeout
        return [
            member.get(
                timeout=None if deadline is None else max(0.0, deadline - monotonic()),
                on_message=on_message,
                propagate=propagate,
            )
            for member in self.results
        ]

    join = get

    @property
    def state(self) -> str:
        """SUCCESS or FAILURE once all members have ended, else PENDING."""
        states = {member.state for member in self.results}
        if not states <= TERMINAL_STATES:
            return "PENDING"
        return next((state for state in ("REVOKED", "FAILURE") if state in states), "SUCCESS")

    @property
    def result(self) -> list[Any] | None:
        """The members' results once all have ended."""
        return self.get(propagate=False) if self.ready() else None

    def failed(self) -> bool:
        """Whether a member has failed."""
        return any(member.state == "FAILURE" for member in self.results)

    def completed_count(self) -> int:
        """How many members have ended well."""
        return sum(member.state == "SUCCESS" for member in self.results)

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancel all members."""
        for member in self.results:
            if isinstance(member, AsyncResult | GroupResult):
                member.revoke(terminate=terminate)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> ResultHandle:
        return self.results[index]


def allow_join_result() -> AbstractContextManager[None]:
    """Permission to wait for a task inside a task: always given here, so it does nothing."""
    return nullcontext()


def _lineage(handle: ResultHandle) -> Iterable[ResultHandle]:
    """The handle, its parent, the parent's parent..."""
    current: ResultHandle | None = handle
    while current is not None:
        yield current
        current = current.parent


def _revive_async_result(id: str, parent: ResultHandle | None, children: Sequence[ResultHandle] | None) -> AsyncResult:
    return AsyncResult(id, parent=parent, children=children)


def task_handles(handle: ResultHandle) -> list[AsyncResult]:
    """Handles of all tasks of the graph that ends here, in the order in which they run."""
    tasks: list[AsyncResult] = []
    for each in reversed([*_lineage(handle)]):
        for member in each.children or ():
            tasks.extend(task_handles(member))
        if isinstance(each, AsyncResult):
            tasks.append(each)
    return tasks
