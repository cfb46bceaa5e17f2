"""Decide, from observations of the platform's parts, whether to kill one of them or to restart everything.

Pure logic: no clock, no processes. `probes.py` observes, `supervisor.py` acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Part(StrEnum):
    """A part of the platform that the supervisor watches; the value is how messages name it."""

    DRIVER = "the driver"
    GCS = "Ray's control service (GCS)"
    RAYLET = "the raylet"
    SERVICE = "the HTTP service"
    TRACKER = "the tracker"
    REPLICA = "the process of the HTTP service"
    CONTROLLER = "the controller of Ray Serve"


class Sign(StrEnum):
    """What an observation of a part has found; the value completes a sentence after the part's name."""

    GOOD = "answers"
    SILENT = "does not answer"
    STOPPED = "is frozen (stopped by a signal)"
    GONE = "has died"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long a bad sign must last until the supervisor acts, in seconds."""

    stopped_s: float = 4.0
    """A stopped process. A debugger may stop one for a moment."""
    ray_silent_s: float = 12.0
    """GCS or raylet without an answer: on a loaded machine a single answer may take seconds."""
    service_silent_s: float = 25.0
    """The HTTP service without an answer; Ray replaces a dead replica within a few seconds."""
    driver_silent_s: float = 60.0
    """The driver without a heartbeat; jobs go on without it."""
    tracker_silent_s: float = 120.0
    """The tracker without an answer to the driver; after a restart it reads a long queue first."""
    own_gap_s: float = 6.0
    """Time between two observations above which the supervisor itself, or the machine, counts as suspended."""

    def patience(self, part: Part, sign: Sign) -> float:
        """Return the seconds for which a sign of a part is tolerated."""
        if sign is Sign.GONE:
            return 0.0
        if sign is Sign.STOPPED and part is not Part.DRIVER:
            return self.stopped_s
        if part in (Part.GCS, Part.RAYLET):
            return self.ray_silent_s
        if part is Part.SERVICE:
            return self.service_silent_s
        return self.driver_silent_s if part is Part.DRIVER else self.tracker_silent_s


REPLACED_BY_RAY = frozenset({Part.TRACKER, Part.REPLICA, Part.CONTROLLER})
"""Processes that Ray starts again when they die: a frozen one is killed, and the rest of the platform goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What to do."""

    restart: str | None = None
    """Why everything is restarted; None when it is not."""
    kill: tuple[Part, ...] = ()
    """Frozen parts to kill, which Ray then replaces."""


class Diagnosis:
    """Judges one run of the platform, observation by observation.

    Args:
        limits: how long each bad sign is tolerated.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bad_since: dict[Part, float] = {}
        self._stopped_since: dict[Part, float] = {}
        self._last: float | None = None

    def judge(self, now: float, signs: Mapping[Part, Sign]) -> Verdict:
        """Return what to do.

        Args:
            now: monotonic time of the observation, in seconds.
            signs: what was observed; parts that are missing are not watched.
        """
        if self._last is not None and now - self._last > self._limits.own_gap_s:
            # This process was suspended: the others may have answered all along.
            self._bad_since.clear()
            self._stopped_since.clear()
        self._last = now
        kill = []
        for part, sign in signs.items():
            bad_for_s = self._lasted(self._bad_since, part, now, sign is not Sign.GOOD)
            stopped_for_s = self._lasted(self._stopped_since, part, now, sign is Sign.STOPPED)
            lasted_s = stopped_for_s if sign is Sign.STOPPED else bad_for_s
            if sign is Sign.GOOD or lasted_s < self._limits.patience(part, sign):
                continue
            if sign is Sign.STOPPED and part in REPLACED_BY_RAY:
                kill.append(part)
                # If the kill does not help, it is repeated after another full wait.
                self._stopped_since[part] = now
            elif part not in REPLACED_BY_RAY or sign is Sign.SILENT:
                return Verdict(restart=f"{part} {sign}", kill=tuple(kill))
        return Verdict(kill=tuple(kill))

    @staticmethod
    def _lasted(since: dict[Part, float], part: Part, now: float, is_bad: bool) -> float:
        if not is_bad:
            since.pop(part, None)
            return 0.0
        return now - since.setdefault(part, now)


@dataclass(slots=True)
class RestartCount:
    """Counts restarts in a row, and says when to give up."""

    limit: int = 3
    """Restarts in a row that may fail."""
    steady_s: float = 10.0
    """A run that was up for fewer seconds than this counts as a failed restart."""
    tried: int = field(default=0, init=False)
    """Restarts since a run was last up for `steady_s`."""

    def may_restart(self, up_for_s: float) -> bool:
        """Count a restart and return whether it may be tried.

        Args:
            up_for_s: how long the run that has just failed was up; 0 when it never was.
        """
        if up_for_s >= self.steady_s:
            self.tried = 0
        self.tried += 1
        return self.tried <= self.limit
