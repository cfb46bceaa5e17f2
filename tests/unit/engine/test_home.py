"""The platform's home: address and token for this machine's owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pixyz_ray.home import Platform, forget_platform, home, local_token, read_platform, write_platform

PLATFORM = Platform(
    url="http://127.0.0.1:1", token="t", pid=1, started=1.5, version="0", ray_address="127.0.0.1:2", session="s"
)


def test_given_a_home_when_a_platform_is_written_then_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Token inside."""
    folder = tmp_path / "home"
    write_platform(PLATFORM, folder)
    assert read_platform(folder) == PLATFORM
    assert stat.S_IMODE((folder / "platform.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    forget_platform(folder)
    forget_platform(folder)
    assert read_platform(folder) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"url": 1}', b"\xff"])
def test_given_what_is_no_platform_when_read_then_none(tmp_path: Path, content: bytes) -> None:
    """A half-written or foreign file is as good as none."""
    (tmp_path / "platform.json").write_bytes(content)
    assert read_platform(tmp_path) is None


def test_given_no_token_when_asked_then_one_is_made_and_kept(tmp_path: Path) -> None:
    """Random, long, readable by its owner alone."""
    token = local_token(tmp_path / "a")
    assert len(token) > 40
    assert local_token(tmp_path / "a") == token != local_token(tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "a" / "token").stat().st_mode) == 0o600
    (tmp_path / "a" / "token").write_text("\n")
    assert len(local_token(tmp_path / "a")) > 40


def test_given_the_environment_when_it_names_a_home_then_it_is_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the one in the user's folder."""
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("PIXYZ_HOME")
    assert home() == Path.home() / ".pixyz"
