"""Where an entrypoint runs and how long it may: the decorator `@pixyz_schedule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pixyz_worker.loader import Schedule

Entrypoint = TypeVar("Entrypoint", bound=Callable[..., Any])


def pixyz_schedule(*args: Any, **options: Any) -> Any:
    """Say where an entrypoint runs and how long it may: `@pixyz_schedule(queue="gpu", time_limit=600)`.

    The function itself stays as it is, with the schedule in its `schedule` attribute. The platform reads the
    arguments from the source without running it, so they have to be literals. The arguments are `queue`,
    `wait` (the job lasts until the task or graph whose handle the entrypoint returns has ended), `timeout`
    (seconds for that), `time_limit` (seconds for one run), and how the job is treated among others: `priority`,
    `pools`, `retries`, `retry_on`, `isolation`, `memory_limit`, `gpu`, `gpu_memory` and `keep`; any other is kept as an
    option.

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
