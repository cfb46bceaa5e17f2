"""The REST contract, path by path, as a client sees it that knows nothing but the contract."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import ORIGIN
from tests.acceptance.scripts import CONTEXT, ECHO, NOTHING, RETURN, TWO_STEPS
from tests.platforms import OPERATOR_TOKEN, TestPlatform
from tests.rest_client import STATUSES, RestClient
from tests.waiting import wait_until

STATE_KEYS = {"uuid", "name", "status", "progress", "error"}
DETAILS_KEYS = STATE_KEYS | {"time_info", "steps", "retry", "result"}
META_KEYS = {"status", "result", "traceback", "children", "parent_id", "task_id", "date_done"}

# --- Open to everybody -----------------------------------------------------------------------------------------------


def test_given_no_token_when_the_root_is_asked_then_it_welcomes_with_a_version(platform: TestPlatform) -> None:
    """The first thing that a client of the peer looks at."""
    answer = httpx.get(f"{platform.url}/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert platform.record.version in answer.text


def test_given_no_token_when_processes_are_asked_then_they_are_listed_and_documented(platform: TestPlatform) -> None:
    """Sorted, no dunder files, and each has its documentation."""
    with httpx.Client(base_url=platform.url) as http:
        names = http.get("/processes").json()["processes"]
        assert names == sorted(names)
        assert {"api_test", "convert_file", "sleep"} <= set(names)
        assert not [name for name in names if name.startswith("__")]
        for name in names:
            answer = http.get(f"/processes/{name}").json()
            assert [one.keys() == {"name", "type", "default", "doc"} for one in answer["parameters"]]
            doc = answer["doc"]
            assert doc.startswith(f"Process '{name}' documentation:\n\n")
            assert len(doc) > 60


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_given_no_token_when_the_api_documentation_is_asked_then_it_is_there(platform: TestPlatform, path: str) -> None:
    """Generated from the code."""
    assert httpx.get(f"{platform.url}{path}").status_code == 200


def test_given_the_api_description_when_read_then_every_path_of_the_contract_is_in_it(platform: TestPlatform) -> None:
    """A client may be generated from it."""
    paths = httpx.get(f"{platform.url}/openapi.json").json()["paths"]
    assert {
        "/processes", "/processes/{name}", "/jobs", "/jobs/{uuid}", "/jobs/{uuid}/details", "/jobs/{uuid}/outputs",
        "/jobs/{uuid}/outputs/archive", "/jobs/{uuid}/outputs/{path}", "/backend/get_task_meta/{uuid}",
        "/dev/callback", "/metrics", "/jobs/{uuid}/events", "/jobs/{uuid}/logs", "/jobs/{uuid}/cancel", "/health",
        "/health/live", "/health/ready", "/queues", "/jobs/{uuid}/pin",
    } <= set(paths)  # fmt: skip
    assert {"get", "delete"} <= set(paths["/jobs/{uuid}"])
    kinds = paths["/jobs"]["post"]["requestBody"]["content"]
    assert kinds.keys() == {"multipart/form-data", "application/x-www-form-urlencoded"}


def test_given_jobs_when_metrics_are_asked_then_they_are_counted_in_prometheus_form(
    platform: TestPlatform, rest: RestClient
) -> None:
    """A gauge for each status."""

    def succeeded() -> float:
        answer = httpx.get(f"{platform.url}/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
        return float(lines['pixyz_jobs{status="SUCCESS"}'])

    before = succeeded()
    rest.run(NOTHING)
    assert succeeded() == before + 1


def test_given_a_platform_that_is_up_when_its_health_is_asked_then_it_is_ready(platform: TestPlatform) -> None:
    """For load balancers, without a token."""
    answer = httpx.get(f"{platform.url}/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["ready"] is True


# --- Tokens ----------------------------------------------------------------------------------------------------------

PROTECTED = [
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("GET", "/jobs/{uuid}"),
    ("DELETE", "/jobs/{uuid}"),
    ("POST", "/jobs/{uuid}/cancel"),
    ("GET", "/jobs/{uuid}/details"),
    ("GET", "/jobs/{uuid}/outputs"),
    ("GET", "/jobs/{uuid}/outputs/archive"),
    ("GET", "/jobs/{uuid}/outputs/a.txt"),
    ("GET", "/jobs/{uuid}/events"),
    ("GET", "/jobs/{uuid}/logs"),
    ("GET", "/backend/get_task_meta/{uuid}"),
    ("GET", "/queues"),
    ("PUT", "/jobs/{uuid}/pin"),
    ("DELETE", "/jobs/{uuid}/pin"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED, ids=[f"{method} {path}" for method, path in PROTECTED])
@pytest.mark.parametrize("token", [None, "wrong", ""], ids=["missing", "wrong", "empty"])
def test_given_no_right_token_when_a_protected_path_is_asked_then_401(
    platform: TestPlatform, finished: str, method: str, path: str, token: str | None
) -> None:
    """Nothing is told of a job, not even that it exists."""
    headers = {} if token is None else {"x-api-key": token}
    answer = httpx.request(method, f"{platform.url}{path.format(uuid=finished)}", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["detail"].keys() == {"code", "message", "details"}
    assert "x-api-key" in answer.json()["detail"]["details"]


def test_settings_in_force_are_shown_without_secrets(platform: TestPlatform, rest: RestClient) -> None:
    """Given a platform, when its settings are asked, then they have their sources, and no digest of a token."""
    assert httpx.get(f"{platform.url}/config").status_code == 401
    answer = rest.http.get("/config")
    rows = {row["name"]: row for row in answer.json()["settings"]}
    assert answer.status_code == 200
    assert rows["API_PORT"]["value"] == platform.url.rpartition(":")[2]
    assert rows["API_PORT"]["source"] == "on the command line"
    token = rows["GOD_PASSWORD_SHA256"]
    assert token["value"] is None
    assert len(token["fingerprint"]) == 32
    assert hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest() not in answer.text


def test_given_the_operators_token_when_it_is_used_then_it_opens_too(platform: TestPlatform) -> None:
    """GOD_PASSWORD_SHA256 holds its digest; the token of the machine itself goes on to work."""
    with RestClient(platform.url, OPERATOR_TOKEN) as client:
        assert client.http.get("/jobs").status_code == 200


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("https://evil.example.com", None)])
def test_cors(platform: TestPlatform, rest: RestClient, origin: str, allowed: str | None) -> None:
    """Given a page of a listed origin, when its browser asks without a token, then it may; no other page may."""
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    preflight = httpx.options(f"{platform.url}/jobs", headers={"Origin": origin, **wanted})
    assert (preflight.status_code == 200) is (allowed is not None)
    for answer in (preflight, rest.http.get("/jobs?limit=1", headers={"Origin": origin})):
        assert answer.headers.get("access-control-allow-origin") == allowed
    refused = httpx.get(f"{platform.url}/jobs", headers={"Origin": origin})
    assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (401, allowed)


# --- Submitting ------------------------------------------------------------------------------------------------------


def test_given_a_script_when_submitted_then_the_answer_is_200_and_a_job_state_sent(rest: RestClient) -> None:
    """Existing clients test for exactly 200 and read these fields."""
    answer = rest.post(NOTHING)
    assert answer.status_code == 200
    state = answer.json()
    assert state.keys() == STATE_KEYS
    assert state["status"] == "SENT"
    assert state["progress"] is None
    assert state["error"] is None
    assert rest.end(state["uuid"])["status"] == "SUCCESS"


def test_given_a_process_when_submitted_with_input_and_params_then_it_sees_both(rest: RestClient) -> None:
    """api_test exercises all of a script's way and tells what it saw."""
    details = rest.run(process="api_test", params={"x": [1, None, "é"]}, file=("in put.bin", b"\0\1\2" * 1000))
    assert details["status"] == "SUCCESS", details["error"]
    assert details["result"]["params"] == {"x": [1, None, "é"]}
    assert details["result"]["input"]["name"] == "in put.bin"
    assert details["result"]["input"]["size"] == 3000
    assert (details["name"], details["process"], details["script"]) == (None, "api_test", "api_test.py")
    assert (details["label"], details["notes"]) == ("api_test", [])


def test_given_empty_parts_when_submitted_then_they_count_as_absent(rest: RestClient) -> None:
    """The peer's client sends `file`, `name`, `params` and `config` without a value."""
    for empty_file in (("file", ("", b"")), ("file", (None, b""))):
        parts = [(key, (None, b"")) for key in ("name", "params", "config", "process")]
        answer = rest.http.post("/jobs", files=[*parts, empty_file, ("script", ("job.py", CONTEXT.encode()))])
        assert answer.status_code == 200, answer.text
        details = rest.end(answer.json()["uuid"])
        assert details["result"]["input"] is None
        assert (details["name"], details["label"], details["script"]) == (None, "job.py", "job.py")


def test_given_an_alias_when_submitted_then_it_is_the_jobs_name(rest: RestClient) -> None:
    """Any text, shown as it was sent; a job without one has no name."""
    details = rest.run(NOTHING, name="Bolzen Ø12 №1")
    assert (details["name"], details["label"]) == ("Bolzen Ø12 №1", "Bolzen Ø12 №1")
    assert rest.post(NOTHING).json()["name"] is None


@pytest.mark.parametrize("params", [[1, 2], "text", 3.5, False, {"a": None}, [], None], ids=repr)
def test_params(rest: RestClient, params: Any) -> None:
    """Given params of any JSON kind, when a script runs, then it gets them as they are; null is {}."""
    details = rest.run(ECHO, params=json.dumps(params))
    assert details["status"] == "SUCCESS", details["error"]
    assert details["result"] == ({} if params is None else params)


def test_urlencoded(rest: RestClient) -> None:
    """Given an urlencoded form, when it names a pre-built process, then it runs; a script needs multipart."""
    form = {"process": "api_test", "params": '{"a": "é&+"}', "name": "plain form", "config": '{"priority": 6}'}
    answer = rest.http.post("/jobs", data=form)
    assert answer.status_code == 200, answer.text
    details = rest.end(answer.json()["uuid"])
    assert (details["name"], details["result"]["params"], details["priority"]) == ("plain form", {"a": "é&+"}, 6)
    assert rest.http.post("/jobs", data={"params": "{}"}).status_code == 400
    assert rest.http.post("/jobs", data={"script": NOTHING}).status_code == 400


def test_given_an_input_file_when_submitted_then_the_script_reads_it(rest: RestClient) -> None:
    """By the name that it was uploaded with; a path in that name is cut off."""
    assert rest.run(CONTEXT, file=("../../evil/in.txt", b"content"))["result"]["input"] == "content"
    assert rest.run(CONTEXT, file=("empty.txt", b""))["result"]["input"] == ""


# --- Configuration ---------------------------------------------------------------------------------------------------

SCHEDULED = (
    "from pixyz_worker.script import *\n"
    "@pixyz_schedule(queue='gpu', time_limit=77)\n"
    "def main(pc, params):\n    return pc['queue']\n"
    "def plain(pc, params):\n    return pc['queue']\n"
    "@pixyz_schedule(wait=True)\n"
    "def waiting(pc, params):\n    return pc['queue']\n"
)
PRECEDENCE: dict[str, tuple[dict[str, Any] | None, str, float]] = {
    "the schedule is stronger than the defaults": (None, "gpu", 77),
    "the caller is stronger than the schedule": ({"queue": "gpuhigh", "time_limit": 55}, "gpuhigh", 55),
    "each value for itself": ({"time_limit": 55}, "gpu", 55),
    "null is not given": ({"queue": None, "time_limit": None, "entrypoint": None, "compute_only": None}, "gpu", 77),
    "the defaults": ({"entrypoint": "plain"}, "cpu", 2400),
    "more than the queue's limit": ({"entrypoint": "plain", "time_limit": 9000}, "cpu", 9000),
    "wait without a queue means control": ({"entrypoint": "waiting"}, "control", 3600),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_given_defaults_schedule_and_caller_when_they_differ_then_the_strongest_wins(
    rest: RestClient, case: str
) -> None:
    """Server defaults < @pixyz_schedule < the caller's config."""
    config, queue, time_limit = PRECEDENCE[case]
    details = rest.run(SCHEDULED, config=config)
    assert (details["status"], details["result"]) == ("SUCCESS", queue)
    assert (details["queue"], details["time_limit"]) == (queue, time_limit)


def test_given_keys_that_are_not_the_callers_when_submitted_then_they_are_ignored(rest: RestClient) -> None:
    """`script`, `data`, `shadow` and `uuid` are the platform's to set."""
    uuid = "00000000-0000-4000-8000-000000000000"
    details = rest.run(CONTEXT, config={"script": "/etc/passwd", "data": [1], "shadow": "x", "uuid": uuid})
    assert details["status"] == "SUCCESS", details["error"]
    assert details["uuid"] != uuid
    (note,) = details["notes"]
    assert note == "config keys 'data', 'script', 'shadow', 'uuid' ignored: the platform sets them itself."


def test_own_and_misspelt_keys(rest: RestClient) -> None:
    """Given keys that the platform does not know, when a job runs, then its context has them; a near miss is noted."""
    script = "def main(pc, params):\n    return [pc['own'], pc['time_limt'], pc['strict']]\n"
    config = {"own": {"a": [5, None]}, "time_limt": 5, "strict": False}
    details = rest.run(script, config=config)
    assert details["result"] == [{"a": [5, None]}, 5, False]
    (note,) = details["notes"]
    assert "'time_limt' is not known; did you mean 'time_limit'?" in note
    refused = rest.post(script, config={**config, "strict": True})
    assert refused.status_code == 400
    assert "did you mean 'time_limit'" in refused.json()["detail"]["details"]


def test_unknown_parameter(rest: RestClient) -> None:
    """Given a parameter that a process does not declare, when a job is sent, then a note says so, or strict refuses."""
    details = rest.run(process="sleep", params={"duration": 0, "stpes": 2})
    assert (details["status"], details["result"]) == ("SUCCESS", 0)
    assert details["notes"][0].startswith("'stpes' is not a parameter of sleep. Did you mean 'steps'? It is ignored.")
    refused = rest.post(process="sleep", params={"stpes": 2}, config={"strict": True})
    assert refused.status_code == 400
    declared = rest.get("/processes/sleep")["parameters"]
    assert declared[0] == {"name": "t", "type": "number", "default": 0.1, "doc": "seconds to sleep in all."}


RETRY = (
    "import os, signal\ndef main(pc, params):\n"
    "    if pc['retry'] == 0:\n        os.kill(os.getpid(), signal.SIGKILL)\n    return pc['queue']\n"
)


@pytest.mark.parametrize(("queue", "result", "limit"), [("cpu", "gpuhigh", 3600), ("control", "control", 44)])
def test_limit_of_a_retry(rest: RestClient, queue: str, result: str, limit: float) -> None:
    """Given a job with a limit, when it is tried again, then on another queue with that queue's, else with its own."""
    details = rest.run(RETRY, config={"queue": queue, "time_limit": 44})
    assert (details["status"], details["result"], details["time_limit"]) == ("SUCCESS", result, limit)


def test_given_compute_only_when_run_then_there_are_no_folders(rest: RestClient) -> None:
    """A task that only computes has neither input nor output folder, and is told so when it asks."""
    assert rest.run(CONTEXT, config={"compute_only": True})["result"]["compute_only"] is True
    details = rest.run("def main(pc, params):\n    pc.get_output_dir()\n", config={"compute_only": True})
    assert details["status"] == "FAILURE"
    assert "PixyzSharedDirectoryNotFound" in details["error"].splitlines()[-1]


def test_given_another_entrypoint_when_asked_for_then_it_is_called(rest: RestClient) -> None:
    """Any function of the script can be the entrypoint by name."""
    assert rest.run(CONTEXT, config={"entrypoint": "other"})["result"] == "other"


def test_given_a_cluster_without_gpu_when_a_gpu_queue_is_used_then_the_job_says_so(rest: RestClient) -> None:
    """It runs on CPU rather than waiting for ever."""
    details = rest.run(CONTEXT, config={"queue": "gpu"})
    assert details["status"] == "SUCCESS"
    assert any("no GPU" in note for note in details["notes"])


# --- How a job stands ------------------------------------------------------------------------------------------------


def test_given_two_steps_when_they_run_then_progress_and_steps_are_those_of_the_contract(
    rest: RestClient, gate: Path
) -> None:
    """100 * (steps begun - 1) / total while running, 100 when done; the running step's duration is -1."""
    uuid = rest.submit(TWO_STEPS, params={"gate": str(gate)})
    wait_until(lambda: len(rest.details(uuid)["steps"]) == 1, "the first step runs")
    first = rest.details(uuid)
    assert (first["status"], first["progress"]) == ("RUNNING", 0)
    assert first["steps"] == [{"duration": -1, "info": "one"}]
    assert first["time_info"]["stopped"] is None

    Path(f"{gate}.1").touch()
    wait_until(lambda: len(rest.details(uuid)["steps"]) == 2, "the second step runs")
    second = rest.details(uuid)
    assert (second["status"], second["progress"]) == ("RUNNING", 50)
    assert [step["info"] for step in second["steps"]] == ["one", "two"]
    assert second["steps"][0]["duration"] >= 0
    assert second["steps"][1]["duration"] == -1
    assert rest.state(uuid)["progress"] == 50
    meta = rest.get(f"/backend/get_task_meta/{uuid}")
    assert (meta["status"], meta["date_done"]) == ("RUNNING", None)
    assert meta["result"] == {**{key: second[key] for key in ("progress", "steps", "time_info")}, "result": None}

    gate.touch()
    done = rest.end(uuid)
    assert (done["status"], done["progress"], done["result"]) == ("SUCCESS", 100, {"steps": 2})
    assert all(step["duration"] >= 0 for step in done["steps"])


def test_given_a_finished_job_when_its_details_are_asked_then_they_have_the_contracts_shape(
    rest: RestClient, finished: str
) -> None:
    """Times in ISO 8601 with their zone, in order."""
    details = rest.details(finished)
    assert details.keys() >= DETAILS_KEYS
    assert details["status"] in STATUSES
    times = [datetime.fromisoformat(details["time_info"][key]) for key in ("request", "started", "stopped")]
    assert times == sorted(times)
    assert all(time.utcoffset() is not None for time in times)
    assert (details["retry"], details["result"], details["error"]) == (0, {"a": 1}, None)
    assert rest.state(finished).keys() == STATE_KEYS


@pytest.mark.parametrize(
    "value",
    [{"a": {"b": [1, 2.5, None]}}, [], [1], "text é \N{PARTY POPPER} \0", "", 0, -1.5, 10**30, True, False, None],
    ids=repr,
)
def test_given_a_result_of_any_json_kind_when_returned_then_it_comes_back_the_same(
    rest: RestClient, value: Any
) -> None:
    """In the details and in the task meta."""
    details = rest.run(RETURN, params={"json": json.dumps(value)})
    assert details["status"] == "SUCCESS", details["error"]
    assert details["result"] == value
    assert type(details["result"]) is type(value)
    assert rest.get(f"/backend/get_task_meta/{details['uuid']}")["result"]["result"] == value


def test_given_jobs_when_their_task_meta_is_asked_then_it_speaks_the_task_protocol(
    rest: RestClient, finished: str
) -> None:
    """What a client of the peer's result backend reads."""
    meta = rest.get(f"/backend/get_task_meta/{finished}")
    assert meta.keys() >= META_KEYS
    assert (meta["status"], meta["task_id"], meta["traceback"]) == ("SUCCESS", finished, None)
    details = rest.details(finished)
    record = {key: details[key] for key in ("progress", "steps", "time_info", "result")}
    assert (meta["result"], meta["parent_id"], record["result"]) == (record, None, {"a": 1})
    assert datetime.fromisoformat(meta["date_done"])
    failed = rest.run("def main(pc, params):\n    raise KeyError('x')\n")
    meta = rest.get(f"/backend/get_task_meta/{failed['uuid']}")
    assert meta["status"] == "FAILURE"
    assert meta["traceback"].endswith("KeyError: 'x'")
