"""The urlencoded form, in pieces of any size, with the same limits and messages as the multipart one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.submission import Request as Submission
from pixyz_ray.submission import make_graph_job, make_job
from pixyz_worker.exception import InvalidBackendParameter
from serve_app.errors import BadRequest, UploadTooLarge
from serve_app.upload import read_form

SETTINGS = Settings(max_field_bytes=100, max_upload_bytes=1000)
KIND = "application/x-www-form-urlencoded"


def _read(body: bytes, *, piece: int = 7, kind: str = KIND, settings: Settings = SETTINGS) -> Submission:
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)] or [b""]
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return messages.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)
    return asyncio.run(read_form(request, JobFolder(Path("/nowhere"), str(uuid4())), settings))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.text("a=&+% é", max_size=9), st.integers(1, 9)
)
def test_fields(name: str, params: str, piece: int) -> None:
    """Given any texts, when sent urlencoded, then they are those of the submission."""
    body = urlencode({"process": "sleep", "name": name, "params": params, "config": "{}", "other": "x"}).encode()
    found = _read(body, piece=piece)
    assert (found.process, found.name, found.params, found.config) == ("sleep", name, params, "{}")
    assert (found.script, found.input_file) == (None, None)


def test_charset_and_empty_fields() -> None:
    """Given empty fields, when sent, then they count as absent, those of files too."""
    found = _read(b"process=&file=&script=&params=%7B%7D", kind=f"{KIND}; charset=UTF-8")
    assert (found.process, found.params, found.script) == ("custom", "{}", None)
    assert _read(b"").process == "custom"


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"process=custom&script=x", BadRequest, "'script' cannot come in an urlencoded form.*multipart"),
        (b"file=x", BadRequest, "'file' cannot come"),
        (b"params=%ff", BadRequest, "'params' is not UTF-8"),
        (b"&".join(b"a=1" for _ in range(101)), BadRequest, "more than 100 fields"),
        (b"params=" + b"x" * 101, UploadTooLarge, "'params' is larger than 100 bytes"),
        (b"params=" + quote("é" * 51).encode(), UploadTooLarge, "'params' is larger than 100 bytes"),
        (b"params=" + b"x" * 400, UploadTooLarge, "'params' is larger than 100 bytes"),
        (b"x" * 2000, UploadTooLarge, "limit of 1000 bytes"),
    ],
)
def test_bad_forms(body: bytes, error: type[Exception], words: str) -> None:
    """Given a form that cannot be accepted, when sent, then the message says why."""
    with pytest.raises(error, match=words):
        _read(body, piece=64)


def test_field_of_the_largest_size() -> None:
    """Given a field as large as may be, when each byte of it is escaped, then it is accepted."""
    assert _read(b"params=" + quote("é" * 50).encode()).params == "é" * 50


def test_other_kinds() -> None:
    """Given another kind of body, when sent, then the message names both kinds of forms."""
    with pytest.raises(BadRequest, match=r"multipart/form-data.*urlencoded"):
        _read(b"{}", kind="application/json")


FORMS = ["urlencoded", "multipart"]


def _send(form: str, fields: dict[str, str]) -> Submission:
    if form == "urlencoded":
        return _read(urlencode(fields).encode(), settings=ROOMY)
    parts = [f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    return _read("".join([*parts, "--b--\r\n"]).encode(), kind="multipart/form-data; boundary=b", settings=ROOMY)


ROOMY = Settings(max_field_bytes=100, max_upload_bytes=100_000)


@pytest.mark.parametrize("form", FORMS)
def test_unknown_fields(form: str) -> None:
    """Given fields that there are not, when sent, then the job's notes name them, with the nearest one."""
    sent = _send(form, {"process": "sleep", "parms": "{}", "callback": "http://x", "config": "{}"})
    job, _ = make_job(str(uuid4()), sent, ROOMY)
    assert job.notes == (
        "form field 'parms' is not known; did you mean 'params'? It was ignored.",
        "form field 'callback' is not known. Fields: process, script, file, params, name, config, graph. "
        "It was ignored.",
    )


@pytest.mark.parametrize("form", FORMS)
def test_unknown_fields_strict(form: str) -> None:
    """Given such a field and `strict`, when sent, then it is refused; without such a field it is not."""
    strict = {"process": "sleep", "config": '{"strict": true}'}
    with pytest.raises(InvalidBackendParameter, match="'parms' is not known; did you mean 'params'"):
        make_job(str(uuid4()), _send(form, {**strict, "parms": "{}"}), ROOMY)
    assert make_job(str(uuid4()), _send(form, strict), ROOMY)[0].notes == ()


@pytest.mark.parametrize("form", FORMS)
def test_many_unknown_fields(form: str) -> None:
    """Given many such fields with long names, when sent, then a few are kept, and of each the beginning."""
    sent = _send(form, {"process": "sleep", **{f"{number}{900 * 'x'}": "" for number in range(90)}})
    notes = make_job(str(uuid4()), sent, ROOMY)[0].notes
    assert (len(notes), len(sent.unknown_fields), max(map(len, sent.unknown_fields))) == (11, 11, 100)
    assert notes[-1] == "The form has more fields that are not known. They were ignored."


def test_unknown_fields_of_a_graph() -> None:
    """Given a graph with such a field, when sent, then its job has the note."""
    request = Submission(script_name="s.py", script=b"", unknown_fields=("grap",))
    assert make_graph_job(str(uuid4()), request, ROOMY)[0].notes == (
        "form field 'grap' is not known; did you mean 'graph'? It was ignored.",
    )


def test_inputs_that_would_be_lost() -> None:
    """Given an input as a text, or in a field that there is not, when sent, then the message says what to do."""
    with pytest.raises(BadRequest, match=r"'file' came as a text.*-F file=@PATH"):
        _send("multipart", {"process": "sleep", "file": "bolt.step"})
    assert _send("multipart", {"process": "sleep", "file": ""}).input_file is None
    with pytest.raises(UploadTooLarge, match=r"'input' is larger than 100 bytes\. There is no such field.*'file'"):
        _send("multipart", {"process": "sleep", "input": 200 * "x"})
