"""The marker of a share: which machine sees the share of the head."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pixyz_ray import share_marker
from pixyz_ray.share_marker import MARKER, ShareCheck, ShareMarker, read_marker, share_problem, write_marker


def test_made_once(tmp_path: Path) -> None:
    """Given a share without a marker, when marked twice, then the first id stays."""
    first = write_marker(tmp_path)
    assert write_marker(tmp_path) == first == read_marker(tmp_path)
    assert share_problem(str(tmp_path), first.id) is None


def test_link(tmp_path: Path) -> None:
    """Given SHARE_PATH that is a link, when marked, then the folder behind it has the marker."""
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    marker = write_marker(link)
    assert share_problem(str(link), marker.id) is None
    assert read_marker(folder) == marker


def test_not_mounted(tmp_path: Path) -> None:
    """Given an empty folder, or none, where the share should be, when checked, then it says that it is not there."""
    for folder in (tmp_path, tmp_path / "missing"):
        assert "cannot see the share" in str(share_problem(str(folder), "1234"))


def test_another_share(tmp_path: Path) -> None:
    """Given another share at its place, when checked, then the sentence tells the two apart."""
    write_marker(tmp_path, ShareMarker(id="other", since="2026-01-01"))
    assert "another share" in str(share_problem(str(tmp_path), "mine"))
    assert "2026-01-01" in str(share_problem(str(tmp_path), "mine"))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"x" * 10_000])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    """Given a marker that nobody understands, when marked, then it is replaced by one that counts."""
    (tmp_path / MARKER).write_bytes(content)
    if len(content) < 5000:
        assert read_marker(tmp_path) is None
        assert json.loads((tmp_path / MARKER).read_text() if write_marker(tmp_path) else "")["id"]
    else:
        assert "cannot read" in str(share_problem(str(tmp_path), "1"))


def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a share whose server is away, when checked again and again, then each ends in time, in one thread."""
    away, asked = threading.Event(), []

    def hang(_share: str, _id: str) -> None:
        asked.append(1)
        away.wait(20)

    monkeypatch.setattr(share_marker, "share_problem", hang)
    check = ShareCheck(str(tmp_path), "1", patience_s=0.02, every_s=60)
    assert "no answer" in str(check.problem())
    assert "no answer" in str(check.problem())
    assert len(asked) == 1
    away.set()
    threads = [thread for thread in threading.enumerate() if thread.name == "pixyz-share"]
    for thread in threads:
        thread.join(20)
    assert check.problem() is None
    assert check.problem() is None
    assert len(asked) == 1


def test_good_for_a_moment(tmp_path: Path) -> None:
    """Given a good share, when it goes away, then it is noticed after the time for which an answer holds."""
    marker = write_marker(tmp_path)
    check, impatient = ShareCheck(str(tmp_path), marker.id, every_s=60), ShareCheck(str(tmp_path), marker.id, every_s=0)
    assert check.problem() is None
    (tmp_path / MARKER).unlink()
    assert check.problem() is None
    assert "cannot see" in str(impatient.problem())
