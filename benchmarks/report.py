"""The table, on the screen and as docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.goals import GOALS, Goal, Result
from benchmarks.scale import Scale

_TEMPLATE = Path(__file__).with_name("performance.md.in")
_HEADER = (
    "| figure | ours | bare | ours to bare: median (lowest to highest block) | goal | met |\n|---|--:|--:|--:|--:|:-:|"
)


def table(results: Mapping[str, Result], goals: tuple[Goal, ...] = GOALS) -> str:
    """Return the Markdown table of these goals.

    Args:
        results: key of a goal -> what was measured; a goal without a result shows as not measured.
        goals: rows of the table.
    """
    return "\n".join([_HEADER, *(_row(goal, results.get(goal.key)) for goal in goals)])


def page(results: Mapping[str, Result], machine: str, scale: Scale, minutes: float) -> str:
    """Return docs/performance.md: the prose of the template with this run's values."""
    values = {
        "table": table(results),
        "machine": machine,
        "minutes": f"{minutes:.0f}",
        "met": _summary(results),
        "posts": str(scale.posts),
        "blocks": str(scale.blocks),
        "gets": str(scale.gets),
        "load_s": f"{scale.load_s:g}",
        "load_blocks": str(scale.load_blocks),
        "stored": f"{scale.stored:,}",
        "commands": str(scale.commands),
        "starts": str(scale.starts),
        "settle_s": f"{scale.settle_s:g}",
        "idle_s": f"{scale.idle_s:g}",
        "chain": f"{scale.chain:,}",
        "long_chain": f"{scale.long_chain:,}",
        "group": f"{scale.group:,}",
        "chord": f"{scale.chord:,}",
        "array": f"{scale.array_mb:,} MiB",
        "group_blocks": str(scale.group_blocks),
        "size": f"{scale.transfer_bytes / 2**20:,.0f} MiB",
        "transfers": str(scale.transfers),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _row(goal: Goal, result: Result | None) -> str:
    if result is None:
        return f"| {goal.title} | | | not measured | {goal.text} | |"
    met = goal.met(result.value)
    mark = "" if met is None else "yes" if met else "**no**"
    return f"| {goal.title} | {result.ours} | {result.bare} | {_relation(goal, result)} | {goal.text} | {mark} |"


def _relation(goal: Goal, result: Result) -> str:
    if goal.unit == "yes" or (goal.limit is None and result.bare == "-" and goal.unit == "x"):
        return ""
    form = {"x": "{:.2f}", "s": "{:+.2f}", "MB": "{:.0f}", "KiB": "{:.2f}", "%": "{:.1f}"}[goal.unit]
    unit = {"x": " x"}.get(goal.unit, f" {goal.unit}")
    median, low, high = (form.format(value) for value in (result.value, min(result.values), max(result.values)))
    return f"{median}{unit}" if len(result.values) == 1 else f"{median}{unit} ({low} to {high})"


def _summary(results: Mapping[str, Result]) -> str:
    goals = [goal for goal in GOALS if goal.limit is not None]
    met = sum(goal.key in results and bool(goal.met(results[goal.key].value)) for goal in goals)
    return f"{met} of {len(goals)}"
