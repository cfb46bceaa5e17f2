"""Graphs of tasks as data: signatures, and the chains, groups, chords and chunks made of them.

A composition is frozen: `.set()` and `|` make new ones. Calling one compiles it to a plan (see plan.py),
which the current backend executes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar

from pixyz_worker.exception import PixyzException
from pixyz_worker.pc import ProgramContext
from pixyz_worker.result import ResultHandle

P = ParamSpec("P")
C = TypeVar("C", bound="Canvas")


class _Unset:
    """Says that a signature has no params yet: None is a value that a task can return."""

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"


UNSET = _Unset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """What every composition can do; the base of its parts."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of all tasks in it: queue, time_limit, ...; a task's own are stronger."""

    def set(self, **options: Any) -> Self:
        """The same with options changed; what it is called on stays as it is."""
        return replace(self, options={**self.options, **options})

    def clone(self) -> Self:
        """The same: it cannot change."""
        return self

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Run it on the current backend; `args[0]`, if given, becomes the params of what comes first."""
        given = {**dict(zip(("params", "pc"), args, strict=False)), **(kwargs or {})}
        if given.keys() - {"params"}:
            raise PixyzException("a graph takes only params; the contexts are in its tasks")
        from pixyz_worker.plan import run

        return run(self.set(**options), given.get("params", UNSET))

    def delay(self, *args: Any, **kwargs: Any) -> ResultHandle:
        """Run it on the current backend."""
        return self.apply_async(args, kwargs)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run it on the current backend."""
        return self.apply_async(args, **options)

    def __or__(self, other: object) -> Chain:
        return chain(self, other) if isinstance(other, Canvas) else NotImplemented


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature(Canvas):
    """One task that may still lack its params, to be filled by what runs before it."""

    params: Any = UNSET
    """What the entrypoint gets."""

    unfed: Any = field(default_factory=dict)
    """What it gets where it has no params and nothing before it fills them."""

    pc: ProgramContext | None = None
    """Context to run with."""

    immutable: bool = False
    """Keep the params as they are: nothing before it fills them (made by `.si`)."""

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Run the task; params and pc given here complete the signature."""
        from pixyz_worker.plan import run

        return run(self.completed(*args, **(kwargs or {})).set(**options))

    def completed(self, *args: Any, **kwargs: Any) -> Signature:
        """The signature with `(params, pc)` filled in."""
        given = arguments(*args, **kwargs)
        return replace(self, **given) if given else self

    def call(self, params: Any = UNSET) -> tuple[Any, ProgramContext]:
        """(params, context) to run with; the sentence of an error says what is missing."""
        if self.pc is None:
            raise PixyzException("this task has no context: write pixyz_execute.s(params, pc) or .s(pc=pc)")
        if params is UNSET or self.immutable:
            return (self.unfed if self.params is UNSET else self.params), self.pc
        if self.params is not UNSET:
            entrypoint = self.pc.get("entrypoint")
            raise PixyzException(
                f"{entrypoint!r} has params of its own, but would get the result of the task before it; "
                "write .s(pc=pc) to take that result, or .si(params, pc) to keep the params"
            )
        return params, self.pc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in place, now, and return its result."""
        from pixyz_worker.local import run_in_place
        from pixyz_worker.plan import single_call

        return run_in_place(single_call(self.completed(*args, **kwargs)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain(Canvas):
    """Tasks one after another; the result of one is the params of the next."""

    tasks: tuple[Canvas, ...]
    """Its steps, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group(Canvas):
    """Tasks side by side; its result is the list of theirs."""

    tasks: tuple[Canvas, ...]
    """Its members, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chord(Canvas):
    """A group whose list of results is the params of a body."""

    header: Group | Chunks
    """What runs first, side by side."""

    body: Canvas | None = None
    """What runs with the list; given when called, if not before."""

    def __call__(self, body: Canvas | None = None, **options: Any) -> ResultHandle:
        """Run it, with the body given here or before."""
        return (self if body is None else replace(self, body=body)).apply_async(**options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks(Canvas):
    """One task mapped over items, `size` items to a task; its result is the list of the parts' lists."""

    task: Signature
    """What runs for each item."""

    items: tuple[Any, ...]
    """Params of each run, or its (params, pc)."""

    size: int
    """Items that one task takes, one after another."""

    def group(self) -> Self:
        """The same: its parts run side by side already."""
        return self


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
    return Chain(tasks=tuple(steps), options=options)


@partial(Maker, kind=Group)
def group(*tasks: Any, **options: Any) -> Group:
    """Run tasks side by side: group(a, b)() or group(task for ...)()."""
    return Group(tasks=_canvases(tasks, "group"), options=options)


@partial(Maker, kind=Chord)
def chord(header: Any, body: Canvas | None = None, **options: Any) -> Chord:
    """Run `body` with the list of results of `header`: chord([a, b], body)() or chord([a, b])(body)."""
    side_by_side = header if isinstance(header, Group | Chunks) else group(header)
    return Chord(header=side_by_side, body=body, options=options)


@partial(Maker, kind=Chunks)
def chunks(task: Any, it: Iterable[Any], n: int, **options: Any) -> Chunks:
    """Run `task` for each item of `it`, `n` items to a task: chunks(pixyz_execute.s(pc=pc), items, 10)()."""
    if not isinstance(task, Signature):
        mapped: Chunks = task.chunks(it, n)
        return mapped.set(**options)
    if n < 1:
        raise PixyzException(f"chunks needs at least 1 item to a part, not {n}")
    return Chunks(task=task, items=tuple(it), size=n, options=options)


def arguments(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of pixyz_execute by name; a context alone is the context, whatever its place."""
    if len(args) == 1 and isinstance(args[0], ProgramContext):
        args = (UNSET, args[0])
    if len(args) > 2 or kwargs.keys() - {"params", "pc"}:
        raise PixyzException("pixyz_execute takes (params, pc)")
    given = {**dict(zip(("params", "pc"), args, strict=False)), **kwargs}
    if not isinstance(given.get("pc"), ProgramContext | None):
        raise PixyzException(f"the context of a task must be a ProgramContext, not {type(given['pc']).__name__}")
    return {key: value for key, value in given.items() if value is not UNSET}


def _canvases(tasks: Sequence[Any], what: str) -> tuple[Canvas, ...]:
    if len(tasks) == 1 and not isinstance(tasks[0], Canvas) and isinstance(tasks[0], Iterable):
        tasks = tuple(tasks[0])
    for task in tasks:
        if not isinstance(task, Canvas):
            raise PixyzException(f"a {what} is made of pixyz_execute.s(...), not of {str(task)[:80]}")
    return tuple(tasks)
