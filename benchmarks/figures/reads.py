"""How long a question about a job takes, with few jobs and with many, beside the most trivial route of the same app."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from uuid import uuid4

from benchmarks.figures.latency import run_ours
from benchmarks.goals import Result, compare
from benchmarks.load import Connection, Form
from benchmarks.platform import Ours
from benchmarks.sides import Sides, in_turn
from pixyz_ray.jobs import Attempt, Job, JobState
from pixyz_ray.store import JobStore

_ROWS = 1000
_WARM_UP = 100
_FEW = 100
_ENDLESS = b"import time\n\n\ndef main(pc, params):\n    time.sleep(600)\n"


def reads(sides: Sides) -> list[Result]:
    """Reading with the jobs of this run in the store."""
    with sides.ours.connect() as connection:
        for _ in range(_FEW):
            run_ours(connection)
        uuids = [job["uuid"] for job in connection.get_json(f"/jobs?limit={_FEW}")["jobs"]]
        return [*_measure(sides, connection, uuids, ""), _of_a_running_job(sides, connection)]


def reads_many(sides: Sides) -> list[Result]:
    """Reading with many jobs stored, by a platform that was started on them."""
    sides.stop_all()
    ours = Ours(sides.folder)
    uuids = _fill(ours, sides.scale.stored)
    ours.start()
    try:
        with ours.connect() as connection:
            return _measure(sides, connection, uuids, "-many")
    finally:
        ours.stop()


def _of_a_running_job(sides: Sides, connection: Connection) -> Result:
    """What a client that polls sees: the answer may change at any time, so that nothing can be kept."""
    uuid = connection.post("/jobs", Form(script=_ENDLESS))["uuid"]
    try:
        while connection.get_json(f"/jobs/{uuid}")["status"] != "RUNNING":
            time.sleep(0.01)
        job, root = in_turn(
            sides.scale.blocks,
            lambda: _block(connection, itertools.repeat(f"/jobs/{uuid}"), sides.scale.gets),
            lambda: _block(connection, itertools.repeat("/"), sides.scale.gets),
        )
    finally:
        connection.post(f"/jobs/{uuid}/cancel", Form())
    return compare("get-running-job", job, root, "{:.2f} ms", 1000)


def _measure(sides: Sides, connection: Connection, uuids: list[str], suffix: str) -> list[Result]:
    # Spread over the whole table, and where there are enough of them each is asked for once: nothing can be remembered.
    step = max(1, len(uuids) // (_WARM_UP + sides.scale.blocks * sides.scale.gets))
    turns = itertools.cycle(uuids[::step])
    paths = {
        "job": (f"/jobs/{uuid}" for uuid in turns),
        "root": itertools.repeat("/"),
        "list": itertools.repeat("/jobs?limit=100"),
    }
    for kind in paths:
        _block(connection, paths[kind], _WARM_UP)
    job, root, listed = in_turn(
        sides.scale.blocks,
        lambda: _block(connection, paths["job"], sides.scale.gets),
        lambda: _block(connection, paths["root"], sides.scale.gets),
        lambda: _block(connection, paths["list"], sides.scale.gets // 3),
    )
    return [
        compare(f"get-job{suffix}", job, root, "{:.2f} ms", 1000),
        compare(f"list-jobs{suffix}", listed, root, "{:.2f} ms", 1000),
    ]


def _block(connection: Connection, paths: Iterator[str], count: int) -> float:
    values = []
    for path in itertools.islice(paths, count):
        began = time.perf_counter()
        connection.get(path)
        values.append(time.perf_counter() - began)
    return statistics.median(values)


def _fill(ours: Ours, count: int) -> list[str]:
    """Store so many ended jobs and return their ids."""
    store = JobStore(ours.store_url)
    uuids = [str(uuid4()) for _ in range(count)]
    for first in range(0, count, _ROWS):
        store.write([_ended_job(uuid) for uuid in uuids[first : first + _ROWS]])
    store.close()
    return uuids


def _ended_job(uuid: str) -> Job:
    now = time.time()
    attempt = Attempt(number=1, queue="cpu", started=now, stopped=now, node="here", pid=1)
    job = Job(
        uuid=uuid, name="noop.py", process="custom", script="noop.py", script_digest="0" * 64, attempts=(attempt,)
    )
    return job.become(JobState.SUCCESS, stopped=now, started=now)
