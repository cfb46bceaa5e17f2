"""Admission: what those are told who wait, and those who look."""

from __future__ import annotations

import tracemalloc

from pixyz_ray.admission import Needs, SubmitterLimit
from tests.waiting_room import CPU, SEAT, Clock, add, admission, reason


def test_given_jobs_in_line_when_asked_then_each_knows_its_place_and_how_long_that_takes(clock: Clock) -> None:
    """By how long the others took."""
    room = admission(clock, window=2)
    add(room, CPU, "a", "b", "c", "d", "e")
    assert [reason(room, "a"), reason(room, "b")] == ["next in queue", "1 job of queue cpu before it"]
    room.admit()
    first = room.waiting("c")
    assert first is not None
    assert (first.position, first.reason) == (1, "all 2 places of queue cpu are taken")
    assert first.expected_wait_s is None
    clock.now += 8
    room.release("a")
    room.admit()
    last = room.waiting("e")
    assert last is not None
    assert (last.position, last.expected_wait_s) == (2, 8.0)
    assert room.waiting("a") is None
    assert room.waiting("unknown") is None


def test_given_a_queue_without_any_place_when_asked_then_it_says_so(clock: Clock) -> None:
    """Such as that of a machine which is not there."""
    room = admission(clock, window=0)
    add(room, CPU, "a")
    assert room.admit() == []
    assert reason(room, "a") == "queue cpu has no place now"


def test_given_two_submitters_when_asked_then_the_position_counts_their_turns(clock: Clock) -> None:
    """A hundred jobs that came first are not all before it."""
    room = admission(clock, window=1)
    room.hold("x", Needs("cpu", "carl"))
    add(room, CPU, *(f"a{index}" for index in range(100)))
    add(room, Needs("cpu", "bob"), "b0", "b1", "b2")
    positions = [room.waiting(f"b{index}").position for index in range(3)]  # type: ignore[union-attr]
    assert positions == [1, 3, 5]


def test_given_work_when_figures_are_asked_for_then_they_are_right(clock: Clock) -> None:
    """For people and for metrics."""
    room = admission(clock, pools={"catia": 1}, submitters={"ann": SubmitterLimit(share=2.0, concurrency=7)})
    add(room, SEAT, "a", "b")
    add(room, CPU, "c", "d", since=clock.now - 5)
    room.admit()
    room.add_later("e", CPU, clock.now, clock.now + 9)
    (queue,) = room.queues()
    assert (queue.name, queue.waiting, queue.delayed, queue.running, queue.places) == ("cpu", 2, 1, 2, 2)
    assert (queue.oldest, queue.mean_run_s, queue.started_last_minute) == (clock.now, None, 2)
    (pool,) = room.pool_stats()
    assert (pool.name, pool.seats, pool.held, pool.waiting) == ("catia", 1, 0, 2)
    (ann,) = room.submitter_stats()
    assert (ann.name, ann.waiting, ann.running, ann.share, ann.concurrency) == ("ann", 3, 2, 2.0, 7)
    clock.now += 60
    assert room.queues()[0].started_last_minute == 0


def test_given_a_hundred_thousand_jobs_when_they_wait_then_each_costs_a_few_hundred_bytes(clock: Clock) -> None:
    """Beside its key, which its record has anyway."""
    keys = [f"{index:036}" for index in range(100_000)]
    room = admission(clock)
    tracemalloc.start()
    try:
        for index, key in enumerate(keys):
            room.add(key, CPU, clock.now + index)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 50_000_000
    assert room.waiting(keys[-1]).position == 100_000  # type: ignore[union-attr]
