"""Handles on several tasks: a set that tasks can be added to, and a group of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import monotonic, sleep
from typing import Any

from pixyz_worker.async_result import (
    AsyncResult,
    Handle,
    OnMessage,
    ResultHandle,
    callback_of,
    lineage,
    members_of,
)
from pixyz_worker.exception import InvalidBackendParameter, PixyzException, PixyzTimeout
from pixyz_worker.outcome import TERMINAL_STATES, Outcomes

_LOOK_EVERY_S = 0.05


class ResultSet(Handle):
    """Handles on several tasks; its result is the list of theirs, in order. Tasks can be added to it."""

    _members: list[ResultHandle]

    def __init__(self, results: Iterable[ResultHandle] = (), **options: Any) -> None:
        super().__init__("", None, [*results])

    @property
    def children(self) -> list[ResultHandle]:
        """Handles on the members, in order."""
        return self._members

    @property
    def results(self) -> list[ResultHandle]:
        """Same as `children`."""
        return self._members

    def add(self, result: ResultHandle) -> None:
        """Add a handle, unless it is there."""
        if result not in self._members:
            self._members.append(result)

    def update(self, results: Iterable[ResultHandle]) -> None:
        """Add handles."""
        for result in results:
            self.add(result)

    def remove(self, result: ResultHandle | str) -> None:
        """Take a handle out, or that of an id.

        Raises:
            KeyError: it is not there.
        """
        found = next((each for each in self._members if each.id == str(result)), None)
        if found is None:
            raise KeyError(str(result))
        self._members.remove(found)

    def discard(self, result: ResultHandle | str) -> None:
        """Take a handle out, if it is there."""
        self._members[:] = [each for each in self._members if each.id != str(result)]

    def clear(self) -> None:
        """Take all handles out."""
        self._members.clear()

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        on_message: OnMessage | None = None,
        **options: Any,
    ) -> list[Any]:
        """Return the results of all members, in order; `timeout` is for all together, the rest as for one task."""
        callback_of(options)
        deadline = None if timeout is None else monotonic() + timeout
        _ask_together(self, timeout, until_failure=propagate)
        if propagate:
            # The failure of any member ends the wait.
            for task in self._ends():
                if task._final is not None and task._final.state != "SUCCESS":
                    task.get(on_message=on_message)
        self._wait_without_members(timeout, propagate)
        return [
            member.get(
                timeout=None if deadline is None else max(0.0, deadline - monotonic()),
                on_message=on_message,
                propagate=propagate,
                **options,
            )
            for member in self.results
        ]

    def join(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """Do the same as `get`; as in Celery, `propagate` is the second argument."""
        return self.get(timeout, propagate=propagate, **options)

    join_native = join

    def iterate(self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5) -> Iterator[Any]:
        """Yield results as the members end."""
        left = list(self._members)
        deadline = None if timeout is None else monotonic() + timeout
        while left:
            _ask_together(ResultSet(left), 0, until_failure=False)
            ended = [member for member in left if _all_known(member) and member.ready()]
            for member in ended:
                yield member.get(propagate=propagate)
            left = [member for member in left if member not in ended]
            if left and not ended:
                if deadline is not None and monotonic() > deadline:
                    raise PixyzTimeout(f"{len(left)} tasks did not end within {timeout} s")
                sleep(min(interval, _LOOK_EVERY_S))

    def iter_native(self, timeout: float | None = None, **options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (task id, {status, result, traceback}) of the members, in order."""
        deadline = None if timeout is None else monotonic() + timeout
        for task in self._ends():
            left = None if deadline is None else max(0.0, deadline - monotonic())
            result = task.get(timeout=left, propagate=False)
            yield task.id, {"status": task.state, "result": result, "traceback": task.traceback}

    def waiting(self) -> bool:
        """Return whether a member has not ended."""
        return not self.ready()

    def maybe_throw(self, propagate: bool = True, callback: Any = None) -> None:
        """Raise the error of the first member that has failed."""
        for task in self._ends():
            task.maybe_throw(propagate=propagate, callback=callback)

    maybe_reraise = maybe_throw

    def forget(self) -> None:
        """Drop the cached outcomes of the members."""
        for task in self._ends():
            task.forget()

    @property
    def state(self) -> str:
        """SUCCESS, FAILURE or REVOKED once all members have ended, else PENDING."""
        _ask_together(self, 0, until_failure=False)
        if not _all_known(self):
            return "PENDING"
        states = {member.state for member in self._parts()}
        if not states <= TERMINAL_STATES:
            return "PENDING"
        return next((state for state in ("REVOKED", "FAILURE") if state in states), "SUCCESS")

    @property
    def result(self) -> list[Any] | None:
        """The members' results once all have ended."""
        return self.get(propagate=False) if self.ready() else None

    def failed(self) -> bool:
        """Return whether a member has failed."""
        return any(member.state == "FAILURE" for member in self._parts())

    def completed_count(self) -> int:
        """Return how many members have ended with SUCCESS."""
        return sum(member.state == "SUCCESS" for member in self.results)

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancel the members, and the tasks before them."""
        for member in self._members:
            if isinstance(member, AsyncResult | ResultSet):
                member.revoke(terminate, **options)

    def _wait_without_members(self, timeout: float | None, propagate: bool) -> None:
        """Do nothing: a set without members has ended."""

    def _parts(self) -> Sequence[ResultHandle]:
        """Return the handles that make up its state."""
        return self._members

    def _ends(self) -> list[AsyncResult]:
        """Return handles on the tasks whose results it collects, also in nested groups; an empty group is one task."""
        ends: list[AsyncResult] = []
        for member in self._parts():
            if isinstance(member, ResultSet):
                ends.extend(member._ends())
            elif isinstance(member, AsyncResult):
                ends.append(member)
        return ends

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> ResultHandle:
        return self.results[index]

    def __iter__(self) -> Iterator[ResultHandle]:
        return iter(self._members)

    def __eq__(self, other: object) -> bool:
        if type(other) is ResultSet or type(self) is ResultSet:
            return isinstance(other, ResultSet) and self._members == other._members
        return super().__eq__(other)

    __hash__ = Handle.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self._members),)


class GroupResult(ResultSet):
    """Handle on tasks that run side by side; its result is the list of theirs, in order."""

    def __init__(
        self,
        id: str,
        results: Iterable[ResultHandle] = (),
        backend: Outcomes | None = None,
        *,
        parent: ResultHandle | None = None,
    ) -> None:
        super().__init__(results)
        self.id = id
        self.parent = parent
        # Without members, its state is that of the job with its own id.
        self._alone = None if self._members else AsyncResult(id, backend)

    __reduce__ = Handle.__reduce__

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancel the graph that ends here: all members, and the tasks before them."""
        if tasks := task_handles(self):
            tasks[0]._outcomes().revoke(self.as_list())

    def save(self, backend: Any = None) -> None:
        """Do nothing: the platform keeps every graph, and `as_tuple()` identifies it."""

    @classmethod
    def restore(cls, id: str, backend: Any = None) -> GroupResult:
        """Refuse: an id alone does not say which members a group has.

        Raises:
            InvalidBackendParameter: always; says what to use instead.
        """
        raise InvalidBackendParameter(
            "GroupResult.restore needs more than an id here: keep handle.as_tuple(), and give it to "
            "celery.result.result_from_tuple"
        )

    def _wait_without_members(self, timeout: float | None, propagate: bool) -> None:
        if self._alone is not None:
            self._alone.get(timeout=timeout, propagate=propagate)

    def _parts(self) -> Sequence[ResultHandle]:
        return self._members if self._alone is None else [self._alone]


def revive(
    line: Sequence[tuple[type[AsyncResult | GroupResult], str, Any]], backend: Outcomes | None = None
) -> AsyncResult | GroupResult | None:
    """Return the handle that `__reduce__` flattened, its first ancestor first."""
    handle: AsyncResult | GroupResult | None = None
    for kind, id, children in line:
        if issubclass(kind, GroupResult):
            handle = kind(id, children, backend, parent=handle)
        else:
            handle = kind(id, backend, parent=handle, children=children)
    return handle


def _ask_together(group: ResultSet, timeout_s: float | None, *, until_failure: bool) -> None:
    """Fetch the outcomes of all tasks of a group in one request for each backend, instead of one for each task."""
    deadline = None if timeout_s is None else monotonic() + timeout_s
    # The handles of a set may come from several places, such as `.apply()`, which runs each task on its own backend.
    unknown: dict[int, list[AsyncResult]] = {}
    for task in group._ends():
        if task._final is None:
            unknown.setdefault(id(task._outcomes()), []).append(task)
    for tasks in unknown.values():
        left = None if deadline is None else max(0.0, deadline - monotonic())
        outcomes = tasks[0]._outcomes().outcomes([task.id for task in tasks], left, until_failure=until_failure)
        for task, outcome in zip(tasks, outcomes, strict=True):
            task._learn(outcome)


def _all_known(handle: ResultHandle) -> bool:
    """Return whether the outcomes of all tasks of a handle are cached, so that its state needs no request."""
    ends = handle._ends() if isinstance(handle, ResultSet) else [handle]
    return all(task._final is not None for task in ends if isinstance(task, AsyncResult))


def task_handles(handle: ResultHandle) -> list[AsyncResult]:
    """Return handles on all tasks of the graph that ends here, in the order in which they run."""
    tasks: list[AsyncResult] = []
    for each in reversed([*lineage(handle)]):
        for member in members_of(each) or ():
            tasks.extend(task_handles(member))
        if isinstance(each, AsyncResult):
            tasks.append(each)
    return tasks


def result_from_tuple(ids: Any, backend: Outcomes | None = None) -> AsyncResult | GroupResult:
    """Return the handle whose `as_tuple()` gave `ids`, also after a way through JSON; `backend` as for AsyncResult."""
    line: list[tuple[type[AsyncResult | GroupResult], str, Any]] = []
    above = ids
    try:
        while above is not None:
            (id, above), members = above
            children = None if members is None else [result_from_tuple(each, backend) for each in members]
            line.append((AsyncResult if children is None else GroupResult, id, children))
    except (TypeError, ValueError):
        line.clear()
    handle = revive(line[::-1], backend)
    if handle is None:
        raise PixyzException("these are no ids as as_tuple() gives them: ((id, parent's or None), members' or None)")
    return handle
