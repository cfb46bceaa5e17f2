"""A waiting room to test with: admission under a clock that goes on when told to."""

from __future__ import annotations

from pixyz_ray.admission import Admission, Limits, Needs

CPU = Needs("cpu", "ann")
SEAT = Needs("cpu", "ann", 5, (("catia", 1),))


class Clock:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def admission(clock: Clock, window: int = 2, **limits: object) -> Admission:
    """Return one whose queues have so many places each."""
    return Admission(Limits(windows=lambda _: window, **limits), clock=clock)  # type: ignore[arg-type]


def add(room: Admission, needs: Needs, *keys: str, since: float = 1_000_000.0) -> None:
    """Let several jobs wait."""
    for key in keys:
        room.add(key, needs, since)


def reason(room: Admission, key: str) -> str:
    """Return why a job waits."""
    standing = room.waiting(key)
    assert standing is not None
    return standing.reason
