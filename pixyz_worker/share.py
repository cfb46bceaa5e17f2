"""What scripts declare and hold: the schedule of an entrypoint, a session of the Pixyz SDK."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from pixyz_worker.license import License
from pixyz_worker.loader import Schedule
from pixyz_worker.pc import ProgramContext

Entrypoint = TypeVar("Entrypoint", bound=Callable[..., Any])


def pixyz_schedule(*args: Any, **options: Any) -> Any:
    """Say where an entrypoint runs and how long it may: `@pixyz_schedule(queue="gpu", time_limit=600)`.

    The function itself stays as it is, with the schedule in its `schedule` attribute. The platform reads the
    arguments from the source without running it, so they have to be literals. The arguments are `queue`,
    `wait` (the job lasts until the task or graph whose handle the entrypoint returns has ended), `timeout`
    (seconds for that), `time_limit` (seconds for one run), and how the job is treated among others: `priority`,
    `pools`, `retries`, `retry_on`, `isolation`, `memory_limit` and `keep`; any other is kept as an option.

    >>> @pixyz_schedule(queue="gpu")
    ... def main(pc, params): ...
    >>> main.schedule.queue
    'gpu'
    """
    if len(args) == 1 and not options and callable(args[0]):
        return _scheduled(args[0], Schedule())
    schedule = Schedule.of(*args, **options)
    return lambda function: _scheduled(function, schedule)


def _scheduled(function: Entrypoint, schedule: Schedule) -> Entrypoint:
    function.schedule = schedule  # type: ignore[attr-defined]
    return function


class PiXYZSession:
    """A session with an empty scene, emptied again at the end: of the Pixyz SDK, or of our own kernel.

    Our own kernel has again what it had before, so that a task which runs in the process of another leaves that one
    its scenes. `pc` is not needed.

    >>> with PiXYZSession(ProgramContext()) as session:
    ...     pass
    """

    def __init__(self, pc: ProgramContext | None = None) -> None:
        self.pc = pc
        self._license = License()
        self._before: tuple[Any, ...] = ()

    def __enter__(self) -> Self:
        self._license.__enter__()
        if self._license.sdk is None:
            from pixyz_worker.kernel import session

            self._before = session.scenes()
        self._reset()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._reset()
            self._put_back()
        finally:
            self._license.__exit__(kind, error, traceback)

    def _reset(self) -> None:
        if self._license.sdk is not None:
            self._license.sdk.core.resetSession()
            return
        from pixyz_worker.kernel import session

        session.reset()

    def _put_back(self) -> None:
        if self._before:
            from pixyz_worker.kernel import session

            for scene in self._before:
                session.add(scene)
            self._before = ()
