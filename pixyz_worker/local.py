"""Scripts on the workstation, without a cluster: `LocalPixyzTask` runs an entrypoint in this process, now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from pixyz_worker.async_result import AsyncResult, OnMessage, allow_join_result
from pixyz_worker.backend import TaskCall, current_backend, new_id
from pixyz_worker.console import say
from pixyz_worker.outcome import TaskOutcome
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress
from pixyz_worker.signature import Signature

__all__ = ["AsyncResultLocal", "LocalPixyzTask", "allow_join_result"]

AsyncResultLocal = AsyncResult
"""The name that handles of local tasks had in the scheduler before this one."""


class LocalPixyzTask(AsyncResult):
    """A task that has run in this process: `LocalPixyzTask("resize", pc, {"size": 3}).get()`.

    Its result is what the entrypoint returned, not a record, as it was in the scheduler before this one.

    Args:
        entrypoint: function of the context's script; None for the one that the context names.
        pc: the context to run with.
        params: the task's own params, merged over those of the context.
    """

    def __init__(self, entrypoint: str | None, pc: ProgramContext | Mapping[str, Any], params: Any = None) -> None:
        given = pc if isinstance(pc, ProgramContext) else ProgramContext(pc)
        context = given.clone() if entrypoint is None else given.clone(entrypoint=entrypoint)
        signature = Signature(pc=context) if params is None else Signature(params=params, pc=context)
        self._run(signature)

    @classmethod
    def of(cls, signature: Signature) -> Self:
        """Run the task of a signature, and its callbacks."""
        task = cls.__new__(cls)
        task._run(signature)
        return task

    def _run(self, signature: Signature) -> None:
        # Late: most scripts start no tasks.
        from pixyz_worker.local_run import LocalBackend
        from pixyz_worker.plan import compile_plan

        backend = current_backend()
        local = backend if isinstance(backend, LocalBackend) else LocalBackend()
        plan = compile_plan(signature)
        super().__init__(plan.end, local)
        local.submit_plan(plan, bare=plan.end)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        on_message: OnMessage | None = None,
        **options: Any,
    ) -> Any:
        """Return what the entrypoint returned, or raise what it raised (AsyncResult.get has the arguments)."""
        value = super().get(timeout, propagate, interval, on_message, **options)
        return _bare(value)

    wait = get

    @property
    def result(self) -> Any:
        """What the entrypoint returned; the exception of a failed task."""
        return _bare(super().result)

    @property
    def ret(self) -> Any:
        """What the entrypoint returned; None if it failed."""
        return self.get() if self.successful() else None

    @staticmethod
    def from_commandline(
        script: str | os.PathLike[str],
        output_dir: str | os.PathLike[str] | None,
        entrypoint: str,
        params: Any = None,
        input_file: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Run it, print its progress, and return what it returns; what it raises passes through."""
        pc = ProgramContext.from_local(script, input_file, output_dir).update(entrypoint=entrypoint)
        from pixyz_worker.local_run import execute

        call = TaskCall(id=new_id(), params={} if params is None else params, context=pc)
        return execute(call, Progress(_PercentPrinter()), default_queue="cpu")

    def __reduce__(self) -> tuple[Any, ...]:
        # With its outcome: another process, or a copy after this backend is gone, has nobody to ask for it.
        return _ended, (type(self), self.id, self._outcome(0))


class BareResult(dict[str, Any]):
    """A dict that a local task has returned; `["result"]` is the dict itself where it has no such key.

    On the cluster the same handle gives the task's record, whose `result` is the returned value: a script that reads
    `handle.get()["result"]` runs on both.

    >>> BareResult(a=1)["result"]
    {'a': 1}
    """

    def __missing__(self, key: str) -> Any:
        if key == "result":
            return self
        raise KeyError(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _bare(value: Any) -> Any:
    return BareResult(value) if type(value) is dict else value


def _ended(kind: type[LocalPixyzTask], id: str, outcome: TaskOutcome) -> LocalPixyzTask:
    task = kind.__new__(kind)
    AsyncResult.__init__(task, id)
    task._learn(outcome)
    return task


class _PercentPrinter:
    """Prints each step with the percentage done when it begins."""

    def __init__(self) -> None:
        self._total = 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "total":
            self._total = event["total"]
        elif event["kind"] == "step":
            known = f"{min(100, 100 * event['index'] // self._total):3}%" if self._total else "  ? "
            say(f"[{known}] {event['info']}")
        else:
            say("[100%] Done")
