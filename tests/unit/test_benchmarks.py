"""The benchmarks' own arithmetic, table and page; nothing is measured here."""

from __future__ import annotations

import pytest

from benchmarks.figures import MEASURES
from benchmarks.goals import FIGURES, GOALS, Result, compare, percentile
from benchmarks.report import page, table
from benchmarks.scale import FULL

UNMEASURED: dict[str, Result] = {}


def test_each_figure_has_a_measure_and_each_measure_goals() -> None:
    """Given the goals and the measures, then each belongs to one of the other."""
    assert set(MEASURES) == set(FIGURES)
    assert len({goal.key for goal in GOALS}) == len(GOALS)


def test_table_has_a_row_for_each_goal_even_without_results() -> None:
    """Given nothing measured, when the table is made, then every goal has its row and says so."""
    rows = table(UNMEASURED).splitlines()[2:]
    assert len(rows) == len(GOALS)
    assert all("not measured" in row for row in rows)


@pytest.mark.parametrize(
    ("key", "values", "met"),
    [
        ("first-line-p50", (1.7, 1.5, 1.6), True),
        ("first-line-p50", (1.7, 1.5, 1.61), False),
        ("throughput", (0.5,), True),
        ("throughput", (0.49,), False),
        ("command", (0.31, 0.29, 0.30), True),
        ("idle-cpu", (12.5,), False),
        ("transfer-whole", (0.0,), False),
        ("list-jobs", (4.0,), None),
    ],
)
def test_the_median_of_the_blocks_meets_the_goal_or_not(key: str, values: tuple[float, ...], met: bool | None) -> None:
    """Given blocks, when the goal judges them, then their median counts, the bound itself included."""
    goal = next(goal for goal in GOALS if goal.key == key)
    assert goal.met(Result(key=key, ours="", values=values).value) is met


def test_blocks_are_compared_pair_by_pair() -> None:
    """Given blocks of both sides, when they are compared, then each of ours goes over the bare one beside it."""
    result = compare("round-trip", [0.004, 0.009], [0.002, 0.003], "{:.1f} ms", 1000)
    assert result.values == pytest.approx((2.0, 3.0))
    assert (result.ours, result.bare) == ("6.5 ms", "2.5 ms")


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (100, 100), (1, 1)])
def test_percentile_is_a_measured_value(percent: int, value: float) -> None:
    """Given the numbers from 1 to 100, then so many percent of them lie at or below the percentile."""
    assert percentile(range(100, 0, -1), percent) == value


def test_the_page_is_whole() -> None:
    """Given results, when the page is made, then it has the table, the machine, and no placeholder is left."""
    results = {goal.key: Result(key=goal.key, ours="1", bare="1", values=(1.0, 2.0)) for goal in GOALS}
    text = page(results, "- a machine", FULL, 5.0)
    assert table(results) in text
    assert "- a machine" in text
    assert "@" not in text
    assert all(goal.title in text for goal in GOALS)
