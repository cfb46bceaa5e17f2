"""Tables for people: as wide as the terminal, or as they have to be where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pixyz_ray.cli.screen import printable

_WIDE = 240
"""Columns where nobody looks at a terminal: a pipe or a file has no edge."""

_UNKNOWN = "-"


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their titles.

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
            title.strip(">…"), justify="right" if title.startswith(">") else "left", no_wrap=not title.endswith("…")
        )
    for row in rows:
        table.add_row(*(_UNKNOWN if cell is None else printable(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


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
