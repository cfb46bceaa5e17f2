"""Which of the jobs that have ended are kept in memory."""

from __future__ import annotations

from typing import Any

import pytest

from pixyz_ray.cluster.weight import is_light
from pixyz_ray.jobs import Job, StepRecord

NESTED: Any = []
for _ in range(500):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("changes", "light"),
    [
        ({}, True),
        ({"result": {"files": ["a.glb"] * 20, "triangles": 5}, "steps": (StepRecord("reading", 0.1),) * 20}, True),
        ({"result": "x" * 100_000}, False),
        ({"result": list(range(1000))}, False),
        ({"result": [list(range(150))] * 150}, False),
        ({"params": {str(number): number for number in range(1000)}}, False),
        ({"config": {"x" * 100_000: 1}}, False),
        ({"result": NESTED}, False),
        ({"steps": (StepRecord("x" * 1024, 0.1),) * 100}, False),
        ({"steps": (StepRecord("x", 0.1),) * 10_000}, False),
    ],
)
def test_given_a_job_then_it_is_light_unless_it_is_large_in_some_way(changes: dict[str, Any], light: bool) -> None:
    """Given large params, steps or results, or deep ones, when weighed, then the job is not light."""
    job = Job(uuid="u", name="u", process="custom", script="a.py", **changes)
    assert is_light(job) is light
