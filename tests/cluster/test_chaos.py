"""Jobs of all kinds while machines are killed, cut off and frozen at random, with the job records in PostgreSQL.

PIXYZ_CHAOS_JOBS is the number of jobs, PIXYZ_CHAOS_SEED decides by chance; `make chaos-cluster` sends a thousand.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.faults.chaos_jobs import POOL, SEATS, Sent, make_orders
from benchmarks.faults.sender import Sender
from benchmarks.faults.verdict import FAULTS, Verdict, judge_jobs
from pixyz_ray.client import Client, PlatformUnreachable
from pixyz_ray.jobs import TERMINAL
from pixyz_worker.exception import PixyzWebError
from tests.cluster.clusters import Cluster
from tests.cluster.machines import Machine, Network
from tests.platforms import OPERATOR_TOKEN
from tests.postgres import Postgres
from tests.waiting import wait_until

JOBS = int(os.environ.get("PIXYZ_CHAOS_JOBS", "30"))
SEED = int(os.environ.get("PIXYZ_CHAOS_SEED", "20"))
MOST_OPEN = 12
END_WITHIN_S = 150.0
"""Seconds after the last fault within which all jobs must have ended."""
FAULT_KINDS = ("kill", "cut", "freeze")


@pytest.fixture(scope="module")
def cluster(network: Network, postgres: Postgres) -> Cluster:
    """The platform on three machines; its HTTP service is on the head, which is never lost."""
    settings = {"PIXYZ_POOLS": f'{{"{POOL}": {SEATS}}}', "JOB_STORE_URL": postgres.url}
    cluster = Cluster(network, settings=settings)
    cluster.start_service_first("b", "c")
    return cluster


class Nemesis(threading.Thread):
    """Does something to one worker machine at a time, and brings it back; the head is left alone.

    Args:
        cluster: the machines.
        workers: names of those that may be hit.
        chance: what decides.
    """

    def __init__(self, cluster: Cluster, workers: tuple[str, ...], chance: random.Random) -> None:
        super().__init__(name="nemesis")
        self._cluster = cluster
        self._workers = [cluster.network[name] for name in workers]
        self._chance = chance
        self._over = threading.Event()
        self._deck: list[str] = []
        self.done: Counter[str] = Counter()
        self.trouble: Exception | None = None

    def run(self) -> None:
        """Go on until it is told to stop; then all machines are there."""
        try:
            while not self._over.wait(self._chance.uniform(1.0, 4.0)):
                self._hit(self._chance.choice(self._workers))
        except Exception as error:
            self.trouble = error

    def stop(self) -> None:
        """Stop, when the machine that is hit just now is back."""
        self._over.set()
        self.join()
        if self.trouble is not None:
            raise self.trouble

    def _hit(self, machine: Machine) -> None:
        if not self._deck:
            self._deck = self._chance.sample(FAULT_KINDS, len(FAULT_KINDS))
        fault = self._deck.pop()
        self.done[fault] += 1
        if fault == "kill":
            machine.kill_all()
        elif fault == "cut":
            machine.cut()
        else:
            machine.freeze()
        # From a pause that nobody needs to notice to one after which the machine was given up.
        self._over.wait(self._chance.uniform(1.0, 20.0) if fault != "kill" else self._chance.uniform(0.0, 2.0))
        machine.heal()
        machine.thaw()
        self._tend(machine)

    def _tend(self, machine: Machine) -> None:
        """Start Ray again on a machine that Ray has declared dead, as its unit does."""
        deadline = time.monotonic() + 5
        while machine.find("raylet/raylet") and time.monotonic() < deadline:
            time.sleep(0.1)
        if not machine.find("raylet/raylet"):
            machine.kill_all()
            self._cluster.join(machine.name)


@contextmanager
def faults(cluster: Cluster) -> Iterator[Nemesis]:
    """Machines are hit until the block ends."""
    nemesis = Nemesis(cluster, ("b", "c"), random.Random(SEED + 1))
    nemesis.start()
    try:
        yield nemesis
    finally:
        nemesis.stop()


def see(client: Client, sent: list[Sent]) -> int:
    """Take down the ends of the jobs that have ended; return how many have not."""
    for one in sent:
        if not one.seen:
            with suppress(PlatformUnreachable, PixyzWebError):
                details = dict(client.details(one.uuid))
                if details["status"] in TERMINAL:
                    one.seen = {key: details[key] for key in ("status", "result", "attempt")}
    return sum(not one.seen for one in sent)


def test_machines_lost_at_random(cluster: Cluster) -> None:
    """Given jobs and graphs, when machines are lost and come back, then each job ends once, with the right values."""
    ledgers = cluster.network.share / "ledgers"
    ledgers.mkdir()
    ledgers.chmod(0o777)
    cluster.wait_until_ready()
    sent: list[Sent] = []
    began = time.monotonic()
    with Client(cluster.url, OPERATOR_TOKEN, timeout=30.0, patience=60.0) as client:
        sender = Sender(client)
        with faults(cluster) as nemesis:
            for order in make_orders(JOBS, ledgers, random.Random(SEED)):
                sent.append(sender.send(order))
                wait_until(lambda: see(client, sent) < MOST_OPEN, "jobs end", deadline_s=END_WITHIN_S, every_s=0.2)
            wait_until(lambda: set(FAULT_KINDS) <= nemesis.done.keys(), "each fault was made", deadline_s=120)
        deadline = time.monotonic() + END_WITHIN_S
        while see(client, sent) and time.monotonic() < deadline:
            time.sleep(0.3)
        verdict = Verdict()
        judge_jobs(client, sent, verdict)
    table = report(nemesis, verdict, time.monotonic() - began)
    print(table)
    assert verdict.clean, "\n".join([table, *verdict.troubles])
    assert verdict.jobs > JOBS, table


def report(nemesis: Nemesis, verdict: Verdict, seconds: float) -> str:
    """The table of what was done and found."""
    rows = [
        ("jobs, with the tasks of their graphs", verdict.jobs),
        *(sorted(nemesis.done.items())),
        ("attempts beyond the first", verdict.reruns),
        ("attempts that ended beside the published one", verdict.ended_again),
        *((FAULTS[kind], verdict.counts[kind]) for kind in ("lost", "open", "twice", "wrong", "doubled")),
        ("seconds", round(seconds)),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["", *(f"{name:{width}}  {value:>6}" for name, value in rows)])
