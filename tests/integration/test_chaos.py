"""A small chaos run, jobs of all kinds while parts are killed; the full one is `python -m benchmarks.faults`."""

from __future__ import annotations

import pytest

from benchmarks.faults.chaos import chaos
from benchmarks.faults.page import SMALL_PLAN
from tests.postgres import shared_server, store_of_tests

MOST_SECONDS_AWAY = 60.0
"""Twice what docs/reliability.md promises, for a machine that does other things too."""


@pytest.mark.slow
def test_given_a_stream_of_jobs_when_parts_are_killed_at_random_then_nothing_is_lost_or_left() -> None:
    """Every accepted job is known and has ended, published by one attempt; no process, seat or folder is left."""
    lines: list[str] = []
    settings = {} if store_of_tests() == "sqlite" else {"JOB_STORE_URL": shared_server().database("chaos")}
    report = chaos(SMALL_PLAN, lines.append, **settings)
    told = "\n".join([*lines, *report.verdict.troubles])
    assert report.blows.total() - report.blows["cancel"] >= SMALL_PLAN.kills, told
    assert {"worker", "watchdog", "tracker", "replica"} <= report.blows.keys(), told
    assert {one.outage for one in report.recoveries} == set(SMALL_PLAN.outages), told
    assert not [one for one in report.recoveries if one.service_s > MOST_SECONDS_AWAY], told
    assert report.verdict.clean, told
    assert report.verdict.jobs > SMALL_PLAN.jobs, told
