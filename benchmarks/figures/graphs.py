"""Graphs: what a step of a chain takes, how quick a large group is, and what passing a large array costs."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import psutil

from benchmarks.figures.startup import family, pss
from benchmarks.goals import Result, compare
from benchmarks.load import Connection, Form, Refused
from benchmarks.sides import Sides, in_turn

_SCRIPT = b"""import time
from pixyz_worker.script import *


def noop(pc, params):
    return params


def step(pc, params):
    now = time.time()
    gaps = [*params["gaps"], now - params["end"]] if params["end"] else []
    return {"gaps": gaps, "end": time.time()}


def count(pc, params):
    return len(params)


def make(pc, params):
    import numpy

    return numpy.ones(params * (1 << 20) // 8)


def hand_on(pc, params):
    params[0]
    return params


def add_up(pc, params):
    return float(params.sum())


def composed(kind, n, pc):
    def task(name, *params):
        return pixyz_execute.s(*params, pc=pc.clone(entrypoint=name, raw=True, compute_only=True))

    if kind == "chain":
        return chain(task("step", {"gaps": [], "end": 0}), *[task("step") for _ in range(n - 1)])
    if kind == "group":
        return group(task("noop", number) for number in range(n))
    if kind == "chord":
        return chord([task("noop", number) for number in range(n)], task("count"))
    return chain(task("make", n), *[task("hand_on") for _ in range(3)], task("add_up"))


@pixyz_schedule(wait=True)
def main(pc, params):
    return composed(params["kind"], params["n"], pc)()
"""
_MS = 1000.0
_LOOK_EVERY_S = 0.02


def graphs(sides: Sides) -> list[Result]:
    """Chains, groups, chords and a large array, in turn with bare Ray tasks that do the same."""
    with sides.ours.connect() as ours, sides.bare.connect() as bare:
        for kind in ("chain", "group", "chord"):
            _run(ours, kind, 200)
            bare.get(f"/{kind}s/200")
        return [
            *_chain(sides, ours, bare),
            *_group(sides, ours, bare),
            *_timed(sides, ours, bare, "chord", sides.scale.chord, "{:.2f} s"),
            *_array(sides, ours, bare),
        ]


def _chain(sides: Sides, ours: Connection, bare: Connection) -> list[Result]:
    """From the end of one task to the start of the next; and a long chain as a whole."""
    steps = sides.scale.chain
    values = in_turn(
        sides.scale.blocks,
        lambda: statistics.median(_run(ours, "chain", steps)["gaps"]),
        lambda: statistics.median(bare.get_json(f"/chains/{steps}")),
    )
    return [
        compare("chain-step", *values, "{:.2f} ms", _MS),
        *_timed(sides, ours, bare, "chain", sides.scale.long_chain, "{:.2f} s"),
    ]


def _group(sides: Sides, ours: Connection, bare: Connection) -> list[Result]:
    """Tasks per second of a large group, and what the tracker remembers of each."""
    n = sides.scale.group
    growth: list[float] = []

    def ours_rate() -> float:
        with _Peak(_tracker(sides), lambda process: process.memory_info().rss) as peak:
            began = time.perf_counter()
            _run(ours, "group", n)
            rate = n / (time.perf_counter() - began)
        growth.append(peak.growth / n / 1024)
        return rate

    rates = in_turn(sides.scale.group_blocks, ours_rate, lambda: n / _seconds(bare, "group", n))
    # The first has filled what stays filled, such as the list of the jobs that ended last.
    memory = Result(key="group-memory", ours=f"{statistics.median(growth):.2f} KiB", values=tuple(growth))
    return [compare("group", *rates, "{:.0f} /s"), memory]


def _array(sides: Sides, ours: Connection, bare: Connection) -> list[Result]:
    """An array that goes through five tasks: time, and the highest memory of all processes of a side."""
    size = sides.scale.array_mb
    peaks: list[list[float]] = [[], []]

    def ours_seconds() -> float:
        processes = family(sides.ours.running.session, sides.ours.running.pid)
        with _Peak(processes, _pss_of) as peak:
            began = time.perf_counter()
            _run(ours, "array", size)
            seconds = time.perf_counter() - began
        peaks[0].append(peak.growth)
        return seconds

    def bare_seconds() -> float:
        with _Peak(family(sides.bare.session, None), _pss_of) as peak:
            seconds = _seconds(bare, "array", size)
        peaks[1].append(peak.growth)
        return seconds

    ours_seconds(), bare_seconds()
    peaks[0].clear(), peaks[1].clear()
    values = in_turn(sides.scale.group_blocks, ours_seconds, bare_seconds)
    return [
        compare("array-time", *values, "{:.2f} s"),
        compare("array-memory", *peaks, "{:.0f} MB", 1e-6),
    ]


def _timed(sides: Sides, ours: Connection, bare: Connection, kind: str, n: int, form: str) -> list[Result]:
    def ours_seconds() -> float:
        began = time.perf_counter()
        _run(ours, kind, n)
        return time.perf_counter() - began

    values = in_turn(sides.scale.group_blocks, ours_seconds, lambda: _seconds(bare, kind, n))
    return [compare(f"{kind}-whole", *values, form)]


def _seconds(bare: Connection, kind: str, n: int) -> float:
    began = time.perf_counter()
    bare.get(f"/{kind}s/{n}")
    return time.perf_counter() - began


def _run(connection: Connection, kind: str, n: int) -> Any:
    """Run one graph to its end and return its result."""
    form = Form(script=_SCRIPT, fields={"params": f'{{"kind": "{kind}", "n": {n}}}'})
    uuid = connection.post("/jobs", form)["uuid"]
    while True:
        state = connection.get_json(f"/jobs/{uuid}")
        if state["status"] == "SUCCESS":
            return connection.get_json(f"/jobs/{uuid}/details")["result"]
        if state["status"] in ("FAILURE", "REVOKED"):
            raise Refused(f"the graph ended with {state['status']}: {state['error']}")
        time.sleep(_LOOK_EVERY_S)


def _tracker(sides: Sides) -> set[psutil.Process]:
    found = family(sides.ours.running.session, sides.ours.running.pid)
    return {process for process in found if "TrackerActor" in " ".join(process.cmdline())}


def _pss_of(process: psutil.Process) -> float:
    return pss({process})


class _Peak:
    """Watches processes while something runs.

    Args:
        processes: whose memory.
        measure: gives it, in bytes.
    """

    def __init__(self, processes: set[psutil.Process], measure: Any) -> None:
        self._processes = processes
        self._measure = measure
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._first = self._look()
        self._highest = self._first

    @property
    def growth(self) -> float:
        """Bytes more than at the beginning, at most."""
        return max(1.0, self._highest - self._first)

    def __enter__(self) -> _Peak:
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.join()
        self._highest = max(self._highest, self._look())

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self._highest = max(self._highest, self._look())

    def _look(self) -> float:
        total = 0.0
        for process in self._processes:
            try:
                total += self._measure(process)
            except psutil.Error:
                continue
        return total
