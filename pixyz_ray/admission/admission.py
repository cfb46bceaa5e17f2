"""Admission: a waiting room above Ray, of which the next jobs are let out as soon as all that they need is free.

    add -> waiting -> admit -> holding (queue, submitter's concurrency, seats) -> release

Who comes first: the higher priority, which grows by one level for each `ageing_s` of waiting; among equals the
submitter who has used least of the queue, by share; then the oldest. Who cannot start does not stand in the way of
those behind who can, with one exception: from a job that has waited for `ageing_s`, and whose pools could ever have the
seats that it asks for, those behind take no seat, so that many small ones cannot keep it waiting forever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush, heapreplace

from pixyz_ray.admission import standing, stats
from pixyz_ray.admission.limits import Limits, Needs, QueueFull, SubmitterLimit
from pixyz_ray.admission.places import Account, Entry, Line, Place, Pool, Submitter

_MAX_LINES = 4096
_RETRY_AFTER_S = (1.0, 60.0)

_Holder = tuple[Line, float | None, float, float]
"""A job that holds something: its line; when it took its place, None while it rests; seconds of holding before that;
when it was accepted."""

_NOTHING: tuple[None, None, float, float] = (None, None, 0.0, 0.0)

_Delayed = tuple[Line, float, float, int]
"""A job whose time has not come: its line, when it was accepted, when its time comes, its serial number."""


class Admission:
    """All jobs that wait, and what those hold that were let out.

    Args:
        limits: what the platform may be given.
        clock: returns seconds since the epoch; must never jump. All times passed to this class must come from it.
        ageing_s: seconds of waiting that raise a job's priority by one level.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.time, ageing_s: float = 600.0) -> None:
        self._limits = limits
        self._clock = clock
        self._ageing_s = ageing_s
        self._serial = 0
        self._entries: dict[str, Entry] = {}
        self._delayed: dict[str, _Delayed] = {}
        self._alarms: list[tuple[float, int, str]] = []
        self._holders: dict[str, _Holder] = {}
        self._lines: dict[Needs, Line] = {}
        self._places: dict[str, Place] = {}
        self._submitters: dict[str, Submitter] = {}
        self._pools = {name: Pool(name, seats) for name, seats in limits.pools.items()}

    # --- Coming in ---------------------------------------------------------------------------------------------------

    def check_room(self, submitter: str, jobs: int = 1) -> None:
        """Check that this number of additional jobs may wait.

        Raises:
            QueueFull: they may not; the error tells when to try again.
        """
        total, most = len(self._entries) + len(self._delayed), self._limits.max_queued
        if total + jobs > most:
            sentence = f"The platform takes no more jobs for now: {total} are waiting, of {most} that may."
        else:
            own = self._submitter(submitter)
            if own.limit.max_queued is None or own.waiting + jobs <= own.limit.max_queued:
                return
            sentence = f"Token {submitter} has {own.waiting} jobs waiting, of {own.limit.max_queued} that may."
        now = self._clock()
        starts = sum(place.recent_starts(now) for place in self._places.values())
        low, high = _RETRY_AFTER_S
        after = min(high, max(low, 60.0 / starts)) if starts else high
        raise QueueFull(f"{sentence} Try again in {after:.0f} s.", after)

    def add(self, key: str, needs: Needs, since: float) -> None:
        """Let a job wait.

        Args:
            key: its name here, not in use.
            needs: what it asks for.
            since: when it was accepted.
        """
        self._refuse_twice(key)
        line = self._line(needs)
        line.submitter.waiting += 1
        self._enter(key, line, since)

    def add_later(self, key: str, needs: Needs, since: float, not_before: float) -> None:
        """Let a job wait that may not start before a time, which is when it gets in line, where its age puts it."""
        self._refuse_twice(key)
        line = self._line(needs)
        line.submitter.waiting += 1
        self._serial += 1
        self._delayed[key] = (line, since, not_before, self._serial)
        heappush(self._alarms, (not_before, self._serial, key))

    def next_due(self) -> float | None:
        """Return when the next of those comes in line, or None; call `admit` then."""
        alarms = self._alarms
        while alarms and not self._rings(alarms[0]):
            heappop(alarms)
        return alarms[0][0] if alarms else None

    def withdraw(self, key: str) -> bool:
        """Take a job out that waits; return whether it did."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            line = entry[3]
            line.remove(entry)
            if not line:
                line.close(self._clock())
        else:
            delayed = self._delayed.pop(key, None)
            if delayed is None:
                return False
            line = delayed[0]
        line.submitter.waiting -= 1
        return True

    def put_back(self, key: str) -> bool:
        """Put a dispatched job that could not begin back into its old place in line; return False if it held none."""
        holder = self._holders.get(key)
        if holder is None:
            return False
        line, started, _, since = holder
        self._give_back(key)
        if started is not None:
            line.account.refund()
        line.submitter.waiting += 1
        self._enter(key, line, since)
        return True

    def _enter(self, key: str, line: Line, since: float) -> None:
        self._serial += 1
        self._entries[key] = entry = (since, self._serial, key, line)
        if not line:
            line.open(self._clock())
        line.push(entry)

    def _refuse_twice(self, key: str) -> None:
        if key in self._entries or key in self._holders or key in self._delayed:
            raise ValueError(f"{key} waits or holds something already")

    def _rings(self, alarm: tuple[float, int, str]) -> bool:
        delayed = self._delayed.get(alarm[2])
        return delayed is not None and delayed[3] == alarm[1]

    def _wake(self, now: float) -> None:
        while self._alarms and self._alarms[0][0] <= now:
            alarm = heappop(self._alarms)
            if self._rings(alarm):
                line, since, _, _ = self._delayed.pop(alarm[2])
                self._enter(alarm[2], line, since)

    # --- Starting ----------------------------------------------------------------------------------------------------

    def admit(self) -> list[str]:
        """Let out, in order, the jobs that may start now; each holds what it needs until `release`."""
        now = self._clock()
        if self._alarms:
            self._wake(now)
        admitted: list[str] = []
        if not self._entries:
            return admitted
        free = {place: place.size - place.running for place in self._places.values() if place.busy}
        lines = self._lines_that_matter(free)
        if len(lines) == 1:
            self._admit_from(lines[0], free[lines[0].place], now, admitted)
        elif lines:
            self._admit_in_order(lines, free, now, admitted)
        return admitted

    @staticmethod
    def _lines_that_matter(free: dict[Place, int]) -> list[Line]:
        """Return the lines out of which somebody may be let, or whose head keeps seats from others."""
        if max(free.values()) <= 0:
            return []
        return [line for place, count in free.items() for line in place.lines if count > 0 or line.pools]

    def _admit_from(self, line: Line, free: int, now: float, admitted: list[str]) -> None:
        """Let out those of the only line."""
        while free > 0 and line and self._may_start(line):
            admitted.append(self._let_out(line, now))
            free -= 1

    def _admit_in_order(self, lines: list[Line], free: dict[Place, int], now: float, admitted: list[str]) -> None:
        """Let out those of several lines."""
        candidates = [line.rank(now, self._ageing_s) for line in lines]
        heapify(candidates)
        left = sum(count for count in free.values() if count > 0)
        taken: set[Pool] = set()
        while candidates and left:
            _, used, entry = candidates[0]
            line = entry[3]
            if used != line.account.used(now):
                # Another job of that submitter has just been let out.
                heapreplace(candidates, line.rank(now, self._ageing_s))
                continue
            heappop(candidates)
            if free[line.place] > 0 and self._may_start(line, taken):
                left -= 1
                free[line.place] -= 1
                admitted.append(self._let_out(line, now))
                if line:
                    heappush(candidates, line.rank(now, self._ageing_s))
            elif line.keeps_seats(now, self._ageing_s):
                taken.update(pool for pool, _ in line.pools)

    @staticmethod
    def _may_start(line: Line, taken: Collection[Pool] = ()) -> bool:
        """Return whether all is free that the head of a line needs beside a place."""
        if not line.submitter.has_room or line.obstacle is not None:
            return False
        return not line.pools or (line.has_seats and not any(pool in taken for pool, _ in line.pools))

    def _let_out(self, line: Line, now: float) -> str:
        since, _, key, _ = line.pop()
        del self._entries[key]
        line.submitter.waiting -= 1
        self._hold(key, line, now, since)
        if not line:
            line.close(now)
        return key

    def _hold(self, key: str, line: Line, now: float, since: float) -> None:
        self._holders[key] = (line, now, 0.0, since)
        line.place.start(line.account, now)
        for pool, seats in line.pools:
            pool.held += seats

    # --- Holding -----------------------------------------------------------------------------------------------------

    def hold(self, key: str, needs: Needs) -> None:
        """Count a job as holding what it needs, limits or not: it runs, or was given to Ray ahead of its turn.

        One that waits need not wait any more; one that rests takes its place again.
        """
        holder = self._holders.get(key)
        if holder is not None and holder[0].needs == needs:
            self.resume(key)
            return
        self.withdraw(key)
        self.release(key)
        now = self._clock()
        self._hold(key, self._line(needs), now, now)

    def may_follow(self, key: str, needs: Needs) -> bool:
        """Return whether a job may take over what another one holds, without standing in line.

        It may if it needs no other place, and no more seats, and nobody waits for that place who comes first.
        The takeover itself is `release` of the one and `hold` of the other, with no `admit` between them.
        """
        line = self._holders[key][0] if key in self._holders else None
        if line is None or (line.needs.queue, line.needs.submitter) != (needs.queue, needs.submitter):
            return False
        seats = dict(line.needs.pools)
        if any(count > seats.get(name, 0) for name, count in needs.pools) or line.place.running > line.place.size:
            return False
        now = self._clock()
        mine = (-needs.priority, line.account.used(now))
        return not any(
            other.rank(now, self._ageing_s)[:2] < mine
            for other in line.place.lines
            if other.has_seats and other.submitter.has_room and other.obstacle is None
        )

    def rest(self, key: str) -> None:
        """Let a job that waits for others give back its place, not its seats; `resume` takes the place again.

        What it waits for may need the place. It does keep the licence that it has opened, so that others which need
        the last seats for themselves would wait for each other: `waiting` says when seats are held like that.
        """
        line, started, ran, since = self._holders.get(key, _NOTHING)
        if line is None or started is None:
            return
        now = self._clock()
        self._holders[key] = (line, None, ran + max(0.0, now - started), since)
        line.place.stop(line.account, now)
        for pool, seats in line.pools:
            pool.resting += seats

    def resume(self, key: str) -> None:
        """Let a job that has rested take its place again, free or not; one that does not rest is left alone."""
        line, started, before, since = self._holders.get(key, _NOTHING)
        if line is None or started is not None:
            return
        now = self._clock()
        self._holders[key] = (line, now, before, since)
        line.place.start(line.account, now)
        for pool, seats in line.pools:
            pool.resting -= seats

    def release(self, key: str) -> None:
        """Take back all that a job holds; one that holds nothing is left alone."""
        holder = self._holders.get(key)
        if holder is not None:
            ran = self._give_back(key)
            holder[0].place.learn(ran)

    def _give_back(self, key: str) -> float:
        """Release everything that a job holds; return the number of seconds for which it held its place."""
        line, started, ran, _ = self._holders.pop(key)
        if started is not None:
            now = self._clock()
            ran += max(0.0, now - started)
            line.place.stop(line.account, now)
        for pool, seats in line.pools:
            pool.held -= seats
            if started is None:
                pool.resting -= seats
        return ran

    # --- Asked by those who look -------------------------------------------------------------------------------------

    def waiting(self, key: str) -> standing.Waiting | None:
        """Return where a job stands and what it waits for, or None for one that does not wait."""
        now = self._clock()
        delayed = self._delayed.get(key)
        if delayed is not None:
            return standing.of_delayed(delayed[2], now)
        entry = self._entries.get(key)
        return None if entry is None else standing.of_entry(entry, now, self._ageing_s)

    def obstructed(self) -> dict[str, int]:
        """Return what keeps jobs from starting whatever is free, and how many jobs each keeps."""
        found: dict[str, int] = {}
        for line in (line for place in self._places.values() for line in place.lines):
            if (why := line.obstacle) is not None:
                found[why] = found.get(why, 0) + len(line)
        return found

    def queues(self) -> list[stats.QueueStats]:
        """Return what goes on at each queue that has had a job."""
        now = self._clock()
        delayed: dict[Place, int] = {}
        for line, *_ in self._delayed.values():
            delayed[line.place] = delayed.get(line.place, 0) + 1
        return [stats.of_place(place, delayed.get(place, 0), now) for place in self._places.values()]

    def pool_stats(self) -> list[stats.PoolStats]:
        """Return what goes on at each pool."""
        return [stats.of_pool(pool) for pool in self._pools.values()]

    def submitter_stats(self) -> list[stats.SubmitterStats]:
        """Return what each submitter has, of those who have limits or have sent a job."""
        names = dict.fromkeys((*self._limits.submitters, *self._submitters))
        return [stats.of_submitter(self._submitter(name)) for name in names]

    # --- Made when first named ---------------------------------------------------------------------------------------

    def _line(self, needs: Needs) -> Line:
        line = self._lines.get(needs)
        # An empty line is false.
        return line if line is not None else self._new_line(needs)

    def _new_line(self, needs: Needs) -> Line:
        if len(self._lines) >= _MAX_LINES:
            # A job that holds something has its line of itself; here they are only found by what they are asked for.
            self._lines = {known: line for known, line in self._lines.items() if line}
        limits, place = self._limits, self._places.get(needs.queue)
        if place is None:
            place = Place(needs.queue, limits.windows, limits.concurrency.get(needs.queue))
            self._places[needs.queue] = place
        account = place.accounts.get(needs.submitter)
        if account is None:
            account = place.accounts[needs.submitter] = Account(self._submitter(needs.submitter))
        pools = tuple((self._pools.setdefault(name, Pool(name, 0)), seats) for name, seats in needs.pools)
        line = self._lines[needs] = Line(needs, place, account, pools, limits.obstacles(needs))
        return line

    def _submitter(self, name: str) -> Submitter:
        submitter = self._submitters.get(name)
        if submitter is None:
            limit = self._limits.submitters.get(name, SubmitterLimit())
            submitter = self._submitters[name] = Submitter(name, limit)
        return submitter
