"""`python -m benchmarks.cluster [PART ...]`: figures of several machines, made of namespaces (needs root).

detection: from the loss of a machine to the beginning of the next attempt of a job that it ran.
values: from the end of a task with a large value to the beginning of the next one on another machine, beside bare Ray.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from benchmarks import machine
from benchmarks.goals import percentile
from tests.cluster.clusters import Cluster
from tests.cluster.machines import Machine, Network
from tests.rest_client import RestClient
from tests.waiting import wait_until

PARTS = ("detection", "values")
GOALS_S: Mapping[str, float] = {"kill": 1.0, "cut": 15.0, "freeze": 20.0}
VALUE_GOAL = 0.8
_FAULTS: Mapping[str, Callable[[Machine], object]] = {
    "kill": Machine.kill_all,
    "cut": Machine.cut,
    "freeze": Machine.freeze,
}
_MEGABYTE = 10**6
_RESOURCES = """--resources='{{"on_{name}": 4}}'"""
_QUEUES = '{"on_b": {"resources": {"on_b": 1}}, "on_c": {"resources": {"on_c": 1}}}'

HOLD = """
import time
from pathlib import Path

def main(pc, params):
    place, attempt = Path(params), pc["retry"] + 1
    (place / f"draft-{attempt}").write_text(str(time.time()))
    (place / f"draft-{attempt}").rename(place / f"begun-{attempt}")
    while attempt == 1 and not (place / "go").exists():
        time.sleep(0.02)
"""

VALUE = """
import time
import numpy
from pixyz_worker.script import chain, pixyz_execute

def make(pc, params):
    array = numpy.ones(params, dtype=numpy.uint8)
    return array, time.time()

def take(pc, params):
    now = time.time()
    array, sent = params
    assert int(array[-1]) == 1
    return now - sent

def main(pc, params):
    first, second = params["queues"]
    def task(entrypoint, queue, *values):
        context = pc.clone(entrypoint=entrypoint, raw=True, compute_only=True)
        return pixyz_execute.s(*values, pc=context).set(queue=queue)
    return chain(task("make", first, params["size"]), task("take", second))().get()
"""

BARE = """
import time
import numpy
import ray

ray.init(address="auto", logging_level="ERROR", log_to_driver=False)

@ray.remote(max_retries=0)
def make(size):
    return numpy.ones(size, dtype=numpy.uint8), time.time()

@ray.remote(max_retries=0)
def take(value):
    now = time.time()
    array, sent = value
    assert int(array[-1]) == 1
    return now - sent

for number in range(ROUNDS + 1):
    first, second = ("on_b", "on_c") if number % 2 else ("on_c", "on_b")
    value = make.options(resources={first: 1}).remote(SIZE)
    print(ray.get(take.options(resources={second: 1}).remote(value)), flush=True)
"""


def _cluster(network: Network) -> Cluster:
    cluster = Cluster(network, settings={"PIXYZ_QUEUES": _QUEUES})
    cluster.start_service_first("b", "c", options=_RESOURCES)
    cluster.wait_until_ready()
    return cluster


def _join(cluster: Cluster, name: str) -> None:
    cluster.join(name, options=_RESOURCES.format(name=name))


def _detect(cluster: Cluster, rest: RestClient, fault: str, place: Path) -> float:
    """Return the seconds from the loss of a job's machine to the beginning of its next attempt."""
    place.mkdir()
    place.chmod(0o777)
    job = rest.submit(HOLD, params=json.dumps(str(place)))
    wait_until((place / "begun-1").exists, "the job has begun", deadline_s=60)
    host = wait_until(lambda: rest.details(job)["attempts"][-1]["node"], "its machine is known")
    if host == cluster.head.name:
        # The next one finds the head's place taken.
        return _detect(cluster, rest, fault, place.with_name(f"{place.name}-"))
    lost = cluster.network[host]
    # Its watchdog has called by then.
    time.sleep(1.0)
    began = time.time()
    _FAULTS[fault](lost)
    wait_until((place / "begun-2").exists, "the next attempt begins", deadline_s=120)
    seconds = float((place / "begun-2").read_text()) - began
    for one in place.parent.glob(f"{place.name.rstrip('-')}*"):
        (one / "go").touch()
    lost.kill_all()
    lost.heal()
    _join(cluster, host)
    return seconds


def _detection(cluster: Cluster, rounds: int) -> list[str]:
    rows = []
    with cluster.client() as rest:
        for fault, goal_s in GOALS_S.items():
            found = [
                _detect(cluster, rest, fault, cluster.network.share / f"{fault}-{number}") for number in range(rounds)
            ]
            p95 = percentile(found, 95)
            rows.append(
                f"| machine lost ({fault}) → next attempt begins | p50 {statistics.median(found):.2f} s, "
                f"p95 {p95:.2f} s | p95 ≤ {goal_s:g} s | {'yes' if p95 <= goal_s else 'no'} |"
            )
            click.echo(rows[-1], err=True)
    return rows


def _values(cluster: Cluster, rounds: int, size: int) -> list[str]:
    ours = []
    with cluster.client(timeout_s=60.0) as rest:
        for number in range(rounds + 1):
            queues = ["on_b", "on_c"] if number % 2 else ["on_c", "on_b"]
            end = rest.end(rest.submit(VALUE, params={"queues": queues, "size": size}), deadline_s=90)
            assert end["status"] == "SUCCESS", end
            ours.append(float(end["result"]))
    script = cluster.head.home / "bare.py"
    script.write_text(BARE.replace("ROUNDS", str(rounds)).replace("SIZE", str(size)), encoding="utf-8")
    bare = [float(line) for line in cluster.head.run("python bare.py", env=cluster.ray_token).stdout.split()]
    # The first ones start workers.
    mine, theirs = statistics.median(ours[1:]), statistics.median(bare[1:])
    ratio = theirs / mine
    name = f"value of {size / _MEGABYTE:.0f} MB between machines"
    row = (
        f"| {name}: speed beside bare Ray | {ratio:.2f} ({mine:.2f} s; bare Ray {theirs:.2f} s) | ≥ {VALUE_GOAL} | "
        f"{'yes' if ratio >= VALUE_GOAL else 'no'} |"
    )
    click.echo(row, err=True)
    return [row]


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Measurements of each figure.")
@click.option("--megabytes", type=click.IntRange(min=1), default=200, show_default=True, help="Size of the value.")
def main(parts: tuple[str, ...], rounds: int, megabytes: int) -> None:
    """Measure the platform on three machines, and print a table.

    \b
    Parts: detection values
    """
    rows: list[str] = []
    with Network(("a", "b", "c")) as network:
        cluster = _cluster(network)
        if not parts or "values" in parts:
            rows += _values(cluster, rounds, megabytes * _MEGABYTE)
        if not parts or "detection" in parts:
            rows += _detection(cluster, rounds)
        described = machine.describe(network.share)
    click.echo("\n".join(["| figure | measured | goal | met |", "|---|---|---|---|", *rows, "", described]))


if __name__ == "__main__":
    main()
