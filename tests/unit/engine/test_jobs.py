"""Jobs and their states: which change is legal, and what a job looks like to a client."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.jobs import (
    LEGAL,
    TERMINAL,
    Attempt,
    FailureClass,
    IllegalTransition,
    Job,
    JobState,
    StepRecord,
    iso_time,
)
from pixyz_ray.policy import Policy
from pixyz_ray.retries import times_failed

JOB = Job(uuid="0", name="job", process="custom", script="job.py")
states = st.sampled_from(list(JobState))


@given(st.lists(states, max_size=12))
def test_given_any_sequence_of_changes_when_a_terminal_state_is_reached_then_it_is_final(
    wanted: list[JobState],
) -> None:
    """Whatever is tried afterwards."""
    job = JOB
    for state in wanted:
        before = job
        try:
            job = job.become(state)
        except IllegalTransition:
            assert state not in LEGAL[before.state]
            assert job is before
        else:
            assert before.state not in TERMINAL
    assert (job.stopped is not None) == (job.state in TERMINAL)


def test_given_the_table_when_read_then_every_state_has_a_row_and_every_live_one_a_way_to_each_end() -> None:
    """No job can be caught in a state that it cannot leave."""
    assert set(LEGAL) == set(JobState)
    for state in set(JobState) - TERMINAL:
        assert LEGAL[state] >= TERMINAL
    assert all(not LEGAL[state] for state in TERMINAL)


@given(states, st.none() | st.integers(0, 5), st.integers(0, 9))
def test_given_any_job_when_its_progress_is_asked_then_it_is_0_to_100_or_none(
    state: JobState, total: int | None, steps: int
) -> None:
    """100 only where the contract says so: at a success, or past the announced steps."""
    job = replace(JOB, state=state, total=total, steps=tuple(StepRecord(info=str(n)) for n in range(steps)))
    assert job.progress is None or 0 <= job.progress <= 100
    if state is JobState.SUCCESS:
        assert job.progress == 100
    elif total and 1 <= steps <= total:
        assert job.progress == 100 * (steps - 1) // total


def test_given_a_job_when_shown_then_it_is_json_of_the_contracts_shape() -> None:
    """State, details, task meta."""
    attempt = Attempt(number=1, queue="cpu", started=0.0, stopped=1.5)
    job = replace(JOB, started=0.0, steps=(StepRecord(info="a", duration=1.0),), attempts=(attempt,))
    assert json.loads(json.dumps(job.as_state())).keys() == {"uuid", "name", "status", "progress", "error"}
    details = json.loads(json.dumps(job.as_details()))
    assert details.keys() >= {"time_info", "steps", "retry", "result", "queue", "attempt", "attempts", "notes"}
    assert details["time_info"]["started"] == "1970-01-01T00:00:00+00:00"
    assert details["steps"] == [{"duration": 1.0, "info": "a"}]
    meta = job.as_task_meta(["child"], [1])
    assert (meta["task_id"], meta["children"]) == ("0", ["child"])
    shared = {key: details[key] for key in ("progress", "steps", "time_info")}
    assert json.loads(json.dumps(meta["result"])) == {**shared, "result": [1]}


@pytest.mark.parametrize(("attempts", "retry"), [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_given_attempts_when_counted_then_retries_are_those_after_the_first(attempts: int, retry: int) -> None:
    """A job that never ran has no retry either."""
    runs = tuple(Attempt(number=n + 1, queue="cpu") for n in range(attempts))
    assert replace(JOB, attempts=runs).retry == retry


def test_given_no_time_when_shown_then_none() -> None:
    """What has not happened has no time."""
    assert iso_time(None) is None


def test_given_attempts_that_were_lost_when_counted_then_only_those_that_had_begun_are_interruptions() -> None:
    """A job that waits through any number of restarts must not be given up for them."""
    queued = Attempt(number=1, queue="cpu", failure=FailureClass.NODE_LOST, stopped=2.0)
    cut_short = Attempt(number=2, queue="cpu", failure=FailureClass.NODE_LOST, started=1.0, stopped=2.0)
    crashed = Attempt(number=3, queue="cpu", failure=FailureClass.CRASH, started=1.0, stopped=2.0)
    job = Job(uuid="u", name="n", process="custom", script="s.py", attempts=(*[queued] * 9, cut_short, crashed))
    assert times_failed(job, FailureClass.NODE_LOST) == 1
    assert times_failed(job, FailureClass.CRASH) == 1


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"state": JobState.PENDING}, True),
        ({"state": JobState.RETRY, "attempts": (Attempt(number=1, queue="cpu"),)}, True),
        ({"state": JobState.PENDING, "attempts": (Attempt(number=1, queue="cpu"),)}, False),
        ({"state": JobState.RUNNING}, False),
        ({"state": JobState.SUCCESS}, False),
        ({"state": JobState.PENDING, "graph": "g"}, False),
        ({"state": JobState.PENDING, "kind": "group"}, False),
        ({"state": JobState.RETRY, "awaits": "g"}, False),
    ],
)
def test_given_a_job_when_asked_what_it_waits_with_then_only_one_in_line_says_so(
    changes: dict[str, Any], waits: bool
) -> None:
    """What the platform needs to put it in line again after a restart; nodes have their turn from their graph."""
    policy = Policy(priority=7, pools=(("catia", 2),))
    job = replace(JOB, policy=policy, submitter="team", not_before=5.0, **changes)
    wanted = ["cpu", "team", 7, [["catia", 2]], 5.0]
    assert (json.loads(job.waits) if job.waits else None) == (wanted if waits else None)


@pytest.mark.parametrize(("asked", "pinned", "keep"), [(None, False, None), (60.0, False, 60.0), (60.0, True, True)])
def test_given_a_pinned_job_when_asked_how_long_it_is_kept_then_for_ever(
    asked: float | None, pinned: bool, keep: bool | float | None
) -> None:
    """Whatever its own config says."""
    assert replace(JOB, policy=Policy(keep=asked), pinned=pinned).keep == keep
