"""Admission: laws that hold whatever jobs come, start, rest, end and are cancelled, in whatever order."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pixyz_ray.admission import Admission, Limits, Needs, SubmitterLimit
from pixyz_ray.admission.backlog import Backlog

POOLS = {"catia": 3, "nx": 1}
NEEDS = [
    Needs(queue, submitter, priority, pools)
    for queue in ("cpu", "gpu")
    for submitter in ("ann", "bob")
    for priority in (0, 5, 9)
    for pools in ((), (("catia", 1),), (("catia", 3),), (("catia", 2), ("nx", 1)))
]
SUBMITTERS = {"ann": SubmitterLimit(share=3.0, concurrency=4)}
AGEING_S = 600.0


class Room(RuleBasedStateMachine):
    """Every way in which the tracker uses an admission, beside a plain account of what is true."""

    @initialize(window=st.integers(0, 4), limit=st.integers(1, 3))
    def open(self, window: int, limit: int) -> None:
        """Open an empty one."""
        self.now = 1000.0
        self.window = window
        self.limit = limit
        self.serial = 0
        self.waiting: dict[str, tuple[Needs, float]] = {}
        self.later: dict[str, tuple[Needs, float, float]] = {}
        self.holding: dict[str, Needs] = {}
        self.resting: dict[str, Needs] = {}
        self.beyond: set[str] = set()
        limits = Limits(
            windows=lambda _: self.window, concurrency={"gpu": limit}, pools=POOLS, submitters=SUBMITTERS, max_queued=50
        )
        self.room = Admission(limits, clock=lambda: self.now, ageing_s=AGEING_S)

    def _key(self) -> str:
        self.serial += 1
        return f"job{self.serial}"

    def _size(self, queue: str) -> int:
        return min(self.window, self.limit) if queue == "gpu" else self.window

    @rule(needs=st.sampled_from(NEEDS), age=st.integers(0, 3), count=st.integers(1, 3))
    def add(self, needs: Needs, age: int, count: int) -> None:
        """Jobs are accepted, some of them long ago."""
        for _ in range(count):
            key = self._key()
            since = self.now - 400.0 * age
            self.room.add(key, needs, since)
            self.waiting[key] = (needs, since)

    @rule(needs=st.sampled_from(NEEDS), after=st.integers(1, 100))
    def add_later(self, needs: Needs, after: int) -> None:
        """A job failed and is tried again."""
        key = self._key()
        self.room.add_later(key, needs, self.now - 50.0, self.now + after)
        self.later[key] = (needs, self.now - 50.0, self.now + after)

    @rule(seconds=st.sampled_from([1, 30, 200, 700]))
    def pass_time(self, seconds: int) -> None:
        """Time goes by."""
        self.now += seconds

    @rule(window=st.integers(0, 4))
    def resize(self, window: int) -> None:
        """The cluster grows or shrinks."""
        self.window = window

    @rule(needs=st.sampled_from(NEEDS))
    def hold(self, needs: Needs) -> None:
        """A job is found running."""
        key = self._key()
        self.room.hold(key, needs)
        self.holding[key] = needs
        self.beyond.add(key)

    @precondition(lambda self: self.waiting or self.later)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A waiting job is cancelled."""
        key = data.draw(st.sampled_from([*self.waiting, *self.later]))
        assert self.room.withdraw(key)
        assert not self.room.withdraw(key)
        self.waiting.pop(key, None)
        self.later.pop(key, None)

    @precondition(lambda self: self.holding or self.resting)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A job ends; a second word of it changes nothing."""
        key = data.draw(st.sampled_from([*self.holding, *self.resting]))
        self.room.release(key)
        self.room.release(key)
        self.holding.pop(key, None)
        self.resting.pop(key, None)

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def rest(self, data: st.DataObject) -> None:
        """A job waits for others."""
        key = data.draw(st.sampled_from([*self.holding]))
        self.room.rest(key)
        self.resting[key] = self.holding.pop(key)

    @precondition(lambda self: self.resting)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """A job goes on after having waited for others, beyond the limits if need be."""
        key = data.draw(st.sampled_from([*self.resting]))
        self.room.hold(key, self.resting[key])
        self.holding[key] = self.resting.pop(key)
        self.beyond.add(key)

    @rule()
    def admit(self) -> None:
        """Each that is let out waited, is the oldest of its kind, and fits; nobody stays who could go."""
        before = {key: self.room.waiting(key) for key in self.waiting}
        for key, (needs, since, not_before) in [*self.later.items()]:
            if not_before <= self.now:
                del self.later[key]
                self.waiting[key] = (needs, since)
        admitted = self.room.admit()
        assert len(set(admitted)) == len(admitted)
        for key in admitted:
            needs, since = self.waiting.pop(key)
            assert before.get(key, True), "what was told to wait"
            assert all(since <= other for kind, other in self.waiting.values() if kind == needs)
            assert self._fits(needs)
            self.holding[key] = needs
        for key, (needs, _) in self.waiting.items():
            assert not self._fits(needs) or self._kept(needs), f"{key} could start"

    def _seats(self, pool: str) -> int:
        return sum(dict(needs.pools).get(pool, 0) for needs in (*self.holding.values(), *self.resting.values()))

    def _fits(self, needs: Needs) -> bool:
        own = sum(held.submitter == needs.submitter for held in self.holding.values())
        return (
            sum(held.queue == needs.queue for held in self.holding.values()) < self._size(needs.queue)
            and (needs.submitter != "ann" or own < 4)
            and all(self._seats(pool) + seats <= POOLS[pool] for pool, seats in needs.pools)
        )

    def _kept(self, needs: Needs) -> bool:
        """Return whether a job that has aged may want seats of the same pool for itself."""
        pools = dict(needs.pools)
        return any(
            self.now - since >= AGEING_S and not pools.keys().isdisjoint(dict(other.pools))
            for other, since in self.waiting.values()
        )

    @invariant()
    def counts_are_right(self) -> None:
        """Seats, places and lines are what the plain account says."""
        if not hasattr(self, "room"):
            return
        for pool in self.room.pool_stats():
            assert pool.held == self._seats(pool.name)
            assert pool.resting == sum(dict(needs.pools).get(pool.name, 0) for needs in self.resting.values())
            assert pool.held <= pool.seats or self.beyond
        for queue in self.room.queues():
            assert queue.running == sum(needs.queue == queue.name for needs in self.holding.values())
            ages = [since for needs, since in self.waiting.values() if needs.queue == queue.name]
            late = [one for one in self.later.values() if one[0].queue == queue.name]
            assert queue.waiting + queue.delayed == len(ages) + len(late)
        for submitter in self.room.submitter_stats():
            assert submitter.running == sum(needs.submitter == submitter.name for needs in self.holding.values())
            waits = [*(needs for needs, _ in self.waiting.values()), *(one[0] for one in self.later.values())]
            assert submitter.waiting == sum(needs.submitter == submitter.name for needs in waits)
        assert all(self.room.waiting(key) for key in (*self.waiting, *self.later))
        assert not any(self.room.waiting(key) for key in self.holding)

    def teardown(self) -> None:
        """All that was held comes back, and all that waited starts."""
        if not hasattr(self, "room"):
            return
        self.window, self.now = 2, self.now + 1000
        rest = {*self.waiting, *self.later}
        running = [*self.holding, *self.resting]
        while True:
            for key in running:
                self.room.release(key)
            running = self.room.admit()
            if not running:
                break
            rest.difference_update(running)
        assert not rest
        assert all(queue.running == queue.waiting == queue.delayed == 0 for queue in self.room.queues())
        assert all(pool.held == pool.resting == pool.waiting == 0 for pool in self.room.pool_stats())


TestRoom = Room.TestCase
TestRoom.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.sampled_from([0.0, 0.01, 7.0, 300.0]))
@settings(max_examples=40, deadline=None)
def test_given_two_busy_submitters_when_jobs_are_alike_then_starts_approach_their_shares(
    first: int, second: int, places: int, run_s: float
) -> None:
    """However long a job takes, and however many run at a time."""
    now = [0.0]
    shares = {"a": SubmitterLimit(share=float(first)), "b": SubmitterLimit(share=float(second))}
    room = Admission(Limits(windows=lambda _: places, submitters=shares), clock=lambda: now[0], ageing_s=1e9)
    for index in range(400):
        room.add(f"a{index}", Needs("cpu", "a"), 0.0)
        room.add(f"b{index}", Needs("cpu", "b"), 0.0)
    started = [*room.admit()]
    for index in range(200):
        now[0] += run_s / places
        room.release(started[index])
        started += room.admit()
    part = sum(key.startswith("a") for key in started) / len(started)
    assert abs(part - first / (first + second)) < 0.06


@given(st.integers(0, 8), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_given_an_endless_stream_of_high_priority_when_a_low_one_waits_then_it_starts_in_bounded_time(
    priority: int, places: int
) -> None:
    """Twenty levels at most, each for ten minutes, and a turn, though the stream is more than the places can take."""
    now = [0.0]
    room = Admission(Limits(windows=lambda _: places), clock=lambda: now[0])
    room.add("low", Needs("cpu", "ann", priority), 0.0)
    serial = 0
    running: list[str] = []
    while "low" not in running:
        assert now[0] <= 600.0 * (20 - priority) + 120.0
        for key in running:
            room.release(key)
        for _ in range(places + 1):
            serial += 1
            room.add(f"high{serial}", Needs("cpu", "bob" if serial % 2 else "ann", 9), now[0])
        running = room.admit()
        now[0] += 60.0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_given_one_submitter_and_priority_when_asked_then_positions_are_the_order_of_admission(
    data: st.DataObject,
) -> None:
    """Over several lines of a queue, after cancelling some; of any priorities in fact, while time stands still."""
    priorities = data.draw(st.sampled_from([(5,), (3, 5, 6)]))
    room = Admission(Limits(windows=lambda _: size, pools={"x": 10**6}), clock=lambda: 5000.0)
    size = 0
    count = data.draw(st.integers(1, 40))
    for index in range(count):
        pools = data.draw(st.sampled_from([(), (("x", 1),)]))
        needs = Needs("cpu", "ann", data.draw(st.sampled_from(priorities)), pools)
        room.add(str(index), needs, float(data.draw(st.integers(30, 50)) * 100))
    for key in data.draw(st.sets(st.integers(0, count - 1))):
        room.withdraw(str(key))
    told = {key: standing.position for key in map(str, range(count)) if (standing := room.waiting(key))}
    size = 10**6
    assert sorted(told, key=lambda key: told[key] or 0) == room.admit()
    assert sorted(position or 0 for position in told.values()) == [*range(1, len(told) + 1)]


@given(st.lists(st.integers(0, 50), max_size=3000), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_given_any_times_when_pushed_removed_and_popped_then_a_backlog_is_a_sorted_list(
    times: list[int], stretch: int, random: object
) -> None:
    """Also when it is cut into many blocks."""
    entries = [(float(time), serial, "", None) for serial, time in enumerate(times * stretch)]
    backlog: Backlog[None] = Backlog()
    for entry in entries:
        backlog.push(entry)
    gone = set(random.sample(range(len(entries)), len(entries) // 3))  # type: ignore[attr-defined]
    for index in gone:
        backlog.remove(entries[index])
    left = sorted(entry[:2] for index, entry in enumerate(entries) if index not in gone)
    assert len(backlog) == len(left)
    for index in range(0, len(left), 97):
        assert backlog.count_before(left[index]) == index
    popped = []
    while backlog:
        popped.append(backlog.pop()[:2])
    assert popped == left
