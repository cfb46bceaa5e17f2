"""Graphs: what a step of a chain takes, how quick a large group is, and what passing a large array costs."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.figures.startup import family
from benchmarks.goals import Result, compare
from benchmarks.load import Connection, Form, Refused
from benchmarks.sides import Sides, in_turn

_SCRIPT = """import time
from pixyz_worker.script import *


def note(text):
    with open("@NOTES@", "a") as file:
        file.write(f"{text}\\n")


def noop(pc, params):
    return params


def step(pc, params):
    now = time.time()
    if params:
        note(now - params)
    return time.time()


def count(pc, params):
    return len(params)


def make(pc, params):
    import numpy

    return numpy.ones(params * (1 << 20) // 8)


def hand_on(pc, params):
    with open("/proc/self/status") as file:
        note(1024 * float(file.read().partition("RssAnon:")[2].split()[0]))
    return params


def add_up(pc, params):
    return float(params.sum())


def composed(kind, n, pc):
    def task(name):
        context = pc.clone(entrypoint=name, raw=True, compute_only=True)
        return lambda *params: pixyz_execute.s(*params, pc=context)

    if kind == "chain":
        return chain(task("step")(0), *[task("step")() for _ in range(n - 1)])
    if kind == "group":
        return group(map(task("noop"), range(n)))
    if kind == "chord":
        return chord(map(task("noop"), range(n)), task("count")())
    return chain(task("make")(n), *[task("hand_on")() for _ in range(3)], task("add_up")())


@pixyz_schedule(wait=True)
def main(pc, params):
    return composed(params["kind"], params["n"], pc)()
"""
_MS = 1000.0
_LOOK_EVERY_S = 0.02


def graphs(sides: Sides) -> list[Result]:
    """Chains, groups, chords and a large array, in turn with bare Ray tasks that do the same."""
    notes = sides.folder / "notes"
    with sides.ours.connect() as ours, sides.bare.connect() as bare:
        for kind in ("chain", "group", "chord"):
            _run(sides, ours, kind, 200)
            _run_bare(sides, bare, kind, 200)
        notes.unlink()
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
        lambda: statistics.median(_noted(sides, lambda: _run(sides, ours, "chain", steps))),
        lambda: statistics.median(_noted(sides, lambda: _run_bare(sides, bare, "chain", steps))),
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
            _run(sides, ours, "group", n)
            rate = n / (time.perf_counter() - began)
        growth.append(peak.growth / n / 1024)
        return rate

    rates = in_turn(sides.scale.group_blocks, ours_rate, lambda: n / _seconds(sides, bare, "group", n))
    # The first has filled what stays filled, such as the list of the jobs that ended last.
    memory = Result(key="group-memory", ours=f"{statistics.median(growth):.2f} KiB", values=tuple(growth))
    return [compare("group", *rates, "{:.0f} /s"), memory]


def _array(sides: Sides, ours: Connection, bare: Connection) -> list[Result]:
    """An array that goes through five tasks: time, and the private memory of the processes that hand it on."""
    size = sides.scale.array_mb
    private: list[list[float]] = [[], []]

    def seconds(run: Callable[[], object], kept: list[float]) -> float:
        began = time.perf_counter()
        kept.append(max(_noted(sides, run)))
        return time.perf_counter() - began

    sides_ = (
        lambda: seconds(lambda: _run(sides, ours, "array", size), private[0]),
        lambda: seconds(lambda: _run_bare(sides, bare, "array", size), private[1]),
    )
    # The first takes the store's memory from the system.
    for one in sides_:
        one()
    for kept in private:
        kept.clear()
    values = in_turn(sides.scale.group_blocks, *sides_)
    return [
        compare("array-time", *values, "{:.2f} s"),
        compare("array-memory", *private, "{:.0f} MB", 1e-6),
    ]


def _noted(sides: Sides, run: Callable[[], object]) -> list[float]:
    """Return the figures that tasks have noted while they ran."""
    notes = sides.folder / "notes"
    notes.unlink(missing_ok=True)
    run()
    return [float(line) for line in notes.read_text().split()]


def _timed(sides: Sides, ours: Connection, bare: Connection, kind: str, n: int, form: str) -> list[Result]:
    def ours_seconds() -> float:
        began = time.perf_counter()
        _run(sides, ours, kind, n)
        return time.perf_counter() - began

    values = in_turn(sides.scale.group_blocks, ours_seconds, lambda: _seconds(sides, bare, kind, n))
    return [compare(f"{kind}-whole", *values, form)]


def _seconds(sides: Sides, bare: Connection, kind: str, n: int) -> float:
    began = time.perf_counter()
    _run_bare(sides, bare, kind, n)
    return time.perf_counter() - began


def _run_bare(sides: Sides, bare: Connection, kind: str, n: int) -> None:
    """Have the bare app do the same."""
    bare.get(f"/{kind}s/{n}?notes={sides.folder / 'notes'}")


def _run(sides: Sides, connection: Connection, kind: str, n: int) -> Any:
    """Run one graph to its end and return its result."""
    form = Form(
        script=_SCRIPT.replace("@NOTES@", str(sides.folder / "notes")).encode(),
        fields={"params": f'{{"kind": "{kind}", "n": {n}}}'},
    )
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
    return {process for process in found if _is_tracker(process)}


def _is_tracker(process: psutil.Process) -> bool:
    # An idle worker may end just now.
    try:
        return "TrackerActor" in " ".join(process.cmdline())
    except psutil.Error:
        return False


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
