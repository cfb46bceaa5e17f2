"""How long a job takes to begin, and to be seen to end, one at a time on a warm machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.goals import Result, compare, percentile
from benchmarks.load import Connection, Form, wait_for_success
from benchmarks.platform import NOOP
from benchmarks.sides import Sides, in_turn

_FORM = Form(script=NOOP)
_QUIET_S = 0.02
_WARM_UP = 30
_MS = 1000.0


def first_line(sides: Sides) -> list[Result]:
    """POST to first line: the script, or the bare task, tells the time when it begins."""
    p95: list[list[float]] = [[], []]
    with sides.ours.connect() as ours, sides.bare.connect() as bare:

        def block(connection: Connection, one: Callable[[Connection], float], kept: list[float]) -> float:
            values = [one(connection) for _ in range(sides.scale.posts)]
            kept.append(percentile(values, 95))
            return statistics.median(values)

        for _ in range(_WARM_UP):
            _our_start(ours)
            _bare_start(bare)
        p50 = in_turn(
            sides.scale.blocks,
            lambda: block(ours, _our_start, p95[0]),
            lambda: block(bare, _bare_start, p95[1]),
        )
    return [
        compare("first-line-p50", *p50, "{:.2f} ms", _MS),
        compare("first-line-p95", *p95, "{:.2f} ms", _MS),
    ]


def round_trip(sides: Sides) -> list[Result]:
    """POST to the end, as its client sees it."""
    with sides.ours.connect() as ours, sides.bare.connect() as bare:
        for _ in range(_WARM_UP):
            run_ours(ours)
            run_bare(bare)
        values = in_turn(
            sides.scale.blocks,
            lambda: statistics.median(_timed(run_ours, ours) for _ in range(sides.scale.posts)),
            lambda: statistics.median(_timed(run_bare, bare) for _ in range(sides.scale.posts)),
        )
    return [compare("round-trip", *values, "{:.2f} ms", _MS)]


def run_ours(connection: Connection) -> float:
    """Submit a no-op, follow it, and return when its success was seen on the event stream."""
    return wait_for_success(connection, connection.post("/jobs", _FORM)["uuid"])


def run_bare(connection: Connection) -> float:
    """Have a bare task run, awaited by the app, and return when its answer was there."""
    connection.post("/runs", _FORM)
    return time.perf_counter()


def _our_start(connection: Connection) -> float:
    began = time.time()
    uuid = connection.post("/jobs", _FORM)["uuid"]
    # The question for the answer must not compete with the job for the two cores.
    time.sleep(_QUIET_S)
    return float(connection.get(f"/jobs/{uuid}/logs?follow=true")) - began


def _bare_start(connection: Connection) -> float:
    began = time.time()
    uuid = connection.post("/tasks", _FORM)["uuid"]
    time.sleep(_QUIET_S)
    return float(connection.get_json(f"/tasks/{uuid}")) - began


def _timed(run: Callable[[Connection], float], connection: Connection) -> float:
    began = time.perf_counter()
    return run(connection) - began
