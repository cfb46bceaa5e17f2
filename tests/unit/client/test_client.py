"""The client's methods and errors."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

import pixyz_ray.client
from pixyz_ray.client import Client, FileNotWritten, JobFailed, JobHandle, PlatformUnreachable, ServerBusy
from pixyz_ray.client.shapes import job_label
from pixyz_worker.exception import PixyzWebError


def test_the_public_names_are_pinned() -> None:
    """Given the package, when its names are listed, then they are these."""
    assert pixyz_ray.client.__all__ == [
        "Address",
        "Client",
        "ConfigInfo",
        "Event",
        "FileNotWritten",
        "GraphView",
        "InvalidClientConfig",
        "JobDetails",
        "JobFailed",
        "JobHandle",
        "JobInfo",
        "JobOptions",
        "JobPage",
        "LogEvent",
        "NodeInfo",
        "PlatformUnreachable",
        "ProcessInfo",
        "QueuesInfo",
        "ServerBusy",
        "SettingInfo",
        "StatusEvent",
        "StepEvent",
        "WaitingInfo",
        "find_address",
        "task",
    ]


def test_a_submission_has_the_fields_of_the_contract(
    client: Client, peer: Any, tmp_path: Path, server_kit: Any
) -> None:
    """Given a script with everything, when it is sent, then the form has it, and what is None is not in it."""
    (tmp_path / "run.py").write_text("def main(pc, params): ...")
    (tmp_path / "in.step").write_bytes(b"ISO-10303-21;")
    seen: list[int] = []
    job = client.submit(
        tmp_path / "run.py",
        input_file=tmp_path / "in.step",
        params={"größe": [1, None]},
        name="mine",
        config={"entrypoint": "other", "queue": None},
        on_upload=lambda done, total: seen.append(done),
    )
    assert (job.id, job.info["status"]) == (server_kit.UUID, "SENT")
    assert json.loads(peer.form.pop("params")) == {"größe": [1, None]}
    assert json.loads(peer.form.pop("config")) == {"entrypoint": "other"}
    assert peer.form == {
        "process": "custom",
        "name": "mine",
        "script": ("run.py", b"def main(pc, params): ..."),
        "file": ("in.step", b"ISO-10303-21;"),
    }
    assert seen


def test_a_process_and_a_source_can_be_sent(client: Client, peer: Any) -> None:
    """Given no file at all, when a process or a source is sent, then the form is small."""
    client.submit(process="sleep")
    assert peer.form == {"process": "sleep", "params": "{}", "config": "{}"}
    client.submit(b"def main(pc, params): return 1")
    assert peer.form["script"] == ("script.py", b"def main(pc, params): return 1")
    with pytest.raises(TypeError, match="either"):
        client.submit()


def test_how_a_job_is_treated_is_an_argument(client: Client, peer: Any) -> None:
    """Given options, when a job is sent, then those that are not None are keys of its config."""
    client.submit(process="sleep", config={"queue": "gpu", "priority": 1}, priority=9, pools={"catia": 2}, keep=None)
    assert json.loads(peer.form["config"]) == {"queue": "gpu", "priority": 9, "pools": {"catia": 2}}
    client.submit(len, "abc", retries=0, isolation="fresh")
    config = json.loads(peer.form["config"])
    assert (config["retries"], config["isolation"]) == (0, "fresh")
    with pytest.raises(TypeError, match="unexpected keyword argument 'prority'"):
        client.submit(process="sleep", prority=9)  # type: ignore[call-overload]


def test_who_waits_can_be_asked(client: Client, peer: Any, server_kit: Any) -> None:
    """Given jobs that wait, when it is asked why, then the answers are the server's own."""
    peer.waiting = {"position": 3, "reason": "2 jobs go first.", "expected_start": None}
    peer.standing = {"queues": [], "queued": 3}
    assert client.jobs("PENDING", why=True)["jobs"][0]["waiting"] == peer.waiting
    assert dict(peer.requests[-1].query_params) == {"status": "PENDING", "limit": "100", "why": "true"}
    assert client.queues() == peer.standing


def test_all_jobs_come_page_by_page(client: Client, peer: Any) -> None:
    """Given more jobs than a page has, when all or some of them are listed, then each request has a limit."""
    peer.listed = [{**peer.state(), "uuid": str(number), "name": None} for number in range(2500)]
    assert [job["uuid"] for job in client.all_jobs()] == [str(number) for number in range(2500)]
    pages = list(client.job_pages(limit=1001))
    assert [len(page["jobs"]) for page in pages] == [1000, 1]
    assert len(client.jobs()["jobs"]) == 100
    limits = [request.query_params["limit"] for request in peer.asked("/jobs")]
    assert limits == ["1000", "1000", "1000", "1000", "1", "100"]


@pytest.mark.parametrize("value", [[1, 2], "text", 3, 0.5, True, False, 0, "", [], {}])
def test_params_are_any_json(client: Client, peer: Any, value: Any) -> None:
    """Given any JSON value, when it is sent as params, then it arrives; None stands for {}."""
    client.submit(process="sleep", params=value)
    assert json.loads(peer.form["params"]) == value
    client.submit(process="sleep", params=None)
    assert json.loads(peer.form["params"]) == {}


def test_a_process_is_run_strictly(client: Client, peer: Any) -> None:
    """Given a process, when it is run by `process`, then unknown parameters are refused by default."""
    client.process("convert_file", params={"extension": "glb"}, name="mine", config={"queue": "gpu"})
    assert json.loads(peer.form["config"]) == {"queue": "gpu", "strict": True}
    assert (peer.form["process"], peer.form["name"]) == ("convert_file", "mine")
    client.process("convert_file", strict=False)
    assert json.loads(peer.form["config"]) == {"strict": False}
    client.submit(process="convert_file", strict=True)
    assert json.loads(peer.form["config"]) == {"strict": True}


def test_a_job_has_notes(client: Client, peer: Any) -> None:
    """Given a job, when its notes are asked for, then they are those of its details; an older server has none."""
    job = client.submit(process="sleep")
    assert job.notes() == []
    peer.notes = [["'qualty' is not a parameter."]]
    assert job.notes() == ["'qualty' is not a parameter."]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ({"name": "mine", "script": "s.py"}, "mine"),
        ({"name": None, "label": "s.py [2]", "script": "s.py"}, "s.py [2]"),
        ({"name": None, "script": "s.py", "process": "custom"}, "s.py"),
        ({"name": None, "process": "sleep"}, "sleep"),
        ({"name": None, "process": "custom"}, "ID"),
        ({"name": None}, "ID"),
    ],
)
def test_a_job_without_alias_still_has_a_label(client: Client, answer: Any, label: str) -> None:
    """Given a job whose name is null, when it is shown, then it is called by its label, script, process or id."""
    info = {"uuid": "ID", "status": "SUCCESS", "progress": 100, "error": None, **answer}
    assert job_label(info) == label
    assert repr(JobHandle(client, info)) == f"<JobHandle ID {label!r} SUCCESS>"


def test_a_job_is_pinned_and_unpinned(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a job, when it is pinned, then that is a PUT, and a DELETE takes it away."""
    assert client.pin(server_kit.UUID) == peer.state()
    assert client.job(server_kit.UUID).pin(False) == peer.state()
    assert [request.method for request in peer.asked(f"/jobs/{server_kit.UUID}/pin")] == ["PUT", "DELETE"]


def test_plain_questions(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a server, when it is asked, then the answers are its own."""
    assert client.version() == "9.8.7"
    assert client.processes() == ["convert_file", "sleep"]
    assert client.process_doc("sleep").startswith("Process 'sleep'")
    assert client.jobs("FAILURE", 3, "x")["jobs"] == [peer.state()]
    assert dict(peer.requests[-1].query_params) == {"status": "FAILURE", "limit": "3", "after": "x"}
    assert client.cancel(server_kit.UUID)["status"] == "REVOKED"
    assert client.job(server_kit.UUID).state() == peer.state()


def test_a_server_without_health_still_has_a_version(client: Client, peer: Any, server_kit: Any) -> None:
    """Given an older server, when its version is asked, then it is the welcome line."""
    peer.answers["/health"] = [server_kit.refusal(404, "no")]
    assert client.version() == "Welcome to Pixyz on Ray 9.8.7"


def test_a_handle_gives_the_result(client: Client, peer: Any) -> None:
    """Given a job that succeeds, when its result is asked, then it is what the script returned."""
    peer.result = {"answer": 42}
    assert client.submit(process="sleep").result(timeout=5) == {"answer": 42}


def test_a_failed_job_raises_its_traceback(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a job that fails, when its result is asked, then the error carries the traceback."""
    peer.events = [server_kit.status("FAILURE", 0, "Traceback\nValueError: no")]
    with pytest.raises(JobFailed, match="ValueError: no") as caught:
        client.submit(process="sleep").result(timeout=5)
    assert (caught.value.uuid, caught.value.status) == (server_kit.UUID, "FAILURE")


def test_a_followed_log_is_resumed_where_it_broke(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a log that breaks inside a character, when it is followed, then the text is whole."""
    peer.log = "größe: 3 €\n".encode() * 50
    path = f"/jobs/{server_kit.UUID}/logs"
    peer.cut[path] = [3, 6]
    assert "".join(client.logs(server_kit.UUID, follow=True)) == peer.log.decode()
    asked = [dict(request.query_params) for request in peer.asked(path)]
    assert [query["offset"] for query in asked] == ["0", "3", "9"]
    assert asked[0]["follow"] == "true"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("contract", "what is wrong"),
        (JSONResponse({"detail": "Not Found"}, 404), "Not Found"),
        (JSONResponse(["odd"], 400), '["odd"]'),
        (PlainTextResponse("<h1>Bad Gateway</h1>", 500), "<h1>Bad Gateway</h1>"),
        (PlainTextResponse("", 403), "Forbidden"),
    ],
)
def test_a_refusal_keeps_the_servers_sentence(
    client: Client, peer: Any, server_kit: Any, answer: Any, sentence: str
) -> None:
    """Given any answer that says no, when it becomes an error, then its sentence is the server's."""
    peer.answers["/processes"] = [server_kit.refusal(400, "what is wrong") if answer == "contract" else answer]
    with pytest.raises(PixyzWebError) as caught:
        client.processes()
    assert caught.value.message == sentence
    assert caught.value.url == f"{peer.url}/processes"


def test_too_many_says_when_to_come_back(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a full queue, when a job is sent, then the error knows when to try again."""
    peer.answers["/jobs"] = [server_kit.refusal(429, "queue full", **{"Retry-After": "7"})]
    with pytest.raises(ServerBusy, match="queue full") as caught:
        client.submit(process="sleep")
    assert caught.value.retry_after == 7


def test_a_closed_port_says_what_to_do(closed_url: str) -> None:
    """Given no platform, when it is asked, then the sentence names `pixyz up` and -u."""
    with Client(closed_url) as client, pytest.raises(PlatformUnreachable, match=r"`pixyz up`.*-u URL"):
        client.processes()


@pytest.mark.parametrize(
    "error",
    [
        ServerBusy(429, "http://x", "full", 3.0),
        JobFailed("no", "id", "REVOKED", "trace"),
        PlatformUnreachable("gone"),
        FileNotWritten("no space"),
    ],
)
def test_errors_survive_pickling(error: Exception) -> None:
    """Given an error of the client, when it crosses a process border, then it is the same."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
