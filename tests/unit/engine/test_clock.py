"""The clock that nobody sets, and what is timed by it: line, retries, clean-ups."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.clock import SteadyClock
from pixyz_ray.cluster.live import LiveJob
from pixyz_ray.cluster.turns import Turns
from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.settings import Settings
from tests.waiting_room import Clock

YEAR = 365 * 86400.0


class Machine:
    """A machine whose clock can be set."""

    def __init__(self) -> None:
        self.wall, self.steady = Clock(), Clock()
        self.clock = SteadyClock(self.wall, self.steady)

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.wall.now += seconds
        self.steady.now += seconds


@pytest.fixture
def machine() -> Machine:
    """A machine that has just been started."""
    return Machine()


@given(jumps=st.lists(st.tuples(st.floats(0, 1000), st.floats(-YEAR, YEAR)), max_size=5))
def test_steady(jumps: list[tuple[float, float]]) -> None:
    """Given a wall clock that is set again and again, then the steady one shows the seconds that have passed."""
    machine = Machine()
    began = machine.clock.now()
    for passed, jump in jumps:
        machine.go_on(passed)
        machine.wall.now += jump
    assert machine.clock.now() == pytest.approx(began + sum(passed for passed, _ in jumps))
    assert machine.clock.earlier() <= machine.clock.now()
    assert machine.clock.since(machine.wall()) <= machine.clock.now()
    assert machine.clock.rest(machine.wall() + 5, 5) <= 5


def test_stamps(machine: Machine) -> None:
    """Given stamps from before and after the clock was set, then none is in the future, nor older than the start."""
    before = machine.wall()
    assert machine.clock.since(before - 50) == before - 50
    assert machine.clock.since(before + YEAR) == machine.clock.now()
    machine.go_on(100)
    machine.wall.now += YEAR
    assert machine.clock.jump_s == pytest.approx(YEAR)
    assert machine.clock.since(before) == pytest.approx(machine.clock.now() - 100)
    assert machine.clock.since(machine.wall() - 7) == pytest.approx(machine.clock.now() - 7)


def _turns(machine: Machine, begun: list[str]) -> Turns:
    turns = Turns(Settings(), begun.append, clock=machine.clock)
    turns.take_capacity({"CPU": 1})
    return turns


def _job(uuid: str, **changes: object) -> Job:
    return replace(Job(uuid=uuid, name="a", process="custom", script="a.py"), **changes)  # type: ignore[arg-type]


def _retried(machine: Machine, uuid: str, pause_s: float) -> Job:
    now = machine.wall()
    attempts = (Attempt(number=1, queue="cpu", stopped=now),)
    return _job(uuid, state=JobState.RETRY, attempts=attempts, requested=now, not_before=now + pause_s)


@pytest.mark.parametrize("jump_s", [YEAR, -YEAR])
def test_retries(machine: Machine, jump_s: float) -> None:
    """Given a retry that waits, when the clock is set by a year, then it begins after its pause."""

    async def main() -> None:
        begun: list[str] = []
        turns = _turns(machine, begun)
        turns.wait("a", _retried(machine, "a", 30.0), machine.wall())
        machine.wall.now += jump_s
        for passed, expected in ((0.0, []), (29.0, []), (2.0, ["a"])):
            machine.go_on(passed)
            turns.pump()
            assert begun == expected
        waiting = next(row for row in turns.queues() if row["name"] == "cpu")["oldest_wait"]
        assert waiting is None or waiting >= 0

    asyncio.run(main())


def test_retries_after_restart(machine: Machine) -> None:
    """Given a retry written before the clock was set back, when recovered, then it waits no longer than its pause."""

    async def main() -> None:
        begun: list[str] = []
        waits = _retried(machine, "a", 30.0).waits
        assert waits is not None
        machine.wall.now -= YEAR
        turns = _turns(restarted := _at(machine.wall()), begun)
        turns.recover([("a", machine.wall() + YEAR, json.loads(waits))])
        restarted.go_on(31)
        turns.pump()
        assert begun == ["a"]

    asyncio.run(main())


def _at(wall: float) -> Machine:
    machine = Machine()
    machine.wall.now = wall
    machine.clock = SteadyClock(machine.wall, machine.steady)
    return machine


@pytest.mark.parametrize("jump_s", [YEAR, -YEAR])
def test_order(machine: Machine, jump_s: float) -> None:
    """Given two jobs, when the clock is set between them, then the first is still the first."""

    async def main() -> None:
        begun: list[str] = []
        turns = _turns(machine, begun)
        turns.pause("not yet")
        turns.wait("first", _job("first"), machine.wall())
        machine.go_on(10)
        machine.wall.now += jump_s
        turns.wait("second", _job("second"), machine.wall())
        turns.go_on()
        assert begun == ["first", "second"]

    asyncio.run(main())


def test_paused(machine: Machine) -> None:
    """Given a pause, then nobody begins and everybody is told why; who was put back has their place in line again."""

    async def main() -> None:
        begun: list[str] = []
        refuse: list[Callable[[], None]] = []

        def begin(uuid: str) -> None:
            if refuse:
                refuse.pop()()
                turns.put_back(uuid)
            else:
                begun.append(uuid)

        turns = Turns(Settings(), begin, clock=machine.clock)
        turns.take_capacity({"CPU": 1})
        refuse.append(lambda: turns.pause("the store is away"))
        for uuid in ("a", "b"):
            machine.go_on(1)
            turns.wait(uuid, _job(uuid), machine.wall())
        turns.pump()
        assert begun == []
        standing = turns.waiting("a")
        assert standing is not None
        assert "the store is away" in standing["reason"]
        assert sum(row["running"] for row in turns.queues()) == len(begun)
        turns.go_on()
        assert sorted(begun) == ["a", "b"]
        assert sum(row["waiting"] for row in turns.queues()) == 0

    asyncio.run(main())


def test_lengths() -> None:
    """Given runs that began by a clock which was set back since, when they end, then none has a negative length."""
    begun = time.time() + YEAR
    attempt = Attempt(number=1, queue="cpu", started=begun)
    job = _job("a", state=JobState.RUNNING, started=begun, attempts=(attempt,))
    ended = LiveJob(job).with_outcome({"ok": True, "stopped": time.time()}, JobState.SUCCESS)
    cancelled = LiveJob(job).closed(FailureClass.CANCELLED).become(JobState.REVOKED)
    for one in (ended, cancelled):
        assert one.stopped == begun
        assert one.attempts[-1].stopped == begun
