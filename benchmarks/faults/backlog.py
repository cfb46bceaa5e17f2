"""A hundred thousand jobs that wait: how quickly they are taken, what they cost, and what is asked about them."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.chaos import Say
from benchmarks.faults.figures import Figure, at_least, at_most, shown
from benchmarks.faults.platform import TRACKER, Fragile, kill, wait_until
from benchmarks.load import Connection, Form, Refused
from benchmarks.platform import NOOP
from benchmarks.sides import in_turn

_CONNECTIONS = 4
_PART = 5000
_FEW = 100
_BLOCKS = 7
_ASKED = 40
_DRAINED = 300
_AS_QUICK = 1.5
_GATED = b"""import os, time


def main(pc, params):
    while not os.path.exists(params["gate"]):
        time.sleep(0.05)
"""
_QUESTIONS = ("/jobs?limit=100", "/jobs?limit=100&why=true", "/jobs/{}", "/jobs/{}/details")
_NAMES = {
    _QUESTIONS[0]: "`GET /jobs?limit=100`",
    _QUESTIONS[1]: "the same with `why=true`",
    _QUESTIONS[2]: "`GET /jobs/{id}` of a waiting job",
    _QUESTIONS[3]: "`GET /jobs/{id}/details` of a waiting job, with its place in line",
}


@dataclass(kw_only=True, slots=True)
class _Backlog:
    """What was seen while the queue grew."""

    uuids: list[str] = field(default_factory=list)
    """Jobs in the order in which they were accepted, as far as one connection knows."""
    times: list[float] = field(default_factory=list)
    """When each was accepted."""
    memory: dict[int, int] = field(default_factory=dict)
    """Jobs that waited -> bytes of the tracker that it shares with nobody."""


def backlog(count: int, say: Say, folder: Path | None = None) -> list[Figure]:
    """Return the rows of the table.

    Args:
        count: jobs that are to wait.
        say: takes lines that tell how it goes.
        folder: where to work; a temporary folder is made in it.
    """
    work = Path(tempfile.mkdtemp(prefix="pixyz-backlog-", dir=folder))
    try:
        with ExitStack() as both:
            platform, gate = both.enter_context(_one_at_a_time(work / "many"))
            seen = _grow(platform, count, say)
            with _one_at_a_time(work / "few") as (small, _):
                few = _Backlog()
                _send(small, few, _FEW, 1)
                answers = _ask((small, few.uuids), (platform, seen.uuids))
            say("the questions are asked")
            back_s = _kill_tracker(platform, seen.uuids[count // 2])
            say(f"the tracker answered again after {back_s:.1f} s")
            gate.touch()
            ordered = _drain(platform, seen.uuids[:_DRAINED])
    finally:
        # Half a million files: what is left of them when the machine is in a hurry lies in a temporary folder.
        shutil.rmtree(work, ignore_errors=True)
    return [
        *_growth(seen, count),
        *_reading(answers, count),
        shown(f"SIGKILL of the tracker with {count:,} waiting → it says where one stands", f"{back_s:.1f} s"),
        Figure(
            title=f"the first {_DRAINED} of them then run in the order in which they were sent",
            measured="yes" if ordered else "no",
            goal="yes",
            met=ordered,
        ),
    ]


@contextmanager
def _one_at_a_time(work: Path) -> Iterator[tuple[Fragile, Path]]:
    """Start a platform that runs one job at a time, and one job that keeps it busy until the gate is there."""
    work.mkdir()
    gate = work / "gate"
    platform = Fragile(work, CONCURRENT_TASKS="1", PIXYZ_QUEUES='{"cpu": {"concurrency": 1}}')
    platform.start()
    try:
        with platform.connect() as connection:
            form = Form(_GATED, fields={"params": json.dumps({"gate": str(gate)}), "name": "gate"})
            uuid = connection.post("/jobs", form)["uuid"]
            wait_until(lambda: connection.get_json(f"/jobs/{uuid}")["status"] == "RUNNING", "the first job runs")
        yield platform, gate
    finally:
        gate.touch()
        platform.stop()


# --- Growing ---------------------------------------------------------------------------------------------------------


def _grow(platform: Fragile, count: int, say: Say) -> _Backlog:
    """Send jobs; stop at the marks to look at what they cost."""
    seen = _Backlog()
    # The first few by one connection: their order is known.
    for mark in (_DRAINED, _middle(count), count):
        _send(platform, seen, mark - len(seen.uuids), _CONNECTIONS if mark > _DRAINED else 1)
        seen.memory[mark] = _own_memory(platform)
        say(f"{mark:,} jobs wait; the tracker has {seen.memory[mark] / 2**20:.0f} MiB of its own")
    return seen


def _send(platform: Fragile, seen: _Backlog, count: int, connections: int) -> None:
    lock = threading.Lock()
    left = itertools.count()
    form = Form(NOOP)

    def send() -> None:
        with platform.connect() as connection:
            while next(left) < count:
                uuid = connection.post("/jobs", form)["uuid"]
                with lock:
                    seen.uuids.append(uuid)
                    seen.times.append(time.perf_counter())

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _own_memory(platform: Fragile) -> int:
    """Return the tracker's memory that it shares with nobody, once it is quiet."""
    tracker = platform.titled(TRACKER)[0]
    values: list[int] = []
    while len(values) < 5 or min(values[-3:]) < min(values[:-3]):
        time.sleep(0.5)
        values.append(tracker.memory_full_info().uss)
    return min(values)


def _ask(*sides: tuple[Fragile, list[str]]) -> dict[str, tuple[list[float], ...]]:
    """Return, of each question, the median seconds of its answers in each block of each side, taken in turn."""
    with ExitStack() as open_ones:
        asked = [(open_ones.enter_context(platform.connect()), itertools.cycle(_all_over(u))) for platform, u in sides]
        return {
            question: tuple(
                in_turn(_BLOCKS, *(partial(_block, connection, question, uuids) for connection, uuids in asked))
            )
            for question in _QUESTIONS
        }


def _all_over(uuids: list[str]) -> list[str]:
    """Return ids from all over the queue."""
    return uuids[:: max(1, len(uuids) // (_BLOCKS * _ASKED))]


def _block(connection: Connection, question: str, uuids: Iterator[str]) -> float:
    values = []
    for uuid in itertools.islice(uuids, _ASKED):
        began = time.perf_counter()
        connection.get(question.format(uuid))
        values.append(time.perf_counter() - began)
    return statistics.median(values)


# --- Killing and draining --------------------------------------------------------------------------------------------


def _kill_tracker(platform: Fragile, uuid: str) -> float:
    """Kill the tracker; return the seconds until it says again where a job from the middle stands."""
    began = time.monotonic()
    kill(platform.titled(TRACKER)[0].pid)

    def standing() -> Any:
        try:
            with platform.connect() as connection:
                return connection.get_json(f"/jobs/{uuid}/details")["waiting"]
        except (OSError, Refused):
            return None

    waiting = wait_until(standing, "the tracker answers again", patience_s=300.0, every_s=0.1)
    assert waiting["position"], waiting
    return time.monotonic() - began


def _drain(platform: Fragile, uuids: list[str]) -> bool:
    """Let the first ones run; return whether they did so in the order in which they had been sent."""
    with platform.connect() as connection:

        def details(uuid: str) -> dict[str, Any]:
            found: dict[str, Any] = connection.get_json(f"/jobs/{uuid}/details")
            return found

        last = uuids[-1]
        wait_until(lambda: details(last)["status"] == "SUCCESS", "the first have run", patience_s=300.0, every_s=0.2)
        started = [details(uuid)["attempts"][0]["started"] for uuid in uuids]
    return started == sorted(started)


# --- The table -------------------------------------------------------------------------------------------------------


def _growth(seen: _Backlog, count: int) -> list[Figure]:
    middle = _middle(count)
    part = min(_PART, middle - _DRAINED)
    # From where all connections send; the first few came by one.
    first, last = _rate(seen.times[_DRAINED:][:part]), _rate(seen.times[-part:])
    each = (seen.memory[count] - seen.memory[middle]) / (count - middle) / 1024
    return [
        at_least(
            f"submit rate of the last {part:,} jobs of {count:,} to that of the first {part:,}",
            last / first,
            0.8,
            "x",
            f" ({last:.0f}/s, {first:.0f}/s)",
        ),
        at_most(
            f"tracker's memory for each waiting job, from {middle:,} to {count:,}",
            each,
            1,
            "KiB",
            f" (on {seen.memory[_DRAINED] / 2**20:.0f} MiB)",
        ),
    ]


def _reading(answers: Mapping[str, tuple[list[float], ...]], count: int) -> list[Figure]:
    rows = []
    for question, (few, many) in answers.items():
        ratio = statistics.median(more / less for less, more in zip(few, many, strict=True))
        shown_too = f" ({statistics.median(many) * 1000:.2f} ms, {statistics.median(few) * 1000:.2f} ms)"
        title = f"{_NAMES[question]}: p50 with {count:,} waiting to that with {_FEW}"
        rows.append(at_most(title, ratio, _AS_QUICK, "x", shown_too))
    return rows


def _middle(count: int) -> int:
    """Return from how many jobs on the tracker's memory is counted: by then its caches are full."""
    return max(1000, count // 5)


def _rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])
