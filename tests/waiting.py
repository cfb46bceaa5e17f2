"""Waiting for something to become true: poll with a deadline, never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, *, deadline_s: float = 20.0, every_s: float = 0.02) -> T:
    """Return the first true value of a condition; fail, saying what was waited for, when none comes in time."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what} (last: {value!r})")
        time.sleep(every_s)
