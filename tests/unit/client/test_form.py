"""The streamed multipart form."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart import FormParser
from python_multipart.multipart import parse_options_header

from pixyz_ray.client import form
from pixyz_ray.client.form import Form, Upload
from pixyz_worker.exception import PixyzFileNotFound

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text("abcdefghijkl_", min_size=1, max_size=8)


def parse(body: Form) -> tuple[dict[str, str], dict[str, tuple[str, bytes]]]:
    """What a server makes of a form."""
    fields: dict[str, str] = {}
    files: dict[str, tuple[str, bytes]] = {}

    def on_field(found: object) -> None:
        fields[found.field_name.decode()] = (found.value or b"").decode()  # type: ignore[attr-defined]

    def on_file(found: object) -> None:
        found.file_object.seek(0)  # type: ignore[attr-defined]
        files[found.field_name.decode()] = (  # type: ignore[attr-defined]
            found.file_name.decode(),  # type: ignore[attr-defined]
            found.file_object.read(),  # type: ignore[attr-defined]
        )
        found.close()  # type: ignore[attr-defined]

    kind, options = parse_options_header(body.headers["Content-Type"])
    parser = FormParser(kind.decode(), on_field, on_file, boundary=options[b"boundary"])
    for chunk in body:
        parser.write(chunk)
    parser.finalize()
    return fields, files


@given(st.dictionaries(NAMES, TEXT, max_size=3), st.binary(max_size=200))
def test_a_server_reads_what_was_put_in(fields: dict[str, str], content: bytes) -> None:
    """Given any fields and bytes, when the form is parsed, then they come back, and the length was right."""
    body = Form(fields, [("file", Upload.of(content, "in.bin"))])
    assert sum(map(len, body)) == body.size == int(body.headers["Content-Length"])
    assert parse(body) == (fields, {"file": ("in.bin", content)})


def test_a_field_can_have_several_files() -> None:
    """Given scripts of one field, when the form is sent, then each comes under its name, in order."""
    uploads = [Upload.of(name.encode(), "x.py").named(f"{name}.py") for name in ("b", "a", "b_2")]
    body = Form({}, [("script", upload) for upload in uploads])
    text = b"".join(body).decode()
    assert text.count('name="script"; filename="') == 3
    places = [text.index(f'filename="{name}.py"') for name in ("b", "a", "b_2")]
    assert places == sorted(places)
    assert len(text) == body.size


@pytest.mark.parametrize("size", [0, 1, 1000, 3500])
def test_a_file_goes_in_chunks_with_progress(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a file larger than a chunk, when it is sent, then no chunk is larger, and progress ends at all."""
    monkeypatch.setattr(form, "CHUNK", 1000)
    path = tmp_path / "bolt ü.step"
    path.write_bytes(bytes(range(250)) * (size // 250 + 1))
    content = path.read_bytes()
    seen: list[tuple[int, int | None]] = []
    body = Form({"process": "custom"}, [("file", Upload.of(path, ""))], lambda done, total: seen.append((done, total)))
    chunks = list(body)
    assert max(map(len, chunks)) <= 1000
    assert content in b"".join(chunks)
    assert seen[-1] == (body.size, body.size)
    assert parse(body)[1] == {"file": ("bolt ü.step", content)}


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """Given a file that becomes shorter after it was measured, when it is sent, then the error says so."""
    path = tmp_path / "growing.step"
    path.write_bytes(b"x" * 100)
    upload = Upload.of(path, "")
    path.write_bytes(b"x")
    with pytest.raises(PixyzFileNotFound, match="became shorter"):
        list(upload.chunks())


def test_a_missing_file_and_a_folder_are_sentences(tmp_path: Path) -> None:
    """Given no file, when it is named, then the error says which."""
    with pytest.raises(PixyzFileNotFound, match="does not exist"):
        Upload.of(tmp_path / "none", "")
    with pytest.raises(PixyzFileNotFound, match="is a folder"):
        Upload.of(tmp_path, "")
