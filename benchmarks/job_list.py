"""`python -m benchmarks.job_list`: list all jobs in one answer, and watch what that costs the platform meanwhile."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from uuid import uuid4

import click
import httpx
import psutil

from benchmarks.platform import Ours
from pixyz_ray.jobs import Attempt, Job, JobState, StepRecord
from pixyz_ray.reaper import marked
from pixyz_ray.store import JobStore

_BATCH = 5000
_SAMPLE_S = 0.02


@click.command()
@click.option("--jobs", default=100_000, show_default=True, help="Jobs in the store.")
@click.option("--runs", default=3, show_default=True, help="Times that the list is read.")
def main(jobs: int, runs: int) -> None:
    """Measure GET /jobs without a limit: time, memory of replica and tracker, and how long others wait meanwhile."""
    work = Path(tempfile.mkdtemp(prefix="pixyz-list-"))
    ours = Ours(work)
    try:
        _fill(ours, jobs)
        ours.start()
        with httpx.Client(
            base_url=f"http://127.0.0.1:{ours.port}", headers={"x-api-key": ours.running.token}, timeout=600
        ) as client:
            some = client.get("/jobs", params={"limit": 1}).json()["jobs"][0]["uuid"]
            alone = _latencies(client, f"/jobs/{some}/details", lambda count: count >= 200)
            click.echo(f"details alone: {_shown(alone)}")
            for _ in range(runs):
                _measure(ours, client, some, jobs)
    finally:
        ours.stop()
        shutil.rmtree(work, ignore_errors=True)


def _fill(ours: Ours, count: int) -> None:
    store = JobStore(ours.store_url)
    attempt = Attempt(number=1, queue="cpu", started=1.0, stopped=2.0, node="host", pid=1)
    for start in range(0, count, _BATCH):
        store.write(
            Job(
                uuid=str(uuid4()),
                name="convert_file",
                process="convert_file",
                script="convert_file.py",
                params={"extension": "glb", "number": number},
                state=JobState.SUCCESS,
                started=1.0,
                stopped=2.0,
                attempts=(attempt,),
                steps=tuple(StepRecord(info=f"step {n}", duration=0.1) for n in range(4)),
                result={"output": "output.glb"},
            )
            for number in range(start, min(start + _BATCH, count))
        )
    store.close()


def _measure(ours: Ours, client: httpx.Client, some: str, jobs: int) -> None:
    done = threading.Event()
    peaks: dict[str, list[int]] = {}
    watcher = threading.Thread(target=_watch_memory, args=(ours, done, peaks))
    waits: list[float] = []
    asker = threading.Thread(target=lambda: waits.extend(_others(ours, some, done)))
    watcher.start()
    asker.start()
    began = time.perf_counter()
    size, first = 0, 0.0
    pieces = []
    with client.stream("GET", "/jobs") as answer:
        for piece in answer.iter_raw():
            first = first or time.perf_counter() - began
            size += len(piece)
            pieces.append(piece)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    asker.join()
    listed = httpx.Response(200, content=b"".join(pieces)).json()["jobs"]
    assert len({job["uuid"] for job in listed}) == len(listed) == jobs
    grown = ", ".join(f"{name} {values[0] >> 20} -> {max(values) >> 20} MiB" for name, values in peaks.items())
    click.echo(f"{len(listed)} jobs: {seconds:.2f} s, first byte {first * 1000:.0f} ms, {size / 1e6:.1f} MB; {grown}")
    click.echo(f"  details meanwhile: {_shown(waits)}")


def _others(ours: Ours, some: str, done: threading.Event) -> list[float]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{ours.port}", headers={"x-api-key": ours.running.token}, timeout=60
    ) as client:
        return _latencies(client, f"/jobs/{some}/details", lambda _count: done.is_set())


def _latencies(client: httpx.Client, path: str, enough: object) -> list[float]:
    found: list[float] = []
    assert callable(enough)
    while not enough(len(found)):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        found.append(time.perf_counter() - began)
    return found


def _watch_memory(ours: Ours, done: threading.Event, peaks: dict[str, list[int]]) -> None:
    watched = {}
    for process in marked(ours.running.session):
        line = " ".join(process.cmdline())
        for name, title in (("replica", "ray::ServeReplica"), ("tracker", "ray::Tracker")):
            if line.startswith(title):
                watched[name] = process
    while not done.is_set():
        for name, process in watched.items():
            try:
                peaks.setdefault(name, []).append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(_SAMPLE_S)


def _shown(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    return (
        f"{len(seconds)} requests, p50 {statistics.median(ordered) * 1000:.1f} ms, "
        f"p95 {ordered[int(len(ordered) * 0.95)] * 1000:.1f} ms, longest {ordered[-1] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
