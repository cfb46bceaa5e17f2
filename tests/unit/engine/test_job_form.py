"""The multipart form: whole and unambiguous, or refused; never half of an input."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.submission import Request as Submission
from serve_app.errors import BadRequest, UploadTooLarge
from serve_app.request_body import json_body
from serve_app.upload import read_form

SETTINGS = Settings(max_field_bytes=1000, max_upload_bytes=100_000)
END = b"--XX--\r\n"
SCRIPT = b"def main(pc, params): pass\n"


def _part(head: str, value: bytes = b"x", *more: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {head}", *more))
    return b"--XX\r\n" + lines.encode() + b"\r\n" + value + b"\r\n"


def _request(body: bytes, kind: str, *, piece: int = 1 << 16, cut: bool = False) -> Request:
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)]
    messages: list[Any] = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    messages.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)


def _read(body: bytes, folder: Path, *, boundary: str = "XX", **how: Any) -> Submission:
    request = _request(body, f"multipart/form-data; boundary={boundary}", **how)
    return asyncio.run(read_form(request, JobFolder(folder, str(uuid4())), SETTINGS))


FORM = _part('name="process"', b"sleep") + _part('name="file"; filename="a.bin"', b"0123456789" * 20) + END


def test_whole(tmp_path: Path) -> None:
    """Given a whole form, when read, then the input is on disk as it was sent."""
    found = _read(FORM, tmp_path)
    assert (found.process, found.input_file) == ("sleep", "a.bin")
    assert next(tmp_path.glob("*/inputs/a.bin")).read_bytes() == b"0123456789" * 20


@given(st.integers(0, FORM.index(END) + len(END) - 4), st.integers(1, 300), st.booleans())
def test_cut_off(tmp_path_factory: pytest.TempPathFactory, length: int, piece: int, gone: bool) -> None:
    """Given a form that ends anywhere before its closing boundary, when read in any pieces, then it is refused."""
    with pytest.raises(BadRequest):
        _read(FORM[:length], tmp_path_factory.mktemp("share"), piece=piece, cut=gone)


def test_connection_lost(tmp_path: Path) -> None:
    """Given a whole form of which the connection promised more, when it breaks, then the form is refused."""
    with pytest.raises(BadRequest, match="connection broke"):
        _read(FORM, tmp_path, cut=True)


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, identity"])
def test_compressed(tmp_path: Path, coding: str) -> None:
    """Given a compressed body, when read, then it is refused by what it is."""
    request = _request(FORM, "multipart/form-data; boundary=XX")
    request.scope["headers"].append((b"content-encoding", coding.encode()))
    with pytest.raises(BadRequest, match=r"Content-Encoding.*unencoded"):
        asyncio.run(read_form(request, JobFolder(tmp_path, str(uuid4())), SETTINGS))


@pytest.mark.parametrize(("length", "fits"), [("0" * 5000 + "20", True), ("9" * 5000, False), ("1" * 21, False)])
def test_long_length(tmp_path: Path, length: str, fits: bool) -> None:
    """Given a Content-Length of thousands of digits, when read, then its value counts."""
    request = _request(FORM, "multipart/form-data; boundary=XX")
    request.scope["headers"].append((b"content-length", length.encode()))
    reading = read_form(request, JobFolder(tmp_path, str(uuid4())), SETTINGS)
    if fits:
        assert asyncio.run(reading).process == "sleep"
    else:
        with pytest.raises(UploadTooLarge):
            asyncio.run(reading)


def test_epilogue(tmp_path: Path) -> None:
    """Given text after the closing boundary, which RFC 2046 allows, when read, then the form counts."""
    assert _read(_part('name="process"', b"sleep") + END + b"\r\nThe end.\r\n--XX\r\n", tmp_path).process == "sleep"


REFUSED = {
    "no Content-Disposition": (b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n", "Part 1 no name"),
    "no header at all": (b"--XX\r\n\r\nx\r\n", "Part 1 no name"),
    "no name": (_part('filename="a"'), "Part 1 no name"),
    "an attachment": (_part('name="process"').replace(b"form-data", b"attachment"), "Part 1 no name"),
    "a null byte in a name": (_part('name="pro\0cess"'), "null byte"),
    "a null byte in a file's name": (_part('name="file"; filename="a\0.bin"'), "file name"),
    "a header twice": (_part('name="name"', b"x", 'Content-Disposition: form-data; name="process"'), "twice"),
    "an encoded part": (_part('name="file"; filename="a"', b"eA==", "Content-Transfer-Encoding: base64"), "base64"),
    "a field twice": (_part('name="process"', b"a") + _part('name="process"', b"b"), "'process' twice"),
    "params twice": (_part('name="params"', b"{}") + _part('name="params"', b"{}"), "'params' twice"),
    "two inputs": (_part('name="file"; filename="a"') + _part('name="file"; filename="b"'), "more than one input"),
    "two scripts": (
        _part('name="script"; filename="a.py"', SCRIPT) + _part('name="script"; filename="b.py"', SCRIPT),
        "more than one script",
    ),
    "two scripts of one name": (_part('name="script"; filename="a.py"', SCRIPT) * 2, "two scripts 'a.py'"),
    "a header that is too large": (_part(f'name="{"x" * 5000}"'), "header size"),
    "too many headers": (_part('name="name"', b"x", *(f"X-{n}: y" for n in range(20))), "header count"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    """Given a form that could be understood in two ways, or not at all, when read, then it is refused with a reason."""
    body, words = REFUSED[case]
    with pytest.raises(Exception, match=".*".join(words.split(" "))) as caught:
        _read(body + END, tmp_path)
    assert type(caught.value).__name__ in ("BadRequest", "PixyzSecurityViolation")


@pytest.mark.parametrize("size", [71, 200, 300, 5000])
def test_boundary(tmp_path: Path, size: int) -> None:
    """Given a boundary beyond the 70 characters of RFC 2046, when read, then it is refused; one of 70 is not."""
    for length in (70, size):
        body = FORM.replace(b"--XX", b"--" + b"b" * length)
        if length == 70:
            assert _read(body, tmp_path, boundary="b" * length).input_file == "a.bin"
        else:
            with pytest.raises(BadRequest, match=f"{size} bytes long; at most 70"):
                _read(body, tmp_path, boundary="b" * length)


def test_empty_twins(tmp_path: Path) -> None:
    """Given empty parts beside full ones, as old clients send them, when read, then the empty ones count as absent."""
    empty = _part('name="name"', b"") + _part('name="file"', b"") + _part('name="script"', b"")
    found = _read(empty + _part('name="name"', b"bolt") + empty + END, tmp_path)
    assert (found.name, found.input_file, found.script) == ("bolt", None, None)


def test_graph_scripts(tmp_path: Path) -> None:
    """Given a graph, when it comes with several scripts, then all of them are its own."""
    scripts = _part('name="script"; filename="a.py"', SCRIPT) + _part('name="script"; filename="b.py"', SCRIPT)
    found = _read(scripts + _part('name="graph"', b"{}") + END, tmp_path)
    assert (found.script_name, list(found.more_scripts)) == ("a.py", ["b.py"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 300 + b"]" * 300, "at most 200 levels"),
        (b"\xff", "not UTF-8"),
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"NaN", "NaN"),
        (b"9" * 10_000, "4300 digits"),
    ],
)
def test_json_body(body: bytes, words: str) -> None:
    """Given a body that is no JSON we take, when read, then it is refused with a reason."""
    with pytest.raises(Exception, match=words) as caught:
        asyncio.run(json_body(_request(body, "application/json"), 1 << 20))
    assert type(caught.value).__name__ in ("BadRequest", "InvalidBackendParameter")


def test_good_json_body() -> None:
    """Given JSON with a byte order mark, as some editors write it, when read, then it is its value."""
    assert asyncio.run(json_body(_request(b'\xef\xbb\xbf{"a": [1]}', "application/json"), 1 << 20)) == {"a": [1]}
