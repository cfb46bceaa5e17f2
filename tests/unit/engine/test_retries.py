"""Retries: what follows each class of failure on each queue, and that it never goes on for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import Attempt, Job
from pixyz_ray.policy import Policy
from pixyz_ray.queues import DEFAULT_QUEUES
from pixyz_ray.retries import LADDER, MAX_DELAY_S, Again, next_attempt, times_failed

NEXT_QUEUE = {"cpu": "gpuhigh", "gpu": "gpuhigh", "gpuhigh": None, "control": "control", "zip": "zip", "clean": "clean"}
"""The contract's table."""

ABNORMAL = [FailureClass.CRASH, FailureClass.OUT_OF_MEMORY, FailureClass.TIMEOUT]
WAITING = [FailureClass.LICENSE, FailureClass.NODE_LOST]
FINAL = [one for one in FailureClass if one not in (*ABNORMAL, *WAITING, FailureClass.RETRY)]
ASKABLE = [*ABNORMAL, FailureClass.LICENSE, FailureClass.USER_ERROR, FailureClass.EXIT, FailureClass.INTERNAL]
UUID = "8000c0de-0000-4000-8000-000000000000"


def failed(*failures: FailureClass, queue: str = "cpu", policy: Policy | None = None, uuid: str = UUID) -> Job:
    """A job whose attempts failed like this, one after the other, all of them begun."""
    attempts = tuple(
        Attempt(number=number, queue=queue, started=1.0, stopped=2.0, failure=failure)
        for number, failure in enumerate(failures, 1)
    )
    job = Job(uuid=uuid, name="n", process="custom", script="s.py", queue=queue, attempts=attempts)
    return replace(job, policy=policy or Policy())


def after(*failures: FailureClass, queue: str = "cpu", policy: Policy | None = None) -> Again | None:
    """What follows the last of these failures."""
    return next_attempt(failed(*failures, queue=queue, policy=policy), DEFAULT_QUEUES)


# --- The table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", NEXT_QUEUE)
@pytest.mark.parametrize("failure", ABNORMAL)
def test_given_a_crash_a_kill_for_memory_or_a_time_out_when_it_failed_then_once_more_on_the_next_queue(
    failure: FailureClass, queue: str
) -> None:
    """At once; the second such failure ends the job, whichever of them it is."""
    following = NEXT_QUEUE[queue]
    assert after(failure, queue=queue) == (Again(queue=following, delay_s=0.0) if following else None)
    for first in ABNORMAL:
        assert after(first, failure, queue=queue) is None


@pytest.mark.parametrize("queue", NEXT_QUEUE)
@pytest.mark.parametrize("failure", FINAL)
def test_given_what_a_script_does_wrong_when_it_failed_then_the_job_ends(failure: FailureClass, queue: str) -> None:
    """It would do it wrong again. What was cancelled, or waits for what failed, is not run again either."""
    assert after(failure, queue=queue) is None


@pytest.mark.parametrize("queue", NEXT_QUEUE)
def test_given_a_lost_machine_when_it_failed_then_again_on_the_same_queue_up_to_6_times(queue: str) -> None:
    """The first time at once, since the machine is at fault."""
    lost = [FailureClass.NODE_LOST]
    delays = []
    for times in range(1, 7):
        again = after(*lost * times, queue=queue)
        assert again is not None
        assert again.queue == queue
        delays.append(again.delay_s)
    assert delays[0] == 0.0
    assert all(first < second for first, second in pairwise(delays))
    assert after(*lost * 7, queue=queue) is None


def test_given_a_lost_machine_when_the_job_crashes_later_then_the_loss_does_not_count() -> None:
    """Nor does a crash count as a loss."""
    assert after(FailureClass.NODE_LOST, FailureClass.NODE_LOST, FailureClass.CRASH) == Again(
        queue="gpuhigh", delay_s=0.0
    )
    again = after(FailureClass.CRASH, FailureClass.NODE_LOST, queue="gpuhigh")
    assert again == Again(queue="gpuhigh", delay_s=0.0)
    assert after(FailureClass.CRASH, FailureClass.NODE_LOST, FailureClass.CRASH) is None


def test_given_attempts_lost_before_they_began_when_counted_then_they_are_none() -> None:
    """A job that waits through any number of restarts has lost nothing."""
    waited = Attempt(number=1, queue="cpu", stopped=2.0, failure=FailureClass.NODE_LOST)
    attempts = tuple(replace(waited, stopped=100.0 * number) for number in range(50))
    job = replace(failed(), attempts=attempts)
    assert times_failed(job, FailureClass.NODE_LOST) == 0
    assert next_attempt(job, DEFAULT_QUEUES) == Again(queue="cpu", delay_s=0.0)


def test_given_attempts_that_fail_to_begin_one_after_the_other_when_tried_again_then_there_is_a_pause() -> None:
    """Given attempts that end at once, when there were three of them, then the next ones come later and later."""
    waited = Attempt(number=1, queue="cpu", stopped=2.0, failure=FailureClass.NODE_LOST)
    found = [next_attempt(replace(failed(), attempts=(waited,) * number), DEFAULT_QUEUES) for number in range(1, 7)]
    assert [one.delay_s for one in found if one is not None] == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0]


def test_given_no_licence_when_it_failed_then_again_on_the_same_queue_each_time_later() -> None:
    """Not at once: the seat will not be free yet; after 6 the job ends."""
    without = [FailureClass.LICENSE]
    found = [after(*without * times) for times in range(1, 8)]
    assert found[6] is None
    again = [one for one in found if one is not None]
    assert {one.queue for one in again} == {"cpu"}
    delays = [one.delay_s for one in again]
    assert delays[0] >= 3.0
    assert all(second == pytest.approx(2 * first) for first, second in pairwise(delays))


# --- What a job may ask for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [*ABNORMAL, FailureClass.LICENSE])
def test_given_a_job_that_wants_no_retry_when_it_failed_then_it_ends(failure: FailureClass) -> None:
    """`retries` 0, or a `retry_on` without this class."""
    assert after(failure, policy=Policy(retries=0)) is None
    assert after(failure, policy=Policy(retry_on=())) is None


def test_given_any_wish_when_a_machine_was_lost_then_the_job_runs_again_all_the_same() -> None:
    """That is the platform's own doing, not the job's."""
    for policy in (Policy(retries=0), Policy(retry_on=()), Policy(retries=0, retry_on=("crash",))):
        assert after(FailureClass.NODE_LOST, policy=policy) == Again(queue="cpu", delay_s=0.0)
        assert after(*[FailureClass.NODE_LOST] * 7, policy=policy) is None


@pytest.mark.parametrize("failure", [FailureClass.USER_ERROR, FailureClass.EXIT, FailureClass.BAD_INPUT])
def test_given_a_job_that_names_a_class_when_it_fails_so_then_it_is_tried_again_on_the_same_queue(
    failure: FailureClass,
) -> None:
    """Once, or as often as it says."""
    policy = Policy(retry_on=(str(failure),))
    assert after(failure, policy=policy) == Again(queue="cpu", delay_s=0.0)
    assert after(failure, failure, policy=policy) is None
    often = replace(policy, retries=3)
    assert [bool(after(*[failure] * times, policy=often)) for times in range(1, 6)] == [True] * 3 + [False] * 2
    assert after(FailureClass.CRASH, policy=policy) is None


def test_given_a_job_with_retries_when_there_is_no_next_queue_then_it_stays_where_it_is() -> None:
    """After gpuhigh there is none; without a number of its own the job ends there."""
    assert after(FailureClass.CRASH, queue="gpuhigh") is None
    policy = Policy(retries=2)
    assert after(FailureClass.CRASH, queue="gpuhigh", policy=policy) == Again(queue="gpuhigh", delay_s=0.0)
    assert after(*[FailureClass.CRASH] * 2, queue="gpuhigh", policy=policy) is not None
    assert after(*[FailureClass.CRASH] * 3, queue="gpuhigh", policy=policy) is None


# --- Laws ------------------------------------------------------------------------------------------------------------

policies = st.builds(
    Policy,
    retries=st.none() | st.integers(0, 20),
    retry_on=st.none() | st.lists(st.sampled_from(ASKABLE).map(str), unique=True).map(tuple),
)
histories = st.lists(st.sampled_from(FailureClass), min_size=1, max_size=80)


def run_through(history: Sequence[FailureClass], queue: str, policy: Policy, uuid: str) -> tuple[Job, list[Again]]:
    """Let a job fail in this order until it is given up; return it, and each next attempt."""
    job, found = failed(queue=queue, policy=policy, uuid=uuid), list[Again]()
    for failure in history:
        attempt = Attempt(number=len(job.attempts) + 1, queue=job.queue, started=1.0, stopped=2.0, failure=failure)
        job = replace(job, attempts=(*job.attempts, attempt))
        again = next_attempt(job, DEFAULT_QUEUES)
        if again is None:
            break
        found.append(again)
        job = replace(job, queue=again.queue)
    return job, found


@given(histories, st.sampled_from([*NEXT_QUEUE]), policies, st.uuids().map(str))
def test_given_any_failures_in_any_order_when_retried_then_their_number_and_pauses_have_a_bound(
    history: list[FailureClass], queue: str, policy: Policy, uuid: str
) -> None:
    """One for the job's own faults, six for licences, six for lost machines; where a job asks, its own number."""
    job, found = run_through(history, queue, policy, uuid)
    own = 1 if policy.retries is None else policy.retries
    licences = 6 if policy.retries is None else policy.retries
    assert len(job.attempts) <= 1 + own + licences + 6
    assert all(0 <= again.delay_s <= 1.25 * MAX_DELAY_S for again in found)
    assert all(again.queue in (job.queue, queue, NEXT_QUEUE[queue]) for again in found)


@given(st.sampled_from([*LADDER]), st.uuids().map(str))
def test_given_the_same_failure_again_and_again_when_retried_then_each_pause_is_longer(
    failure: FailureClass, uuid: str
) -> None:
    """Until the longest."""
    policy = Policy(retries=None if failure is FailureClass.NODE_LOST else 20)
    _, found = run_through([failure] * 40, "control", policy, uuid)
    delays = [again.delay_s for again in found]
    assert len(delays) == (6 if failure is FailureClass.NODE_LOST else 20)
    assert all(first < second or first >= 0.75 * MAX_DELAY_S for first, second in pairwise(delays))


@given(st.lists(st.sampled_from([FailureClass.RETRY, FailureClass.CRASH]), max_size=6), st.floats(0, 1e6))
def test_retry_asked_for_by_the_script(history: list[FailureClass], delay_s: float) -> None:
    """Given any history, when the script asks for a retry, then it comes on the same queue after the pause it named.

    Its retries do not count as its faults: the first crash among them still has its own second attempt.
    """
    job = failed(*history, FailureClass.RETRY)
    assert next_attempt(job, DEFAULT_QUEUES, delay_s) == Again(queue="cpu", delay_s=delay_s)
    crashed = failed(*[one for one in history if one is FailureClass.RETRY], FailureClass.CRASH)
    assert next_attempt(crashed, DEFAULT_QUEUES) == Again(queue="gpuhigh", delay_s=0.0)


def test_given_jobs_that_failed_together_when_retried_then_they_spread() -> None:
    """A licence server or a share that comes back is not met by all of them in one moment."""
    delays = set()
    for start in ("0000", "4000", "8000", "c000", "ffff"):
        again = next_attempt(failed(FailureClass.LICENSE, uuid=start + UUID[4:]), DEFAULT_QUEUES)
        assert again is not None
        delays.add(again.delay_s)
    assert len(delays) == 5
    assert max(delays) <= 2 * min(delays)


def test_given_the_ladder_when_read_then_it_is_the_contracts() -> None:
    """Whoever changes a row changes a promise."""
    assert {name: queue.retry_queue for name, queue in DEFAULT_QUEUES.items()} == NEXT_QUEUE
    assert {failure for failure, rule in LADDER.items() if rule.moves_on} == set(ABNORMAL)
    assert {failure for failure, rule in LADDER.items() if not rule.own_fault} == set(WAITING)
