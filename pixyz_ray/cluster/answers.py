"""Ray's answers: which tasks are over, asked for all of them at once.

A worker's own word of a task's end comes sooner, and is all that a task needs that ends by itself. Ray's answer counts
for those that do not: to await each by itself would take a tenth of a millisecond of every one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import ray

_log = logging.getLogger(__name__)
_ASK_EVERY_S = 0.05
_PER_TASK_S = 0.00002


class Answers:
    """Expects Ray's answers, on one event loop.

    Args:
        begin: starts a coroutine that goes on by itself.
    """

    def __init__(self, begin: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._begin = begin
        self._expected: dict[Any, Callable[[Any], None]] = {}
        self._asking = False

    def expect(self, reference: Any, over: Callable[[Any], None]) -> None:
        """Call `over` with the reference when Ray has answered, well or not."""
        self._expected[reference] = over
        if not self._asking:
            self._asking = True
            self._begin(self._ask())

    def forget(self, reference: Any) -> None:
        """Expect no answer any more; the task goes on."""
        self._expected.pop(reference, None)

    async def _ask(self) -> None:
        while self._expected:
            await asyncio.sleep(max(_ASK_EVERY_S, _PER_TASK_S * len(self._expected)))
            expected = list(self._expected)
            if not expected:
                break
            try:
                over = await asyncio.to_thread(_over, expected)
            except Exception:
                _log.exception("Ray does not tell which tasks are over; asking again")
                continue
            for reference in over:
                if (take := self._expected.pop(reference, None)) is not None:
                    take(reference)
        self._asking = False


def _over(references: list[Any]) -> list[Any]:
    over, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
    return over
