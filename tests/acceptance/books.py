"""Books: files in which scripts note what they do and when, to be read by tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of a book."""

    what: str
    """`begin` or `end`."""
    name: str
    """Who it was."""
    time: float
    """When, in seconds since the epoch."""
    pid: int
    """In which process."""


@dataclass(frozen=True)
class Book:
    """What scripts have noted so far."""

    path: Path
    """The file."""

    def entries(self) -> list[Entry]:
        """Return all lines, oldest first."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        entries = [Entry(**json.loads(line)) for line in text.splitlines()]
        return sorted(entries, key=lambda entry: entry.time)

    def begun(self) -> list[str]:
        """Return who has begun, in order."""
        return [entry.name for entry in self.entries() if entry.what == "begin"]

    def most_at_a_time(self, *beginnings: str) -> int:
        """Return how many were at it at the same time; only those whose name begins so, if anything is given."""
        now = most = 0
        for entry in self.entries():
            if not beginnings or entry.name.startswith(beginnings):
                now += 1 if entry.what == "begin" else -1
                most = max(most, now)
        return most
