"""Whether a worker may begin an attempt on its machine, and what becomes of one that it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray import exceptions as ray_errors

from pixyz_ray.cluster import failures, fitness, messages
from pixyz_ray.cluster.attempts import Attempts
from pixyz_ray.cluster.channel import Endpoint
from pixyz_ray.cluster.launcher import Launcher
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.nodes import NodeRegistry
from pixyz_ray.cluster.tasks import NotMade, _refuse
from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.machine_gate import Closed, MachineGate
from pixyz_ray.queues import DEFAULT_QUEUES
from pixyz_ray.retries import next_attempt, times_failed
from pixyz_ray.settings import Settings
from pixyz_ray.share_marker import write_marker
from pixyz_ray.version import VERSION

NODE = "b" * 56
UUID = "7f3c2a9e-0000-4000-8000-000000000001"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MachineGate]:
    """The gate of this machine, which is Ray's node NODE."""
    gate = MachineGate(NODE, tmp_path)
    monkeypatch.setattr(fitness, "own_node_id", lambda: NODE)
    monkeypatch.setattr(fitness, "_gate", lambda: gate)
    fitness._share_check.cache_clear()
    yield gate
    fitness._share_check.cache_clear()


def test_fit(gate: MachineGate, tmp_path: Path) -> None:
    """Given the same version, an open gate and the share, when asked, then the attempt may begin."""
    assert fitness.refusal(VERSION, str(tmp_path), write_marker(tmp_path).id) is None
    assert fitness.refusal(VERSION, "/nowhere", "") is None


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_other_version(gate: MachineGate, version: str | None) -> None:
    """Given a platform of another version, when asked, then the worker refuses, whatever else there is."""
    refused = fitness.refusal(version, "/nowhere", "")
    assert refused is not None
    assert (refused["refused_by"], refused["unfit"], refused["failure"]) == (NODE, True, "node_lost")
    assert f"Machine {fitness.HOST} has version {VERSION}" in refused["error"]


def test_without_share(gate: MachineGate, tmp_path: Path) -> None:
    """Given no share, when asked, then the outcome names the machine, and says what to do."""
    refused = fitness.refusal(VERSION, str(tmp_path), "1234")
    assert refused is not None
    assert "cannot see the share" in refused["sentence"]
    assert refused["node"] == fitness.HOST
    assert refused.get("started") is None
    assert messages.outcome(dict(refused))["refused_by"] == NODE


def test_drained(gate: MachineGate) -> None:
    """Given a closed gate, when asked, then the worker refuses, and the machine is not called unfit."""
    gate.close(Closed(since=1.0))
    refused = fitness.refusal(VERSION, "/nowhere", "")
    assert refused is not None
    assert not refused["unfit"]


@pytest.mark.parametrize("hands_on", [False, True])
def test_answer_of_a_refusal(monkeypatch: pytest.MonkeyPatch, hands_on: bool) -> None:
    """Given a refusal, when Ray is answered, then the outcome is in the answer: nothing was written to the share."""
    sent: list[str] = []
    line = SimpleNamespace(send_text=lambda _method, text: sent.append(text), flush=lambda: None)
    monkeypatch.setattr("pixyz_ray.cluster.tasks._line", lambda _: line)
    answer = _refuse({"uuid": UUID, "attempt": 2, "hands_on": hands_on}, Endpoint("h", 1, "s"), {"ok": False})
    over = answer[0] if hands_on else answer
    assert isinstance(over, NotMade)
    assert over.unwritten == '{"ok": false}'
    assert json.loads(sent[0]) == [UUID, 2, {"ok": False}]


def test_script_cannot_say_that_it_is_not_counted() -> None:
    """Given an outcome that a script made up, when taken, then it is counted."""
    assert "uncounted" not in messages.outcome({"ok": False, "uncounted": True})


def _job(*attempts: Attempt, state: JobState = JobState.RUNNING) -> Job:
    return Job(uuid=UUID, name="a", process="custom", script="a.py", state=state, attempts=attempts)


def test_uncounted() -> None:
    """Given attempts that the platform ended, when counted, then neither as retries nor against the job."""
    ended = Attempt(number=1, queue="cpu", started=1.0, failure=FailureClass.NODE_LOST, uncounted=True)
    job = _job(*[ended] * 20)
    assert times_failed(job, FailureClass.NODE_LOST) == 0
    again = next_attempt(job, DEFAULT_QUEUES)
    assert again is not None
    assert again.delay_s == 0.0
    lost = replace(ended, uncounted=None)
    assert [_job(ended, lost).retry, _job(lost, ended).retry, _job(ended).retry, _job(lost, lost).retry] == [0, 0, 0, 1]


class Course:
    """One job; what its attempts come to is in `outcomes`."""

    def __init__(self, job: Job) -> None:
        self.live = {job.uuid: LiveJob(job)}
        self.outcomes: list[dict[str, Any]] = []

    def take_outcome(self, _live: LiveJob, _attempt: int, outcome: dict[str, Any]) -> None:
        """Record an end."""
        self.outcomes.append(outcome)

    def is_ahead(self, _uuid: str) -> bool:
        """Return that its turn has come."""
        return False

    def begin(self, work: Any) -> None:
        """Nothing goes on here."""
        work.close()


def _attempts(course: Course) -> tuple[Attempts, list[str]]:
    attempts, done = Attempts(cast(Any, course), Settings()), list[str]()
    attempts.launcher = cast(
        Launcher,
        SimpleNamespace(withdraw=lambda _: done.append("withdrawn"), kill=lambda *_: done.append("killed")),
    )
    return attempts, done


def test_placed_again() -> None:
    """Given tasks that Ray has, when other machines may run them, then those that have not begun are taken back."""

    async def given() -> None:
        for started in (None, 1.0):
            course = Course(_job(Attempt(number=1, queue="cpu", started=started), state=JobState.PENDING))
            (attempts, _), live, withdrawn = _attempts(course), course.live[UUID], list[Any]()
            attempts.launcher = cast(Launcher, SimpleNamespace(withdraw=withdrawn.append))
            attempts.dispatched.on_given(live.record)
            if started:
                attempts.dispatched.on_start(live.record)
            attempts.place_again()
            assert len(withdrawn) == (started is None)
            assert live.stopped_for is (FailureClass.NODE_LOST if started is None else None)

    asyncio.run(given())


def test_ended_for_the_platform(tmp_path: Path) -> None:
    """Given a running attempt, when the platform ends it, then its outcome says why, whatever killed it."""

    async def given() -> None:
        course = Course(_job(Attempt(number=1, queue="cpu", started=1.0)))
        live = course.live[UUID]
        attempts, _ = _attempts(course)
        attempts.interrupt_job(UUID, "The machine is being drained.")
        attempts.interrupt_job(UUID, "Something else.")
        assert live.stopped_for is FailureClass.NODE_LOST
        outcome = failures.interrupted(live.stop_message)
        assert (outcome["error"], outcome["uncounted"]) == ("The machine is being drained.", True)

    asyncio.run(given())


@pytest.mark.parametrize("started", [None, 1.0])
def test_refused_attempt(started: float | None) -> None:
    """Given a refusal, when taken, then the registry is told; but not by a script that has begun."""
    told: list[Any] = []
    nodes = cast(NodeRegistry, SimpleNamespace(on_refusal=lambda *words, **options: told.append((*words, options))))
    lifecycle = cast(Lifecycle, SimpleNamespace(attempts=SimpleNamespace(nodes=nodes)))
    live = LiveJob(_job(Attempt(number=1, queue="cpu", started=started)))
    outcome = {"ok": False, "refused_by": NODE, "error": "No share.", "unfit": True}
    taken = Lifecycle._refused_by_machine(lifecycle, live, outcome)
    assert (told, taken.get("uncounted")) == (
        ([(NODE, "No share.", {"unfit": True})], True) if started is None else ([], None)
    )


@pytest.mark.parametrize("interrupted", [False, True])
def test_machine_of_an_interrupted_attempt_is_not_lost(tmp_path: Path, interrupted: bool) -> None:
    """Given an attempt that the platform ended on a machine, when its process is gone, then the machine is not lost."""

    async def given() -> None:
        course = Course(_job(Attempt(number=1, queue="cpu", started=1.0, node="b")))
        attempts = Attempts(cast(Any, course), Settings(_env_file=None, share_path=tmp_path))  # type: ignore[call-arg]
        launcher = SimpleNamespace(
            hit_by_mistake=lambda _: False, memory_limit=lambda _: None, spare=lambda: None, avoid=lambda _: None
        )
        attempts.launcher = cast(Launcher, launcher)
        attempts.guards.on_start(UUID, 1, NODE)
        live = course.live[UUID]
        live.stopped_for = FailureClass.NODE_LOST if interrupted else None
        error = ray_errors.WorkerCrashedError() if interrupted else ray_errors.NodeDiedError("the node is dead")
        outcome = await attempts._outcome_of_death(live, 1, error)
        assert outcome["failure"] == "node_lost"
        assert attempts.machines.node_ids == (frozenset() if interrupted else {NODE})

    asyncio.run(given())


def test_taken_back() -> None:
    """Given a job whose task was withdrawn before it began, when taken back, then it gets its turn again at once."""
    done: list[str] = []
    turns = SimpleNamespace(put_back=lambda _: done.append("in line"), pump=lambda: done.append("dispatched"))
    attempts = SimpleNamespace(close=lambda *_: None)
    jobs = SimpleNamespace(turns=turns, attempts=attempts, change=lambda live, job: live.become(job))
    live = LiveJob(_job(Attempt(number=1, queue="cpu"), state=JobState.PENDING))
    Lifecycle._take_back(cast(Lifecycle, jobs), live, 1)
    assert done == ["in line", "dispatched"]
    assert live.record.attempts == ()
