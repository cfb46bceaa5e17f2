"""Wear: what a worker's jobs leave behind in it, and how it retires after the one that it runs."""

from __future__ import annotations

import threading
from typing import Any

from ray._private.worker import global_worker

from pixyz_ray.process_state import on_spoiled
from pixyz_ray.watchdog.guard import guard

NEVER = 2**31 - 1
"""Calls after which Ray ends a worker that is not to be ended by their number: it needs one to count to."""

_at_first: list[int] = []


class Wear:
    """What one job does to the worker, from its beginning on.

    Args:
        max_growth: bytes of memory of its own by which the worker may have grown over all its jobs; 0 for any.
    """

    def __init__(self, max_growth: int) -> None:
        self._max_growth = max_growth
        self._threads = threading.active_count()
        # At once, since what comes after the script may not work any more in a process that was spoiled.
        on_spoiled(retire)
        if not _at_first:
            _at_first.append(_own_memory())

    def is_too_much(self) -> bool:
        """Return whether the next job is better off elsewhere.

        A thread of this one goes on, or a process that does not end, or memory was not freed.
        """
        if threading.active_count() > self._threads or guard().spoiled:
            return True
        return bool(self._max_growth) and _own_memory() - _at_first[0] > self._max_growth


def retire() -> None:
    """Let Ray end this worker when the running task has returned, as if it had reached its `max_calls`.

    Ray has no public way to do that from inside; an exit would take the task's result along.
    """
    manager: Any = global_worker.function_actor_manager
    for function, info in manager._function_execution_info.items():
        if calls := getattr(info, "max_calls", 0):
            manager._num_task_executions[function] = calls - 1


def _own_memory() -> int:
    """Return the bytes of memory that this process shares with no file nor other process."""
    resident, shared = guard().memory()
    return resident - shared
