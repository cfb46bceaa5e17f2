"""The one task there is: run an entrypoint of a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pixyz_worker import canvas
from pixyz_worker.pc import ProgramContext
from pixyz_worker.result import ResultHandle


class PixyzExecute:
    """Runs the entrypoint that a context names; `pixyz_execute` is its only instance.

    Called directly, it runs in place. `.s()` makes a signature to compose; `.delay()` and `.apply_async()`
    start it as a task of its own. The result is the task's record, a dict whose `result` is what the
    entrypoint returned; with `raw=True` in the context it is that value alone.
    """

    name = "pixyz_execute"
    """What other schedulers call a task by."""

    def __call__(self, params: Any = None, pc: ProgramContext | None = None) -> Any:
        """Run in place and return the result; what the script raises passes through."""
        from pixyz_worker.local_run import run_in_place
        from pixyz_worker.plan import single_call

        return run_in_place(single_call(self.s({} if params is None else params, pc)))

    def s(self, *args: Any, **kwargs: Any) -> canvas.Signature:
        """A signature: `.s(params, pc)`, or `.s(pc=pc)` for params that come from the task before."""
        return canvas.Signature(**canvas.arguments(*args, **kwargs))

    def si(self, *args: Any, **kwargs: Any) -> canvas.Signature:
        """A signature that keeps its params, whatever the task before returns."""
        return canvas.Signature(**canvas.arguments(*args, **kwargs), immutable=True)

    def signature(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        immutable: bool = False,
        **options: Any,
    ) -> canvas.Signature:
        """A signature with options."""
        return (self.si if immutable else self.s)(*args, **(kwargs or {})).set(**options)

    subtask = signature

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Start it as a task on the current backend: `.apply_async(args=(params, pc), queue="gpu")`."""
        return self.signature(args, kwargs, **options).apply_async()

    def delay(self, *args: Any, **kwargs: Any) -> ResultHandle:
        """Start it as a task on the current backend: `.delay(params, pc)`."""
        return self.apply_async(args, kwargs)

    def apply(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> ResultHandle:
        """Run it in this process, now; the handle has the result, or the error that `get()` raises."""
        return self.signature(args, kwargs, **options).apply()

    def chunks(self, it: Iterable[Any], n: int) -> canvas.Chunks:
        """Map it over items, `n` to a task; an item is `(params, pc)`."""
        return canvas.chunks(self.s(), it, n)

    def map(self, it: Iterable[Any]) -> canvas.Map:
        """Run it for each item, one after another in one task; an item is a context, or `(params, pc)`."""
        return self.s().starmap(item if isinstance(item, tuple) else (item,) for item in it)

    def starmap(self, it: Iterable[Sequence[Any]]) -> canvas.Map:
        """Do the same for items that are `(params, pc)`."""
        return self.s().starmap(it)

    def __repr__(self) -> str:
        return f"<task: {self.name}>"


pixyz_execute = PixyzExecute()


def subtask_async(pc: ProgramContext, entrypoint: str, params: Any = None, **kw: Any) -> ResultHandle:
    """Start one entrypoint of the running script as a task; `kw` as in ProgramContext.execute."""
    return pc.execute(params, entrypoint=entrypoint, **kw)


def __getattr__(name: str) -> Any:
    """Look up names that old scripts import from here: the Celery app, and tasks of the old service."""
    if name not in ("app", "sleep", "package", "cleanup_share_file"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from pixyz_worker import celery_tasks

    return getattr(celery_tasks, name)
