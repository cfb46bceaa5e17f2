"""A part that is slow or frozen holds up only those who need it: the tracker, and thousands of event streams."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from httpx_sse import EventSource

from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PATIENCE_S = 15.0
STREAMS = 2000
CHATTY_S = 15.0
GATED = """
import time
from pathlib import Path

def main(pc, params):
    print("begun", flush=True)
    deadline = time.monotonic() + 90
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    print("through", flush=True)
"""
CHATTY = """
import time
from pathlib import Path

def main(pc, params):
    deadline = time.monotonic() + 120
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    began = number = 0
    began = time.monotonic()
    while time.monotonic() - began < params["seconds"]:
        print("line", number, flush=True)
        if number % 10 == 0:
            pc.progress_next("step %d" % number)
        number += 1
        time.sleep(0.01)
"""


def _timed(http: httpx.Client, method: str, path: str) -> tuple[int, float, bool]:
    """Return status, seconds, and whether the answer says when to try again."""
    began = time.monotonic()
    answer = http.request(method, path)
    return answer.status_code, time.monotonic() - began, "retry-after" in answer.headers


def _follow(client: RestClient, uuid: str, told: list[str]) -> None:
    """Collect the kinds of a job's events as they come."""
    with client.stream(uuid) as answer:
        for event in EventSource(answer).iter_sse():
            told.append(event.event)


def test_given_a_frozen_tracker_when_asked_then_every_request_gets_503_in_time_and_open_streams_survive(
    platform: TestPlatform, rest: RestClient, tmp_path: Path
) -> None:
    """SIGSTOP: its connections stay open, and nothing ever comes."""
    gate = tmp_path / "gate"
    # Somebody follows the one; to follow the other takes a new subscription.
    uuid, done = rest.submit(GATED, params={"gate": str(gate)}), rest.submit("def main(pc, params): pass\n")
    rest.end(done)
    rest.wait_for(uuid, "RUNNING")
    followed: list[str] = []
    with platform.client(timeout_s=60) as other:
        thread = threading.Thread(target=_follow, args=(other, uuid, followed))
        thread.start()
        wait_until(lambda: "log" in followed, "the stream is open")
        # The supervisor too: it would have the tracker replaced before a request has waited too long.
        frozen = [psutil.Process(platform.record.pid), *platform.processes("ray::Tracker")]
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        try:
            asked = [("GET", f"/jobs/{uuid}"), ("GET", f"/jobs/{uuid}/outputs"), ("GET", f"/jobs/{uuid}/logs")]
            asked += [("GET", "/jobs?limit=5"), ("GET", "/jobs"), ("GET", "/queues"), ("GET", "/metrics")]
            asked += [("GET", f"/jobs/{done}/details"), ("GET", f"/jobs/{done}/events")]
            asked += [("POST", f"/jobs/{done}/cancel"), ("POST", f"/jobs/{done}/remove")]
            with ThreadPoolExecutor(len(asked) * 3) as pool:
                calls = [pool.submit(_timed, rest.http, *one) for one in asked * 3]
                assert _timed(rest.http, "GET", "/health/live")[1] < 2
                answers = [call.result() for call in calls]
            assert {(status, retry) for status, _, retry in answers} == {(503, True)}
            assert max(seconds for _, seconds, _ in answers) < PATIENCE_S
            assert _timed(rest.http, "GET", "/health")[1] < PATIENCE_S / 2
        finally:
            for process in reversed(frozen):
                process.send_signal(signal.SIGCONT)
        gate.touch()
        thread.join(60)
    assert not thread.is_alive()
    assert followed[-1] == "status"
    assert followed.count("log") > 1
    wait_until(lambda: rest.http.get(f"/jobs/{uuid}").status_code == 200, "the tracker answers again")


def test_given_thousands_of_streams_of_a_chatty_job_when_others_ask_then_they_are_served_meanwhile(
    platform: TestPlatform, rest: RestClient, tmp_path: Path
) -> None:
    """Each stream is told everything; the job has one reader."""
    gate = tmp_path / "gate"
    uuid = rest.submit(CHATTY, params={"gate": str(gate), "seconds": CHATTY_S})
    load = Path(__file__).with_name("stream_load.py")
    command = [sys.executable, str(load), "127.0.0.1", str(platform.port), platform.token, uuid, str(STREAMS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        gate.touch()
        took, ends = [], time.monotonic() + CHATTY_S
        while time.monotonic() < ends:
            took.append(_timed(rest.http, "GET", f"/jobs/{uuid}")[1])
            time.sleep(0.02)
        result = json.loads(process.stdout.readline())
    print(
        f"p50 {statistics.median(took):.3f} s, p95 {statistics.quantiles(took, n=20)[-1]:.3f} s, {len(took)} requests"
    )
    replicas = platform.processes("ray::ServeReplica")
    print("memory of the replica:", [psutil.Process(one.pid).memory_info().rss >> 20 for one in replicas], "MiB")
    assert result["errors"] == {}
    assert result["ended"] == STREAMS
    assert list(result["printed"]) == [str(len(rest.log(uuid)))]
    # On a machine that does nothing else it is below 0.1 s; see docs/operating.md.
    assert statistics.quantiles(took, n=20)[-1] < 1.0
