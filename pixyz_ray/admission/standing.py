"""Standing: where a waiting job stands in line, what it waits for, and how long that may take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pixyz_ray.admission.places import START_COST_S, Account, Entry, Line, Pool

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Why a job waits."""

    position: int | None
    """1 for the next of its queue; None before its time has come."""
    reason: str
    """What it waits for, in words."""
    expected_wait_s: float | None
    """Seconds until it may start, by how long others took; None where nothing is known."""


def of_delayed(not_before: float, now: float) -> Waiting:
    """Return the standing of a job that is tried again at a time."""
    rest = max(0.0, not_before - now)
    return Waiting(position=None, reason=f"retried in {math.ceil(rest)} s", expected_wait_s=rest)


def of_entry(entry: Entry, now: float, ageing_s: float) -> Waiting:
    """Return the standing of a job in line."""
    line = entry[3]
    position = _position(entry, now, ageing_s)
    reason = next(_reasons(line, now, ageing_s), None)
    if reason is None and position > 1:
        before = _count(position - 1, "job")
        reason = f"{before} of queue {line.place.name} before it"
    expected = _expected(line, position)
    return Waiting(position=position, reason=reason or "next in queue", expected_wait_s=expected)


def _position(entry: Entry, now: float, ageing_s: float) -> int:
    """Return 1 and the number of those that come first: exact for one submitter, by their shares for several."""
    mine = entry[3]
    level = mine.level(entry[0], now, ageing_s)
    higher = own = 0
    others: dict[Account, int] = {}
    for line in _competitors(mine):
        above = line.count_from(level + 1, now, ageing_s)
        equal = line.count_from(level, now, ageing_s) - above
        higher += above
        if line.account is mine.account:
            own += max(0, min(equal, line.count_before(entry[:2]) - above))
        else:
            others[line.account] = others.get(line.account, 0) + equal
    fair = sum(min(equal, _share_before(mine, own, other, now)) for other, equal in others.items())
    return 1 + higher + own + fair


def _competitors(mine: Line) -> Iterator[Line]:
    """Yield the lines of a queue that hold up another one: not those that something else keeps from starting."""
    pools = {pool for pool, _ in mine.pools}
    kept = mine.obstacle
    for line in mine.place.lines:
        if line is mine or (
            line.obstacle in (None, kept) and (line.has_seats or any(pool in pools for pool, _ in line.pools))
        ):
            yield line


def _share_before(mine: Line, own: int, other: Account, now: float) -> int:
    """Return how many of another submitter's jobs start before one that has so many of its own before it."""
    cost = START_COST_S + (mine.place.mean_run_s or 0.0)
    lead = mine.account.used(now) + own * cost / mine.account.share - other.used(now)
    return max(0, math.ceil(lead * other.share / cost - _ROUNDING))


def _expected(line: Line, position: int) -> float | None:
    """Return the seconds until the job at a position starts, by how long others have held their places."""
    mean = line.place.mean_run_s if line.obstacle is None else None
    limits = [line.place.size, line.submitter.concurrency, *(pool.seats // seats for pool, seats in line.pools)]
    places = min(limits)
    return None if mean is None or places <= 0 else mean * position / places


def _reasons(line: Line, now: float, ageing_s: float) -> Iterator[str]:
    """Yield what stands in the way of the head of a line, the worst first."""
    if (why := line.obstacle) is not None:
        yield why
    for pool, seats in line.pools:
        if seats > pool.seats:
            yield f"pool {pool.name} has {pool.seats} seats, and the job asks for {seats}"
    submitter, place = line.submitter, line.place
    if not submitter.has_room:
        yield f"token {submitter.name} runs its {_count(submitter.concurrency, 'job')}"
    if place.running >= place.size:
        size = place.size
        yield (
            f"{_all(size)} of queue {place.name} {'is' if size == 1 else 'are'} taken"
            if size > 0
            else f"queue {place.name} has no place now"
        )
    for pool, seats in line.pools:
        if pool.held + seats > pool.seats:
            yield _seats(pool, seats)
    rank = line.rank(now, ageing_s)
    for pool, _ in line.pools:
        if any(other.keeps_seats(now, ageing_s) and other.rank(now, ageing_s) < rank for other in pool.lines):
            yield f"pool {pool.name}: its free seats are kept for a job that has waited longer"


def _seats(pool: Pool, asked: int) -> str:
    sentence = f"pool {pool.name}: {pool.held} of {_count(pool.seats, 'seat')} {'is' if pool.held == 1 else 'are'} held"
    if asked > 1:
        sentence += f", and the job asks for {asked}"
    if pool.resting:
        sentence += f"; {pool.resting} of them by jobs that wait for others: if these need it too, they wait forever"
    return sentence


def _all(size: int) -> str:
    return "the one place" if size == 1 else f"all {size} places"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
