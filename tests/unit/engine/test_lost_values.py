"""Values that are lost with the machine that held them: a graph on a real life of jobs, with Ray's part played here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray.cluster.graph import lost_values
from pixyz_ray.cluster.graph.graphs import Graphs
from pixyz_ray.cluster.graph.lost_values import MAX_RERUNS
from pixyz_ray.cluster.lifecycle import Lifecycle
from pixyz_ray.cluster.live import Feed, LiveJob
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.store import JobStore
from pixyz_worker.canvas import Canvas, Signature, chain, chord
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import compile_plan
from pixyz_worker.tasks import pixyz_execute
from pixyz_worker.wire import plan_as_plain

SCRIPT = "".join(f"def {name}(pc, params): ...\n" for name in ("main", "make", "pass_on", "other", "take"))
Plot = Callable[["Stage"], Awaitable[None]]


def task(entrypoint: str, *params: Any) -> Signature:
    """A task that takes what comes before it, unless it has params."""
    context = ProgramContext({"script": "job.py", "entrypoint": entrypoint, "raw": True})
    return pixyz_execute.s(*params, pc=context)


@dataclass(frozen=True)
class Reference:
    """Stands for Ray's reference of a value."""

    name: str

    def hex(self) -> str:
        """Return the object's id."""
        return self.name


class Stage:
    """A graph that runs, whose attempts are ended by the test."""

    def __init__(self, share: Path, store: JobStore) -> None:
        self.share = share
        settings = Settings(_env_file=None, share_path=share)  # type: ignore[call-arg]
        self.jobs = Lifecycle(settings, store)
        self.graphs = self.jobs.followers = Graphs(self.jobs)
        self.launched: list[str] = []
        """Entrypoints of the attempts, in order."""
        self.lost: set[Any] = set()
        """References of values that no machine has any more."""
        self.without_place: set[Any] = set()
        """References of values that no machine holds, such as the error of a task."""
        self.fed: dict[str, Sequence[Any]] = {}
        attempts: Any = self.jobs.attempts
        attempts.launcher = SimpleNamespace(
            launch=self._launch,
            note_for=lambda queue: None,
            withdraw=lambda reference: None,
        )
        attempts.answers = SimpleNamespace(expect=lambda *_: None, forget=lambda *_: None)
        attempts.left_outcome = lambda job, attempt: None
        self.jobs.turns.take_capacity({"CPU": 8.0, "GPU": 8.0})

    def _launch(self, live: LiveJob) -> tuple[Any, Any]:
        job = live.record
        self.launched.append(job.entrypoint)
        self.fed[job.entrypoint] = () if live.feed is None else self._plain(live.feed)
        return object(), Reference(f"{job.entrypoint}-{len(job.attempts)}") if live.wants_value else None

    @staticmethod
    def _plain(feed: Feed) -> Sequence[Any]:
        return feed.shape, *(reference.hex() for reference in feed.references if isinstance(reference, Reference))

    async def begin(self, canvas: Canvas) -> None:
        """Start a graph."""
        root = Job(uuid=str(uuid4()), name="root", process="custom", script="job.py")
        folder = JobFolder(self.share, root.uuid)
        folder.stage("job.py", SCRIPT.encode())
        plan = plan_as_plain(compile_plan(canvas), lambda context: str(context["script"]))
        await self.graphs.submit_alone(root, json.dumps(plan))
        self.root = root.uuid

    def live(self, entrypoint: str) -> LiveJob:
        """A task that has not ended."""
        return next(live for live in self.jobs.live.values() if live.record.entrypoint == entrypoint)

    async def job(self, entrypoint: str) -> Job:
        """A task's record."""
        run = next(iter(self.graphs.runs))
        return await self.jobs.find(next(id for id in run.nodes if run.job(id).entrypoint == entrypoint))

    async def launches(self, *entrypoints: str) -> None:
        """Wait until these attempts were launched, and no other."""
        async with asyncio.timeout(5):
            while len(self.launched) < len(entrypoints):
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.02)
        assert sorted(self.launched) == sorted(entrypoints)
        self.launched.clear()

    def end(self, entrypoint: str, *, json_value: Any = None, error: str | None = None) -> None:
        """End an attempt with a value that is not JSON, unless one is given."""
        live = self.live(entrypoint)
        number = len(live.record.attempts)
        event = {"kind": "started", "time": 1.0, "node": "b", "pid": 1}
        self.jobs.attempts.take_event(live.record.uuid, number, event)
        outcome: dict[str, Any] = {"ok": error is None, "opaque": json_value is None, "result": json_value or {}}
        if error is not None:
            outcome |= {"failure": "user_error", "error": error, "opaque": False}
        self.jobs.take_outcome(live, number, outcome)

    def lose(self, entrypoint: str, *references: str) -> None:
        """Have Ray say that a task could not begin, since values are lost, of which it names the first."""
        self.lost.update(references[1:])
        live = self.live(entrypoint)
        self.jobs.input_lost(live, len(live.record.attempts), references[0])

    async def root_ends(self) -> Job:
        """Wait for the end of the job that stands for the graph."""
        async with asyncio.timeout(5):
            while not (job := await self.jobs.find(self.root)).state.terminal:
                await asyncio.sleep(0.002)
        return job


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plot], None]:
    """Run a test on a stage."""

    async def run(plot: Plot) -> None:
        with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
            stage = Stage(tmp_path, store)
            monkeypatch.setattr(lost_values, "is_gone", lambda reference, nodes: reference.hex() in stage.lost)
            monkeypatch.setattr(lost_values, "has_no_place", lambda reference: reference.hex() in stage.without_place)
            await plot(stage)

    return lambda plot: asyncio.run(asyncio.wait_for(run(plot), 20))


def test_given_a_chain_when_a_value_is_lost_then_its_task_runs_again_and_then_the_next(
    play: Callable[[Plot], None],
) -> None:
    """Given a task whose input is lost, when that is noticed, then the one before runs again; only that is a retry."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chain(task("make", 1), task("take")))
        await stage.launches("make")
        stage.end("make")
        await stage.launches("take")
        stage.lose("take", "make-1")
        await stage.launches("make")
        made = await stage.job("make")
        assert (made.state, [one.failure for one in made.attempts]) == (JobState.PENDING, ["node_lost", None])
        assert (made.attempts[0].error or "").startswith("Its value was lost with machine b")
        stage.end("make")
        await stage.launches("take")
        assert stage.fed["take"] == (["ref", 0], "make-2")
        assert (await stage.job("make")).state is JobState.SUCCESS
        stage.end("take", json_value=5)
        assert (await stage.root_ends()).result == 5
        assert stage.jobs.counts[JobState.SUCCESS] == 3

    play(plot)


def test_given_a_chord_when_one_value_is_lost_then_only_what_made_it_runs_again(play: Callable[[Plot], None]) -> None:
    """Given a lost value whose task got another that is not kept either, then both tasks run again, in order."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chord([chain(task("make", 1), task("pass_on")), task("other", 2)], task("take")))
        await stage.launches("make", "other")
        stage.end("make")
        await stage.launches("pass_on")
        stage.end("pass_on")
        stage.end("other")
        await stage.launches("take")
        stage.lose("take", "pass_on-1")
        await stage.launches("make")
        stage.end("make")
        await stage.launches("pass_on")
        stage.end("pass_on")
        await stage.launches("take")
        assert stage.fed["take"] == (["list", [["ref", 0], ["ref", 1]]], "pass_on-2", "other-1")
        stage.end("take", json_value=6)
        assert (await stage.root_ends()).result == 6

    play(plot)


def test_given_a_lost_value_when_the_share_or_the_record_has_it_then_nothing_runs_again(
    play: Callable[[Plot], None],
) -> None:
    """Given two inputs, one JSON and one kept on the share, when Ray loses both, then the task gets them from there."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chord([task("make", 1), task("other", 2)], task("take")))
        await stage.launches("make", "other")
        kept = stage.live("make").record.uuid
        folder = JobFolder(stage.share, kept)
        folder.make(compute_only=True)
        folder.keep_value({"a": 1})
        stage.end("make")
        stage.end("other", json_value=7)
        await stage.launches("take")
        stage.lose("take", "make-1", "other-1")
        await stage.launches("take")
        assert stage.fed["take"] == (["list", [["kept", kept], ["value", 7]]],)

    play(plot)


def test_given_a_value_that_is_lost_again_and_again_when_that_was_too_often_then_the_next_task_fails(
    play: Callable[[Plot], None],
) -> None:
    """Given a value that never survives, when its task has run again three times, then the graph ends."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chain(task("make", 1), task("take")))
        for number in range(1, MAX_RERUNS + 2):
            await stage.launches("make")
            stage.end("make")
            await stage.launches("take")
            stage.lose("take", f"make-{number}")
        job = await stage.root_ends()
        assert job.state is JobState.FAILURE
        assert "was lost 4 times with the machine that held it" in (job.error or "")

    play(plot)


def test_given_a_task_that_runs_again_when_it_fails_then_the_tasks_that_wait_for_it_are_not_run(
    play: Callable[[Plot], None],
) -> None:
    """Given a rerun that raises an error, when it has ended, then the body of the chord ends with that error."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chord([task("make", 1), task("other", 2)], task("take")))
        await stage.launches("make", "other")
        stage.end("make")
        stage.end("other")
        await stage.launches("take")
        stage.lose("take", "make-1")
        await stage.launches("make")
        stage.end("make", error="ValueError: this time it failed")
        job = await stage.root_ends()
        assert job.state is JobState.FAILURE
        assert "this time it failed" in (job.error or "")

    play(plot)


def test_given_a_task_that_waits_for_a_rerun_when_it_is_cancelled_then_it_does_not_begin(
    play: Callable[[Plot], None],
) -> None:
    """Given a task that is held back, when it is cancelled, then the rerun ends and nothing follows."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chain(task("make", 1), task("take")))
        await stage.launches("make")
        stage.end("make")
        await stage.launches("take")
        stage.lose("take", "make-1")
        await stage.launches("make")
        await stage.graphs.cancel([(await stage.job("take")).uuid])
        stage.end("make")
        await stage.launches()
        assert (await stage.root_ends()).state is JobState.FAILURE

    play(plot)


def test_given_two_tasks_that_take_a_value_when_it_is_lost_then_both_get_that_of_the_one_rerun(
    play: Callable[[Plot], None],
) -> None:
    """Given two consumers of a lost value, when both notice, then its task runs again once."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chain(task("make", 1), chord([task("pass_on"), task("other")], task("take"))))
        await stage.launches("make")
        stage.end("make")
        await stage.launches("pass_on", "other")
        stage.lose("pass_on", "make-1")
        stage.lose("other", "make-1")
        await stage.launches("make")
        stage.end("make")
        await stage.launches("pass_on", "other")
        assert stage.fed["pass_on"] == stage.fed["other"] == (["ref", 0], "make-2")
        stage.end("pass_on")
        stage.end("other")
        await stage.launches("take")

    play(plot)


def test_given_a_machine_that_died_before_ray_had_the_answer_when_the_next_task_gets_that_then_it_is_made_again(
    play: Callable[[Plot], None],
) -> None:
    """Given an error in the place of a value, when Ray does not say which one, then only what has no place is made."""

    async def plot(stage: Stage) -> None:
        await stage.begin(chord([task("make", 1), task("other", 2)], task("take")))
        await stage.launches("make", "other")
        stage.end("make")
        stage.end("other")
        await stage.launches("take")
        stage.without_place.add("make-1")
        stage.lose("take", "")
        await stage.launches("make")
        stage.end("make")
        await stage.launches("take")
        assert stage.fed["take"] == (["list", [["ref", 0], ["ref", 1]]], "make-2", "other-1")

    play(plot)
