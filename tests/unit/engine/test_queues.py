"""Queues: the contract's table, and where a failed attempt goes next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.jobs import FailureClass
from pixyz_ray.queues import DEFAULT_QUEUES, Queue, after_failure, find_queue, ray_options
from pixyz_worker.exception import InvalidBackendParameter

MOVES_ON = [FailureClass.CRASH, FailureClass.OUT_OF_MEMORY, FailureClass.TIMEOUT]
ENDS = [FailureClass.USER_ERROR, FailureClass.EXIT, FailureClass.CANCELLED, FailureClass.INTERNAL]
NEXT = {"cpu": "gpuhigh", "gpu": "gpuhigh", "gpuhigh": None, "control": "control", "zip": "zip", "clean": "clean"}


@pytest.mark.parametrize("failure", MOVES_ON)
@pytest.mark.parametrize("queue", NEXT)
def test_given_a_crash_when_it_is_the_first_then_the_attempt_moves_on_as_in_the_contract(
    queue: str, failure: FailureClass
) -> None:
    """Once; the second such failure ends the job."""
    assert after_failure(DEFAULT_QUEUES, queue, failure, 1) == NEXT[queue]
    assert after_failure(DEFAULT_QUEUES, queue, failure, 2) is None


@pytest.mark.parametrize("failure", ENDS)
@pytest.mark.parametrize("queue", NEXT)
def test_given_the_scripts_own_fault_when_it_fails_then_there_is_no_retry(queue: str, failure: FailureClass) -> None:
    """A Python exception would come again."""
    assert after_failure(DEFAULT_QUEUES, queue, failure, 1) is None


@given(st.sampled_from(list(NEXT)), st.integers(0, 100))
def test_given_a_lost_machine_when_it_happens_then_the_attempt_stays_on_its_queue(queue: str, failures: int) -> None:
    """It is nobody's fault and counts for nothing."""
    assert after_failure(DEFAULT_QUEUES, queue, FailureClass.NODE_LOST, failures) == queue


def test_given_an_unknown_queue_when_looked_for_then_the_message_lists_those_there_are() -> None:
    """So that the caller can choose."""
    with pytest.raises(InvalidBackendParameter, match=r"express.*cpu, gpu, gpuhigh, control, zip, clean"):
        find_queue(DEFAULT_QUEUES, "express")


def test_given_a_cluster_without_gpus_when_options_are_made_then_none_is_asked_for() -> None:
    """A request that nothing can satisfy would wait for ever."""
    assert "num_gpus" not in ray_options(DEFAULT_QUEUES["gpu"], cluster_has_gpus=False)
    assert ray_options(DEFAULT_QUEUES["gpu"], cluster_has_gpus=True)["num_gpus"] == 1
    assert ray_options(DEFAULT_QUEUES["control"], cluster_has_gpus=True) == {"num_cpus": 0}


def test_given_labels_and_resources_when_options_are_made_then_they_are_passed_on() -> None:
    """What an operator adds to a queue."""
    queue = Queue(name="x", purpose="", num_cpus=2, resources={"licence": 1}, labels={"zone": "a"})
    assert ray_options(queue, cluster_has_gpus=False) == {
        "num_cpus": 2,
        "resources": {"licence": 1},
        "label_selector": {"zone": "a"},
    }
