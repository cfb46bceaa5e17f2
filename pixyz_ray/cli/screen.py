"""What a person sees while a job is sent, runs and is fetched: lines, the last of them in place."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from typing import TextIO

_BAR_CELLS = 30


class Screen:
    """Prints lines; on a terminal the last one may change in place."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self._live = ""
        self.is_terminal = self._stream.isatty()

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            self.clear()
            self._write(text + "\n")

    def live(self, text: str) -> None:
        """Show a line that the next one replaces; nothing where lines cannot be replaced."""
        if self._quiet or not self.is_terminal:
            return
        # A line that wraps, or fills the last column, could not be cleared.
        text = _cut(printable(text), shutil.get_terminal_size().columns - 1)
        if text != self._live:
            self.clear()
            self._write(text)
            self._live = text

    def text(self, text: str) -> None:
        """Print output of a script unchanged, also where the screen is quiet."""
        self.clear()
        self._write(text)

    def bar(self, title: str, done: int, total: int | None) -> None:
        """Show how far a transfer is."""
        if self._quiet or not self.is_terminal:
            return  # called for every chunk of a large file
        if total:
            self.live(bar(title, done / total))
        else:
            self.live(f"{title}: {done / 1e6:.1f} MB")

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._live:
            self._live = ""
            self._write("\n")

    def clear(self) -> None:
        """Remove the line that would be replaced next, without escape sequences: not every terminal knows them."""
        if self._live:
            blank = " " * sum(map(_cells, self._live))
            self._live = ""
            self._write(f"\r{blank}\r")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def bar(title: str, share: float) -> str:
    """Return a bar: `Uploading: [███...] 100.0%`."""
    filled = int(_BAR_CELLS * share)
    return f"{title}: [{'█' * filled}{' ' * (_BAR_CELLS - filled)}] {100 * share:.1f}%"


def printable(text: str) -> str:
    """Return text without control characters: names come from strangers, and nothing in them may move the cursor."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _cells(letter: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _cut(text: str, columns: int) -> str:
    """Return as much of the text as fits into a line."""
    for end, letter in enumerate(text):
        columns -= _cells(letter)
        if columns < 0:
            return text[:end]
    return text


def stdout_is_terminal() -> bool:
    """Return whether a person sees standard output."""
    return sys.stdout.isatty()
