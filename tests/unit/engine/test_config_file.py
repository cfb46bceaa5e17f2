"""The configuration file: which one is in force, and what its lines may look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixyz_ray import config_file
from pixyz_ray.config_file import ConfigUnreadable, find_config, read_config, unused_config


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home, a folder for /etc and a current folder, all empty."""
    for name in ("home", "etc", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("PIXYZ_CONFIG", raising=False)
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config_file, "SYSTEM_CONFIG", tmp_path / "etc" / "pixyz-scheduler.conf")
    monkeypatch.chdir(tmp_path / "here")


def test_the_first_file_that_exists_is_in_force(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given files in all places, when looked for, then PIXYZ_CONFIG wins over the home, and that over /etc."""
    assert find_config() is None
    for place in ("etc", "home"):
        file = tmp_path / place / "pixyz-scheduler.conf"
        file.touch()
        assert find_config() == file
    own = tmp_path / "own.conf"
    own.touch()
    monkeypatch.setenv("PIXYZ_CONFIG", str(own))
    assert find_config() == own


def test_a_file_in_the_current_folder_is_not_in_force(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given a file where somebody happens to stand, when looked for, then it is only reported; by name it counts."""
    assert unused_config(None) is None
    here = tmp_path / "here" / "pixyz-scheduler.conf"
    here.touch()
    assert find_config() is None
    assert unused_config(None) == here
    monkeypatch.setenv("PIXYZ_CONFIG", "pixyz-scheduler.conf")
    assert find_config() == here
    assert unused_config(find_config()) is None


def test_a_named_file_that_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given PIXYZ_CONFIG that names nothing or a folder, when looked for, then it is refused."""
    for path in (tmp_path / "none.conf", tmp_path):
        monkeypatch.setenv("PIXYZ_CONFIG", str(path))
        with pytest.raises(ConfigUnreadable, match=f"PIXYZ_CONFIG={path} .* is not a file"):
            find_config()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("NAME = value ", "value"),
        ("export NAME=value", "value"),
        ("NAME='a # b'", "a # b"),
        ('NAME="a\\tb"', "a\tb"),
        ("NAME=value # why", "value"),
        ("NAME=value ; why", "value"),
        ("NAME=a;b#c", "a;b#c"),
        ('NAME="a ; b"', "a ; b"),
        ('NAME="a ; b" ; why', "a ; b"),
        ("NAME=", ""),
        ("NAME= # nothing", ""),
        ('NAME=""', ""),
        ('NAME={"a": 1}', '{"a": 1}'),
        ("NAME='{\n\"a\": 1}'", '{\n"a": 1}'),
        ("NAME=${GIVEN}/x", "there/x"),
        ("NAME=${ABSENT:-other}", "other"),
        ("NAME=${ABSENT:-}", ""),
        ("NAME=$GIVEN", "$GIVEN"),
    ],
)
def test_a_line_may_look_like_this(line: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given a line as in a dotenv, shell or ini file, when it is read, then it sets this value."""
    monkeypatch.setenv("GIVEN", "there")
    monkeypatch.delenv("ABSENT", raising=False)
    file = tmp_path / "x.conf"
    file.write_text(f"# first\n; second\n\n[section one]\n{line}\nLAST=1\n")
    first, last = read_config(file)
    assert (first.number, first.name, first.value, first.problem) == (5, "NAME", value, "")
    assert (last.name, last.value) == ("LAST", "1")


def test_a_reference_is_to_the_lines_above(tmp_path: Path) -> None:
    """Given a line that refers to one above it, when it is read, then it has that one's value."""
    file = tmp_path / "x.conf"
    file.write_text("ROOT=/data\nSHARE_PATH=${ROOT}/share\n")
    assert read_config(file)[1].value == "/data/share"


@pytest.mark.parametrize(
    "data",
    [
        "A=1\nNAME=Größe\n".encode(),
        "A=1\r\nNAME=Größe\r\n".encode(),
        "A=1\rNAME=Größe".encode(),
        "\ufeffA=1\nNAME=Größe\n".encode(),
        "A=1\nNAME=Größe\n".encode("latin-1"),
        "A=1\r\nNAME=Größe\r\n".encode("utf-16"),
    ],
    ids=["utf-8", "windows", "mac", "mark", "latin-1", "utf-16"],
)
def test_a_file_may_come_from_any_editor(data: bytes, tmp_path: Path) -> None:
    """Given any line ends and encoding, when the file is read, then its lines are these."""
    file = tmp_path / "x.conf"
    file.write_bytes(data)
    assert [(line.number, line.name, line.value) for line in read_config(file)] == [(1, "A", "1"), (2, "NAME", "Größe")]


@pytest.mark.parametrize(
    ("line", "name", "problem"),
    [
        ("API_PORT 8001", "API_PORT", "write NAME=value"),
        ("API_PORT: 8001", "API_PORT", "write NAME=value"),
        ("API_PORT", "API_PORT", "write NAME=value"),
        ("=8001", "", "write NAME=value"),
        ('SHARE_PATH="/data', "SHARE_PATH", 'the quote " is not closed'),
        ("SHARE_PATH='/data", "SHARE_PATH", "the quote ' is not closed"),
        ('SHARE_PATH="/data" x', "SHARE_PATH", "something follows the closing quote"),
        ("SHARE_PATH=${NOWHERE}/x", "SHARE_PATH", "${NOWHERE} is not set: set it above, or write ${NOWHERE:-DEFAULT}"),
    ],
)
def test_a_line_that_cannot_be_read_has_its_number(line: str, name: str, problem: str, tmp_path: Path) -> None:
    """Given a line that sets nothing, when the file is read, then it is reported and the others count."""
    file = tmp_path / "x.conf"
    file.write_text(f"A=1\n\n{line}\nB=2\n")
    first, bad, last = read_config(file)
    assert (bad.number, bad.name, bad.problem) == (3, name, problem)
    assert (first.value, last.value, last.number) == ("1", "2", 4)


def test_a_file_without_text_is_refused(tmp_path: Path) -> None:
    """Given a folder or binary data, when it is read, then the message names it."""
    with pytest.raises(ConfigUnreadable, match=str(tmp_path)):
        read_config(tmp_path)
    file = tmp_path / "x.conf"
    file.write_bytes(b"A=1\0")
    with pytest.raises(ConfigUnreadable, match="not a text file"):
        read_config(file)
