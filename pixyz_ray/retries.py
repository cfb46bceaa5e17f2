"""Retries: what follows the failure of an attempt, as a table from its class to an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job
from pixyz_ray.queues import Queue


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What follows a failure, a row of the table below."""

    moves_on: bool = False
    """Whether the next attempt runs on the queue's next queue, with its longer limit and larger memory."""
    most: int
    """Attempts that this may cause, unless the job asks for another number."""
    first_delay_s: float
    """Pause before the second of them; the first comes at once if `prompt`. It doubles each time."""
    prompt: bool = True
    """Whether the first comes at once."""
    own_fault: bool = True
    """Whether the job itself failed: such failures are counted together. Others are counted by themselves."""


LADDER: Mapping[FailureClass, Rule] = {
    FailureClass.CRASH: Rule(moves_on=True, most=1, first_delay_s=1.0),
    FailureClass.OUT_OF_MEMORY: Rule(moves_on=True, most=1, first_delay_s=1.0),
    FailureClass.TIMEOUT: Rule(moves_on=True, most=1, first_delay_s=1.0),
    FailureClass.LICENSE: Rule(most=6, first_delay_s=5.0, prompt=False, own_fault=False),
    FailureClass.NODE_LOST: Rule(most=6, first_delay_s=4.0, own_fault=False),
}
"""A class that is not here ends the job: what a script does wrong, it does wrong again."""

ASKED_FOR = Rule(most=1, first_delay_s=1.0)
"""For a class that only the job's own `retry_on` names."""

MAX_DELAY_S = 300.0
_AT_ONCE = 3
"""Attempts in a row that may fail to begin before there is a pause."""
_LOOP_S = 60.0
"""Seconds within which they count as being in a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """The next attempt."""

    queue: str
    """Where it runs."""
    delay_s: float
    """Pause before it."""


def next_attempt(job: Job, queues: Mapping[str, Queue], asked_delay_s: float | None = None) -> Again | None:
    """Return what follows the failure of a job's last attempt; None when the job ends with it.

    Args:
        job: its last attempt has its failure.
        queues: the table in force.
        asked_delay_s: seconds that the script itself asked to wait, where it asked for a retry.
    """
    failure = job.attempts[-1].failure
    assert failure is not None
    if failure is FailureClass.RETRY:
        # The script counts these attempts itself (max_retries).
        return Again(queue=job.queue, delay_s=asked_delay_s or 0.0)
    rule = _rule(job, failure)
    number = times_failed(job, failure)
    if rule is None or number > _most(job, failure, rule):
        return None
    queue: str | None = job.queue
    if rule.moves_on:
        queue = queues[job.queue].retry_queue if job.queue in queues else None
        if queue is None and job.policy.retries is not None:
            queue = job.queue
    if queue is None:
        return None
    return Again(queue=queue, delay_s=max(_delay(rule, number, job.uuid), _pause_unbegun(job)))


def _pause_unbegun(job: Job) -> float:
    """Return the pause after attempts that have not begun, which are not counted: many in a minute are a loop."""
    last = job.attempts[-1].stopped or 0.0

    def is_unbegun(one: Attempt) -> bool:
        lost = one.failure is FailureClass.NODE_LOST and one.started is None
        return lost and last - (one.stopped or 0.0) < _LOOP_S

    more = sum(1 for _ in takewhile(is_unbegun, reversed(job.attempts))) - _AT_ONCE
    return 0.0 if more <= 0 else min(MAX_DELAY_S, 0.5 * 2.0 ** min(more, 20))


def times_failed(job: Job, failure: FailureClass) -> int:
    """Return how many attempts failed like this one: with its class, or all that were the job's own fault."""
    found = [one for one in job.attempts if one.failure is not None]
    if failure is FailureClass.NODE_LOST:
        # One that was still waiting for its machine has lost nothing; one that the platform ended is not to blame.
        return sum(one.failure is failure and one.started is not None and not one.uncounted for one in found)
    if _is_own(failure):
        return sum(one.failure is not None and _is_own(one.failure) for one in found)
    return sum(one.failure is failure for one in found)


def _is_own(failure: FailureClass) -> bool:
    return failure is not FailureClass.RETRY and LADDER.get(failure, ASKED_FOR).own_fault


def _rule(job: Job, failure: FailureClass) -> Rule | None:
    rule = LADDER.get(failure)
    wanted = job.policy.retry_on
    if wanted is None or failure is FailureClass.NODE_LOST:
        return rule
    return (rule or ASKED_FOR) if failure in wanted else None


def _most(job: Job, failure: FailureClass, rule: Rule) -> int:
    asked = job.policy.retries
    return rule.most if asked is None or failure is FailureClass.NODE_LOST else asked


def _delay(rule: Rule, number: int, uuid: str) -> float:
    """Return the pause before the attempt that the so-many-th failure causes; jobs that failed together spread."""
    if rule.prompt:
        number -= 1
    if number <= 0:
        return 0.0
    spread = 0.75 + int(uuid[:4], 16) / 0xFFFF / 2
    return min(MAX_DELAY_S, rule.first_delay_s * 2.0 ** (number - 1)) * spread
