"""Attempts: whose word counts when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray

from pixyz_ray.cluster.attempts import Attempts
from pixyz_ray.cluster.gpus import NO_GPU, Grant
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.tasks import NotMade, _answer
from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.run_spec import RunSpec
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder


class Course:
    """A chain of which Ray has been given two tasks: `first` hands over to `second`, whose turn is still to come."""

    def __init__(self) -> None:
        self.live = {uuid: LiveJob(_running(uuid)) for uuid in ("first", "second")}
        self.settled: list[str] = []
        self.outcomes: list[Mapping[str, Any]] = []
        self.grant = NO_GPU

    def change(self, live: LiveJob, job: Job) -> None:
        """Show a changed job."""
        live.become(job)

    def take_outcome(self, live: LiveJob, attempt: int, outcome: Mapping[str, Any]) -> None:
        """Record an end."""
        self.settled.append(live.record.uuid)
        self.outcomes.append(outcome)

    def has_started(self, live: LiveJob) -> None:
        """Nothing follows."""

    def is_over(self, uuid: str) -> None:
        """Nothing follows."""

    def is_ahead(self, uuid: str) -> bool:
        """Return whether its turn is still to come."""
        return uuid == "second" and "first" not in self.settled

    def hands_over(self, uuid: str) -> bool:
        """Return whether Ray has what comes after it."""
        return uuid == "first"

    def gpu_grant(self, job: Job) -> Grant:
        """Return what a job gets of the cluster's GPUs."""
        return self.grant

    def has_no_machine(self, uuid: str) -> None:
        """Nothing follows."""

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Nothing goes on here."""
        work.close()


def _running(uuid: str) -> Job:
    attempt = Attempt(number=1, queue="cpu", started=1.0)
    return Job(uuid=uuid, name=uuid, process="custom", script="a.py", state=JobState.RUNNING, attempts=(attempt,))


def test_given_a_task_launched_ahead_when_both_have_ended_then_its_word_does_not_overtake_that_of_the_one_before() -> (
    None
):
    """Who waits for the graph would see its end before that of a task in it."""

    async def given() -> list[str]:
        course = Course()
        attempts = Attempts(course, Settings())
        attempts.take_word("first", 1, {"ok": True})
        attempts.take_word("second", 1, {"ok": True})
        async with asyncio.timeout(5):
            while len(course.settled) < 2:
                await asyncio.sleep(0)
        return course.settled

    assert asyncio.run(given()) == ["first", "second"]


def test_given_a_job_that_is_being_stopped_when_its_worker_says_that_it_has_ended_then_that_does_not_count() -> None:
    """Before Ray's answer its process may still be there."""

    async def given() -> list[str]:
        course = Course()
        attempts = Attempts(course, Settings())
        live = course.live["second"]
        attempts.guards.stop("second", 1, "timeout", 0.5)
        live.stopped_for = FailureClass.TIMEOUT
        attempts.take_word("second", 1, {"ok": True})
        await asyncio.sleep(0.01)
        return course.settled

    assert asyncio.run(given()) == []


@pytest.mark.parametrize(
    "left",
    ['{"ok": 1}', '{"ok": true, "steps": 5}'],
    ids=["type", "steps"],
)
def test_given_an_outcome_on_the_share_that_no_worker_writes_when_read_then_the_attempt_has_failed(
    tmp_path: Path, left: str
) -> None:
    """Given a script that has written its own outcome, when it is read, then the job fails; the tracker goes on."""
    settings = Settings(_env_file=None, share_path=tmp_path, max_result_bytes=1024)  # type: ignore[call-arg]
    job = _running("7f3c2a9e-0000-4000-8000-000000000001")
    folder = JobFolder(tmp_path, job.uuid)
    folder.path.mkdir()
    folder.marker(1).write_text(left)
    outcome = Attempts(Course(), settings).left_outcome(job, 1)
    assert outcome is not None
    assert (outcome["ok"], outcome["failure"]) == (False, "internal")
    assert "cannot be used" in outcome["error"]


def test_given_an_outcome_on_the_share_that_is_too_large_when_read_then_it_counts_as_none(tmp_path: Path) -> None:
    """Given a script that has filled its own outcome, when it is read, then no more of it gets into memory."""
    settings = Settings(_env_file=None, share_path=tmp_path, max_result_bytes=1024)  # type: ignore[call-arg]
    job = _running("7f3c2a9e-0000-4000-8000-000000000001")
    folder = JobFolder(tmp_path, job.uuid)
    folder.path.mkdir()
    folder.marker(1).write_text('{"ok": true, "result": "' + "x" * 20_000_000 + '"}')
    assert Attempts(Course(), settings).left_outcome(job, 1) is None


@pytest.mark.parametrize("ok", [True, False])
def test_given_an_outcome_that_the_share_did_not_take_when_ray_answers_then_it_is_in_the_answer(ok: bool) -> None:
    """Given a full share and a worker that cannot reach the tracker, when Ray answers, then nothing is lost."""
    text = json.dumps({"ok": ok, "result": "r", "error": "e"})
    spec = RunSpec(uuid="first", attempt=1, share="/nowhere", script="a.py", digest="", entrypoint="main", params={})

    async def given() -> list[Mapping[str, Any]]:
        course = Course()
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(_answer(spec, "value" if ok else NotMade(), text))
        await Attempts(course, Settings())._ray_answered(course.live["first"], 1, answer)
        return course.outcomes

    assert asyncio.run(given()) == [{**json.loads(text), "steps": None}]


@pytest.mark.parametrize(("started", "failure"), [(None, "node_lost"), (5.0, "crash")])
def test_given_a_worker_that_died_without_a_word_when_its_attempt_had_not_begun_then_the_job_is_not_blamed(
    tmp_path: Path, started: float | None, failure: str
) -> None:
    """Given a death that neither worker nor watchdog has told, when the script had begun, then it is a crash."""

    async def given() -> list[Mapping[str, Any]]:
        course = Course()
        uuid = "7f3c2a9e-0000-4000-8000-000000000001"
        job = _running(uuid)
        attempt = replace(job.attempts[-1], started=started)
        course.live[uuid] = LiveJob(replace(job, attempts=(attempt,)))
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(ray.exceptions.WorkerCrashedError())
        settings = Settings(_env_file=None, share_path=tmp_path)  # type: ignore[call-arg]
        attempts = Attempts(course, settings)
        attempts.launcher = cast(
            Launcher,
            SimpleNamespace(hit_by_mistake=lambda _: False, memory_limit=lambda _: None, spare=lambda: None),
        )
        await attempts._ray_answered(course.live[uuid], 1, answer)
        return course.outcomes

    assert [one["failure"] for one in asyncio.run(given())] == [failure]


def test_given_tasks_that_have_not_begun_when_a_machine_is_lost_then_they_are_withdrawn_and_run_elsewhere(
    tmp_path: Path,
) -> None:
    """Given two attempts, one of which has begun, when a machine is lost, then only the other is given to Ray again."""

    async def given() -> tuple[list[Any], list[Mapping[str, Any]]]:
        course = Course()
        uuid = "7f3c2a9e-0000-4000-8000-000000000001"
        job = replace(_running(uuid), attempts=(Attempt(number=1, queue="cpu"),))
        course.live[uuid] = LiveJob(job)
        settings = Settings(_env_file=None, share_path=tmp_path)  # type: ignore[call-arg]
        attempts = Attempts(course, settings)
        withdrawn: list[Any] = []
        attempts.launcher = cast(
            Launcher,
            SimpleNamespace(
                withdraw=withdrawn.append,
                memory_limit=lambda _: None,
                hit_by_mistake=lambda _: False,
                spare=lambda: None,
            ),
        )
        for one in ("first", uuid):
            course.live[one].reference = one
            attempts.dispatched.on_given(course.live[one].record)
        attempts.dispatched.on_start(course.live["first"].record)
        attempts.machines.add("node")
        attempts.machines.add("node")
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(ray.exceptions.TaskCancelledError())
        await attempts._ray_answered(course.live[uuid], 1, answer)
        return withdrawn, course.outcomes

    withdrawn, outcomes = asyncio.run(given())
    assert withdrawn == ["7f3c2a9e-0000-4000-8000-000000000001"]
    assert [one["failure"] for one in outcomes] == ["node_lost"]


@pytest.mark.parametrize(
    ("before", "now", "again"),
    [
        (Grant(num_gpus=1), Grant(missing="no GPU"), True),
        (Grant(num_gpus=1, missing="no GPU"), Grant(num_gpus=1), False),
        (Grant(num_gpus=1, limit=5), Grant(num_gpus=0.5, limit=5), True),
        (Grant(missing="no GPU"), Grant(num_gpus=1), False),
    ],
    ids=["the last one left", "one joined", "its memory is known", "runs on CPU"],
)
def test_follow_gpus(before: Grant, now: Grant, again: bool) -> None:
    """Given a task that Ray has not started, when the GPUs change, then it is taken back if it would get others.

    One that was decided to run on CPU stays there.
    """
    course, withdrawn = Course(), []
    attempts = Attempts(course, Settings())
    attempts.launcher = cast(Launcher, SimpleNamespace(withdraw=withdrawn.append))
    attempt = Attempt(number=1, queue="gpu")
    job = replace(_running("first"), state=JobState.PENDING, queue="gpu", attempts=(attempt,))
    live = course.live["first"] = LiveJob(job)
    live.grant, live.reference, course.grant = before, "task", now
    attempts.dispatched.on_given(job)
    attempts.follow_gpus()
    assert withdrawn == ["task"] * again
    assert (live.stopped_for is FailureClass.NODE_LOST) == again
    assert course.outcomes == []
