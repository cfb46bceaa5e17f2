"""docs/kernel-figures.md: the table, and what was measured how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.goals import Result
from benchmarks.kernel.goals import GOALS
from benchmarks.kernel.quality import Quality
from benchmarks.report import table

_TEMPLATE = Path(__file__).with_name("kernel.md.in")


_QUALITY = "| shape | triangles | wanted | left | RMS | largest | closed |\n|---|--:|--:|--:|--:|--:|---|"


def quality_table(rows: Sequence[Quality]) -> str:
    """Return the Markdown table of what simplifying and repairing does to shapes."""
    lines = [_QUALITY]
    for row in rows:
        wanted = "" if row.wanted is None else f"{row.wanted:,}"
        closed = f"{_word(row.closed_before)}, then {_word(row.closed_after)}"
        rms, largest = (f"{100 * share:.3f} %" for share in (row.distance.rms, row.distance.maximum))
        lines.append(f"| {row.name} | {row.before:,} | {wanted} | {row.after:,} | {rms} | {largest} | {closed} |")
    return "\n".join(lines)


def _word(closed: bool) -> str:
    return "yes" if closed else "no"


def page(results: Mapping[str, Result], quality: Sequence[Quality], machine: str, blocks: int, minutes: float) -> str:
    """Return the page with the values of a run.

    Args:
        results: key of a goal -> what was measured.
        quality: what became of known shapes.
        machine: what it was measured on, as a Markdown list.
        blocks: runs of each side.
        minutes: how long it took.
    """
    bound = [goal for goal in GOALS if goal.limit is not None]
    met = sum(goal.key in results and bool(goal.met(results[goal.key].value)) for goal in bound)
    values = {
        "table": table(results, GOALS),
        "quality": quality_table(quality),
        "machine": machine,
        "blocks": str(blocks),
        "minutes": f"{minutes:.0f}",
        "met": f"{met} of {len(bound)}",
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
