"""The rows of the chaos run, and docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.chaos import Plan, Report
from benchmarks.faults.figures import Figure, at_most, none_of, shown, table
from benchmarks.faults.outages import KILLS, LONG_S, SHORT_S, Recovery
from benchmarks.faults.verdict import FAULTS
from benchmarks.goals import percentile

SMALL_PLAN = Plan(jobs=120, pause_s=(1.2, 2.4), kills=8, outages=KILLS, idle_s=2.0, end_within_s=120.0)
"""A chaos run that takes some minutes."""
_RECOVERY_GOAL_S = 30.0
_TEMPLATE = Path(__file__).with_name("reliability.md.in")


def changed(plan: Plan, jobs: int | None, seed: int | None) -> Plan:
    """Return a plan with another number of jobs, or other chances, where they are given."""
    return replace(plan, jobs=jobs or plan.jobs, seed=plan.seed if seed is None else seed)


def chaos_figures(report: Report) -> list[Figure]:
    """Return the rows of the table."""
    plan, verdict = report.plan, report.verdict
    return [
        *(none_of(f"chaos: {what}", verdict.counts[kind]) for kind, what in FAULTS.items()),
        *_outage_figures(report.recoveries),
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


def _outage_figures(recoveries: Sequence[Recovery]) -> Iterator[Figure]:
    done = {None: "SIGKILL", SHORT_S: f"SIGSTOP for {SHORT_S:g} s", LONG_S: f"SIGSTOP for {LONG_S:g} s"}
    for frozen_s, what in done.items():
        some = [one for one in recoveries if one.outage.frozen_s == frozen_s]
        if not some:
            continue
        parts = ", ".join(sorted({one.outage.part for one in some}))
        slowest = max(some, key=lambda one: one.service_s)
        title = f"chaos: {what} of {parts} → seconds without an answer of the service"
        yield at_most(title, slowest.service_s, _RECOVERY_GOAL_S, "s", f" at most ({slowest.outage.part})")
        title = f"chaos: {what} of the same → a job sent at once has ended"
        yield shown(
            title,
            f"p50 {percentile([one.job_s for one in some], 50):.1f} s, max {max(one.job_s for one in some):.1f} s",
        )


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
