"""Attempts that Ray has: what has started runs, all else waits."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cluster.dispatched import Dispatched
from pixyz_ray.jobs import Job


def job(uuid: str, queue: str = "cpu", submitter: str = "local", age_s: float = 0.0) -> Job:
    """Return a job that was requested some time ago."""
    requested = time.time() - age_s
    return Job(
        uuid=uuid, name=uuid, process="custom", script="a.py", queue=queue, submitter=submitter, requested=requested
    )


def row(dispatched: Dispatched, *, waiting: int = 0, running: int = 0) -> dict[str, Any]:
    """Return the row of queue cpu, of which admission says what is given here."""
    rows = [{"name": "cpu", "waiting": waiting, "running": running, "oldest_wait": None, "started_last_minute": 0}]
    return dispatched.corrected_queues(rows)[0]


def test_given_four_tasks_with_ray_when_two_have_started_then_two_wait() -> None:
    """Given room for two, when a queue is asked for, then the two that Ray has not started are waiting."""
    dispatched = Dispatched()
    jobs = [job(str(number), age_s=100.0) for number in range(4)]
    for one in jobs:
        dispatched.on_given(one)
    for one in jobs[:2]:
        dispatched.on_start(one)
    seen = row(dispatched, waiting=3, running=4)
    assert (seen["waiting"], seen["dispatched"], seen["running"]) == (5, 2, 2)
    assert seen["oldest_wait"] >= 100.0
    assert seen["started_last_minute"] == 2
    asked = dispatched.corrected_submitters([{"name": "local", "waiting": 3, "running": 4}])
    assert asked == [{"name": "local", "waiting": 5, "running": 2}]


@given(st.lists(st.tuples(st.sampled_from("gsefl"), st.integers(0, 5), st.sampled_from(["cpu", "gpu"])), max_size=60))
def test_given_any_history_then_the_counts_are_those_of_the_jobs(history: list[tuple[str, int, str]]) -> None:
    """Given attempts that are given, started and ended in any order, when counted, then no count drifts."""
    dispatched, waiting, running = Dispatched(), dict[str, str](), dict[str, str]()
    for what, number, queue in history:
        one = job(str(number), queue)
        if what == "g":
            dispatched.on_given(one)
            running.pop(one.uuid, None)
            waiting[one.uuid] = queue
        elif what == "s":
            dispatched.on_start(one)
            if one.uuid in waiting:
                running[one.uuid] = waiting.pop(one.uuid)
        elif what == "e":
            dispatched.on_end(one.uuid)
            waiting.pop(one.uuid, None)
            running.pop(one.uuid, None)
        else:
            dispatched.forget_waiting(one.uuid)
            waiting.pop(one.uuid, None)
    seen = row(dispatched)
    assert (seen["waiting"], seen["running"]) == (
        list(waiting.values()).count("cpu"),
        list(running.values()).count("cpu"),
    )
