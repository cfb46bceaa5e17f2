"""Signatures: one task as data, to be run or composed; and the base of all compositions.

As in Celery, `.set()` changes a composition in place, `.clone()` copies it and `|` makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pixyz_worker.exception import InvalidBackendParameter, PixyzException
from pixyz_worker.pc import ProgramContext
from pixyz_worker.result import AsyncResult, ResultHandle
from pixyz_worker.task_options import CALLBACK_OPTIONS, checked

if TYPE_CHECKING:
    from pixyz_worker.canvas import Chain, Chunks, Map

C = TypeVar("C", bound="Canvas")
FUNCTION_ARGUMENTS = "$arguments"
"""Key of params that are the arguments of a function task (see function.py)."""
TASK_NAME = "pixyz_execute"
"""Name of the only task."""


class _Unset:
    """Says that a signature has no params yet: None is a value that a task can return."""

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"


UNSET = _Unset()


@dataclass(kw_only=True, slots=True)
class Canvas:
    """Base of signatures and compositions."""

    options: dict[str, Any] = field(default_factory=dict)
    """Options of all tasks in it: queue, time_limit, ...; a task's own are stronger."""

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Change options in place, and return the composition."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(checked(options))
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Set whether the result of the task before is ignored; for a signature only."""
        raise InvalidBackendParameter(f"only a signature can be immutable, not a {type(self).__name__.lower()}")

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """Return an independent copy with options changed."""
        return cloned(self, args, kwargs, options)

    def link(self, callback: Canvas) -> Canvas:
        """Start `callback` with the result after a success, and return the callback."""
        self.options["link"] = _added(self.options.get("link"), callback, "link")
        return callback

    def link_error(self, callback: Canvas) -> Canvas:
        """Start `callback` with the id of each task of this that fails, and return the callback."""
        self.options["link_error"] = _added(self.options.get("link_error"), callback, "link_error")
        return callback

    def on_error(self, callback: Canvas) -> Self:
        """Do the same as link_error, and return the composition."""
        self.link_error(callback)
        return self

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Run it on the current backend; `args[0]`, if given, becomes the params of what comes first."""
        given = {**dict(zip(("params", "pc"), args, strict=False)), **(kwargs or {})}
        if given.keys() - {"params"}:
            raise PixyzException("a graph takes only params; the contexts are in its tasks")
        from pixyz_worker.plan import run

        return run(self.clone(**options), given.get("params", UNSET))

    def delay(self, *args: Any, **kwargs: Any) -> ResultHandle:
        """Run it on the current backend."""
        return self.apply_async(args, kwargs)

    def apply(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> ResultHandle:
        """Run it in this process, now; the handle has the result, or the error that `get()` raises."""
        from pixyz_worker.backend import use_backend
        from pixyz_worker.local_run import LocalBackend

        with use_backend(LocalBackend()):
            return self.apply_async(args, kwargs, **options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run it on the current backend."""
        return self.apply_async(args, **options)

    def __or__(self, other: object) -> Chain:
        if not isinstance(other, Canvas):
            return NotImplemented
        from pixyz_worker.canvas import chain

        return chain(self, other)

    def __getitem__(self, key: str) -> Any:
        """Return one of `task, args, kwargs, options, subtask_type, immutable`, as a Celery signature has them."""
        if key not in _FIELDS:
            raise KeyError(key)
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return `self[key]`, or a default."""
        return getattr(self, key) if key in _FIELDS else default

    @property
    def task(self) -> Any:
        """Name of the task that a signature runs; that of a composition is its kind's."""
        return f"celery.{self.subtask_type}"

    @property
    def name(self) -> str:
        """Same as `task`."""
        return str(self.task)

    @property
    def args(self) -> tuple[Any, ...]:
        """Arguments by place: of a signature `(params, pc)`."""
        return ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments by name."""
        return {}

    @property
    def subtask_type(self) -> str | None:
        """Kind of the composition; None for a signature."""
        return type(self).__name__.lower()

    @property
    def id(self) -> str | None:
        """Id that the task will have, if it was set."""
        return self.options.get("task_id")


_FIELDS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable"})


@dataclass(kw_only=True, slots=True)
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

    def set_immutable(self, immutable: bool) -> None:
        """Set whether the result of the task before is ignored."""
        self.immutable = immutable

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """Return a copy with `(params, pc)` filled in and options changed."""
        return replace(self, options=_together(self.options, options), **arguments(*args, **(kwargs or {})))

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Run the task; params and pc given here complete the signature."""
        from pixyz_worker.plan import run

        return run(self.clone(args, kwargs, **options))

    def call(self, params: Any = UNSET) -> tuple[Any, ProgramContext]:
        """Return (params, context) to run with.

        Raises:
            PixyzException: there is no context, or the params come from two sources.
        """
        if self.pc is None:
            raise PixyzException("this task has no context: write pixyz_execute.s(params, pc) or .s(pc=pc)")
        if params is UNSET or self.immutable:
            return (self._default() if self.params is UNSET else self.params), self.pc
        if self.params is not UNSET:
            entrypoint = self.pc.get("entrypoint")
            raise PixyzException(
                f"{entrypoint!r} has params of its own, but would get the result of the task before it; "
                "write .s(pc=pc) to take that result, or .si(params, pc) to keep the params"
            )
        return params, self.pc

    def _default(self) -> Any:
        """Return the params of a task that has none: those of its context, over which {} is merged."""
        base = self.pc.get("params") if self.pc is not None else None
        return self.unfed if base is None or isinstance(base, Mapping) else base

    def freeze(self, _id: str | None = None, **options: Any) -> AsyncResult:
        """Set the id that the task will have, and return its handle."""
        from pixyz_worker.backend import new_id

        self.set(task_id=_id or self.id or new_id(), **options)
        return AsyncResult(str(self.id))

    def chunks(self, it: Iterable[Any], n: int) -> Chunks:
        """Map the task over items, `n` to a task; an item is its params, or `(params, pc)`."""
        from pixyz_worker.canvas import chunks

        return chunks(self, it, n)

    def map(self, it: Iterable[Any]) -> Map:
        """Run the task for each item, one after another in one task; the result is the list of results."""
        return self.starmap((item,) for item in it)

    def starmap(self, it: Iterable[Sequence[Any]]) -> Map:
        """Do the same for items that are `(params, pc)`; for a function task, for its arguments."""
        from pixyz_worker.canvas import Map

        return Map(over=self, items=tuple(map(tuple, it)))

    def with_item(self, item: tuple[Any, ...]) -> Signature:
        """Return the signature for one item of chunks or a map."""
        if isinstance(self.unfed, Mapping) and FUNCTION_ARGUMENTS in self.unfed:
            return replace(self, params={FUNCTION_ARGUMENTS: list(item)})
        return self.clone(item)

    @property
    def task(self) -> str:
        """Name of the task that it runs."""
        return TASK_NAME

    @property
    def subtask_type(self) -> str | None:
        """None: a signature is not a composition."""
        return None

    @property
    def type(self) -> Any:
        """The task that it runs."""
        from pixyz_worker.tasks import pixyz_execute

        return pixyz_execute

    @property
    def args(self) -> tuple[Any, ...]:
        """Arguments by place, as they were given: `()`, `(params,)` or `(params, pc)`."""
        if self.params is UNSET:
            return ()
        return (self.params,) if self.pc is None else (self.params, self.pc)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments by name: the context of a signature without params."""
        return {} if self.params is not UNSET or self.pc is None else {"pc": self.pc}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in place, now, and return its result."""
        from pixyz_worker.local_run import run_in_place
        from pixyz_worker.plan import single_call

        return run_in_place(single_call(self.clone(args, kwargs)))


def arguments(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of pixyz_execute by name; a single context is `pc`, not `params`."""
    if len(args) == 1 and isinstance(args[0], ProgramContext):
        args = (UNSET, args[0])
    if len(args) > 2 or kwargs.keys() - {"params", "pc"}:
        raise PixyzException("pixyz_execute takes (params, pc)")
    given = {**dict(zip(("params", "pc"), args, strict=False)), **kwargs}
    context = given.get("pc")
    if isinstance(context, Mapping) and not isinstance(context, ProgramContext):
        given["pc"] = _context_of(context)
    elif not isinstance(context, ProgramContext | None):
        raise PixyzException(f"the context of a task must be a ProgramContext or a dict, not {type(context).__name__}")
    return {key: value for key, value in given.items() if value is not UNSET}


def _context_of(values: Mapping[str, Any]) -> ProgramContext:
    """Return a plain dict as a context; without a script it gets the running one."""
    from pixyz_worker.current import running_context

    context = ProgramContext(values)
    running = running_context.get()
    if not context.get("script") and running is not None:
        clone: ProgramContext = running.clone(**values)
        return clone
    return context


def _added(callbacks: Any, callback: Canvas, name: str) -> list[Canvas]:
    (found,) = checked({name: callback})[name]
    known = list(callbacks or ())
    return known if any(each is found for each in known) else [*known, found]


def _together(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return options updated with others; callbacks are appended instead of replaced."""
    found = {name: list(value) if name in CALLBACK_OPTIONS else value for name, value in options.items()}
    for name, value in checked(more).items():
        found[name] = [*found.get(name, ()), *value] if name in CALLBACK_OPTIONS else value
    return found


def cloned(canvas: C, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]) -> C:
    """Return a copy of a composition with options changed; its parts are the same."""
    if args or kwargs:
        raise InvalidBackendParameter("only a signature takes args when it is cloned")
    return replace(canvas, options=_together(canvas.options, options))
