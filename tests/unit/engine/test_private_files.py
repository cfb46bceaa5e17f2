"""Files and folders of the platform that other users of the machine cannot open, and the share's own umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixyz_ray.private_files import (
    SHARE_MASK,
    make_process_private,
    make_shared_folder,
    open_private,
    own_folder,
    secure_home,
    share_mask,
    tighten,
    use_share_mask,
)
from pixyz_ray.store import JobStore
from pixyz_worker.exception import PixyzSecurityViolation


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def mask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that was started with umask 002, put back afterwards."""
    monkeypatch.setenv(SHARE_MASK, "")
    monkeypatch.delenv(SHARE_MASK)
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize(("setting", "expected"), [(None, 0o664), (0o077, 0o600), (0o022, 0o644)])
def test_given_a_share_umask_when_files_are_made_then_only_the_share_uses_it(
    tmp_path: Path, setting: int | None, expected: int
) -> None:
    """By default it is that of whoever started the platform; everything else is private."""
    make_process_private(setting)
    (tmp_path / "private").touch()
    make_shared_folder(tmp_path / "share")
    (tmp_path / "still private").touch()
    use_share_mask()
    (tmp_path / "shared").touch()
    assert _mode(tmp_path / "private") == _mode(tmp_path / "still private") == 0o600
    assert _mode(tmp_path / "shared") == expected
    assert _mode(tmp_path / "share") & 0o077 == (expected | expected >> 2 & 0o011) & 0o077


@pytest.mark.usefixtures("mask")
def test_given_a_private_process_when_made_private_again_then_the_first_umask_counts() -> None:
    """The tracker does so in a process that has inherited both."""
    make_process_private(None)
    make_process_private(None)
    assert share_mask(None) == 0o002


def test_given_no_folder_when_it_is_to_be_ours_then_it_is_made_for_us_alone(tmp_path: Path) -> None:
    """A second call finds it."""
    path = tmp_path / "own"
    assert own_folder(path) == own_folder(path) == path
    assert _mode(path) == 0o700


@pytest.mark.parametrize("kind", ["link", "dangling link", "open", "file", "foreign"])
def test_given_a_folder_that_others_can_misuse_when_it_is_to_be_ours_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Somebody else may have put it there before the platform was started."""
    path, other = tmp_path / "own", tmp_path / "other"
    other.mkdir(mode=0o700)
    match kind:
        case "link":
            path.symlink_to(other)
        case "dangling link":
            path.symlink_to(tmp_path / "nothing")
        case "open":
            path.mkdir()
            path.chmod(0o770)
        case "file":
            path.touch()
        case "foreign":
            path.mkdir(mode=0o700)
            uid = os.geteuid()
            monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(PixyzSecurityViolation, match=r"Remove it, or set TMPDIR"):
        own_folder(path)
    assert not (tmp_path / "nothing").exists()


def test_given_an_open_home_when_the_platform_starts_then_it_is_closed_and_said_so(tmp_path: Path) -> None:
    """Databases, logs and tokens in it too; a link in the place of one leads nowhere."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    home.chmod(0o755)
    for path in (home / "jobs.db", home / "jobs.db-wal", elsewhere, home / "notes.txt"):
        path.touch()
        path.chmod(0o644)
    (home / "supervisor.log").symlink_to(elsewhere)
    changes = secure_home(home)
    assert [change.split(" was open")[0] for change in changes] == [
        str(home),
        str(home / "jobs.db"),
        str(home / "jobs.db-wal"),
    ]
    assert "SHARE_PATH" in changes[0]
    assert _mode(home) == 0o700
    assert _mode(home / "jobs.db") == _mode(home / "jobs.db-wal") == 0o600
    assert _mode(elsewhere) == _mode(home / "notes.txt") == 0o644
    assert secure_home(home) == []


def test_given_the_home_of_another_user_when_the_platform_starts_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That user could put links into it."""
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(PixyzSecurityViolation, match="PIXYZ_HOME"):
        secure_home(tmp_path)


def test_given_a_link_in_the_place_of_a_log_when_opened_then_refused(tmp_path: Path) -> None:
    """What it leads to keeps its content."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "log").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "log")
    assert (tmp_path / "precious").read_text() == "precious"


def test_given_an_old_open_log_when_opened_then_it_is_empty_and_private(tmp_path: Path) -> None:
    """The umask does not change a file that is there already."""
    path = tmp_path / "log"
    path.write_text("old")
    path.chmod(0o644)
    with open_private(path) as log:
        log.write(b"new")
    assert path.read_text() == "new"
    assert _mode(path) == 0o600
    assert not tighten(path)
    assert not tighten(tmp_path)


def test_given_a_job_store_that_others_can_read_when_opened_then_it_is_closed_to_them(tmp_path: Path) -> None:
    """Wherever JOB_STORE_URL puts it: earlier versions made it with the umask of their user."""
    path = tmp_path / "store.db"
    JobStore(f"sqlite:///{path}").close()
    path.chmod(0o644)
    store = JobStore(f"sqlite:///{path}")
    try:
        assert {name.name: _mode(name) for name in tmp_path.iterdir() if _mode(name) & 0o077} == {}
    finally:
        store.close()
