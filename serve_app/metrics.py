"""The platform's figures in Prometheus form. No label is an id: what grows with the number of jobs is no label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pixyz_ray.jobs import JobState
from pixyz_ray.meters import BOUNDS_S
from pixyz_ray.version import VERSION

_LE = (*(str(bound) for bound in BOUNDS_S), "+Inf")

Rows = Iterable[tuple[Sequence[str], float]]


class _Figures:
    """Collector of what the tracker counts.

    Args:
        figures: answer of `Engine.meters`.
    """

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield the figures (called by prometheus_client)."""
        yield from self._now()
        yield from self._since_start()
        yield _gauge("pixyz_info", "Version of the platform.", ["version"], [([VERSION], 1)])

    def _now(self) -> Iterator[Metric]:
        jobs, queues, pools = (self._figures[name] for name in ("jobs", "queues", "pools"))
        rows: Rows = [([str(state)], jobs.get(state, 0)) for state in JobState]
        yield _gauge("pixyz_jobs", "Jobs known to the platform, by status.", ["status"], rows)
        for name, key, text in (
            ("depth", "waiting", "Jobs that have not started, with Ray or not."),
            ("oldest_seconds", "oldest_wait", "How long the first of those that wait has waited."),
            ("running", "running", "Jobs that have started and not ended."),
        ):
            yield _gauge(f"pixyz_queue_{name}", text, ["queue"], [([one["name"]], one[key] or 0) for one in queues])
        for name, text in (("seats", "Seats that there are."), ("held", "Seats that jobs hold.")):
            yield _gauge(f"pixyz_pool_{name}", text, ["pool"], [([one["name"]], one[name]) for one in pools])
        alive = self._figures["workers"]["alive"]
        yield _gauge("pixyz_workers", "Worker processes that live.", [], [([], alive)])

    def _since_start(self) -> Iterator[Metric]:
        figures, workers = self._figures, self._figures["workers"]
        yield _histogram("pixyz_wait_seconds", "How long attempts waited for their turn.", ["queue"], figures["waits"])
        yield _histogram("pixyz_run_seconds", "How long attempts ran.", ["queue", "outcome"], figures["runs"])
        yield _counter(
            "pixyz_attempts_failed", "Attempts that failed.", ["queue", "failure"], _counts(figures["failures"])
        )
        yield _counter(
            "pixyz_retries", "Jobs that were tried again.", ["queue", "failure"], _counts(figures["retries"])
        )
        yield _counter("pixyz_rejected", "Jobs not taken: too many wait.", [], [([], figures["rejected"])])
        yield _counter("pixyz_workers_started", "Worker processes that were started.", [], [([], workers["started"])])
        yield _counter("pixyz_workers_lost", "Worker processes that died in an attempt.", [], [([], workers["lost"])])


def render_metrics(figures: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the figures' text and its media type.

    Args:
        figures: answer of `Engine.meters`.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(figures))
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _counts(rows: Iterable[Mapping[str, Any]]) -> Rows:
    return [([row["queue"], row["failure"]], row["count"]) for row in rows]


def _gauge(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _counter(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for row in rows:
        buckets = list(zip(_LE, accumulate(row["counts"]), strict=True))
        family.add_metric([row[label] for label in labels], buckets, row["sum"])
    return family
