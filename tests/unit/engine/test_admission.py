"""Admission: who may start, who waits, for what, and for how long; one case after another."""

from __future__ import annotations

import pickle

import pytest

from pixyz_ray.admission import Admission, Limits, Needs, QueueFull, SubmitterLimit
from pixyz_worker.exception import InvalidBackendParameter
from tests.waiting_room import CPU, SEAT, Clock, add, admission, reason

BOTH_SEATS = Needs("cpu", "ann", 5, (("catia", 2),))


# --- Order -----------------------------------------------------------------------------------------------------------


def test_given_more_jobs_than_places_when_admitted_then_the_oldest_start_and_the_others_follow(clock: Clock) -> None:
    """One place given back lets one more out."""
    room = admission(clock)
    add(room, CPU, "a", "b", "c", "d")
    assert room.admit() == ["a", "b"]
    assert room.admit() == []
    room.release("b")
    assert room.admit() == ["c"]


def test_given_an_older_job_that_comes_late_when_admitted_then_its_age_counts(clock: Clock) -> None:
    """What was accepted before a restart, or is tried again, keeps its age."""
    room = admission(clock, window=1)
    add(room, CPU, "new")
    add(room, CPU, "old", since=999_990.0)
    assert room.admit() == ["old"]


def test_given_several_priorities_when_admitted_then_the_higher_comes_first(clock: Clock) -> None:
    """9 is the highest."""
    room = admission(clock, window=3)
    for priority in (0, 9, 5):
        room.add(f"p{priority}", Needs("cpu", "ann", priority), clock.now)
    assert room.admit() == ["p9", "p5", "p0"]


def test_given_a_low_priority_when_it_has_waited_long_enough_then_it_comes_before_new_ones_of_a_higher(
    clock: Clock,
) -> None:
    """A level for each ten minutes."""
    room = admission(clock, window=1)
    room.add("low", Needs("cpu", "ann", 3), clock.now)
    clock.now += 1199
    room.add("high", Needs("cpu", "ann", 5), clock.now)
    assert [room.waiting(key).position for key in ("high", "low")] == [1, 2]  # type: ignore[union-attr]
    clock.now += 1
    # Level 5 as well by now, and older.
    assert room.admit() == ["low"]


@pytest.mark.parametrize("key_needs", [Needs("gpu", "ann"), Needs("cpu", "bob"), Needs("cpu", "ann", 1)])
def test_given_a_head_that_cannot_start_when_others_can_then_it_does_not_stand_in_their_way(
    clock: Clock, key_needs: Needs
) -> None:
    """Whatever tells the others from it: queue, submitter, or only that they need no seat."""
    room = admission(clock, pools={"catia": 1})
    room.hold("holder", Needs("zip", "ann", 5, (("catia", 1),)))
    add(room, SEAT, "blocked")
    add(room, key_needs, "free")
    assert room.admit() == ["free"]


# --- Shares ----------------------------------------------------------------------------------------------------------


def test_given_a_submitter_who_floods_when_another_comes_then_they_take_turns(clock: Clock) -> None:
    """A thousand jobs that came first do not come first."""
    room = admission(clock, window=1)
    for index in range(1000):
        room.add(f"flood{index}", CPU, clock.now)
    assert room.admit() == ["flood0"]
    add(room, Needs("cpu", "bob"), "bob0", "bob1")
    started = []
    running = "flood0"
    for _ in range(4):
        clock.now += 1
        room.release(running)
        (running,) = room.admit()
        started.append(running)
    assert started == ["bob0", "flood1", "bob1", "flood2"]


def test_given_a_hog_with_long_jobs_when_another_has_short_ones_then_places_go_to_the_other(clock: Clock) -> None:
    """What runs counts while it runs, not when it has ended."""
    room = admission(clock, window=3)
    add(room, CPU, *(f"long{index}" for index in range(9)))
    add(room, Needs("cpu", "bob"), *(f"short{index}" for index in range(9)))
    assert room.admit() == ["long0", "short0", "long1"]
    for index in range(4):
        clock.now += 100
        room.release(f"short{index}")
        assert room.admit() == [f"short{index + 1}"]


def test_given_a_submitter_who_was_away_when_back_then_nothing_was_saved_up(clock: Clock) -> None:
    """They are equal from now on."""
    room = admission(clock, window=1)
    for index in range(50):
        room.add(f"a{index}", CPU, clock.now)
        assert room.admit() == [f"a{index}"]
        clock.now += 10
        room.release(f"a{index}")
    add(room, Needs("cpu", "bob"), *(f"bob{index}" for index in range(9)))
    add(room, CPU, *(f"late{index}" for index in range(9)))
    started = []
    for _ in range(6):
        (key,) = room.admit()
        started.append(key[:3])
        clock.now += 10
        room.release(key)
    assert sorted(started) == ["bob"] * 3 + ["lat"] * 3


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_given_limits_of_queue_and_submitter_when_admitted_then_none_is_passed(clock: Clock) -> None:
    """The operator's limit of a queue and a token's own are two things."""
    submitters = {"ann": SubmitterLimit(concurrency=2)}
    room = admission(clock, window=8, concurrency={"gpu": 1}, submitters=submitters)
    add(room, CPU, "c1", "c2", "c3")
    add(room, Needs("gpu", "bob"), "g1", "g2")
    assert sorted(room.admit()) == ["c1", "c2", "g1"]
    assert reason(room, "c3") == "token ann runs its 2 jobs"
    assert reason(room, "g2") == "the one place of queue gpu is taken"


def test_given_a_cluster_that_grows_when_admitted_then_its_new_places_are_used(clock: Clock) -> None:
    """Windows are asked anew."""
    size = [1]
    room = Admission(Limits(windows=lambda _: size[0]), clock=clock)
    add(room, CPU, "a", "b", "c")
    assert room.admit() == ["a"]
    size[0] = 3
    assert room.admit() == ["b", "c"]
    size[0] = 1
    room.release("a")
    add(room, CPU, "d")
    assert room.admit() == []


def test_given_too_many_jobs_when_one_more_comes_then_it_is_refused_with_a_time_to_come_back(clock: Clock) -> None:
    """The platform as a whole, or one token."""
    room = admission(clock, max_queued=3, submitters={"ann": SubmitterLimit(max_queued=2)})
    add(room, CPU, "a", "b")
    with pytest.raises(QueueFull, match=r"Token ann has 2 jobs waiting, of 2 that may\. Try again in 60 s") as caught:
        room.check_room("ann")
    assert caught.value.retry_after_s == 60.0
    assert pickle.loads(pickle.dumps(caught.value)).retry_after_s == 60.0  # noqa: S301
    room.check_room("bob")
    with pytest.raises(QueueFull, match="takes no more jobs for now: 2 are waiting, of 3 that may"):
        room.check_room("bob", jobs=2)
    room.admit()
    room.check_room("ann")


def test_given_a_share_of_nothing_when_set_then_it_is_refused() -> None:
    """Whose jobs would wait for ever."""
    with pytest.raises(InvalidBackendParameter, match="more than 0"):
        SubmitterLimit(share=0)


# --- Pools -----------------------------------------------------------------------------------------------------------


def test_given_a_pool_when_its_seats_are_held_then_the_next_waits_until_one_comes_back(clock: Clock) -> None:
    """And says so."""
    room = admission(clock, window=9, pools={"catia": 2})
    add(room, SEAT, "a", "b", "c")
    assert room.admit() == ["a", "b"]
    assert reason(room, "c") == "pool catia: 2 of 2 seats are held"
    room.release("a")
    assert room.admit() == ["c"]


@pytest.mark.parametrize("age", [0.0, 600.0])
def test_given_a_job_of_several_seats_when_it_has_aged_then_small_ones_no_longer_pass_it(
    clock: Clock, age: float
) -> None:
    """Before, they do: a free seat is better used."""
    room = admission(clock, window=9, pools={"catia": 2})
    add(room, SEAT, "small")
    assert room.admit() == ["small"]
    add(room, BOTH_SEATS, "big", since=clock.now - age)
    add(room, SEAT, "next")
    assert room.admit() == ([] if age else ["next"])
    if age:
        assert reason(room, "next") == "pool catia: its free seats are kept for a job that has waited longer"
        assert reason(room, "big") == "pool catia: 1 of 2 seats is held, and the job asks for 2"
        room.release("small")
        assert room.admit() == ["big"]


def test_given_an_aged_job_whose_queue_is_full_when_seats_are_free_then_they_are_kept_for_it(clock: Clock) -> None:
    """Else it would have to be lucky twice at the same time."""
    room = admission(clock, window=1, pools={"catia": 2})
    room.hold("other", Needs("gpu", "ann"))
    add(room, Needs("gpu", "ann", 5, (("catia", 2),)), "big", since=clock.now - 700)
    add(room, SEAT, "small")
    assert room.admit() == []
    room.release("other")
    assert room.admit() == ["big"]


def test_given_a_job_that_can_never_run_when_it_has_aged_then_nothing_is_kept_for_it(clock: Clock) -> None:
    """The operator may have taken seats away while it waited."""
    room = admission(clock, pools={"catia": 2})
    add(room, Needs("cpu", "ann", 5, (("catia", 3),)), "never", since=clock.now - 99_999)
    add(room, SEAT, "small")
    assert room.admit() == ["small"]
    assert reason(room, "never") == "pool catia has 2 seats, and the job asks for 3"


# --- Holding ---------------------------------------------------------------------------------------------------------


def test_given_a_parent_that_waits_for_its_children_when_it_rests_then_they_have_its_place(clock: Clock) -> None:
    """With one place in all; its seat stays its own."""
    limit = {"ann": SubmitterLimit(concurrency=1)}
    room = admission(clock, window=1, pools={"catia": 1}, submitters=limit)
    add(room, SEAT, "parent")
    assert room.admit() == ["parent"]
    add(room, CPU, "child")
    add(room, SEAT, "other")
    assert room.admit() == []
    room.rest("parent")
    room.rest("parent")
    assert room.admit() == ["child"]
    room.release("child")
    assert room.admit() == []
    assert "by jobs that wait for others" in reason(room, "other")
    room.resume("parent")
    room.resume("unknown")
    assert room.queues()[0].running == 1
    room.release("parent")
    room.release("parent")
    assert room.admit() == ["other"]
    assert [(pool.held, pool.resting) for pool in room.pool_stats()] == [(1, 0)]


def test_given_jobs_that_run_already_when_held_then_they_count_beyond_the_limits(clock: Clock) -> None:
    """Found after a restart, or given to Ray ahead."""
    room = admission(clock, window=1, pools={"catia": 1})
    room.hold("x", SEAT)
    room.hold("y", SEAT)
    room.hold("y", SEAT)
    add(room, CPU, "a")
    assert room.admit() == []
    room.release("x")
    assert room.admit() == []
    room.release("y")
    assert room.admit() == ["a"]


def test_given_a_job_that_waits_when_held_then_it_does_not_wait_any_more(clock: Clock) -> None:
    """A key is let out once."""
    room = admission(clock)
    add(room, CPU, "a")
    room.hold("a", CPU)
    assert room.admit() == []
    with pytest.raises(ValueError, match="a waits or holds"):
        room.add("a", CPU, clock.now)
    room.hold("a", Needs("gpu", "ann"))
    assert {queue.name: queue.running for queue in room.queues()} == {"cpu": 0, "gpu": 1}


FOLLOWERS = [
    (CPU, None, True),
    (Needs("cpu", "ann", 1), None, True),
    (Needs("gpu", "ann"), None, False),
    (Needs("cpu", "bob"), None, False),
    (Needs("cpu", "ann", 5, (("nx", 1),)), None, False),
    (CPU, CPU, True),
    (CPU, Needs("gpu", "bob", 9), True),
    (CPU, Needs("cpu", "bob", 9), False),
    (CPU, Needs("cpu", "bob"), False),
    (CPU, Needs("cpu", "bob", 9, (("nx", 1),)), True),
]


@pytest.mark.parametrize(("next_needs", "who_waits", "may"), FOLLOWERS)
def test_given_a_job_that_runs_when_its_next_one_asks_then_it_may_follow_unless_another_comes_first(
    clock: Clock, next_needs: Needs, who_waits: Needs | None, may: bool
) -> None:
    """A chain keeps its place as long as that is nobody's loss."""
    room = admission(clock, window=1, pools={"catia": 1, "nx": 1})
    room.hold("now", SEAT)
    room.hold("holder", Needs("zip", "ann", 5, (("nx", 1),)))
    if who_waits is not None:
        add(room, who_waits, "waits")
    clock.now += 1
    assert room.may_follow("now", next_needs) is may
    assert not room.may_follow("unknown", next_needs)


# --- Leaving and coming back -----------------------------------------------------------------------------------------


def test_given_a_waiting_job_when_withdrawn_then_it_never_starts(clock: Clock) -> None:
    """Whether it stands in line, or is to be tried again later."""
    room = admission(clock, window=1)
    add(room, CPU, "a", "b", "c")
    room.add_later("d", CPU, clock.now, clock.now + 5)
    assert [room.withdraw(key) for key in ("b", "d", "b", "unknown")] == [True, True, False, False]
    assert room.next_due() is None
    assert room.admit() == ["a"]
    room.release("a")
    clock.now += 10
    assert room.admit() == ["c"]
    assert not room.withdraw("c")


def test_given_a_retry_when_its_time_has_come_then_its_age_puts_it_first(clock: Clock) -> None:
    """Before, it takes no part."""
    room = admission(clock, window=1)
    room.add_later("again", CPU, clock.now - 60, clock.now + 11.5)
    add(room, CPU, "a", "b")
    assert room.next_due() == clock.now + 11.5
    standing = room.waiting("again")
    assert standing is not None
    assert (standing.position, standing.reason, standing.expected_wait_s) == (None, "retried in 12 s", 11.5)
    assert room.admit() == ["a"]
    clock.now += 11.5
    room.release("a")
    assert room.admit() == ["again"]
    assert room.next_due() is None
