"""Graphs of tasks as data: the chains, groups, chords, chunks and maps that are made of signatures.

Calling one compiles it to a plan (see plan.py), which the current backend executes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar

from pixyz_worker.exception import InvalidBackendParameter, PixyzException
from pixyz_worker.result import ResultHandle
from pixyz_worker.signature import UNSET, Canvas, Signature, arguments, cloned
from pixyz_worker.task_options import checked

__all__ = [
    "UNSET",
    "Canvas",
    "Chain",
    "Chord",
    "Chunks",
    "Group",
    "Maker",
    "Map",
    "Signature",
    "arguments",
    "chain",
    "chord",
    "chunks",
    "group",
]

P = ParamSpec("P")
C = TypeVar("C", bound=Canvas)


@dataclass(kw_only=True, slots=True)
class Chain(Canvas):
    """Tasks one after another; the result of one is the params of the next."""

    tasks: list[Canvas]
    """Its steps, in order."""

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Chain:
        """Return a copy; its steps are copies too."""
        return replace(cloned(self, args, kwargs, options), tasks=[task.clone() for task in self.tasks])


@dataclass(kw_only=True, slots=True)
class Group(Canvas):
    """Tasks side by side; its result is the list of theirs."""

    tasks: list[Canvas]
    """Its members, in order."""

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Group:
        """Return a copy; its members are copies too."""
        return replace(cloned(self, args, kwargs, options), tasks=[task.clone() for task in self.tasks])

    def set_immutable(self, immutable: bool) -> None:
        """Say for each member whether the result of the task before is left aside."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, callback: Canvas) -> Canvas:
        """Refuse: a group has no single result for a callback.

        Raises:
            InvalidBackendParameter: always, as Celery's group.apply_async(link=...) does.
        """
        raise InvalidBackendParameter("a callback cannot be linked to a group: use a chord, chord(group, callback)")

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Stagger the members: give them countdowns of start, start + step, ... seconds, at most `stop`."""
        for number, task in enumerate(self.tasks):
            countdown = start + number * step
            task.set(countdown=countdown if stop is None else min(countdown, stop))
        return self

    def __len__(self) -> int:
        return len(self.tasks)


@dataclass(kw_only=True, slots=True)
class Chord(Canvas):
    """A group whose list of results is the params of a body."""

    header: Group | Chunks
    """What runs first, side by side."""

    body: Canvas | None = None
    """What runs with the list; given when called, if not before."""

    @property
    def tasks(self) -> Group | Chunks:
        """Same as `header`."""
        return self.header

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Chord:
        """Return a copy; header and body are copies too."""
        body = None if self.body is None else self.body.clone()
        return replace(cloned(self, args, kwargs, options), header=self.header.clone(), body=body)

    def __call__(self, body: Canvas | None = None, **options: Any) -> ResultHandle:
        """Run it, with the body given here or before."""
        return (self if body is None else replace(self, body=body)).apply_async(**options)


@dataclass(kw_only=True, slots=True)
class Chunks(Canvas):
    """One task mapped over items, `size` items to a task; its result is the list of the parts' lists."""

    over: Signature
    """What runs for each item."""

    items: tuple[Any, ...]
    """Params of each run, or its (params, pc)."""

    size: int
    """Items that one task takes, one after another."""

    def group(self) -> Self:
        """The same: its parts run side by side already."""
        return self


@dataclass(kw_only=True, slots=True)
class Map(Canvas):
    """One task that runs a signature for each item, one after another; its result is the list of results."""

    over: Signature
    """What runs for each item."""

    items: tuple[tuple[Any, ...], ...]
    """Arguments of each run: (params,) or (params, pc)."""


class Maker(Generic[P, C]):
    """A function that makes compositions and stands for their class too: `isinstance(each, chain)`."""

    def __init__(self, make: Callable[P, C], kind: type[Canvas]) -> None:
        self._make = make
        self._kind = kind
        update_wrapper(self, make)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Make one."""
        return self._make(*args, **kwargs)

    def __instancecheck__(self, each: object) -> bool:
        return isinstance(each, self._kind)

    def __reduce__(self) -> str:
        return self._make.__name__


@partial(Maker, kind=Chain)
def chain(*tasks: Any, **options: Any) -> Chain:
    """Run tasks one after another: chain(a, b, c)() or chain([a, b, c])()."""
    steps: list[Canvas] = []
    for task in _canvases(tasks, "chain"):
        # A chain in a chain is one longer chain, unless it has options for its own steps.
        steps.extend(task.tasks if isinstance(task, Chain) and not task.options else [task])
    return Chain(tasks=steps, options=checked(options))


@partial(Maker, kind=Group)
def group(*tasks: Any, **options: Any) -> Group:
    """Run tasks side by side: group(a, b)() or group(task for ...)(); a group in a group is one larger group."""
    return Group(tasks=_flattened(_canvases(tasks, "group")), options=checked(options))


@partial(Maker, kind=Chord)
def chord(header: Any, body: Canvas | None = None, **options: Any) -> Chord:
    """Run `body` with the list of results of `header`: chord([a, b], body)() or chord([a, b])(body)."""
    side_by_side = header if isinstance(header, Group | Chunks) else group(header)
    return Chord(header=side_by_side, body=body, options=checked(options))


@partial(Maker, kind=Chunks)
def chunks(task: Any, it: Iterable[Any], n: int, **options: Any) -> Chunks:
    """Run `task` for each item of `it`, `n` items to a task: chunks(pixyz_execute.s(pc=pc), items, 10)()."""
    if not isinstance(task, Signature):
        mapped: Chunks = task.chunks(it, n)
        return mapped.set(**options)
    if n < 1:
        raise PixyzException(f"chunks needs at least 1 item to a part, not {n}")
    return Chunks(over=task, items=tuple(it), size=n, options=checked(options))


def _canvases(tasks: Sequence[Any], what: str) -> list[Canvas]:
    if len(tasks) == 1 and not isinstance(tasks[0], Canvas) and isinstance(tasks[0], Iterable):
        tasks = tuple(tasks[0])
    for task in tasks:
        if not isinstance(task, Canvas):
            raise PixyzException(f"a {what} is made of pixyz_execute.s(...), not of {str(task)[:80]}")
    return list(tasks)


def _flattened(tasks: Iterable[Canvas]) -> list[Canvas]:
    """Return the members of a group with those of the groups among them, which bring their options along."""
    flat: list[Canvas] = []
    for task in tasks:
        if not isinstance(task, Group) or "fail_fast" in task.options:
            # A fail_fast group fails as a whole, so it is not merged.
            flat.append(task)
        elif not task.options:
            flat.extend(_flattened(task.tasks))
        else:
            flat.extend(each.clone().set(**{**task.options, **each.options}) for each in _flattened(task.tasks))
    return flat
