"""The rows of the chaos run, and docs/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.chaos import Plan, Report
from benchmarks.faults.figures import Figure, none_of, shown, table
from benchmarks.faults.verdict import FAULTS

SMALL_PLAN = Plan(jobs=60, pause_s=(1.2, 2.4), kills=8, idle_s=2.0, end_within_s=120.0)
"""A chaos run that takes about a minute."""
_TEMPLATE = Path(__file__).with_name("reliability.md.in")


def changed(plan: Plan, jobs: int | None, seed: int | None) -> Plan:
    """Return a plan with another number of jobs, or other chances, where they are given."""
    return replace(plan, jobs=jobs or plan.jobs, seed=plan.seed if seed is None else seed)


def chaos_figures(report: Report) -> list[Figure]:
    """Return the rows of the table."""
    plan, verdict = report.plan, report.verdict
    return [
        *(none_of(f"chaos: {what}", verdict.counts[kind]) for kind, what in FAULTS.items()),
        Figure(
            title="chaos: CPU of the idle platform afterwards, of one core",
            measured=f"{report.idle[1]:.1f} % ({report.idle[0]:.1f} % before)",
            goal="as before",
            met=report.idle_again,
        ),
        shown("chaos: jobs sent; jobs with all nodes of their graphs", f"{plan.jobs:,}; {verdict.jobs:,}"),
        shown("chaos: " + "; ".join(_BLOWS.values()), "; ".join(str(report.blows[kind]) for kind in _BLOWS)),
        shown("chaos: attempts beyond the first", str(verdict.reruns)),
    ]


_BLOWS: Mapping[str, str] = {
    "worker": "workers killed",
    "watchdog": "watchdogs",
    "tracker": "tracker",
    "replica": "replica",
    "cancel": "jobs cancelled",
}


def page(figures: Sequence[Figure], report: Report, machine: str, minutes: float, counts: Mapping[str, int]) -> str:
    """Return docs/reliability.md: the prose of the template with this run's values.

    Args:
        figures: rows of the table.
        report: the chaos run.
        machine: what it was measured on, as a Markdown list.
        minutes: how long it took.
        counts: deaths, stops and waiting jobs of the other parts.
    """
    met = [figure.met for figure in figures if figure.met is not None]
    low, high = report.plan.pause_s
    values = {
        "table": table(figures),
        "machine": machine,
        "minutes": f"{minutes:.0f}",
        "met": "All" if all(met) else f"{sum(met)} of {len(met)}",
        "jobs": f"{report.plan.jobs:,}",
        "low": f"{low:g}",
        "high": f"{high:g}",
        "chaos_minutes": f"{report.seconds / 60:.0f}",
        "failed_posts": str(report.failed_posts),
        "found_later": str(report.found_later),
        "ended_again": str(report.verdict.ended_again),
        "half_sent": str(report.verdict.half_sent),
        "refused_strays": str(report.verdict.refused_strays),
        **{name: f"{count:,}" for name, count in counts.items()},
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
