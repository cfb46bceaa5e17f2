"""Queues: the contract's table, and what Ray is asked for."""

from __future__ import annotations

import pytest

from pixyz_ray.queues import DEFAULT_QUEUES, Queue, find_queue, ray_options
from pixyz_worker.exception import InvalidBackendParameter


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
