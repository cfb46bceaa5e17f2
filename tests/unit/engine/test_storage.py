"""A job's files: no name that comes from outside leads out of its folder."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_ray.storage import JobFolder, is_uuid, plain_name
from pixyz_worker.exception import PixyzFileNotFound, PixyzSecurityViolation

parts = st.sampled_from(["..", ".", "", "a", "b.txt", "~", "\\", "\0", "/", "link", "x" * 300]) | st.text(max_size=8)
names = st.lists(parts, max_size=6).map("/".join)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """A job's folder with one output, and a link that leads out."""
    folder = JobFolder(tmp_path / "share", str(uuid4()))
    (folder.outputs / "a").mkdir(parents=True)
    (folder.outputs / "a" / "b.txt").write_text("B")
    (tmp_path / "secret").write_text("S")
    (folder.outputs / "link").symlink_to(tmp_path)
    (folder.outputs / "secret").symlink_to(tmp_path / "secret")
    return folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names)
def test_given_any_name_when_an_output_is_asked_then_only_a_file_of_the_job_comes(folder: JobFolder, name: str) -> None:
    """No other exception than the two that have their HTTP status."""
    try:
        opened = folder.open_output(name)
    except (PixyzSecurityViolation, PixyzFileNotFound):
        return
    with os.fdopen(opened.descriptor) as file:
        assert file.read() == "B"


@given(name=st.text(max_size=300) | names)
def test_given_any_upload_name_when_made_plain_then_it_is_one_usable_part(name: str) -> None:
    """Or it is refused."""
    try:
        plain = plain_name(name, "fallback")
    except PixyzSecurityViolation:
        return
    assert plain
    assert plain not in {".", ".."}
    assert not set(plain) & set("/\\\0\n")
    assert len(plain.encode()) <= 200


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.py", "a.py"),
        ("/etc/passwd", "passwd"),
        ("C:\\x\\b.step", "b.step"),
        ("", "input"),
        (" c ", "c"),
        ("é.glb", "é.glb"),
    ],
)
def test_given_names_of_other_systems_when_made_plain_then_the_last_part_is_kept(name: str, plain: str) -> None:
    """What a browser on another system sends."""
    assert plain_name(name, "input") == plain


@pytest.mark.parametrize(
    "text",
    ["", "x", "../..", str(uuid4()).upper(), f" {uuid4()}", f"{uuid4()}\n", "0" * 36],
    ids=["empty", "x", "dots", "capitals", "a space", "a line break", "zeros"],
)
def test_given_what_is_no_id_when_a_folder_is_made_of_it_then_it_is_refused(tmp_path: Path, text: str) -> None:
    """A folder is made of nothing but an id in its canonical form."""
    assert not is_uuid(text)
    with pytest.raises(PixyzSecurityViolation):
        JobFolder(tmp_path, text)


def test_given_outputs_when_listed_and_packed_then_links_that_lead_out_are_left_out(folder: JobFolder) -> None:
    """And the archive has the same names as the list."""
    assert folder.list_outputs() == ["a/b.txt"]
    with zipfile.ZipFile(folder.pack()) as archive:
        assert archive.namelist() == ["a/b.txt"]
    assert [path.name for path in folder.archives.iterdir()] == ["outputs.zip"]


def test_given_an_outcome_when_left_then_it_is_read_again_and_half_a_one_is_none(folder: JobFolder) -> None:
    """A worker that dies while it writes leaves nothing to believe."""
    assert folder.read_outcome(1) is None
    folder.write_outcome(1, json.dumps({"ok": True, "result": "é\ud800"}))
    assert folder.read_outcome(1) == {"ok": True, "result": "é\ud800"}
    for broken in (b'{"ok": tr', b"[]", b"", b"\xff"):
        folder.marker(2).write_bytes(broken)
        assert folder.read_outcome(2) is None


def test_given_a_second_attempt_when_it_begins_then_the_outputs_are_empty(folder: JobFolder) -> None:
    """What the first left is kept apart."""
    first = folder.outputs
    folder.new_outputs(1)
    assert folder.outputs == first
    assert folder.list_outputs() == ["a/b.txt"]
    for attempt in (2, 10):
        folder.new_outputs(attempt)
        folder.new_outputs(attempt)
        assert folder.outputs == folder.path / folder.outputs_of(attempt)
        assert list(folder.outputs.iterdir()) == []
        (folder.outputs / f"{attempt}.txt").write_text("new")
    # What the first still writes is not the job's any more.
    (first / "late.txt").write_text("late")
    assert folder.list_outputs() == ["10.txt"]
    with pytest.raises(PixyzFileNotFound):
        folder.open_output("late.txt")
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


@pytest.mark.parametrize(
    "name", ["outputs-", "outputs-x", "outputs-0002000", "outputs--3", "xoutputs-3", "outputs-3.zip"]
)
def test_given_another_folder_that_a_script_made_when_outputs_are_looked_for_then_it_is_not_taken_for_them(
    folder: JobFolder, name: str
) -> None:
    """Only what the platform itself calls an attempt's outputs is one; its name has an attempt's number."""
    (folder.path / name).mkdir()
    assert folder.outputs == folder.path / "outputs"


@pytest.mark.parametrize(
    ("content", "tail"),
    [
        (None, None),
        (b"", None),
        (b"\n\n", None),
        (b"one\ntwo\n", "one\ntwo"),
        (b"\xff\n", "\ufffd"),
        (b"".join(b"%d\n" % number for number in range(100)), "\n".join(map(str, range(80, 100)))),
        (b"x" * 100_000, "x" * 8192),
    ],
    ids=["no log", "empty", "blank", "short", "no text", "many lines", "one line"],
)
def test_given_a_log_when_its_end_is_asked_then_it_is_short_and_readable(
    folder: JobFolder, content: bytes | None, tail: str | None
) -> None:
    """It goes into the record of a failed attempt."""
    if content is not None:
        folder.log.write_bytes(content)
    assert folder.log_tail() == tail
