"""Tables for people: as wide as the terminal, wider where a cell would be cut otherwise."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pixyz_ray.cli.screen import printable

_WIDE = 240
"""Columns where nobody looks at a terminal: a pipe or a file has no edge."""
_LEAST_BROKEN = 20
"""Columns that text which may be broken into lines gets at least."""
_GAP = 2
"""Spaces between two columns."""

_UNKNOWN = "-"


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their titles. No cell is cut: on a narrow terminal the lines wrap.

    Args:
        columns: titles. One that begins with `>` is of figures; one that ends with `…` may be broken into lines.
        rows: what to print; None is shown as `-`.
    """
    # Late: rich takes longer to load than most commands take.
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        table.add_column(
            title.strip(">…"),
            justify="right" if title.startswith(">") else "left",
            no_wrap=not title.endswith("…"),
            overflow="fold",
        )
    cells = [[_UNKNOWN if cell is None else printable(str(cell)) for cell in row] for row in rows]
    for row in cells:
        table.add_row(*row)
    width = max(_screen_width(), _needed_width(columns, cells))
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def _screen_width() -> int:
    """Return the columns of COLUMNS, else of the terminal, else many."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size((_WIDE, 24)).columns
    return _WIDE


def _needed_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the columns of the screen that a table needs so that no cell is cut."""
    from rich.cells import cell_len

    total = _GAP * (len(columns) - 1)
    for number, title in enumerate(columns):
        texts = [title.strip(">…"), *(row[number] for row in rows)]
        width = max(map(cell_len, texts))
        total += min(width, _LEAST_BROKEN) if title.endswith("…") else width
    return total


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 machine`, `2 machines`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span(seconds: float | None) -> str | None:
    """Return a time for people: `0.25 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return None
    if seconds < 10:
        return f"{max(seconds, 0):.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def ahead(moment: str | None) -> str | None:
    """Return how far ahead a moment in ISO 8601 is: `in 42 s`, or `now`."""
    if moment is None:
        return None
    seconds = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return f"in {span(seconds)}" if seconds >= 1 else "now"
