"""The fault benchmarks' own arithmetic, jobs and page; no fault is made here."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.faults import page
from benchmarks.faults.chaos import Plan, Report
from benchmarks.faults.chaos_jobs import GRAPH_RESULTS, SEATS, make_orders
from benchmarks.faults.figures import Figure, at_least, at_most, none_of, shown, soon, table
from benchmarks.faults.outages import Outage, Recovery
from benchmarks.faults.verdict import FAULTS, Verdict

COUNTS = {"deaths": 40, "stops": 10, "waiting": 100_000}


def _report(frozen_raylet_s: float = 20.0, **changes: int) -> Report:
    verdict = Verdict()
    for kind, count in changes.items():
        for _ in range(count):
            verdict.blame(kind, "what went wrong")
    return Report(
        plan=Plan(jobs=1000),
        verdict=verdict,
        blows=Counter(worker=3, cancel=1),
        recoveries=[
            Recovery(outage=Outage(part="GCS"), service_s=9.0, job_s=12.0),
            Recovery(outage=Outage(part="raylet", frozen_s=15.0), service_s=frozen_raylet_s, job_s=33.0),
        ],
        found_later=2,
        failed_posts=3,
        idle=(5.0, 6.0),
        seconds=300.0,
    )


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (none_of("lost", 0), True),
        (none_of("lost", 1), False),
        (at_most("memory", 1.0, 1, "KiB"), True),
        (at_most("memory", 1.01, 1, "KiB"), False),
        (at_least("rate", 0.8, 0.8, "x"), True),
        (at_least("rate", 0.79, 0.8, "x"), False),
        (soon("death", [0.1] * 19 + [5.0], 1), True),
        (soon("death", [0.1] * 18 + [5.0] * 2, 1), False),
        (shown("restart", "3 s"), None),
    ],
)
def test_a_figure_meets_its_goal_or_not(figure: Figure, met: bool | None) -> None:
    """Given a measured value, when its row is made, then it says whether the goal is met; the bound itself counts."""
    assert figure.met is met
    mark = {True: "| yes |", False: "| **no** |", None: "|  |"}[met]
    assert table([figure]).splitlines()[-1].endswith(mark)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_single_fault_of_any_kind_fails_the_run(kind: str) -> None:
    """Given one fault, when the run is judged, then it has not passed, and the table says where."""
    assert _report().passed
    report = _report(**{kind: 1})
    assert not report.passed
    assert [row.measured for row in page.chaos_figures(report) if row.met is False] == ["1"]


@pytest.mark.parametrize("count", [10, 60])
def test_even_a_short_run_has_jobs_of_every_kind(count: int, tmp_path: Path) -> None:
    """Given few jobs, when they are drawn, then every kind is among them, each under a name of its own."""
    orders = make_orders(count, tmp_path, random.Random(1))
    assert len({order.name for order in orders}) == len(orders) == count
    assert len({order.kind for order in orders}) == 10
    assert all(max(order.config.get("pools", {"": 0}).values()) <= SEATS for order in orders)
    graphs = [order for order in orders if "shape" in order.params]
    assert all(order.result == GRAPH_RESULTS[order.params["shape"]] for order in graphs)


def test_the_page_is_whole() -> None:
    """Given a run, when the page is made, then it has the table and the machine, and no placeholder is left."""
    report = _report()
    figures = page.chaos_figures(report)
    text = page.page(figures, report, "- a machine", 20.0, COUNTS)
    assert table(figures) in text
    assert "- a machine" in text
    assert "@" not in text
    assert "All goals are met" in text


def test_an_outage_that_lasts_too_long_does_not_meet_its_goal() -> None:
    """Given how the platform came back, when the rows are made, then each kind of outage has its slowest part."""
    rows = {row.title: row for row in page.chaos_figures(_report(frozen_raylet_s=31.0))}
    killed = rows["chaos: SIGKILL of GCS → seconds without an answer of the service"]
    frozen = rows["chaos: SIGSTOP for 15 s of raylet → seconds without an answer of the service"]
    assert (killed.measured, killed.met) == ("9 s at most (GCS)", True)
    assert (frozen.measured, frozen.met) == ("31 s at most (raylet)", False)
