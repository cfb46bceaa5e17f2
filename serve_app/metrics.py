"""The platform's figures in Prometheus form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pixyz_ray.jobs import JobState
from pixyz_ray.version import VERSION


class _Jobs:
    """Collector of the number of jobs in each state."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the figures (called by prometheus_client)."""
        jobs = GaugeMetricFamily("pixyz_jobs", "Jobs known to the platform, by status.", labels=["status"])
        for state in JobState:
            jobs.add_metric([str(state)], self._counts.get(state, 0))
        yield jobs
        info = GaugeMetricFamily("pixyz_info", "Version of the platform.", labels=["version"])
        info.add_metric([VERSION], 1)
        yield info


def render_metrics(counts: Mapping[str, int]) -> tuple[bytes, str]:
    """Return the figures' text and its media type."""
    registry = CollectorRegistry()
    registry.register(_Jobs(counts))
    return generate_latest(registry), CONTENT_TYPE_LATEST
