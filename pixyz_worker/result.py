"""Handles on tasks: ask how one is, wait for its result, walk its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any, Protocol

from pixyz_worker.exception import PixyzException, PixyzTimeout
from pixyz_worker.outcome import TERMINAL_STATES, Outcomes, TaskOutcome

OnMessage = Callable[[dict[str, Any]], object]


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

    def as_list(self) -> list[str]:
        """The same ids, flat."""


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

    def __reduce__(self) -> tuple[Any, ...]:
        # Flat, since a chain may be longer than pickle can nest. The backend is a live thing of this process: elsewhere
        # the handle asks the backend that it finds.
        return _revive, ([(type(each), each.id, each.children) for each in reversed([*_lineage(self)])],)

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
        self._final: TaskOutcome | None = None

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
        if outcome.state == "SUCCESS" and outcome.error is None:
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
        """Cancel the graph that ends here: this task, and what runs before it; what has ended stays as it is."""
        self._outcomes().revoke(self.as_list())

    def _outcome(self, timeout_s: float | None) -> TaskOutcome:
        if self._final is None:
            self._learn(outcome := self._outcomes().outcome(self.id, timeout_s))
            return outcome
        return self._final

    def _learn(self, outcome: TaskOutcome) -> None:
        """Remember how the task ended: that never changes."""
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
            "children": self.children,
        }


class GroupResult(_Handle):
    """Handle on tasks that run side by side; its result is the list of theirs, in order."""

    children: list[ResultHandle]

    def __init__(
        self,
        id: str,
        results: Iterable[ResultHandle] = (),
        backend: Outcomes | None = None,
        *,
        parent: ResultHandle | None = None,
    ) -> None:
        super().__init__(id, parent, [*results])
        # Without members, only its id tells whether what runs before it has ended well.
        self._alone = None if self.children else AsyncResult(id, backend)

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
        _ask_together(self, timeout, until_failure=propagate)
        if propagate:
            # A failure ends the waiting, whichever member it is of.
            for task in self._ends():
                if task._final is not None and task._final.state != "SUCCESS":
                    task.get(on_message=on_message)
        if self._alone is not None:
            self._alone.get(timeout=timeout, propagate=propagate)
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
        """SUCCESS, FAILURE or REVOKED once all members have ended, else PENDING."""
        _ask_together(self, 0, until_failure=False)
        states = {member.state for member in self._parts()}
        if not states <= TERMINAL_STATES:
            return "PENDING"
        return next((state for state in ("REVOKED", "FAILURE") if state in states), "SUCCESS")

    @property
    def result(self) -> list[Any] | None:
        """The members' results once all have ended."""
        return self.get(propagate=False) if self.ready() else None

    def failed(self) -> bool:
        """Whether a member has failed."""
        return any(member.state == "FAILURE" for member in self._parts())

    def completed_count(self) -> int:
        """How many members have ended well."""
        return sum(member.state == "SUCCESS" for member in self.results)

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancel the graph that ends here: all members, and what runs before them."""
        if tasks := task_handles(self):
            tasks[0]._outcomes().revoke(self.as_list())

    def _parts(self) -> Sequence[ResultHandle]:
        """What its state is made of."""
        return self.results if self._alone is None else [self._alone]

    def _ends(self) -> list[AsyncResult]:
        """The tasks whose results make its own, members of members included; an empty group counts as one."""
        ends: list[AsyncResult] = []
        for member in self._parts():
            if isinstance(member, GroupResult):
                ends.extend(member._ends())
            elif isinstance(member, AsyncResult):
                ends.append(member)
        return ends

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


def _revive(
    line: Sequence[tuple[type[AsyncResult | GroupResult], str, Any]], backend: Outcomes | None = None
) -> AsyncResult | GroupResult | None:
    """The handle that `__reduce__` made flat: the first of its line, then what follows each."""
    handle: AsyncResult | GroupResult | None = None
    for kind, id, children in line:
        if issubclass(kind, GroupResult):
            handle = kind(id, children, backend, parent=handle)
        else:
            handle = kind(id, backend, parent=handle, children=children)
    return handle


def _ask_together(group: GroupResult, timeout_s: float | None, *, until_failure: bool) -> None:
    """Ask for all tasks whose results make a group's at once, where each by itself would be a question of its own."""
    unknown = [task for task in group._ends() if task._final is None]
    if not unknown:
        return
    outcomes = unknown[0]._outcomes().outcomes([task.id for task in unknown], timeout_s, until_failure=until_failure)
    for task, outcome in zip(unknown, outcomes, strict=True):
        task._learn(outcome)


def task_handles(handle: ResultHandle) -> list[AsyncResult]:
    """Handles of all tasks of the graph that ends here, in the order in which they run."""
    tasks: list[AsyncResult] = []
    for each in reversed([*_lineage(handle)]):
        for member in each.children or ():
            tasks.extend(task_handles(member))
        if isinstance(each, AsyncResult):
            tasks.append(each)
    return tasks


def result_from_tuple(ids: Any, backend: Outcomes | None = None) -> AsyncResult | GroupResult:
    """The handle whose `as_tuple()` gave `ids`, also after these have been JSON; `backend` as for AsyncResult."""
    line: list[tuple[type[AsyncResult | GroupResult], str, Any]] = []
    above = ids
    try:
        while above is not None:
            (id, above), members = above
            children = None if members is None else [result_from_tuple(each, backend) for each in members]
            line.append((AsyncResult if children is None else GroupResult, id, children))
    except (TypeError, ValueError):
        line.clear()
    handle = _revive(line[::-1], backend)
    if handle is None:
        raise PixyzException("these are no ids as as_tuple() gives them: ((id, parent's or None), members' or None)")
    return handle
