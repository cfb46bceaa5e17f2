"""Queues: the contract's table, and what Ray is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pixyz_ray.gpu_need import GpuNeed
from pixyz_ray.queues import DEFAULT_QUEUES, Queue, find_queue, gpu_need, ray_options
from pixyz_worker.exception import InvalidBackendParameter


def test_given_an_unknown_queue_when_looked_for_then_the_message_lists_those_there_are() -> None:
    """So that the caller can choose."""
    with pytest.raises(InvalidBackendParameter, match=r"express.*cpu, gpu, gpuhigh, control, zip, clean"):
        find_queue(DEFAULT_QUEUES, "express")


def test_given_a_cluster_without_gpus_when_options_are_made_then_none_is_asked_for() -> None:
    """A request that nothing can satisfy would wait for ever."""
    assert "num_gpus" not in ray_options(DEFAULT_QUEUES["gpu"])
    assert ray_options(DEFAULT_QUEUES["gpu"], 0.25)["num_gpus"] == 0.25
    assert ray_options(DEFAULT_QUEUES["control"]) == {"num_cpus": 0}


def test_given_labels_and_resources_when_options_are_made_then_they_are_passed_on() -> None:
    """What an operator adds to a queue."""
    queue = Queue(name="x", purpose="", num_cpus=2, resources={"licence": 1}, labels={"zone": "a"})
    options = {"num_cpus": 2, "resources": {"licence": 1}, "label_selector": {"zone": "a"}}
    assert ray_options(queue) == options
    excluded = {"zone": "a", "ray.io/node-id": "!in(m,n)"}
    assert ray_options(queue, excluded={"n", "m"}) == {**options, "label_selector": excluded}


GPU, HIGH, CPU = (DEFAULT_QUEUES[name] for name in ("gpu", "gpuhigh", "cpu"))
SMALL = replace(GPU, gpu="require", gpu_memory=2**30)


@pytest.mark.parametrize(
    ("queue", "asked", "expected", "moved", "need"),
    [
        (CPU, (None, None), True, False, None),
        (CPU, ("prefer", None), False, False, None),
        (CPU, (None, 2**31), False, False, GpuNeed(mode="prefer", cards=1, memory=2**31)),
        (GPU, (None, None), False, False, GpuNeed(mode="prefer", cards=1)),
        (GPU, (None, None), True, False, GpuNeed(mode="require", cards=1)),
        (GPU, ("prefer", None), True, False, GpuNeed(mode="prefer", cards=1)),
        (GPU, ("require", 2**31), False, False, GpuNeed(mode="require", cards=1, memory=2**31)),
        (SMALL, (None, None), False, False, GpuNeed(mode="require", cards=1, memory=2**30)),
        (SMALL, ("prefer", 2**31), False, False, GpuNeed(mode="prefer", cards=1, memory=2**31)),
        (HIGH, (None, None), True, True, GpuNeed(mode="prefer", cards=1)),
        (HIGH, ("require", 2**31), True, True, GpuNeed(mode="require", cards=1)),
        (SMALL, (None, 2**20), True, True, GpuNeed(mode="require", cards=1, memory=2**30)),
    ],
)
def test_gpu_need(
    queue: Queue, asked: tuple[str | None, int | None], expected: bool, moved: bool, need: GpuNeed | None
) -> None:
    """Given what a job and its queue ask for, when put together, then the job's own is stronger.

    A retry that was moved gets what its new queue gives: with as much as before it would fail again.
    """
    assert gpu_need(queue, *asked, expected=expected, moved=moved) == need
