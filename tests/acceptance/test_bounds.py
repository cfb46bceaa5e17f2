"""What a script sends, what a caller asks, and what a queue counts: bounded and true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

GATED = """
import time
from pathlib import Path

def main(pc, params):
    deadline = time.monotonic() + 60
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
"""


def test_given_more_jobs_than_cpus_when_queues_are_asked_then_only_what_has_started_runs(
    rest: RestClient, gate: Path
) -> None:
    """Given 6 CPUs and 9 jobs, when asked, then 6 run and 3 wait, and those say that Ray has them."""
    uuids = [rest.submit(GATED, params={"gate": str(gate)}) for _ in range(9)]

    def cpu() -> tuple[int, int, int]:
        row = next(row for row in rest.get("/queues")["queues"] if row["name"] == "cpu")
        return row["running"], row["waiting"], row["dispatched"]

    wait_until(lambda: cpu() == (6, 3, 3), "six run and three wait")
    text = rest.http.get("/metrics").text.splitlines()
    assert 'pixyz_queue_running{queue="cpu"} 6.0' in text
    assert 'pixyz_queue_depth{queue="cpu"} 3.0' in text
    waiting = [each["waiting"] for uuid in uuids if (each := rest.details(uuid))["status"] == "PENDING"]
    assert [each["reason"] for each in waiting] == ["given to Ray: waits for a machine with 1 CPU free"] * 3
    gate.touch()
    assert [rest.end(uuid)["status"] for uuid in uuids] == ["SUCCESS"] * 9
    wait_until(lambda: cpu() == (0, 0, 0), "nothing runs or waits")


MANY_STEPS = """
def main(pc, params):
    pc.progress_set_total(200_000)
    pc.progress_next("x" * 1_000_000)
    for number in range(199_999):
        pc.progress_next(f"step {number}")
    return pc["progress"].step_current
"""


def test_given_two_hundred_thousand_steps_when_a_job_ends_then_what_is_shown_is_bounded_and_true(
    rest: RestClient, platform: TestPlatform
) -> None:
    """Given 200,000 steps and a text of a MB, when it ends, then counts are true, and notes say the rest."""
    trackers = platform.processes("ray::TrackerActor")
    before = sum(process.memory_info().rss for process in trackers)
    details = rest.run(MANY_STEPS, deadline_s=60)
    assert sum(process.memory_info().rss for process in trackers) - before < 48 * 2**20
    steps = details["steps"]
    assert (details["status"], details["result"], details["progress"]) == ("SUCCESS", 200_000, 100)
    assert len(steps) == 10_000
    assert sum(step.get("count", 1) for step in steps) == 200_000
    assert [steps[1]["info"], steps[9000]["info"], steps[-1]["info"]] == [
        "step 0", "[190001 steps left out]", "step 199998",
    ]  # fmt: skip
    assert len(steps[0]["info"]) == 1024
    assert all(set(step) == {"duration", "info"} for step in steps if "count" not in step)
    assert any("200000 steps: 190001 in the middle" in note for note in details["notes"])
    assert any("cut off after 1024 bytes" in note for note in details["notes"])


HOSTILE = """
import json, os, socket, time
import ray
from pixyz_ray.cluster.names import NAMESPACE, TRACKER

def main(pc, params):
    tracker = ray.get_actor(TRACKER, namespace=NAMESPACE)
    refused = []
    for method, arguments in params["calls"]:
        try:
            own = [pc["task_id"] if argument == "ID" else argument for argument in arguments]
            ray.get(getattr(tracker, method).remote(*own))
        except Exception as error:
            refused.append(type(error).__name__)
        else:
            refused.append(None)
    host, port, secret = ray.get(tracker.endpoint.remote())
    for line in params["lines"]:
        with socket.create_connection((host, port)) as line_to_it:
            line_to_it.sendall((json.dumps(secret) + "\\n" + line.replace("ID", pc["task_id"]) + "\\n").encode())
            line_to_it.settimeout(10)
            try:
                while line_to_it.recv(65536):
                    pass
            except OSError:
                pass
    return refused
"""


def test_given_a_script_that_sends_nonsense_to_the_tracker_then_it_gets_errors_and_the_platform_goes_on(
    rest: RestClient, platform: TestPlatform
) -> None:
    """Given calls and messages of wrong shapes, when a script sends them, then nothing but errors comes of it."""
    calls: list[tuple[str, list[Any]]] = [
        ("submit_graph", [{}, "[]", 0, 1]),
        ("submit_graph", ["ID", 5, 0, 1]),
        ("submit_graph", ["ID", "[]", -1, 1]),
        ("submit_graph", ["ID", "{", 0, 1]),
        ("submit_graph", ["ID", '{"nodes": 5}', 0, 1]),
        ("submit_graph", ["ID", "[" * 100_000, 0, 1]),
        ("outcomes", [{}, ["a"], 0, False]),
        ("outcomes", ["a", "a", 0, False]),
        ("outcomes", ["a", [{}], 0, False]),
        ("outcomes", ["a", ["a"], "soon", False]),
        ("children", [[]]),
        ("revoke", [5]),
        ("revoke", [[{}]]),
    ]
    event = '[0,"event",["ID",1,{}]]'
    lines = [
        event.replace("{}", '{"kind":"step"}'),
        event.replace("{}", '{"kind":"total","total":9223372036854775808}'),
        event.replace("{}", '{"kind":"started","time":1,"node":"other","pid":1}'),
        event.replace("{}", '"x"'),
        '[0,"ended",["ID",1,{"ok":1}]]',
        '[0,"ended",["ID",1,{"ok":true,"steps":5}]]',
        '[0,"ended",[{},1,{"ok":true}]]',
        '[0,"died",["ID",1,[]]]',
        '[0,"usage",["ID",1,{"rss":-1}]]',
        "[" * 100_000,
        "nonsense",
    ]
    done = rest.run(HOSTILE, params={"calls": calls, "lines": lines}, deadline_s=60)
    assert done["status"] == "SUCCESS", done["error"]
    assert None not in done["result"]
    assert rest.run("def main(pc, params): return 1")["result"] == 1


@pytest.mark.parametrize(
    "config",
    [
        {"priority": 2**63}, {"retries": 2**63}, {"memory_limit": 2**63}, {"memory_limit": -1}, {"pools": {"a": 2**63}},
        {"time_limit": 2**63}, {"time_limit": True}, {"keep": 10**400}, {"keep": -1}, {"priority": True},
    ],
)  # fmt: skip
def test_given_an_integer_beyond_its_bounds_in_the_config_then_it_is_a_400(
    rest: RestClient, config: dict[str, Any]
) -> None:
    """Given 2**63, a negative number or a bool, when submitted, then the answer names the key."""
    answer = rest.post(script="def main(pc, params): pass", config=config)
    assert answer.status_code == 400
    assert next(iter(config)) in json.dumps(answer.json())


@pytest.mark.parametrize("number", [2**63, -1, "1e3", "true", 10**400])
def test_given_an_integer_beyond_its_bounds_in_the_query_then_it_is_a_400(
    rest: RestClient, finished: str, number: Any
) -> None:
    """Given the same for `limit` and `offset`, when asked, then it is refused."""
    for path, name in (("/jobs", "limit"), (f"/jobs/{finished}/logs", "offset")):
        assert rest.http.get(path, params={name: str(number)}).status_code == 400, name


@pytest.mark.parametrize("text", ['{"a": 1e999}', '{"a": Infinity}', '{"a": NaN}', '{"a": -1e999}'])
@pytest.mark.parametrize("field", ["params", "config"])
def test_given_a_number_that_json_does_not_have_then_it_is_a_400(rest: RestClient, field: str, text: str) -> None:
    """Given Infinity in any way, when submitted, then it is refused."""
    assert rest.post(script="def main(pc, params): pass", **{field: text}).status_code == 400


def test_given_large_integers_that_are_the_scripts_own_then_they_come_back(rest: RestClient) -> None:
    """Given 2**63 and larger in params and in keys of the script's own, when returned, then nothing is changed."""
    script = "def main(pc, params): return [params, pc['mine']]"
    done = rest.run(script, params={"a": 2**63, "b": -(2**70)}, config={"mine": 2**64})
    assert done["result"] == [{"a": 2**63, "b": -(2**70)}, 2**64]
