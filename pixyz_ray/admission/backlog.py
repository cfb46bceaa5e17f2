"""Backlogs: what waits, oldest first, however much there is."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_BLOCK = 512


class Backlog(Generic[T]):
    """Keys in the order of their age, as tuples: time, serial number that tells equal times apart, key, one thing more.

    A sorted list cut into blocks: the usual job comes last and leaves first, but one that is tried again comes back
    to where its age puts it, one that is cancelled goes without a trace, and everyone's place can be told.
    """

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: list[list[tuple[float, int, str, T]]] = []

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def __bool__(self) -> bool:
        return bool(self._blocks)

    @property
    def head(self) -> tuple[float, int, str, T]:
        """The oldest."""
        return self._blocks[0][0]

    def push(self, entry: tuple[float, int, str, T]) -> None:
        """Let one in, where its age puts it."""
        blocks = self._blocks
        if not blocks:
            blocks.append([entry])
        elif entry[:2] < blocks[-1][-1][:2]:
            self._insert(entry)
        elif len(blocks[-1]) < _BLOCK:
            blocks[-1].append(entry)
        else:
            blocks.append([entry])

    def _insert(self, entry: tuple[float, int, str, T]) -> None:
        index = bisect_left(self._blocks, entry[:2], key=_last)
        block = self._blocks[index]
        insort(block, entry, key=_order)
        if len(block) > 2 * _BLOCK:
            self._blocks.insert(index + 1, block[_BLOCK:])
            del block[_BLOCK:]

    def pop(self) -> tuple[float, int, str, T]:
        """Let the oldest out."""
        first = self._blocks[0]
        entry = first.pop(0)
        if not first:
            del self._blocks[0]
        return entry

    def remove(self, entry: tuple[float, int, str, T]) -> None:
        """Let one of them out."""
        index = bisect_left(self._blocks, entry[:2], key=_last)
        block = self._blocks[index]
        del block[bisect_left(block, entry[:2], key=_order)]
        if not block:
            del self._blocks[index]

    def count_before(self, order: tuple[float, float]) -> int:
        """Return how many come before a time and serial number."""
        index = bisect_left(self._blocks, order, key=_last)
        before = sum(map(len, self._blocks[:index]))
        return before + bisect_left(self._blocks[index], order, key=_order) if index < len(self._blocks) else before


def _order(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    return entry[:2]


def _last(block: list[Any]) -> tuple[Any, ...]:
    return _order(block[-1])
