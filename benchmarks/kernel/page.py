"""docs/kernel-figures.md: the table, and what was measured how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.goals import Result
from benchmarks.kernel.goals import GOALS
from benchmarks.report import table

_TEMPLATE = Path(__file__).with_name("kernel.md.in")


def page(results: Mapping[str, Result], machine: str, blocks: int, minutes: float) -> str:
    """Return the page with the values of a run.

    Args:
        results: key of a goal -> what was measured.
        machine: what it was measured on, as a Markdown list.
        blocks: runs of each side.
        minutes: how long it took.
    """
    bound = [goal for goal in GOALS if goal.limit is not None]
    met = sum(goal.key in results and bool(goal.met(results[goal.key].value)) for goal in bound)
    values = {
        "table": table(results, GOALS),
        "machine": machine,
        "blocks": str(blocks),
        "minutes": f"{minutes:.0f}",
        "met": f"{met} of {len(bound)}",
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
