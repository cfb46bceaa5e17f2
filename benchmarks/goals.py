"""The goals: what is measured, and when it is good enough. And what a measurement gives: a Result for each goal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["x", "s", "MB", "KiB", "%", "yes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One row of the table."""

    key: str
    """Its name in the code."""
    figure: str
    """Figure that measures it: a name for the command line."""
    title: str
    """What is measured, for the reader."""
    limit: float | None
    """Bound of the value; None where there is no goal and the value is only shown."""
    unit: Unit = "x"
    """Unit of the value: ratio to the bare thing, difference in seconds, megabytes, percent, or a fact that holds."""
    at_least: bool = False
    """Whether more is better."""

    @property
    def text(self) -> str:
        """The goal in a few characters."""
        if self.limit is None:
            return "-"
        if self.unit == "yes":
            return "yes"
        form = {"x": "{} x", "s": "bare + {} s", "MB": "{} MB", "KiB": "{} KiB", "%": "{} %"}[self.unit]
        return f"{'≥' if self.at_least else '≤'} " + form.format(f"{self.limit:g}")

    def met(self, value: float) -> bool | None:
        """Return whether a value reaches the goal; None where there is none."""
        if self.limit is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was measured for one goal."""

    key: str
    """Key of the goal."""
    ours: str
    """The platform's value, with its unit."""
    bare: str = "-"
    """The bare thing's value."""
    values: tuple[float, ...]
    """The goal's value in each block; the median counts."""

    @property
    def value(self) -> float:
        """Median of the blocks."""
        return statistics.median(self.values)


GOALS: tuple[Goal, ...] = (
    Goal(key="first-line-p50", figure="first-line", title="POST → first line of a no-op script, p50", limit=1.6),
    Goal(key="first-line-p95", figure="first-line", title="the same, p95", limit=1.6),
    Goal(key="round-trip", figure="round-trip", title="POST → SUCCESS on the event stream, p50", limit=2),
    Goal(
        key="throughput",
        figure="throughput",
        title="durable jobs per second to completion, 8 clients",
        limit=0.5,
        at_least=True,
    ),
    Goal(key="chain-step", figure="graphs", title="end of a chain's task → start of the next, p50", limit=1.5),
    Goal(key="chain-whole", figure="graphs", title="long chain, POST → SUCCESS", limit=None),
    Goal(key="group", figure="graphs", title="tasks per second of a large group", limit=0.5, at_least=True),
    Goal(key="group-memory", figure="graphs", title="tracker's memory for each of its tasks", limit=5, unit="KiB"),
    Goal(key="chord-whole", figure="graphs", title="large chord, POST → SUCCESS", limit=None),
    Goal(key="array-time", figure="graphs", title="large array through a chain of 5, POST → SUCCESS", limit=None),
    Goal(
        key="array-memory",
        figure="graphs",
        title="the same: memory of a task that hands it on",
        limit=None,
    ),
    Goal(key="get-job", figure="reads", title="`GET /jobs/{id}` p50, to `GET /`", limit=1.5),
    Goal(key="get-running-job", figure="reads", title="the same of a job that runs", limit=1.5),
    Goal(key="list-jobs", figure="reads", title="`GET /jobs?limit=100` p50, to `GET /`", limit=None),
    Goal(key="get-job-many", figure="reads-many", title="`GET /jobs/{id}` p50, many jobs stored", limit=1.5),
    Goal(key="list-jobs-many", figure="reads-many", title="`GET /jobs?limit=100` p50, many jobs stored", limit=None),
    Goal(key="command", figure="command", title="`pixyz exec -s noop.py -rw`, whole command", limit=0.3, unit="s"),
    Goal(key="startup", figure="startup", title="`pixyz up --detach` → first job done", limit=1.4),
    Goal(key="upload", figure="transfer", title="upload of a large file", limit=0.7, at_least=True),
    Goal(key="download", figure="transfer", title="download of a large file", limit=0.7, at_least=True),
    Goal(key="transfer-memory", figure="transfer", title="replica's peak RSS over these", limit=250, unit="MB"),
    Goal(
        key="transfer-whole",
        figure="transfer",
        title="SHA-256 equal both ways, Range works",
        limit=1,
        unit="yes",
        at_least=True,
    ),
    Goal(key="idle-memory", figure="startup", title="idle: PSS of everything", limit=1.2),
    Goal(key="idle-cpu", figure="startup", title="idle: CPU, share of one core", limit=12, unit="%"),
)
FIGURES: tuple[str, ...] = tuple(dict.fromkeys(goal.figure for goal in GOALS))


def compare(key: str, ours: Sequence[float], bare: Sequence[float], form: str, scale: float = 1.0) -> Result:
    """Return the Result of blocks measured in turn: each block of ours over the block of the bare thing beside it.

    Args:
        key: the goal.
        ours: one value for each block.
        bare: the same of the bare thing.
        form: format of one value, such as `{:.2f} ms`.
        scale: factor for showing.
    """
    ratios = tuple(mine / other for mine, other in zip(ours, bare, strict=True))
    shown = (form.format(statistics.median(values) * scale) for values in (ours, bare))
    return Result(key=key, ours=next(shown), bare=next(shown), values=ratios)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that so many percent of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -(-len(ranked) * percent // 100) - 1))]
