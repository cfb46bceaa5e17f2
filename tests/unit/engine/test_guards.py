"""Guards: watchdogs that call, are told to stop an attempt, tell how it died, hang up, or fall silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from pixyz_ray.cluster.channel import Peer
from pixyz_ray.cluster.guards import Guards

STOP = {"stop": "timeout", "grace": 0.5}
DIED = {"signal": 11, "exit_code": None}


class Caller:
    """A watchdog's end of the line: takes what it is told."""

    def __init__(self) -> None:
        self.on_close: dict[int, Callable[[], None]] = {}
        self.told: list[tuple[int, Any]] = []

    def push(self, number: int, value: Any) -> None:
        """Take a push."""
        self.told.append((number, value))

    def hang_up(self) -> None:
        """Close the line, as the channel sees it."""
        for callback in list(self.on_close.values()):
            callback()


class Tracker:
    """The tracker's side, and what it was told of silence."""

    def __init__(self) -> None:
        self.silent: list[tuple[str, int]] = []
        self.lost: list[str] = []
        self.time = time.monotonic()
        self.guards = Guards(self.fell_silent, self.machine_lost, lambda: self.time)

    def fell_silent(self, uuid: str, attempt: int) -> None:
        """Give up an attempt."""
        self.silent.append((uuid, attempt))
        self.guards.forget(uuid, attempt)

    def machine_lost(self, node_id: str) -> None:
        """Give up the attempts on a machine."""
        self.lost.append(node_id)
        for key in self.guards.placed_on(node_id):
            self.fell_silent(*key)

    def pass_time(self, seconds: float, *alive: str) -> None:
        """Let time pass, while some attempts are heard and the guards are looked at twice a second."""
        for _ in range(int(seconds * 2)):
            self.time += 0.5
            for uuid in alive:
                self.guards.take_alive(uuid, 1)
            self.guards.look()

    async def call(self, number: int = 1, uuid: str = "a", attempt: int = 1) -> Caller:
        """Let a watchdog call."""
        caller = Caller()
        await self.guards.take_guard(cast(Peer, caller), number, uuid, attempt)
        return caller


@pytest.fixture
def tracker() -> Tracker:
    """One that no watchdog has called yet."""
    return Tracker()


# --- Stopping --------------------------------------------------------------------------------------------------------


def test_given_a_watchdog_that_has_called_when_its_attempt_is_stopped_then_it_is_told_at_once(tracker: Tracker) -> None:
    """And only it."""

    async def given() -> None:
        mine, other = await tracker.call(7), await tracker.call(8, attempt=2)
        assert tracker.guards.stop("a", 1, "timeout", 0.5)
        assert (mine.told, other.told) == ([(7, STOP)], [])

    asyncio.run(given())


def test_given_a_stop_before_the_watchdog_calls_when_it_does_then_it_is_told_then(tracker: Tracker) -> None:
    """An attempt may be cancelled in its first moment; whoever stops it hears that it was not reached."""

    async def given() -> None:
        assert not tracker.guards.stop("a", 1, "timeout", 0.5)
        assert (await tracker.call(7)).told == [(7, STOP)]
        # Its line broke, and it called again.
        assert (await tracker.call(9)).told == [(9, STOP)]
        assert (await tracker.call(8, attempt=2)).told == []

    asyncio.run(given())


def test_given_a_watchdog_that_has_hung_up_when_its_attempt_is_stopped_then_it_is_not_reached(tracker: Tracker) -> None:
    """Somebody else must do it."""

    async def given() -> None:
        caller = await tracker.call()
        caller.hang_up()
        assert not tracker.guards.stop("a", 1, "timeout", 0.5)
        assert caller.told == []

    asyncio.run(given())


# --- Dying -----------------------------------------------------------------------------------------------------------


def test_given_last_words_before_anybody_asks_when_asked_then_they_are_there(tracker: Tracker) -> None:
    """Ray is often the slower of the two."""

    async def given() -> None:
        await tracker.call()
        tracker.guards.take_died("a", 1, DIED)
        began = time.monotonic()
        assert await tracker.guards.died("a", 1) == DIED
        assert time.monotonic() - began < 0.1

    asyncio.run(given())


def test_given_somebody_who_asks_when_the_last_words_come_then_he_has_them_at_once(tracker: Tracker) -> None:
    """And so has everybody else who asks."""

    async def given() -> None:
        await tracker.call()
        asked = [asyncio.create_task(tracker.guards.died("a", 1)) for _ in range(2)]
        await asyncio.sleep(0)
        tracker.guards.take_died("a", 2, {"signal": 9})
        await asyncio.sleep(0)
        assert not any(task.done() for task in asked)
        tracker.guards.take_died("a", 1, DIED)
        assert await asyncio.gather(*asked) == [DIED, DIED]

    asyncio.run(given())


@pytest.mark.parametrize("ending", ["hangs up", "is forgotten"])
def test_given_somebody_who_asks_when_there_will_be_no_last_words_then_he_does_not_wait_for_them(
    tracker: Tracker, ending: str
) -> None:
    """The next attempt waits for this."""

    async def given() -> None:
        caller = await tracker.call()
        asked = asyncio.create_task(tracker.guards.died("a", 1))
        await asyncio.sleep(0)
        began = time.monotonic()
        if ending == "hangs up":
            caller.hang_up()
        else:
            tracker.guards.forget("a", 1)
        assert await asked is None
        assert time.monotonic() - began < 0.3

    asyncio.run(given())


def test_given_an_attempt_without_watchdog_when_asked_how_it_died_then_the_wait_is_short(tracker: Tracker) -> None:
    """One that was over before its watchdog called."""

    async def given() -> None:
        began = time.monotonic()
        assert await tracker.guards.died("a", 1) is None
        assert 0.3 < time.monotonic() - began < 5

    asyncio.run(given())


def test_given_last_words_that_nobody_asks_for_when_there_are_many_then_the_oldest_are_dropped(
    tracker: Tracker,
) -> None:
    """Late ones, of attempts that were given up long ago, would be kept for ever."""

    async def given() -> None:
        for number in range(1500):
            tracker.guards.take_died("a", number, {"signal": number})
        assert await tracker.guards.died("a", 1499) == {"signal": 1499}
        assert await tracker.guards.died("a", 499) is None

    asyncio.run(given())


# --- Using -----------------------------------------------------------------------------------------------------------


def test_given_what_an_attempt_uses_when_asked_then_it_is_the_last_that_was_told(tracker: Tracker) -> None:
    """Of an attempt that nobody watches nothing is known."""

    async def given() -> None:
        caller = await tracker.call()
        assert tracker.guards.usage("a", 1) == {}
        for rss in (1, 2):
            tracker.guards.take_usage("a", 1, {"rss": rss})
        tracker.guards.take_usage("b", 1, {"rss": 3})
        assert (tracker.guards.usage("a", 1), tracker.guards.usage("b", 1)) == ({"rss": 2}, {})
        caller.hang_up()
        assert tracker.guards.usage("a", 1) == {}

    asyncio.run(given())


# --- Forgetting ------------------------------------------------------------------------------------------------------


def test_given_an_attempt_that_is_over_when_forgotten_then_nothing_of_it_is_left(tracker: Tracker) -> None:
    """Neither what was wanted of it nor what it said; its line says nothing any more."""

    async def given() -> None:
        caller = await tracker.call(7)
        tracker.guards.stop("a", 1, "timeout", 0.5)
        tracker.guards.take_usage("a", 1, {"rss": 1})
        tracker.guards.take_died("a", 1, DIED)
        tracker.guards.forget("a", 1)
        tracker.guards.forget("a", 1)
        assert caller.on_close == {}
        assert tracker.guards.usage("a", 1) == {}
        assert await tracker.guards.died("a", 1) is None
        assert (await tracker.call(8)).told == []

    asyncio.run(given())


# --- Falling silent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["alive", "usage", None], ids=str)
def test_given_a_watchdog_when_it_says_nothing_for_ten_seconds_then_its_attempt_is_given_up_once(
    tracker: Tracker, sign: str | None
) -> None:
    """Any message counts as a sign of life."""
    asyncio.run(tracker.call())
    tracker.pass_time(9.5)
    if sign == "alive":
        tracker.guards.take_alive("a", 1)
    elif sign == "usage":
        tracker.guards.take_usage("a", 1, {})
    tracker.pass_time(9.5)
    assert tracker.silent == ([] if sign else [("a", 1)])


def test_given_a_machine_when_none_of_its_watchdogs_is_heard_then_all_its_attempts_are_given_up(
    tracker: Tracker,
) -> None:
    """Given attempts on two machines, one too young for a watchdog, when one machine falls silent, then it is lost."""
    for uuid, node in {"a": "one", "b": "one", "c": "two"}.items():
        tracker.guards.on_start(uuid, 1, node)
        asyncio.run(tracker.call(uuid=uuid))
    tracker.guards.on_start("young", 1, "one")
    tracker.pass_time(9.5, "c")
    assert tracker.lost == []
    tracker.pass_time(1, "c")
    assert (tracker.lost, sorted(tracker.silent)) == (["one"], [("a", 1), ("b", 1), ("young", 1)])


def test_given_one_silent_watchdog_when_others_on_its_machine_are_heard_then_it_has_longer(tracker: Tracker) -> None:
    """Given two attempts on a machine, when one is not heard, then only that one is given up, after thirty seconds."""
    for uuid in ("a", "b"):
        tracker.guards.on_start(uuid, 1, "one")
        asyncio.run(tracker.call(uuid=uuid))
    tracker.pass_time(29, "b")
    assert tracker.silent == []
    tracker.pass_time(2, "b")
    assert (tracker.silent, tracker.lost) == ([("a", 1)], [])


def test_given_the_own_machine_when_its_watchdogs_are_starved_then_it_is_not_lost(tracker: Tracker) -> None:
    """Given an attempt on the tracker's own machine, when it is not heard, then it has thirty seconds."""
    tracker.guards.own_node = "one"
    tracker.guards.on_start("a", 1, "one")
    asyncio.run(tracker.call())
    tracker.pass_time(29)
    assert tracker.silent == []
    tracker.pass_time(2)
    assert (tracker.silent, tracker.lost) == ([("a", 1)], [])


def test_given_a_tracker_that_was_paused_when_it_goes_on_then_nobody_is_given_up(tracker: Tracker) -> None:
    """Given a watchdog, when the tracker itself stalls for a minute, then that is not held against the watchdog."""
    asyncio.run(tracker.call())
    tracker.pass_time(5)
    tracker.time += 60
    tracker.guards.look()
    tracker.pass_time(3)
    assert tracker.silent == []
    tracker.pass_time(2)
    assert tracker.silent == [("a", 1)]


def test_given_words_of_unknown_attempts_when_taken_then_nothing_happens(tracker: Tracker) -> None:
    """They may come late."""
    tracker.guards.take_alive("x", 1)
    tracker.guards.take_usage("x", 1, {"rss": 1})
    tracker.guards.forget("x", 1)
    tracker.guards.look()
    assert tracker.silent == []
