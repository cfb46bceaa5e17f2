"""Checks of `pixyz doctor` on the machines of a running platform."""

from __future__ import annotations

from pixyz_ray.cli.checks import Check, Verdict


def check_machines(url: str | None, token: str | None) -> list[Check]:
    """Return a check of the machines of the platform; none where no platform with machines answers."""
    from pixyz_ray.client import Client
    from pixyz_worker.exception import PixyzException

    try:
        with Client(url, token, timeout=10.0) as client:
            nodes = [node for node in client.nodes() if node["state"] != "dead"]
    except (PixyzException, ValueError, KeyError, TypeError):
        # The check of the platform says what is wrong; the scheduler before this one knows no machines.
        return []
    unfit = [node for node in nodes if node["state"] == "unfit"]
    found = f"{len(nodes) - len(unfit)} of {len(nodes)} can run jobs"
    if unfit:
        reasons = " ".join(str(node["reason"]) for node in unfit)
        return [Check(name="Machines", verdict=Verdict.PROBLEM, found=found, remedy=reasons)]
    drained = [node["name"] for node in nodes if node["state"] in ("draining", "drained")]
    if drained:
        found = f"{len(nodes) - len(drained)} of {len(nodes)} can run jobs; drained: {', '.join(drained)}"
        remedy = f"Let jobs begin there again: pixyz drain {drained[0]} --undo."
        return [Check(name="Machines", verdict=Verdict.NOTE, found=found, remedy=remedy)]
    return [Check(name="Machines", verdict=Verdict.GOOD, found=found)]
