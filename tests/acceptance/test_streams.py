"""Following a job: events, logs, and cancelling it while it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from httpx_sse import EventSource, ServerSentEvent

from tests.acceptance.scripts import GATED, NOTHING, TWO_STEPS, WAIT_AT_GATE
from tests.rest_client import TERMINAL, RestClient
from tests.waiting import wait_until

TALKING = (
    WAIT_AT_GATE
    + """
import subprocess, sys
def main(pc, params):
    print("before the gate", flush=True)
    wait_at(params["gate"])
    print("after the gate")
    print("to stderr", file=sys.stderr)
    subprocess.run(["echo", "from a child"], check=True)
    os.write(1, b"from a descriptor\\n")
"""
)


def _data(events: list[ServerSentEvent], kind: str) -> list[dict[str, object]]:
    return [json.loads(event.data) for event in events if event.event == kind]


# --- Events ----------------------------------------------------------------------------------------------------------


def test_given_a_job_when_followed_to_its_end_then_events_come_in_order(rest: RestClient, gate: Path) -> None:
    """Steps before the status that ends them, the log before the end, and the end last."""
    uuid = rest.submit(TWO_STEPS, params={"gate": str(gate)})
    Path(f"{gate}.1").touch()
    gate.touch()
    events = rest.events(uuid)
    assert {event.event for event in events} == {"status", "step", "log"}
    assert all(event.id for event in events)

    statuses = _data(events, "status")
    assert all(state.keys() == {"uuid", "name", "status", "progress", "error"} for state in statuses)
    assert [state["status"] in TERMINAL for state in statuses] == [False] * (len(statuses) - 1) + [True]
    assert events[-1].event == "status"
    assert (statuses[-1]["status"], statuses[-1]["progress"]) == ("SUCCESS", 100)

    steps = _data(events, "step")
    assert all(step.keys() == {"index", "info", "duration", "progress"} for step in steps)
    assert [step["index"] for step in steps] == sorted(step["index"] for step in steps)
    ended = [step for step in steps if step["duration"] != -1]
    assert [(step["index"], step["info"]) for step in ended] == [(0, "one"), (1, "two")]
    assert "".join(str(log["text"]) for log in _data(events, "log")) == "in the middle\n"


def test_given_a_running_job_when_followed_then_each_step_is_told_when_it_begins(rest: RestClient, gate: Path) -> None:
    """Live: the script goes on only after the client has seen where it stands."""
    uuid = rest.submit(TWO_STEPS, params={"gate": str(gate)})
    told = []
    with rest.stream(uuid) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for event in EventSource(answer).iter_sse():
            data = json.loads(event.data)
            if event.event == "step":
                told.append((data["index"], data["duration"] == -1, data["progress"]))
                if data["duration"] == -1:
                    (gate if data["index"] else Path(f"{gate}.1")).touch()
    assert told == [(0, True, 0), (0, False, 0), (1, True, 50), (1, False, 50)]


def test_given_a_broken_stream_when_taken_up_then_only_what_is_new_comes(rest: RestClient, gate: Path) -> None:
    """Last-Event-ID says where the client stopped; together the pieces are the whole."""
    uuid = rest.submit(TWO_STEPS, params={"gate": str(gate)})
    Path(f"{gate}.1").touch()
    first = []
    with rest.stream(uuid) as answer:
        for event in EventSource(answer).iter_sse():
            first.append(event)
            if event.event == "log":
                break
    gate.touch()
    rest.end(uuid)
    second = rest.events(uuid, last_id=first[-1].id)
    assert _data(second, "log") == []
    assert [data["status"] for data in _data(second, "status")] == ["SUCCESS"]
    seen = [(data["index"], data["duration"] == -1) for data in _data(first + second, "step")]
    assert len(seen) == len(set(seen)), "a step was told twice"
    assert {(0, False), (1, False)} <= set(seen)


def test_given_any_event_when_the_stream_is_taken_up_from_it_then_nothing_is_lost_or_told_twice(
    rest: RestClient, gate: Path
) -> None:
    """Wherever the connection breaks."""
    uuid = rest.submit(TALKING, params={"gate": str(gate)})
    gate.touch()
    rest.end(uuid)
    events = rest.events(uuid)
    log = "".join(str(data["text"]) for data in _data(events, "log"))
    for index, event in enumerate(events):
        rest_of_them = rest.events(uuid, last_id=event.id)
        texts = _data(events[: index + 1], "log") + _data(rest_of_them, "log")
        assert "".join(str(data["text"]) for data in texts) == log
        statuses = _data(events[: index + 1], "status") + _data(rest_of_them, "status")
        assert [data["status"] for data in statuses].count("SUCCESS") == 1


def test_given_the_end_was_seen_when_asked_again_then_204(rest: RestClient) -> None:
    """Which tells a browser's EventSource to stay away."""
    uuid = rest.submit(NOTHING)
    last = rest.events(uuid)[-1].id
    with rest.stream(uuid, last_id=last) as answer:
        assert answer.status_code == 204


@pytest.mark.parametrize(
    "last_id", ["nonsense", "1-2", "9-9-9-9-9-9", "-1--1--1--1--1", "1-99-1-1-1", "٣-1-1-1-1"], ids=ascii
)
def test_given_an_id_that_is_not_ours_when_taken_up_then_all_is_told(rest: RestClient, last_id: str) -> None:
    """Better twice than never; nothing breaks."""
    uuid = rest.run(NOTHING)["uuid"]
    with rest.http.stream("GET", f"/jobs/{uuid}/events", headers={b"last-event-id": last_id.encode()}) as answer:
        assert answer.status_code == 200
        assert [event.event for event in EventSource(answer).iter_sse()][-1] == "status"


@pytest.mark.parametrize("log", [10**9, 10**15, 10**40])
def test_given_an_id_that_saw_more_log_than_there_is_when_taken_up_then_the_end_is_told(
    rest: RestClient, log: int
) -> None:
    """An id may come from anywhere; it must never break the stream."""
    uuid = rest.run("def main(pc, params):\n    print('short')\n")["uuid"]
    assert _data(rest.events(uuid, last_id=f"1-1-0-0-{log}"), "status")[-1]["status"] == "SUCCESS"


def test_given_a_failing_job_when_followed_then_the_end_carries_the_error(rest: RestClient) -> None:
    """A client that follows needs no other request to know why."""
    events = rest.events(rest.submit("def main(pc, params):\n    raise ValueError('not today')\n"))
    assert _data(events, "status")[-1]["status"] == "FAILURE"
    assert str(_data(events, "status")[-1]["error"]).endswith("ValueError: not today")


# --- Logs ------------------------------------------------------------------------------------------------------------


def test_given_a_running_job_when_its_log_is_followed_then_lines_come_before_it_ends(
    rest: RestClient, gate: Path
) -> None:
    """The script waits until its first line was seen."""
    uuid = rest.submit(TALKING, params={"gate": str(gate)})
    with rest.http.stream("GET", f"/jobs/{uuid}/logs", params={"follow": "true"}) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if line == "before the gate":
                assert rest.state(uuid)["status"] == "RUNNING"
                gate.touch()
    assert lines == ["before the gate", "after the gate", "to stderr", "from a child", "from a descriptor"]
    assert rest.log(uuid).splitlines() == lines


def test_given_a_log_when_an_offset_is_asked_then_it_begins_there(rest: RestClient) -> None:
    """In bytes; past the end there is nothing."""
    uuid = rest.run("def main(pc, params):\n    print('0123456789')\n")["uuid"]
    assert rest.http.get(f"/jobs/{uuid}/logs", params={"offset": 7}).text == "789\n"
    for offset in (11, 12, 10**15):
        assert rest.http.get(f"/jobs/{uuid}/logs", params={"offset": offset}).text == ""
    # No file has so many bytes: a mistake of the caller, which the answer names.
    for offset in (-1, 2**63, 10**40):
        assert rest.http.get(f"/jobs/{uuid}/logs", params={"offset": offset}).status_code == 400


def test_given_a_large_log_when_asked_then_it_is_whole(rest: RestClient) -> None:
    """More than one piece, with characters of several bytes."""
    uuid = rest.submit("def main(pc, params):\n    print('ünïcödé→' * 100_000)\n")
    expected = "ünïcödé→" * 100_000 + "\n"
    assert "".join(str(data["text"]) for data in _data(rest.events(uuid), "log")) == expected
    assert rest.log(uuid) == expected


def test_given_concurrent_jobs_when_they_print_then_no_log_has_anothers_lines(rest: RestClient, gate: Path) -> None:
    """Six at once, with what their child processes print."""
    script = WAIT_AT_GATE + (
        "import subprocess\n"
        "def main(pc, params):\n"
        "    wait_at(params['gate'])\n"
        "    for line in range(100):\n"
        "        print('job', params['n'], 'line', line)\n"
        "        if line % 25 == 0:\n"
        "            subprocess.run(['sh', '-c', f\"echo child {params['n']}; echo child {params['n']} >&2\"])\n"
    )
    uuids = [rest.submit(script, params={"gate": str(gate), "n": n}) for n in range(6)]
    for uuid in uuids:
        rest.wait_for(uuid, "RUNNING")
    gate.touch()
    for n, uuid in enumerate(uuids):
        assert rest.end(uuid)["status"] == "SUCCESS"
        lines = rest.log(uuid).splitlines()
        assert [line for line in lines if line.startswith("job")] == [f"job {n} line {line}" for line in range(100)]
        assert [line for line in lines if not line.startswith("job")] == [f"child {n}"] * 8


# --- Cancelling ------------------------------------------------------------------------------------------------------

SLEEPS = "import time\nwhile True: time.sleep(1)"
BUSY = {
    "sleep": SLEEPS,
    "C loop": "sum(range(10**15))",
    "stubborn": "import signal, time\nfor number in (1, 2, 10, 12, 15):\n    signal.signal(number, signal.SIG_IGN)\n"
    + SLEEPS,
    "catches all": "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except BaseException:\n        pass",
    "child process": "import subprocess\nsubprocess.run(['sleep', '1000'])",
}


def _by_post(rest: RestClient, uuid: str) -> int:
    return rest.http.post(f"/jobs/{uuid}/cancel").status_code


def _by_delete(rest: RestClient, uuid: str) -> int:
    return rest.http.delete(f"/jobs/{uuid}").status_code


@pytest.mark.parametrize(
    ("busy", "cancel"),
    [("sleep", _by_delete), *((busy, _by_post) for busy in BUSY)],
    ids=["sleep by DELETE", *(f"{busy} by POST" for busy in BUSY)],
)
def test_given_a_running_job_when_cancelled_then_it_is_revoked_and_its_process_gone(
    rest: RestClient, tmp_path: Path, busy: str, cancel: Callable[[RestClient, str], int]
) -> None:
    """Whatever it does at the moment; and it stays REVOKED."""
    body = BUSY[busy].replace("\n", "\n    ")
    script = (
        "import os\nfrom pathlib import Path\n"
        f"def main(pc, params):\n    Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n    {body}\n"
    )
    uuid = rest.submit(script)
    wait_until(lambda: _text(tmp_path / "pid"), "the script runs")
    process = psutil.Process(int(_text(tmp_path / "pid")))
    family = [process, *_children(process, expected=busy == "child process")]
    assert cancel(rest, uuid) == 200
    assert rest.state(uuid)["status"] == "REVOKED"
    wait_until(lambda: not any(_runs(one) for one in family), "the script's processes are gone", deadline_s=10)
    details = rest.details(uuid)
    assert details["status"] == "REVOKED"
    assert details["time_info"]["stopped"] is not None
    assert details["retry"] == 0


def test_given_a_queued_job_when_cancelled_then_it_never_runs(rest: RestClient, gate: Path, tmp_path: Path) -> None:
    """It waits behind jobs that take all CPUs."""
    running = [rest.submit(GATED, params={"gate": str(gate)}) for _ in range(6)]
    for uuid in running:
        rest.wait_for(uuid, "RUNNING")
    queued = rest.submit(f"def main(pc, params):\n    open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert rest.http.delete(f"/jobs/{queued}").json()["status"] == "REVOKED"
    gate.touch()
    assert {rest.end(uuid)["status"] for uuid in running} == {"SUCCESS"}
    assert rest.run(NOTHING)["status"] == "SUCCESS"
    assert not (tmp_path / "ran").exists()
    assert rest.state(queued)["status"] == "REVOKED"


def test_given_a_job_that_ends_while_it_is_cancelled_when_the_next_one_starts_then_it_is_not_hit(
    rest: RestClient,
) -> None:
    """The next job may get the same worker; the blow is meant for the job before."""
    script = "import subprocess\ndef main(pc, params):\n    subprocess.run(['sleep', '1000'])\n"
    for _ in range(8):
        uuid = rest.submit(script)
        rest.wait_for(uuid, "RUNNING")
        innocent = [rest.submit(NOTHING) for _ in range(3)]
        rest.http.delete(f"/jobs/{uuid}")
        innocent += [rest.submit(NOTHING) for _ in range(3)]
        ends = [rest.end(one) for one in innocent]
        assert [(end["status"], end["retry"]) for end in ends] == [("SUCCESS", 0)] * 6
        assert rest.state(uuid)["status"] == "REVOKED"


def test_given_an_ended_job_when_cancelled_then_it_stays_as_it_was(rest: RestClient) -> None:
    """A terminal state is final."""
    uuid = rest.run(NOTHING)["uuid"]
    answer = rest.http.post(f"/jobs/{uuid}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")


def test_given_a_follower_when_the_job_is_cancelled_then_its_stream_ends(rest: RestClient, gate: Path) -> None:
    """With REVOKED as the last word."""
    uuid = rest.submit(GATED, params={"gate": str(gate)})
    with rest.stream(uuid) as answer:
        events = []
        for event in EventSource(answer).iter_sse():
            events.append(event)
            if event.event == "status" and json.loads(event.data)["status"] == "RUNNING":
                rest.http.delete(f"/jobs/{uuid}")
    assert json.loads(events[-1].data)["status"] == "REVOKED"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _children(process: psutil.Process, *, expected: bool) -> list[psutil.Process]:
    if not expected:
        return []
    return wait_until(lambda: process.children(recursive=True), "the script's child runs")


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_given_a_child_left_running_when_the_job_ends_then_the_log_is_still_the_jobs(rest: RestClient) -> None:
    """A daemon that a script leaves is ended, and that is told in its own job's log, never in the next one's."""
    command = ["sh", "-c", "sleep 30; echo late"]
    first = rest.run(f"import subprocess\ndef main(pc, params):\n    return subprocess.Popen({command!r}).pid\n")
    second = rest.run("def main(pc, params):\n    print('mine')\n")
    wait_until(lambda: not _is_there(first["result"]), "the daemon is gone")
    assert re.fullmatch(r"Processes that the script had left running were ended: [12]\.\n", rest.log(first["uuid"]))
    assert rest.log(second["uuid"]) == "mine\n"


def _is_there(pid: int) -> bool:
    try:
        return _runs(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
