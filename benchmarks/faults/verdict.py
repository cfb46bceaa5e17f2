"""What is wrong after a chaos run: the platform is asked for every job, and its machine is looked at."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.chaos_jobs import POOL, Sent
from benchmarks.faults.platform import WORKER, Fragile, is_alive, of_attempts, patiently
from benchmarks.faults.sender import all_jobs
from pixyz_ray.client import Client
from pixyz_ray.jobs import TERMINAL
from pixyz_worker.exception import PixyzWebError

FAULTS = {
    "lost": "accepted jobs that are not known any more",
    "open": "jobs without an end",
    "twice": "jobs published twice, or with files of two attempts",
    "wrong": "jobs with another end than they should have",
    "doubled": "jobs there twice after their client had sent them again",
    "processes": "processes left behind",
    "seats": "seats of pools not given back",
    "queued": "jobs still counted as waiting or running",
    "strays": "folders on the share of no job",
}
"""Kind of fault -> what it means. All of them must be 0."""
_NOT_FOUND = 404


@dataclass(kw_only=True, slots=True)
class Verdict:
    """What was found wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    """Kind of fault -> how often."""
    troubles: list[str] = field(default_factory=list)
    """Each of them in words."""
    jobs: int = 0
    """Jobs that the platform has, nodes of graphs included."""
    reruns: int = 0
    """Attempts beyond the first."""
    ended_again: int = 0
    """Attempts that came to their last line beside the one that was published: their word was lost with a process."""
    half_sent: int = 0
    """Jobs of requests never answered, of which only the record had arrived: they fail without their script."""
    refused_strays: int = 0
    """Folders on the share of requests that were never answered."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts.total()

    def blame(self, kind: str, words: str) -> None:
        """Record a fault."""
        self.counts[kind] += 1
        self.troubles.append(f"{kind}: {words}")


def judge_jobs(client: Client, sent: Sequence[Sent], verdict: Verdict) -> set[str]:
    """Look at every job; return the ids of all that the platform has."""
    known = all_jobs(client)
    verdict.jobs = len(known)
    for uuid, name, status in known:
        if status not in TERMINAL:
            verdict.blame("open", f"{name} {uuid} is {status}")
    copies = Counter(name for _, name, _ in known if name.startswith("chaos-"))
    for one in sent:
        if copies[one.order.name] > 1:
            verdict.blame("doubled", f"{one.order.name} is there {copies[one.order.name]} times")
        try:
            details = patiently(partial(client.details, one.uuid))
        except PixyzWebError as error:
            verdict.blame("lost", f"{one.order.name} {one.uuid}: {error}")
            continue
        _judge(client, one, dict(details), verdict)
    mine = {one.uuid for one in sent}
    for uuid, name, status in known:
        if uuid not in mine and not name.startswith("chaos-") and status == "SUCCESS":
            _judge_node(client, uuid, name, verdict)
    return {uuid for uuid, _, _ in known}


def _judge(client: Client, sent: Sent, details: dict[str, Any], verdict: Verdict) -> None:
    verdict.reruns += details["retry"]
    if details["status"] not in TERMINAL:
        return
    about = f"{sent.order.name} ({sent.order.kind}) {sent.uuid}"
    shown = json.dumps({"cancelled": sent.cancelled, **details}, default=str)
    if sent.seen and any(sent.seen[key] != details[key] for key in ("status", "result", "attempt")):
        verdict.blame("twice", f"{about}: its end has changed from {json.dumps(sent.seen)} to {shown}")
    if details["status"] != "SUCCESS":
        attempts = details["attempts"]
        if not sent.answered and attempts and attempts[-1]["failure"] == "internal":
            verdict.half_sent += 1
            return
        # One that was asked to end may have ended well before; nothing else is a reason for not ending well.
        if not (sent.cancelled and details["status"] == "REVOKED"):
            verdict.blame("wrong", f"{about}: {shown}")
        return
    if sent.cancelled == "REVOKED":
        verdict.blame("wrong", f"{about} was cancelled and ended well all the same: {shown}")
    good = [one["number"] for one in details["attempts"] if one["failure"] is None]
    if good != [len(details["attempts"])]:
        verdict.blame("twice", f"{about}: attempts {good} ended well: {shown}")
    _judge_publication(client, sent, details["result"], verdict, about)


def _judge_publication(client: Client, sent: Sent, result: Any, verdict: Verdict, about: str) -> None:
    order = sent.order
    if order.result is not None:
        if result != order.result:
            verdict.blame("wrong", f"{about}: it returned {result!r}, not {order.result!r}")
        return
    token = result["token"]
    ledger = Path(order.params["ledger"]).read_text(encoding="ascii").split()
    verdict.ended_again += len(ledger) - 1
    if token not in ledger:
        verdict.blame("wrong", f"{about}: the attempt that it was published by has not come to its end: {ledger}")
    found = _outputs(client, sent.uuid)
    if set(found) != order.files or set(found.values()) - {token}:
        verdict.blame("twice", f"{about}: its outputs are {found}, and its token is {token}")


def _judge_node(client: Client, uuid: str, name: str, verdict: Verdict) -> None:
    """Look at the two files of a graph's node, which have the same token; a group has no files."""
    found = _outputs(client, uuid)
    if found and (set(found) != {"first.txt", "last.txt"} or len(set(found.values())) != 1):
        verdict.blame("twice", f"node {name} {uuid}: its outputs are {found}")


def _outputs(client: Client, uuid: str) -> dict[str, str]:
    names = patiently(lambda: client.outputs(uuid))
    with tempfile.TemporaryDirectory() as folder:
        return {name: client.download(uuid, name, folder).read_text(encoding="ascii") for name in names}


def judge_machine(platform: Fragile, client: Client, known: set[str], failed_posts: int, verdict: Verdict) -> None:
    """Look at what is left on the machine."""
    for pid, mark in of_attempts():
        if mark.partition("/")[0] in known:
            verdict.blame("processes", f"{pid} of attempt {mark}")
    for pid, worker in platform.watchdogs().items():
        if not is_alive(worker):
            verdict.blame("processes", f"watchdog {pid} of worker {worker}, which is gone")
    for process in platform.titled(WORKER):
        verdict.blame("processes", f"worker {process.pid} still runs an attempt")
    standing = patiently(client.queues)
    for queue in standing["queues"]:
        if queue["waiting"] or queue["running"]:
            verdict.blame("queued", f"queue {queue['name']}: {queue}")
    for pool in standing["pools"]:
        if pool["held"] or pool["waiting"]:
            verdict.blame("seats", f"pool {pool['name']}: {pool}")
    assert any(pool["name"] == POOL for pool in standing["pools"])
    strays = sorted({entry.name for entry in platform.share.iterdir()} - known)
    # A request that was never answered may leave its folder: the clean queue removes those after a day.
    verdict.refused_strays = min(len(strays), failed_posts)
    for name in strays[verdict.refused_strays :]:
        verdict.blame("strays", name)
