"""From a stopped machine to the first job done; and what is then spent while nothing is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from benchmarks.bare import BareRay
from benchmarks.figures.latency import run_ours
from benchmarks.goals import Result, compare
from benchmarks.platform import Ours
from benchmarks.sides import Sides, in_turn
from pixyz_ray.reaper import marked


def startup(sides: Sides) -> list[Result]:
    """Start both sides in turn, let each run one job, and look at what it takes while it idles afterwards."""
    sides.stop_all()
    memory: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    ours = Ours(sides.folder)

    def look(side: int, session: str, root: int | None = None) -> None:
        time.sleep(sides.scale.settle_s)
        processes = family(session, root)
        cpu[side].append(_cpu_percent(processes, sides.scale.idle_s))
        memory[side].append(pss(processes))

    def start_ours() -> float:
        return _timed(lambda: _first_job(ours), lambda: look(0, ours.running.session, ours.running.pid), ours.stop)

    def start_bare() -> float:
        bare = BareRay()
        return _timed(bare.start, lambda: look(1, bare.session), bare.stop)

    seconds = in_turn(sides.scale.starts, start_ours, start_bare)
    sides.stop_all()
    return [
        compare("startup", *seconds, "{:.1f} s"),
        compare("idle-memory", *memory, "{:.0f} MB", 1e-6),
        Result(key="idle-cpu", ours=_percent(cpu[0]), bare=_percent(cpu[1]), values=tuple(cpu[0])),
    ]


def _first_job(ours: Ours) -> None:
    ours.start()
    with ours.connect() as connection:
        run_ours(connection)


def _timed(start: Callable[[], None], look: Callable[[], None], stop: Callable[[], None]) -> float:
    try:
        began = time.perf_counter()
        start()
        seconds = time.perf_counter() - began
        look()
        return seconds
    finally:
        stop()


def family(session: str, root: int | None) -> set[psutil.Process]:
    """Return all processes of a run: those marked, the one that started them, and whatever these have started.

    Some of Ray's write their title over their environment, and with it over the mark.
    """
    found = set(marked(session)) | ({psutil.Process(root)} if root else set())
    for process in list(found):
        try:
            found.update(process.children(recursive=True))
        except psutil.Error:
            continue
    return found


def pss(processes: set[psutil.Process]) -> float:
    """Return the memory of processes in bytes, pages that several share counted once."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return float(total)


def _cpu_percent(processes: set[psutil.Process], seconds: float) -> float:
    before = sum(_cpu_seconds(process) for process in processes)
    time.sleep(seconds)
    after = sum(_cpu_seconds(process) for process in processes)
    return 100 * (after - before) / seconds


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _percent(values: list[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.1f} %"
