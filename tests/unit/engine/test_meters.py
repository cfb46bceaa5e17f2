"""Counters and durations: what they hold, what they cost, and their Prometheus form."""

from __future__ import annotations

import json
import timeit
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from pixyz_ray.jobs import FailureClass, JobState
from pixyz_ray.meters import BOUNDS_S, SUCCESS, Meters
from pixyz_ray.version import VERSION
from serve_app.metrics import render_metrics

QUEUES = [
    {"name": "cpu", "waiting": 12, "running": 8, "oldest_wait": 95.5},
    {"name": "gpu", "waiting": 0, "running": 0, "oldest_wait": None},
]


def figures(meters: Meters) -> dict[str, Any]:
    """What the engine answers."""
    return {
        **json.loads(json.dumps(meters.as_plain())),
        "jobs": {"SUCCESS": 3, "PENDING": 12},
        "queues": QUEUES,
        "pools": [{"name": "catia", "seats": 3, "held": 2, "waiting": 5}],
        "workers": {"alive": 4, "started": 6, "lost": 2},
    }


def samples(meters: Meters) -> list[Sample]:
    """The figures as a scraper reads them."""
    text, media_type = render_metrics(figures(meters))
    assert media_type.startswith("text/plain")
    return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]


def figure(found: list[Sample], name: str, **labels: str) -> float:
    """The only figure of that name with these labels."""
    (value,) = [sample.value for sample in found if sample.name == name and sample.labels == labels]
    return value


def busy() -> Meters:
    """Meters that have seen something of each kind."""
    meters = Meters()
    for wait_s in (0.001, 0.005, 3.0, 1e6):
        meters.started("cpu", wait_s)
    meters.ended("cpu", SUCCESS, 0.2)
    meters.ended("cpu", FailureClass.TIMEOUT, 61.0)
    meters.attempt_failed("cpu", FailureClass.TIMEOUT)
    meters.retried("cpu", FailureClass.TIMEOUT)
    meters.rejected()
    return meters


def test_given_jobs_when_scraped_then_every_figure_is_there() -> None:
    """The text is parsed by Prometheus' own parser."""
    found = samples(busy())
    assert figure(found, "pixyz_info", version=VERSION) == 1
    assert figure(found, "pixyz_jobs", status="SUCCESS") == 3
    assert {sample.labels["status"] for sample in found if sample.name == "pixyz_jobs"} == {*map(str, JobState)}
    assert figure(found, "pixyz_queue_depth", queue="cpu") == 12
    assert figure(found, "pixyz_queue_running", queue="cpu") == 8
    assert figure(found, "pixyz_queue_oldest_seconds", queue="cpu") == 95.5
    assert figure(found, "pixyz_queue_oldest_seconds", queue="gpu") == 0
    assert figure(found, "pixyz_pool_seats", pool="catia") == 3
    assert figure(found, "pixyz_pool_held", pool="catia") == 2
    assert figure(found, "pixyz_attempts_failed_total", queue="cpu", failure="timeout") == 1
    assert figure(found, "pixyz_retries_total", queue="cpu", failure="timeout") == 1
    assert figure(found, "pixyz_rejected_total") == 1
    assert figure(found, "pixyz_workers") == 4
    assert figure(found, "pixyz_workers_started_total") == 6
    assert figure(found, "pixyz_workers_lost_total") == 2


def test_given_durations_when_scraped_then_they_are_histograms() -> None:
    """Each class has all up to its bound, the bound itself included; the last has everything."""
    found = samples(busy())
    waits = {sample.labels["le"]: sample.value for sample in found if sample.name == "pixyz_wait_seconds_bucket"}
    assert [float(bound) for bound in waits] == [*BOUNDS_S, float("inf")]
    assert (waits["0.005"], waits["2.5"], waits["5.0"], waits["43200.0"], waits["+Inf"]) == (2, 2, 3, 3, 4)
    assert figure(found, "pixyz_wait_seconds_count", queue="cpu") == 4
    assert figure(found, "pixyz_wait_seconds_sum", queue="cpu") == 1_000_003.006
    assert figure(found, "pixyz_run_seconds_bucket", queue="cpu", outcome="timeout", le="60.0") == 0
    assert figure(found, "pixyz_run_seconds_bucket", queue="cpu", outcome="timeout", le="120.0") == 1
    assert figure(found, "pixyz_run_seconds_sum", queue="cpu", outcome="success") == 0.2


def test_given_nothing_that_happened_when_scraped_then_it_is_a_page_all_the_same() -> None:
    """A platform that was just started has figures of the present, and counts of nothing."""
    found = samples(Meters())
    assert figure(found, "pixyz_rejected_total") == 0
    assert not [sample for sample in found if sample.name.startswith("pixyz_wait_seconds")]


def test_given_many_jobs_when_scraped_then_the_page_does_not_grow() -> None:
    """Labels are queues, classes, pools, states: nothing of which each job has its own."""
    meters = busy()
    before = len(samples(meters))
    for _ in range(1000):
        meters.started("cpu", 0.1)
        meters.ended("cpu", SUCCESS, 0.1)
    found = samples(meters)
    assert len(found) == before
    names = {label for sample in found for label in sample.labels}
    assert names == {"status", "version", "queue", "pool", "le", "outcome", "failure"}


@given(st.lists(st.floats(-10, 1e6)))
def test_given_any_durations_when_counted_then_none_is_lost(seconds: list[float]) -> None:
    """Each is in one class, whose bounds it lies between; the sum is theirs, and a negative one is nothing."""
    meters = Meters()
    for one in seconds:
        meters.started("cpu", one)
    rows = meters.as_plain()["waits"]
    assert sum(sum(row["counts"]) for row in rows) == len(seconds)
    assert sum(row["sum"] for row in rows) == sum(max(one, 0.0) for one in seconds)
    for place, bound in enumerate(BOUNDS_S):
        within = sum(sum(row["counts"][: place + 1]) for row in rows)
        assert within == sum(one <= bound for one in seconds)


def test_given_a_tracker_that_is_busy_when_it_counts_then_it_hardly_notices() -> None:
    """A few tenths of a microsecond each; a machine that does something else may take ten times as long."""
    meters = busy()
    rounds = 2000
    for count in (
        lambda: meters.started("cpu", 0.3),
        lambda: meters.ended("cpu", SUCCESS, 0.3),
        lambda: meters.retried("cpu", "crash"),
    ):
        assert min(timeit.repeat(count, number=rounds, repeat=5)) / rounds < 2e-6
