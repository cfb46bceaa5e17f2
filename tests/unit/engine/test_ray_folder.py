"""The folder of Ray's sockets: short, this user's alone, and emptied without following a link."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixyz_ray.cluster import ray_folder as module
from pixyz_ray.cluster.ray_folder import MAX_SOCKET_BYTES, clear_ray_folder, ray_folder
from pixyz_worker.exception import PixyzSecurityViolation


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files with a short name, as /tmp is."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="px") as name:
        path = Path(name)
        path.chmod(0o1777)
        yield path


@pytest.fixture(autouse=True)
def place(short: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder stands in for /tmp, and TMPDIR names it."""
    # pytest makes its own folder when it is first asked for, and that must not be in this one.
    tmp_path_factory.getbasetemp()
    monkeypatch.setattr(module, "_SHORT", short)
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    return short


def test_given_two_homes_when_their_folders_are_asked_for_then_both_are_in_one_closed_folder(place: Path) -> None:
    """Ray may then open its own to everybody: nobody else gets there."""
    one, other = ray_folder(Path("/home/a")), ray_folder(Path("/home/b"))
    assert one != other
    assert one.parent == other.parent == place / f"pixyz-{os.geteuid()}"
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert not one.exists()


def test_given_a_long_tmpdir_when_asked_then_the_folder_is_in_tmp(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Mac, or on a cluster's scratch disk."""
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    path = ray_folder(Path("/home/a"))
    assert path.parent.parent == place
    assert len(os.fsencode(path)) + len(module._BELOW) <= MAX_SOCKET_BYTES


def test_given_no_short_folder_when_asked_then_the_error_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest name that will do is named, and it does."""
    long = tmp_path / ("x" * 60)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(module, "_SHORT", Path("/nothing"))
    with pytest.raises(PixyzSecurityViolation, match=r"too long a name .* cannot be used .* TMPDIR"):
        ray_folder(Path("/home/a"))
    longest = Path("/" + "x" * (module._longest() - 1))
    path = longest / f"pixyz-{os.geteuid()}" / "ray-01234567"
    assert len(os.fsencode(path)) + len(module._BELOW) == MAX_SOCKET_BYTES


def test_given_a_tmp_without_sticky_bit_when_asked_then_refused(place: Path) -> None:
    """Whoever can rename the folder can put another in its place."""
    place.chmod(0o777)
    with pytest.raises(PixyzSecurityViolation, match="sticky"):
        ray_folder(Path("/home/a"))


def test_given_a_link_in_its_place_when_cleared_then_refused_and_nothing_is_removed(
    place: Path, tmp_path: Path
) -> None:
    """Another user of the machine can put it there."""
    inside = tmp_path / ray_folder(Path("/home/a")).name
    inside.mkdir()
    (inside / "precious").touch()
    (place / f"pixyz-{os.geteuid()}").rmdir()
    (place / f"pixyz-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(PixyzSecurityViolation, match="is a link"):
        clear_ray_folder(Path("/home/a"))
    assert (inside / "precious").exists()


def test_given_links_below_when_cleared_then_they_are_not_followed(tmp_path: Path) -> None:
    """In the platform's own folder nothing is left, or the newest sessions where they are wanted."""
    (tmp_path / "precious").touch()
    path = ray_folder(Path("/home/a"))
    for name in ("session_1", "session_2", "session_3", "spilled"):
        (path / name).mkdir(parents=True)
    (path / "session_latest").symlink_to(tmp_path)
    (path / "session_1" / "link").symlink_to(tmp_path)
    clear_ray_folder(Path("/home/a"), sessions_kept=2)
    assert {one.name for one in path.iterdir()} == {"session_2", "session_3"}
    clear_ray_folder(Path("/home/a"))
    assert not any(path.iterdir())
    assert (tmp_path / "precious").exists()


def test_given_the_folder_of_an_earlier_version_when_cleared_then_it_goes_unless_it_is_a_link(
    place: Path, tmp_path: Path
) -> None:
    """It was open to everybody, so somebody may have put links into it, or one in its place."""
    name = ray_folder(Path("/home/a")).name.removeprefix("ray-")
    old = place / f"pixyz-{os.geteuid()}-{name}"
    other = place / f"pixyz-{os.geteuid()}-0other00"
    (tmp_path / "precious").touch()
    for path in (old, other):
        path.mkdir()
        path.chmod(0o777)
        (path / "session_1").symlink_to(tmp_path)
    clear_ray_folder(Path("/home/a"))
    assert not old.exists()
    assert other.exists()
    old.symlink_to(tmp_path)
    clear_ray_folder(Path("/home/a"))
    assert (tmp_path / "precious").exists()
