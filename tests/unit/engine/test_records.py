"""Records: a job as plain values and back, with nothing lost and nothing there that need not be."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job, JobState, StepRecord
from pixyz_ray.policy import DEFAULT, Policy
from pixyz_ray.records import decode_job, encode_job

JOB = Job(uuid="u", name="n", process="custom", script="s.py")
CRASHED = Attempt(
    number=1,
    queue="cpu",
    started=1.0,
    stopped=2.5,
    node="host",
    pid=7,
    failure=FailureClass.CRASH,
    error="It crashed.",
    log="last line",
    signal=11,
    exit_code=0,
    peak_rss=3,
    peak_uss=2,
    peak_gpu_memory=4,
    cpu_time=0.0,
    uncounted=True,
)
OTHER: dict[str, Any] = {
    "uuid": "v",
    "name": "m",
    "process": "sleep",
    "script": "t.py",
    "alias": "mine",
    "script_digest": "d",
    "entrypoint": "go",
    "input_file": "i.step",
    "params": [1],
    "params_packed": True,
    "packed": {"mine": "gASV"},
    "config": {"raw": True},
    "queue": "gpu",
    "time_limit": 5.0,
    "policy": Policy(priority=9, pools=(("catia", 2),), retry_on=("crash",), keep=1.0),
    "submitter": "team",
    "pinned": True,
    "not_before": 12.5,
    "wait": True,
    "wait_timeout": 0.0,
    "kind": "part",
    "parent_id": "p",
    "graph": "g",
    "home": "h",
    "calls": ({"entrypoint": "go"},),
    "awaits": "a",
    "opaque": True,
    "done": 0,
    "state": JobState.RETRY,
    "requested": 1.0,
    "started": 0.0,
    "stopped": 3.0,
    "total": 0,
    "steps": (StepRecord(info="a", duration=0.5), StepRecord(info="b")),
    "result": {"a": 1},
    "error": "",
    "attempts": (CRASHED, Attempt(number=2, queue="gpuhigh")),
    "notes": ("one",),
}


def again(job: Job) -> Job:
    """Write a job down and read it again."""
    return decode_job(json.loads(json.dumps(encode_job(job))), job.result)


def test_given_the_table_when_read_then_it_has_another_value_for_each_field() -> None:
    """A new field gets its row, and so its test."""
    assert OTHER.keys() == {field.name for field in fields(Job)}
    assert all(getattr(JOB, name) != value for name, value in OTHER.items())
    assert all(getattr(CRASHED, field.name) is not None for field in fields(Attempt))


@pytest.mark.parametrize("name", OTHER)
def test_given_a_job_with_one_field_that_is_not_the_default_when_written_and_read_then_it_is_the_same(
    name: str,
) -> None:
    """Field by field."""
    job = replace(JOB, **{name: OTHER[name]})
    assert again(job) == job


def test_given_a_job_with_everything_when_written_and_read_then_it_is_the_same() -> None:
    """Its result travels apart, since it may be large."""
    job = replace(JOB, **OTHER)
    assert again(job) == job
    assert "result" not in encode_job(job)


def test_given_a_job_with_nothing_of_its_own_when_written_then_the_record_is_small() -> None:
    """A hundred thousand of them wait in the store; the policy is the one that all share."""
    record = encode_job(JOB)
    assert not record.keys() & {"policy", "submitter", "pinned", "not_before", "awaits", "calls", "notes", "kind"}
    assert len(json.dumps(record)) < 400
    assert again(JOB).policy is DEFAULT


@pytest.mark.parametrize("keep", [True, 1.0, 0.0, None], ids=str)
def test_given_a_job_that_is_kept_when_written_and_read_then_for_ever_and_one_second_are_not_mixed_up(
    keep: bool | float | None,
) -> None:
    """Python takes True and 1.0 for equal."""
    found = again(replace(JOB, policy=Policy(keep=keep))).policy.keep
    assert (found, type(found)) == (keep, type(keep))


def test_given_a_record_of_an_earlier_version_when_read_then_what_is_new_is_as_by_default() -> None:
    """An upgrade finds the jobs that there are."""
    record = encode_job(JOB)
    for name in ("script_digest", "time_limit"):
        del record[name]
    record["attempts"] = [{"number": 1, "queue": "cpu", "failure": "timeout"}]
    del record["alias"]
    job = decode_job(record)
    assert (job.policy, job.submitter, job.pinned, job.not_before) == (DEFAULT, "local", False, None)
    assert job.attempts == (Attempt(number=1, queue="cpu", failure=FailureClass.TIMEOUT),)


@pytest.mark.parametrize(
    ("changes", "alias"),
    [
        ({"name": "bolt"}, "bolt"),
        ({"name": "s.py"}, None),
        ({"name": "sleep", "process": "sleep"}, None),
        ({"name": "graph", "kind": "graph"}, None),
        ({"name": "bolt/load", "graph": "g"}, None),
    ],
)
def test_alias_of_an_older_record(changes: dict[str, Any], alias: str | None) -> None:
    """Given a record that only has a name, when read, then it is the alias unless it was made up."""
    record = {**encode_job(JOB), **changes}
    del record["alias"]
    job = decode_job(record)
    assert (job.alias, job.name) == (alias, changes["name"])


attempts = st.builds(
    Attempt,
    number=st.integers(1, 99),
    queue=st.sampled_from(["cpu", "gpu"]),
    failure=st.none() | st.sampled_from(FailureClass),
    error=st.none() | st.text(max_size=20),
    log=st.none() | st.text(max_size=20),
    signal=st.none() | st.integers(1, 64),
    exit_code=st.none() | st.integers(0, 255),
    peak_rss=st.none() | st.integers(0, 2**60),
    cpu_time=st.none() | st.floats(0, 1e9),
)


@given(st.lists(attempts, max_size=4))
def test_given_any_attempts_when_written_and_read_then_they_are_the_same(made: list[Attempt]) -> None:
    """Zero is not none, and an empty text is one."""
    job = replace(JOB, attempts=tuple(made))
    assert again(job).attempts == job.attempts
