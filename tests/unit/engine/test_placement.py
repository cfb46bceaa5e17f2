"""Which machines can run the jobs of a queue, and what is told when the last one is drained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pixyz_ray.cluster.placement import fits, unserved_notes
from pixyz_ray.queues import DEFAULT_QUEUES, Queue

RENDER = Queue(name="render", purpose="", num_cpus=1, labels={"kind": "big"})
QUEUES = [DEFAULT_QUEUES["cpu"], RENDER]


@dataclass(frozen=True)
class Machine:
    """A machine as the registry has it."""

    name: str
    labels: Mapping[str, str]
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 2.0})


def machine(name: str, **labels: str) -> Machine:
    """A machine that is drained."""
    return Machine(name, labels)


def usable(**labels: str) -> dict[str, Any]:
    """Ray's record of a machine that may run jobs."""
    return {"Resources": {"CPU": 2.0}, "Labels": labels}


@pytest.mark.parametrize(
    ("selector", "kinds"),
    [("big", ["big"]), ("!big", ["small", None]), ("in(big, small)", ["big", "small"]), ("!in(big)", ["small", None])],
)
def test_labels(selector: str, kinds: list[str | None]) -> None:
    """Given one of Ray's selectors, when machines are compared with it, then those fit that Ray takes."""
    queue = Queue(name="q", purpose="", num_cpus=1, labels={"kind": selector})
    found = [kind for kind in ("big", "small", None) if fits(queue, {"CPU": 1}, {"kind": kind} if kind else {})]
    assert found == kinds


def test_resources() -> None:
    """Given a custom resource and CPUs, when a machine has less of one, then it does not fit."""
    queue = Queue(name="q", purpose="", num_cpus=2, resources={"seat": 1})
    assert fits(queue, {"CPU": 2, "seat": 1}, {})
    assert not fits(queue, {"CPU": 1, "seat": 1}, {})
    assert not fits(queue, {"CPU": 2}, {})


def test_last_machine_of_a_queue() -> None:
    """Given the only machine of one queue, when drained, then that queue is named and no other."""
    notes = unserved_notes(QUEUES, machine("b", kind="big"), [usable()])
    assert len(notes) == 1
    assert "of these queues now: render. They wait." in notes[0]
    assert "pixyz drain b --undo" in notes[0]


def test_one_of_several() -> None:
    """Given another machine like it, or one that never served a queue, when drained, then nothing is told."""
    assert unserved_notes(QUEUES, machine("b", kind="big"), [usable(kind="big")]) == []
    assert unserved_notes(QUEUES, machine("b"), [usable()]) == []


def test_last_machine() -> None:
    """Given the only machine, when drained, then all jobs wait."""
    assert unserved_notes(QUEUES, machine("a"), [])[0].startswith("No machine can run jobs now")
