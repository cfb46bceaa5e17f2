"""Fitness: whether this machine may begin an attempt. Each worker asks before each attempt, which takes microseconds.

The registry of machines (nodes.py) probes them now and then; between two probes a machine may lose its share, or Ray
may have tasks for a machine that is being drained. The worker then refuses the attempt, which runs on another machine
and is not counted.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import ray

from pixyz_ray.cluster.node_id import own_node_id
from pixyz_ray.failure import FailureClass
from pixyz_ray.machine_gate import MachineGate
from pixyz_ray.share_marker import ShareCheck
from pixyz_ray.version import VERSION

HOST = socket.gethostname()


def refusal(version: str | None, share: str, share_id: str) -> dict[str, Any] | None:
    """Return the outcome of an attempt that must not begin on this machine, or None.

    Args:
        version: of the platform that sent it.
        share: SHARE_PATH.
        share_id: id of the share's marker; empty where the head cannot see the share either.
    """
    if version != VERSION:
        return _refused(version_message(HOST, VERSION, str(version)))
    if _gate().is_closed:
        return _refused(drained_message(HOST), unfit=False)
    if share_id and (problem := _share_check(share, share_id).problem()) is not None:
        return _refused(share_message(HOST, problem))
    return None


def problem_of(name: str, report: Mapping[str, Any]) -> str | None:
    """Return why a machine with that report must get no jobs, or None.

    Args:
        name: its host name.
        report: answer of the probe.
    """
    if report["pixyz"] != VERSION:
        return version_message(name, report["pixyz"], VERSION)
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if report["python"].rsplit(".", 1)[0] != ours:
        return (
            f"Machine {name} has Python {report['python']}, the platform has {ours}: it gets no jobs. Start Ray there "
            f"with Python {ours}."
        )
    if report["ray"] != ray.__version__:
        return (
            f"Machine {name} has Ray {report['ray']}, the platform has {ray.__version__}: it gets no jobs. Install "
            "the same version there, and start Ray again."
        )
    return None if report["share"] is None else share_message(name, report["share"])


def share_message(machine: str, problem: str) -> str:
    """Return the message about a machine that cannot use the share (see share_problem)."""
    return (
        f"Machine {machine} {problem}: it gets no jobs. Mount the share there; it is used again within seconds, or at "
        f"once after  pixyz nodes --check {machine}"
    )


def version_message(machine: str, found: str | None, wanted: str) -> str:
    """Return the message about a machine with another version of the platform, or None for no version."""
    has = "does not have Pixyz on Ray" if found is None else f"has version {found} of Pixyz on Ray"
    return (
        f"Machine {machine} {has}, the platform has version {wanted}: it gets no jobs. Install version {wanted} in the "
        "Python of its Ray, and start Ray there again."
    )


def drained_message(machine: str) -> str:
    """Return the message about a machine on which no attempt begins since an operator wants that."""
    return f"Machine {machine} is being drained: no attempt begins there."


def _refused(message: str, *, unfit: bool = True) -> dict[str, Any]:
    return {
        "ok": False,
        "failure": str(FailureClass.NODE_LOST),
        "error": message,
        "sentence": message,
        # Without a start: what has not begun is not counted.
        "stopped": time.time(),
        "node": HOST,
        "refused_by": own_node_id(),
        "unfit": unfit,
    }


@lru_cache(maxsize=1)
def _gate() -> MachineGate:
    return MachineGate(own_node_id())


@lru_cache(maxsize=2)
def _share_check(share: str, share_id: str) -> ShareCheck:
    return ShareCheck(share, share_id)
