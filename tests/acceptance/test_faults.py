"""Every way in which a job goes wrong, as a table: what it comes to, and that the next job on the machine is not hurt.

The rows run side by side on a platform of their own; each is judged by a test of its own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.fault_table import DEADLINE_S, FAULTS, MIB, Fault, Run
from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

SCRIPTS = [
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("fault_script.py", "strain_script.py")
]
MAX_LOG_BYTES = 2 * MIB
SIDE_BY_SIDE = 3
GONE_S = 5
LONG_ENOUGH_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What came of a row."""

    details: dict[str, Any]
    """The job."""
    left: list[psutil.Process]
    """What it had started and was still there some seconds after its end."""
    outputs: list[str]
    """Names of its outputs."""
    log_bytes: int
    """Size of its log."""
    next_jobs: list[dict[str, Any]]
    """The jobs after it."""
    seconds: float
    """How long the row took."""


def script_with(function: str) -> str:
    """Return the script that has a function."""
    return next(script for script in SCRIPTS if f"\ndef {function}(" in script)


class Stage:
    """The platform with the rows that run on it.

    Args:
        platform: it is up.
        rows: names of the faults that are wanted.
    """

    def __init__(self, platform: TestPlatform, rows: list[str]) -> None:
        self._platform = platform
        with platform.client() as rest:
            self.untouched = rest.run(script_with("probe"), config={"entrypoint": "probe"})["result"]["found"]
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self._rows: dict[str, Future[Seen]] = {row: self._pool.submit(self._see, row) for row in rows}

    def seen(self, row: str) -> Seen:
        """Return what came of a row."""
        return self._rows[row].result()

    def close(self) -> None:
        """Begin no row any more."""
        self._pool.shutdown(cancel_futures=True)

    def _see(self, row: str) -> Seen:
        fault, began = FAULTS[row], time.monotonic()
        with self._platform.client() as rest:
            uuid = self._begin(rest, row, fault)
            run = Run(rest=rest, uuid=uuid, folder=self._platform.home / "share" / uuid)
            if fault.act is not None:
                fault.act(run)
            details = rest.end(uuid, deadline_s=DEADLINE_S)
            left = leftovers(run, details, fault)
            answer = rest.http.get(f"/jobs/{uuid}/outputs")
            log = run.folder / "job.log"
            return Seen(
                details=details,
                left=left,
                outputs=answer.json().get("outputs", []) if answer.status_code == 200 else [],
                log_bytes=log.stat().st_size if log.is_file() else 0,
                next_jobs=next_jobs(rest, details),
                seconds=time.monotonic() - began,
            )

    def _begin(self, rest: RestClient, row: str, fault: Fault) -> str:
        cause = fault.fault or row
        params = {"fault": cause, "well_again": fault.well_again}
        script = script_with(cause if fault.entrypoint == "main" else fault.entrypoint)
        config: dict[str, Any] = {"entrypoint": fault.entrypoint, **fault.config}
        if not fault.before:
            return rest.submit(script, params=params, config=config)
        # Another job holds the only seat that this one needs too.
        seat = {"pools": ["seat"], "queue": "control"}
        holder = rest.submit(script, params={"fault": "sleep"}, config=seat)
        rest.wait_for(holder, "RUNNING")
        uuid = rest.submit(script, params=params, config=config | seat)
        (self._platform.home / "share" / uuid / fault.before).unlink()
        assert rest.http.post(f"/jobs/{holder}/cancel").status_code == 200
        return uuid


def leftovers(run: Run, details: dict[str, Any], fault: Fault) -> list[psutil.Process]:
    """Return what is still there of a job's processes after a moment: told in its log, marked, or of its group."""
    workers = {attempt["pid"] for attempt in details["attempts"]} - {None}
    dead = {details["attempts"][-1]["pid"]} if fault.dies else set()

    def living() -> list[psutil.Process]:
        log = run.rest.http.get(f"/jobs/{run.uuid}/logs").text
        told = dead | {int(pid) for pid in re.findall(r"^started (\d+)$", log, re.MULTILINE)}
        spared = workers - told
        return [each for each in psutil.process_iter() if each.pid not in spared and belongs(each, run, workers | told)]

    try:
        # Twice: one that was just being forked is missed by a look.
        wait_until(lambda: not (living() or living()), "its processes are gone", deadline_s=GONE_S, every_s=0.1)
    except AssertionError:
        return living()
    return []


def belongs(process: psutil.Process, run: Run, known: set[int]) -> bool:
    """Return whether a process that lives is one of those, in the group of one of those, or marked as the job's."""
    with suppress(psutil.Error, ProcessLookupError):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        mark = process.environ().get("PIXYZ_ATTEMPT", "")
        return process.pid in known or os.getpgid(process.pid) in known or mark.startswith(run.uuid)
    return False


def next_jobs(rest: RestClient, details: dict[str, Any]) -> list[dict[str, Any]]:
    """Run jobs until one has had the worker of the one before, if that is still there; return what came of them."""
    pid = details["attempts"][-1]["pid"] if details["attempts"] else None
    after: list[dict[str, Any]] = []
    while len(after) < SIDE_BY_SIDE and (not after or (psutil.pid_exists(pid or 0) and after[-1].get("pid") != pid)):
        job = rest.run(script_with("probe"), config={"entrypoint": "probe"}, deadline_s=DEADLINE_S)
        after.append(
            {"status": job["status"], "error": job["error"], "log": rest.log(job["uuid"]), **(job["result"] or {})}
        )
    return after


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A platform with tight limits, and on it the rows that are wanted."""
    wanted = [
        item.callspec.params["row"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    ]
    platform = TestPlatform(
        CONCURRENT_TASKS="2",
        MAX_LOG_BYTES=str(MAX_LOG_BYTES),
        CLEANUP_ENABLED="false",
        PIXYZ_POOLS='{"seat": 1}',
        PIXYZ_QUEUES=f'{{"gpuhigh": {{"memory_limit": {600 * MIB}}}}}',
    )
    try:
        platform.up()
        stage = Stage(platform, wanted)
        try:
            yield stage
        finally:
            stage.close()
    finally:
        platform.close()


@pytest.mark.parametrize("row", FAULTS)
def test_given_a_fault_when_it_happens_then_the_job_ends_as_the_table_says_and_the_next_one_is_not_hurt(
    stage: Stage, row: str
) -> None:
    """Given a script or an act of the table, when its job has ended, then every word of its row holds."""
    fault, seen = FAULTS[row], stage.seen(row)
    details, attempts = seen.details, seen.details["attempts"]
    told = [(attempt["queue"], attempt["failure"], round(lasted(attempt), 2)) for attempt in attempts]
    print(f"{row}: {details['status']} {told} {seen.seconds:.1f} s, then {len(seen.next_jobs)} jobs")
    assert details["status"] == fault.state, str(details)
    assert tuple(attempt["failure"] for attempt in attempts) == fault.classes, str(attempts)
    assert tuple(attempt["queue"] for attempt in attempts) == fault.queues[: len(attempts)]
    for attempt in attempts:
        judge_attempt(attempt, fault)
    if fault.state == "SUCCESS":
        assert details["result"] == fault.result
        assert details["error"] is None
    else:
        assert re.search(fault.error, attempts[-1]["error"], re.DOTALL), attempts[-1]["error"]
        assert details["error"]
        assert len(details["error"]) < MIB
    assert seen.left == []
    assert seen.log_bytes <= MAX_LOG_BYTES
    assert len(seen.outputs) == fault.files
    for after in seen.next_jobs:
        assert (after["error"], after["status"], after["log"]) == (None, "SUCCESS", "out\nerr\n")
        assert after["found"] == stage.untouched


def judge_attempt(attempt: dict[str, Any], fault: Fault) -> None:
    """Hold an attempt against its row."""
    assert attempt["started"], str(attempt)
    assert attempt["stopped"], str(attempt)
    if attempt["failure"] is None:
        assert (attempt["signal"], attempt["exit_code"], attempt["error"]) == (None, None, None)
        return
    assert attempt["error"], str(attempt)
    if fault.signal is not None or fault.exit_code is not None:
        assert (attempt["signal"], attempt["exit_code"]) == (fault.signal, fault.exit_code), str(attempt)
    assert re.search(fault.log, attempt["log"] or ""), str(attempt)
    if attempt["pid"] and lasted(attempt) > LONG_ENOUGH_S:
        assert attempt["peak_rss"], str(attempt)


def lasted(attempt: dict[str, Any]) -> float:
    """Return the seconds that an attempt took; 0 for one that never began."""
    if not attempt["started"] or not attempt["stopped"]:
        return 0.0
    begin, end = (datetime.fromisoformat(attempt[name]) for name in ("started", "stopped"))
    return (end - begin).total_seconds()
