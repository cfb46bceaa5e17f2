"""Ctrl-C while a command waits for the network.

On Windows a read from a socket that has begun is not interrupted by Ctrl-C: Python handles it only once bytes come,
which may take minutes. There a thread reads, and the main thread looks for Ctrl-C between two looks at the thread.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.2
_BUFFERED = 100
"""Items that the thread may read ahead."""


class _End:
    """The iterator is exhausted, or raised `error`."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def interruptible(items: Iterator[T], *, threaded: bool = os.name == "nt") -> Iterator[T]:
    """Return an iterator over the same items that Ctrl-C ends at once.

    Args:
        items: blocks while it waits for the network.
        threaded: read in a thread; not needed on POSIX, where a signal interrupts the read.
    """
    return _from_thread(items) if threaded else items


def _from_thread(items: Iterator[T]) -> Iterator[T]:
    received: queue.Queue[T | _End] = queue.Queue(_BUFFERED)

    def read() -> None:
        try:
            for item in items:
                received.put(item)
        except BaseException as error:
            received.put(_End(error))
        else:
            received.put(_End())

    threading.Thread(target=read, daemon=True, name="reader").start()
    while True:
        try:
            item = received.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if not isinstance(item, _End):
            yield item
        elif item.error is not None:
            raise item.error
        else:
            return
