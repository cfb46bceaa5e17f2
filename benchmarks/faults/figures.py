"""Figures of the table: what was measured, its goal, and whether it is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.goals import percentile


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One row of the table."""

    title: str
    """What is measured."""
    measured: str
    """What came out, with its unit."""
    goal: str = "-"
    """What it should be, in a few characters."""
    met: bool | None = None
    """Whether it is; None where there is no goal."""


def none_of(title: str, count: int) -> Figure:
    """Return the row of something that must not be there at all."""
    return Figure(title=title, measured=str(count), goal="0", met=count == 0)


def at_most(title: str, value: float, limit: float, unit: str, more: str = "") -> Figure:
    """Return the row of a value that may not be larger than a limit."""
    return Figure(title=title, measured=f"{value:.3g} {unit}{more}", goal=f"≤ {limit:g} {unit}", met=value <= limit)


def at_least(title: str, value: float, limit: float, unit: str, more: str = "") -> Figure:
    """Return the row of a value that may not be smaller than a limit."""
    return Figure(title=title, measured=f"{value:.3g} {unit}{more}", goal=f"≥ {limit:g} {unit}", met=value >= limit)


def soon(title: str, seconds: Sequence[float], limit: float) -> Figure:
    """Return the row of times of which 95 of a hundred must stay below a limit."""
    p50, p95 = percentile(seconds, 50), percentile(seconds, 95)
    spread = f"p50 {p50:.2f} s, p95 {p95:.2f} s, max {max(seconds):.2f} s"
    return Figure(title=title, measured=spread, goal=f"p95 < {limit:g} s", met=p95 < limit)


def shown(title: str, measured: str) -> Figure:
    """Return the row of a value without a goal."""
    return Figure(title=title, measured=measured)


def table(figures: Sequence[Figure]) -> str:
    """Return the Markdown table."""
    header = "| figure | measured | goal | met |\n|---|--:|--:|:-:|"
    return "\n".join([header, *map(_row, figures)])


def _row(figure: Figure) -> str:
    mark = "" if figure.met is None else "yes" if figure.met else "**no**"
    return f"| {figure.title} | {figure.measured} | {figure.goal} | {mark} |"
