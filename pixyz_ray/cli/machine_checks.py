"""Checks of `pixyz doctor` on the machines of a running platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixyz_ray.cli.checks import Check, Verdict
from pixyz_ray.cli.presence import dead_s, living, missing
from pixyz_ray.cli.tables import span

if TYPE_CHECKING:
    from pixyz_ray.client import NodeInfo


def check_machines(url: str | None, token: str | None) -> list[Check]:
    """Return checks of the machines of the platform; none where no platform with machines answers."""
    from pixyz_ray.client import Client
    from pixyz_worker.exception import PixyzException

    try:
        with Client(url, token, timeout=10.0) as client:
            nodes = client.nodes()
    except (PixyzException, ValueError, KeyError, TypeError):
        # The check of the platform says what is wrong; the scheduler before this one knows no machines.
        return []
    return [_fitness(living(nodes)), *_deaths(missing(nodes))]


def _deaths(nodes: Sequence[NodeInfo]) -> list[Check]:
    """Return a note where machines have died within the last ten minutes and are not back."""
    if not nodes:
        return []
    died = ", ".join(f"{node['name']} {span(dead_s(node))} ago" for node in nodes)
    reasons = " ".join(str(node["reason"]) for node in nodes if node["reason"])
    remedy = f"{reasons} Start Ray there again, unless the machine was taken away on purpose.".strip()
    return [Check(name="Machines", verdict=Verdict.NOTE, found=f"left the cluster: {died}", remedy=remedy)]


def _fitness(nodes: Sequence[NodeInfo]) -> Check:
    unfit = [node for node in nodes if node["state"] == "unfit"]
    found = f"{len(nodes) - len(unfit)} of {len(nodes)} can run jobs"
    if unfit:
        reasons = " ".join(str(node["reason"]) for node in unfit)
        return Check(name="Machines", verdict=Verdict.PROBLEM, found=found, remedy=reasons)
    drained = [node["name"] for node in nodes if node["state"] in ("draining", "drained")]
    if drained:
        found = f"{len(nodes) - len(drained)} of {len(nodes)} can run jobs; drained: {', '.join(drained)}"
        remedy = f"Let jobs begin there again: pixyz drain {drained[0]} --undo."
        return Check(name="Machines", verdict=Verdict.NOTE, found=found, remedy=remedy)
    return Check(name="Machines", verdict=Verdict.GOOD, found=found)
