"""What workers report is checked: bad shapes are errors, and never reach a record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_ray.cluster import messages
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.messages import BadMessage
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.outcome import Outcome
from pixyz_ray.records import decode_job, encode_job

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVENT = {"time": 1.0, "node": "host", "pid": 7, "total": 3, "info": "reading", "index": 0, "state": "BUSY", "meta": {}}
OUTCOME = Outcome(ok=True, started=1.0, stopped=2.0, result={"a": 1}, steps=[("one", 0.5), ("many", 1.0, 7)])


def plain(**changes: Any) -> dict[str, Any]:
    """Return an outcome as it arrives: JSON."""
    return {**OUTCOME.as_plain(), "steps": [["one", 0.5], ["many", 1.0, 7]], **changes}


def running() -> LiveJob:
    """Return a job that runs."""
    attempt = Attempt(number=1, queue="cpu", started=1.0)
    return LiveJob(
        Job(uuid="u", name="u", process="custom", script="a.py", state=JobState.RUNNING, attempts=(attempt,))
    )


def test_given_what_a_worker_sends_then_it_is_taken() -> None:
    """Given events and an outcome as the platform makes them, when checked, then they pass."""
    for kind in ("started", "total", "step", "stop", "state"):
        assert messages.progress_event({"kind": kind, **EVENT})["kind"] == kind
    assert messages.outcome(plain())["steps"] == [["one", 0.5], ["many", 1.0, 7]]
    with pytest.raises(BadMessage):
        messages.outcome([1])


@pytest.mark.parametrize("value", [2**63, -1, True, 1e999, float("nan"), "5", [], {}])
def test_given_a_number_that_is_none_then_the_message_is_refused(value: Any) -> None:
    """Given 2**63, a negative number, a bool, Infinity, NaN, text or a list for a count, then it is refused."""
    with pytest.raises(BadMessage):
        messages.progress_event({"kind": "total", "total": value})
    with pytest.raises(BadMessage):
        messages.outcome(plain(peak_rss=value))
    with pytest.raises(BadMessage):
        messages.usage({"peak_uss": value})


@given(event=st.dictionaries(st.sampled_from(["kind", *EVENT]), JSON), kind=st.sampled_from([*messages._EVENTS]))
@settings(deadline=None)
def test_given_any_event_then_it_is_refused_or_leaves_a_job_whole(event: dict[str, Any], kind: str) -> None:
    """Given any JSON as an event, when taken, then it is refused, or the job can still be written and read."""
    live = running()
    try:
        found = messages.progress_event({**event, "kind": kind})
    except BadMessage:
        return
    if kind != "started":
        live.take_event(found)
    assert live.job.as_details()["steps"] == decode_job(encode_job(live.job)).as_details()["steps"]


@given(changes=st.dictionaries(st.sampled_from([*OUTCOME.as_plain()]), JSON, max_size=3))
@settings(deadline=None)
def test_given_any_outcome_then_it_is_refused_or_ends_a_job(changes: dict[str, Any]) -> None:
    """Given an outcome with fields of any JSON, when taken, then it is refused, or makes a record that can be read."""
    try:
        found = messages.outcome(plain(**changes))
    except BadMessage:
        return
    state = JobState.SUCCESS if found["ok"] else JobState.FAILURE
    job = running().with_outcome(found, state)
    assert decode_job(encode_job(job)).as_details()["attempts"] == job.as_details()["attempts"]
