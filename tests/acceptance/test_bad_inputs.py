"""Every mistake of a caller gets the contract's code, its body, and a sentence that helps."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import MAX_FIELD_BYTES, MAX_UPLOAD_BYTES
from tests.acceptance.scripts import FILES, NOTHING
from tests.rest_client import RestClient

UNKNOWN = "00000000-0000-4000-8000-000000000000"
MULTIPART = {"content-type": "multipart/form-data; boundary=XX"}


def _form(**form: Any) -> Callable[[RestClient], httpx.Response]:
    """A submission of a good script, with something bad in it."""
    return lambda rest: rest.post(**{"script": NOTHING, **form})


def _raw(body: bytes, **headers: str) -> Callable[[RestClient], httpx.Response]:
    """A body that no form library would make."""
    return lambda rest: rest.http.post("/jobs", content=body, headers=headers or MULTIPART)


def _ask(method: str, path: str) -> Callable[[RestClient], httpx.Response]:
    """A request of a path."""
    return lambda rest: rest.http.request(method, path)


def _part(name: str, value: bytes, *more: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f'Content-Disposition: form-data; name="{name}"', *more))
    return b"--XX\r\n" + head.encode() + b"\r\n" + value + b"\r\n"


# What is sent, the code that must come, and words that must be in `details`.
CASES: dict[str, tuple[Callable[[RestClient], httpx.Response], int, str]] = {
    # The form's texts
    "params that are not JSON": (_form(params='{"a": }'), 400, "params line 1, column 7"),
    "params with a comment": (_form(params='{\n"a": 1, // no\n}'), 400, "params line 2"),
    "a list with a hole as params": (_form(params="[1,,2]"), 400, "params line 1, column 4"),
    "params with NaN": (_form(params='{"a": NaN}'), 400, "params NaN"),
    "params with infinity": (_form(params='{"a": -Infinity}'), 400, "params Infinity"),
    "params nested too deeply": (_form(params='{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), 400, "params deep"),
    "params of 600 levels": (_form(params='{"a":' + "[" * 600 + "]" * 600 + "}"), 400, "params deep 200"),
    "params with a huge number": (_form(params='{"a": ' + "9" * 10_000 + "}"), 400, "params"),
    "params that are not UTF-8": (_raw(_part("params", b"\xff{}") + b"--XX--\r\n"), 400, "params UTF-8"),
    "a name that is not UTF-8": (_raw(_part("name", b"\xff") + b"--XX--\r\n"), 400, "name UTF-8"),
    "config that is not JSON": (_form(config="{'queue': 'cpu'}"), 400, "config line 1, column 2"),
    "config that is a list": (_form(config=["cpu"]), 400, "config object list"),
    "config that is a text": (_form(config='"cpu"'), 400, "config object str"),
    # The configuration
    "an unknown queue": (_form(config={"queue": "express"}), 400, "express cpu gpuhigh"),
    "a queue that is a number": (_form(config={"queue": 1}), 400, "queue str int"),
    "a time limit that is a text": (_form(config={"time_limit": "10"}), 400, "time_limit number"),
    "a time limit of zero": (_form(config={"time_limit": 0}), 400, "time_limit above 0"),
    "a time limit below zero": (_form(config={"time_limit": -5}), 400, "time_limit above 0"),
    "a time limit that is true": (_form(config={"time_limit": True}), 400, "time_limit number"),
    "a time limit beyond all bounds": (_form(config='{"time_limit": 1e300}'), 400, "time_limit"),
    "a time limit above the operator's": (
        _form(config={"time_limit": 10_001}), 400, "time_limit PIXYZ_MAX_TIME_LIMIT 10000"),
    "an entrypoint that is a number": (_form(config={"entrypoint": 1}), 400, "entrypoint str"),
    "compute_only that is a text": (_form(config={"compute_only": "yes"}), 400, "compute_only bool"),
    "root_file that is a list": (_form(config={"root_file": []}), 400, "root_file str"),
    "strict that is a text": (_form(config={"strict": "yes"}), 400, "strict bool"),
    "a misspelt key with strict": (_form(config={"strict": True, "que": "cpu"}), 400, "que queue strict"),
    # Process and script
    "an unknown process": (_form(process="no_such"), 400, "no_such convert_file"),
    "a process with a path": (_form(process="../sleep"), 400, "process"),
    "a dunder file as process": (_form(process="__init__"), 400, "process"),
    "no script": (lambda rest: rest.post(params={}), 400, "script required"),
    "an empty script": (lambda rest: rest.post(script="", script_name=""), 400, "script"),
    "an entrypoint that is not there": (_form(config={"entrypoint": "mian"}), 400, "mian main"),
    "a script without functions": (_form(script="x = 1\n"), 400, "main none"),
    "a script that does not parse": (_form(script="def main(pc, params):\n    retrun 1\n"), 400, "job.py line 2"),
    "a script with a bad indent": (_form(script="def main(pc, params):\npass\n"), 400, "line 2 column"),
    "a script with null bytes": (_form(script=b"def main(pc, params):\n    pass\0\n"), 400, "line 2 null"),
    "a script that is not UTF-8": (_form(script=b"x = '\xff'\n"), 400, "line"),
    "a script nested too deeply": (_form(script="(" * 5000 + ")" * 5000), 400, "nested"),
    "a bad decorator": (
        _form(script="@pixyz_schedule(queue=3)\ndef main(pc, params): pass\n"), 400, "line 1 queue"),
    "a decorator with an unknown queue": (
        _form(script="@pixyz_schedule(queue='x')\ndef main(pc, params): pass\n"), 400, "queue 'x'"),
    "a script's name with a null": (
        _raw(_part("script", NOTHING.encode()).replace(b'"script"', b'"script"; filename="a\0.py"') + b"--XX--\r\n"),
        400, "file name"),
    "a script's name that is too long": (_form(script_name="x" * 300 + ".py"), 400, "file name 200"),
    "an input's name that is dots": (_form(file=("..", b"x")), 400, "file name"),
    "two inputs": (
        _raw(_part("file", b"a").replace(b'"file"', b'"file"; filename="a"') * 2 + b"--XX--\r\n"), 400, "one"),
    # The urlencoded form
    "an urlencoded form without a process": (lambda rest: rest.http.post("/jobs", data={"name": "x"}), 400, "script"),
    "an urlencoded script": (lambda rest: rest.http.post("/jobs", data={"script": NOTHING}), 400, "script multipart"),
    "urlencoded params that are not JSON": (
        lambda rest: rest.http.post("/jobs", data={"process": "sleep", "params": "{"}), 400, "params line 1"),
    "an urlencoded field that is too large": (
        lambda rest: rest.http.post("/jobs", data={"params": "x" * (MAX_FIELD_BYTES + 1)}), 413, "params"),
    "an urlencoded upload that is too large": (
        lambda rest: rest.http.post("/jobs", data={"x": "x" * (MAX_UPLOAD_BYTES + 1)}), 413, str(MAX_UPLOAD_BYTES)),
    # The form itself
    "JSON instead of a form": (lambda rest: rest.http.post("/jobs", json={"process": "sleep"}), 400, "multipart"),
    "no content type": (lambda rest: rest.http.post("/jobs", content=b"x"), 400, "multipart"),
    "a form without a boundary": (_raw(b"x", **{"content-type": "multipart/form-data"}), 400, "multipart"),
    "a boundary that never comes": (_raw(b"nothing of the kind"), 400, "form"),
    "a form that is cut off": (_raw(_part("process", b"sleep")[:-5]), 400, "form"),
    "a form without its last line": (_raw(_part("process", b"sleep")), 400, "form"),
    "an empty body": (_raw(b""), 400, "form"),
    "a header that is none": (_raw(b"--XX\r\n:::\r\n\r\nx\r\n--XX--\r\n"), 400, "form"),
    "too many parts": (_raw(_part("x", b"") * 200 + b"--XX--\r\n"), 400, "parts"),
    "a field that is too large": (_form(params={"a": "x" * (MAX_FIELD_BYTES + 1)}), 413, str(MAX_FIELD_BYTES)),
    "a script that is too large": (_form(script="#" * (MAX_FIELD_BYTES + 1)), 413, "script"),
    "an upload that is too large": (_form(file=("big", bytes(MAX_UPLOAD_BYTES))), 413, str(MAX_UPLOAD_BYTES)),
    # Asking
    "limit 0": (_ask("GET", "/jobs?limit=0"), 400, "limit"),
    "limit below 0": (_ask("GET", "/jobs?limit=-1"), 400, "limit"),
    "limit too large": (_ask("GET", "/jobs?limit=1000000"), 400, "limit"),
    "limit that is a word": (_ask("GET", "/jobs?limit=all"), 400, "limit"),
    "a status that is none": (_ask("GET", "/jobs?status=NOPE"), 400, "status"),
    "a status in small letters": (_ask("GET", "/jobs?status=running"), 400, "status"),
    "an offset below 0": (_ask("GET", f"/jobs/{UNKNOWN}/logs?offset=-1"), 400, "offset"),
    "follow that is no switch": (_ask("GET", f"/jobs/{UNKNOWN}/logs?follow=perhaps"), 400, "follow"),
    "an unknown process to document": (_ask("GET", "/processes/no_such"), 400, "no_such"),
    "a webhook without DEBUG": (lambda rest: rest.http.post("/dev/callback", content=b"{}"), 404, "DEBUG"),
    "a path that is none": (_ask("GET", "/nowhere"), 404, ""),
    "a method that is not offered": (_ask("PUT", "/jobs"), 405, ""),
    "deleting all jobs": (_ask("DELETE", "/jobs"), 405, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_given_a_bad_request_when_sent_then_its_code_and_body_are_the_contracts(rest: RestClient, case: str) -> None:
    """The code, the shape of the body, and what is wrong in words."""
    send, code, words = CASES[case]
    _expect(send(rest), code, words)


UNKNOWN_JOBS = {
    "unknown": UNKNOWN,
    "upper case": UNKNOWN.upper().replace("0", "A"),
    "no id at all": "job",
    "too short": UNKNOWN[:-1],
    "braces": "{" + UNKNOWN + "}",
    "very long": "a" * 5000,
    "dots": "..%2e",
    "a null": "%00",
    "not UTF-8": "%ff",
    "a letter of another script": "%F0%9F%8E%89",
}
PATHS = ("", "/details", "/outputs", "/outputs/archive", "/outputs/a.txt", "/events", "/logs", "/logs?follow=true")


@pytest.mark.parametrize("which", UNKNOWN_JOBS)
def test_given_an_id_that_no_job_has_when_any_path_is_asked_then_404(rest: RestClient, which: str) -> None:
    """Never a PENDING job that does not exist, never a fault of the server."""
    uuid = UNKNOWN_JOBS[which]
    for path in PATHS:
        _expect(rest.http.get(f"/jobs/{uuid}{path}"), 404, "no job")
    _expect(rest.http.delete(f"/jobs/{uuid}"), 404, "no job")
    _expect(rest.http.post(f"/jobs/{uuid}/cancel"), 404, "no job")
    _expect(rest.http.get(f"/backend/get_task_meta/{uuid}"), 404, "no job")


OUTSIDE = {
    "dots": "../job.log",
    "encoded dots": "%2e%2e/job.log",
    "encoded slash": "..%2fjob.log",
    "all encoded": "%2e%2e%2f%2e%2e%2fjobs.db",
    "encoded twice": "%252e%252e%252fjob.log",
    "backslash": "..%5cjob.log",
    "absolute": "/etc/passwd",
    "absolute, encoded": "%2fetc%2fpasswd",
    "through a folder": "deep/../../script/job.py",
    "the folder itself": ".",
    "the folder above": "..",
    "a null": "a.txt%00",
    "a folder": "deep",
    "nothing": "",
    "not there": "b.txt",
    "very long": "x" * 5000,
    "not UTF-8": "%ff%fe",
    "case": "A.TXT",
    "a file as a folder": "a.txt/b",
}


@pytest.mark.parametrize("which", OUTSIDE)
def test_given_a_path_that_is_no_output_when_asked_then_400_or_404(rest: RestClient, outputs: str, which: str) -> None:
    """Nothing but a file in the job's outputs is ever served. The path is sent as it stands, not made tidy."""
    connection = http.client.HTTPConnection(rest.http.base_url.host, rest.http.base_url.port or 0, timeout=10)
    try:
        connection.request("GET", f"/jobs/{outputs}/outputs/{OUTSIDE[which]}", headers=dict(rest.http.headers))
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (400, 404), (answer.status, body)
        assert json.loads(body)["detail"]["code"] == answer.status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def outputs(rest: RestClient) -> str:
    """A job with two outputs, one in a folder."""
    uuid = rest.submit(FILES, params={"a.txt": "A", "deep/b.txt": "B"})
    assert rest.end(uuid)["status"] == "SUCCESS"
    return uuid


def test_given_a_range_beyond_the_end_when_asked_then_416(rest: RestClient, outputs: str) -> None:
    """As HTTP has it; one that is none is 400. Both have the form of all errors."""
    answer = rest.http.get(f"/jobs/{outputs}/outputs/a.txt", headers={"Range": "bytes=9-"})
    _expect(answer, 416, "range")
    assert answer.headers["content-range"] == "bytes */1"
    _expect(rest.http.get(f"/jobs/{outputs}/outputs/a.txt", headers={"Range": "bytes=x"}), 400, "range")


def test_given_a_refused_upload_when_looked_for_then_nothing_of_it_is_kept(rest: RestClient) -> None:
    """A job is there wholly or not at all."""
    newest = rest.submit(NOTHING)
    for case in ("an unknown queue", "an upload that is too large", "a form that is cut off"):
        CASES[case][0](rest)
    assert rest.get("/jobs", params={"limit": 1})["jobs"][0]["uuid"] == newest


def test_given_all_those_mistakes_when_a_good_job_is_sent_then_it_succeeds(rest: RestClient) -> None:
    """The platform has not been hurt. (Runs after the table, in the order of the file.)"""
    details = rest.run(process="api_test", params={"a": 1}, file=("a.bin", b"x" * 100_000))
    assert details["status"] == "SUCCESS"
    assert rest.get("/health")["ready"] is True


def _expect(answer: httpx.Response, code: int, words: str) -> None:
    assert answer.status_code == code, answer.text[:500]
    body = answer.json()
    assert body.keys() == {"detail"}
    assert body["detail"].keys() == {"code", "message", "details"}
    assert body["detail"]["code"] == code
    assert body["detail"]["message"] == HTTPStatus(code).phrase
    for word in words.split():
        assert word.strip(",").lower() in body["detail"]["details"].lower(), body["detail"]["details"]
