"""Places: what running jobs hold, of a queue, of a pool, of their submitter's share; and the lines before them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

from pixyz_ray.admission.backlog import Backlog
from pixyz_ray.admission.limits import Needs, Obstacle, SubmitterLimit

MAX_LEVEL = 20
"""Priority that ageing leads to at most: there, shares and age decide, and nothing is overtaken forever."""

START_COST_S = 0.1
"""What a start counts for in a share, beside the seconds that the job holds its place."""

_NEW_RUN_WEIGHT = 0.1
_RECENT_S = 60


class Submitter:
    """Who sends jobs, with what they have waiting and running on all queues."""

    __slots__ = ("concurrency", "limit", "name", "running", "waiting")

    def __init__(self, name: str, limit: SubmitterLimit) -> None:
        self.name = name
        self.limit = limit
        self.concurrency = sys.maxsize if limit.concurrency is None else limit.concurrency
        self.running = 0
        self.waiting = 0

    @property
    def has_room(self) -> bool:
        """Whether one more job of theirs may run."""
        return self.running < self.concurrency


class Account:
    """What a submitter has used of a queue, in seconds that a place was held, divided by the share.

    Jobs count from their start, not from their end only: who fills a queue with long jobs lets others come first.
    """

    __slots__ = ("_paid", "_since", "_start_cost", "lines", "running", "share", "submitter")

    def __init__(self, submitter: Submitter) -> None:
        self.submitter = submitter
        self.share = submitter.limit.share
        self.lines: dict[Line, None] = {}
        """Lines in which jobs of theirs wait for this queue."""
        self.running = 0
        self._start_cost = START_COST_S / self.share
        self._paid = 0.0
        self._since = 0.0

    def used(self, now: float) -> float:
        """Return what has been used so far."""
        if self.running and now > self._since:
            return self._paid + self.running * (now - self._since) / self.share
        return self._paid

    def start(self, now: float) -> None:
        """Record a job that starts."""
        self._paid = self.used(now) + self._start_cost
        self._since = now
        self.running += 1

    def stop(self, now: float) -> None:
        """Record a job that gives its place back."""
        self._paid = self.used(now)
        self._since = now
        self.running -= 1

    def refund(self) -> None:
        """Refund the cost of a start to an account whose job could not begin."""
        self._paid = max(0.0, self._paid - self._start_cost)

    def forgo(self, floor: float) -> None:
        """Give up what was saved by not taking part."""
        if floor > self._paid:
            self._paid = floor


class Pool:
    """Seats of one kind, such as those of a licence."""

    __slots__ = ("held", "lines", "name", "resting", "seats")

    def __init__(self, name: str, seats: int) -> None:
        self.name = name
        self.seats = seats
        self.held = 0
        self.resting = 0
        """Seats held by jobs that wait for others themselves."""
        self.lines: dict[Line, None] = {}
        """Lines in which jobs wait that need it."""


class Place:
    """A queue: who waits for it, who runs on it, how long that takes.

    Args:
        name: its name.
        window: tells how many tasks of it Ray is given now.
        limit: most jobs of it at a time.
    """

    __slots__ = ("_floor", "_limit", "_recent", "_window", "accounts", "busy", "mean_run_s", "name", "running")

    def __init__(self, name: str, window: Callable[[str], int], limit: int | None) -> None:
        self.name = name
        self._window = window
        self._limit = limit
        self.running = 0
        self.accounts: dict[str, Account] = {}
        self.busy: dict[Account, None] = {}
        """Those of whom anything waits or runs here."""
        self._floor = 0.0
        self.mean_run_s: float | None = None
        self._recent: deque[list[int]] = deque()

    @property
    def size(self) -> int:
        """Jobs that it may have at a time, now."""
        window = self._window(self.name)
        return window if self._limit is None else min(window, self._limit)

    @property
    def lines(self) -> list[Line]:
        """Those in which somebody waits."""
        return [line for account in self.busy for line in account.lines]

    def join(self, account: Account, now: float) -> None:
        """Let a submitter take part who had nothing here; having been away gives no advantage."""
        account.forgo(min([other.used(now) for other in self.busy]) if self.busy else self._floor)
        self.busy[account] = None

    def leave(self, account: Account, now: float) -> None:
        """Record that nothing of a submitter waits or runs here any more."""
        del self.busy[account]
        self._floor = max(self._floor, account.used(now))

    def start(self, account: Account, now: float) -> None:
        """Let a job take a place."""
        if account not in self.busy:
            self.join(account, now)
        self.running += 1
        account.submitter.running += 1
        account.start(now)
        second = int(now)
        if self._recent and self._recent[-1][0] == second:
            self._recent[-1][1] += 1
        else:
            self._recent.append([second, 1])
            self._forget(second)

    def stop(self, account: Account, now: float) -> None:
        """Let a job give its place back."""
        self.running -= 1
        account.submitter.running -= 1
        account.stop(now)
        if not account.running and not account.lines:
            self.leave(account, now)

    def learn(self, ran: float) -> None:
        """Record how long a job has held its place."""
        mean = self.mean_run_s
        self.mean_run_s = ran if mean is None else mean + _NEW_RUN_WEIGHT * (ran - mean)

    def recent_starts(self, now: float) -> int:
        """Return how many jobs have started in the last minute."""
        self._forget(int(now))
        return sum(count for _, count in self._recent)

    def _forget(self, second: int) -> None:
        while self._recent and self._recent[0][0] <= second - _RECENT_S:
            self._recent.popleft()


class Line(Backlog["Line"]):
    """Waiting jobs that ask for the same.

    Args:
        needs: what they ask for.
        place: their queue.
        account: their submitter's account there.
        pools: pools that they need, with the seats of each.
        obstacle: says what keeps them from starting, whatever is free; None where nothing can.
    """

    __slots__ = ("_obstacle", "account", "needs", "place", "pools", "priority", "submitter")

    def __init__(
        self,
        needs: Needs,
        place: Place,
        account: Account,
        pools: tuple[tuple[Pool, int], ...],
        obstacle: Obstacle | None = None,
    ) -> None:
        super().__init__()
        self._obstacle = obstacle
        self.needs = needs
        self.priority = needs.priority
        self.place = place
        self.account = account
        self.submitter = account.submitter
        self.pools = pools

    def open(self, now: float) -> None:
        """Record that somebody waits here."""
        account = self.account
        account.lines[self] = None
        if account not in self.place.busy:
            self.place.join(account, now)
        for pool, _ in self.pools:
            pool.lines[self] = None

    def close(self, now: float) -> None:
        """Record that nobody waits here any more."""
        account = self.account
        del account.lines[self]
        for pool, _ in self.pools:
            del pool.lines[self]
        if not account.running and not account.lines:
            self.place.leave(account, now)

    def level(self, since: float, now: float, ageing_s: float) -> int:
        """Return the priority of a job that waits here, with what it has gained by waiting."""
        age = now - since
        return min(MAX_LEVEL, self.priority + int(age / ageing_s)) if age >= ageing_s else self.priority

    def count_from(self, level: int, now: float, ageing_s: float) -> int:
        """Return how many have at least that priority."""
        if level <= self.priority:
            return len(self)
        if level > MAX_LEVEL:
            return 0
        return self.count_before((now - (level - self.priority) * ageing_s, float("inf")))

    def rank(self, now: float, ageing_s: float) -> tuple[int, float, tuple[float, int, str, Line]]:
        """Return what tells whose turn it is, smallest first: minus the level, what the submitter has used, head."""
        head = self.head
        return -self.level(head[0], now, ageing_s), self.account.used(now), head

    def keeps_seats(self, now: float, ageing_s: float) -> bool:
        """Return whether no seat that its head needs may go to those who come after it."""
        aged = bool(self.pools) and self.obstacle is None and now - self.head[0] >= ageing_s
        return aged and self.submitter.has_room and all(seats <= pool.seats for pool, seats in self.pools)

    @property
    def obstacle(self) -> str | None:
        """Why none of them can start now, whatever is free; None when they can."""
        return self._obstacle() if self._obstacle is not None else None

    @property
    def has_seats(self) -> bool:
        """Whether its pools have the seats for one more."""
        return all(pool.held + seats <= pool.seats for pool, seats in self.pools)


Entry = tuple[float, int, str, Line]
"""A job that waits: when it was accepted, its serial number, its key, its line."""
