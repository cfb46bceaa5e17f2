"""Changes to the text of the configuration file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pixyz_ray.config_change import change_setting
from pixyz_ray.config_edit import locked, with_setting, without_setting, write_text
from pixyz_ray.config_file import CONFIG_NAME, parse_config, read_text
from pixyz_worker.exception import InvalidBackendParameter

FILE = """# The service
[api]
API_PORT=9000 ; as always

; API_HOST=0.0.0.0
export SHARE_PATH='/mnt/a b'   # share
PIXYZ_POOLS='{
  "catia": 3
}'
LOG_LEVEL = INFO
"""


def values(text: str) -> dict[str, str]:
    """Return what a file sets."""
    return {line.name: line.value for line in parse_config(text)}


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("API_PORT", "8123", "API_PORT=8123 ; as always"),
        ("SHARE_PATH", "/mnt/x", "SHARE_PATH=/mnt/x"),
        ("PIXYZ_POOLS", '{"nx": 1}', 'PIXYZ_POOLS={"nx": 1}'),
        ("LOG_LEVEL", "DEBUG", "LOG_LEVEL=DEBUG"),
        ("LICENSE_HOST", "a # b", "LICENSE_HOST='a # b'"),
    ],
)
def test_one_setting_is_replaced_and_the_rest_is_kept(name: str, value: str, line: str) -> None:
    """Given a file with comments, when a setting is written, then only its own lines are others."""
    changed = with_setting(FILE, name, value)
    assert line in changed.splitlines()
    assert values(changed) == {**values(FILE), name: value}
    kept = [row for row in FILE.splitlines() if row.startswith(("#", ";", "["))]
    assert [row for row in changed.splitlines() if row.startswith(("#", ";", "["))] == kept


def test_a_setting_of_several_lines_is_removed_with_all_of_them() -> None:
    """Given a value of three lines, when it is unset, then they are gone and the next setting is still there."""
    changed = without_setting(FILE, "PIXYZ_POOLS")
    assert changed == FILE.replace("PIXYZ_POOLS='{\n  \"catia\": 3\n}'\n", "")
    assert without_setting(changed, "PIXYZ_POOLS") == changed


def test_duplicates_and_line_ends() -> None:
    """Given a Windows file with a setting twice, when it is written, then it is there once, with the same line ends."""
    changed = with_setting("API_PORT=1\r\n# x\r\nAPI_PORT=2\r\n", "API_PORT", "3")
    assert changed == "# x\r\nAPI_PORT=3\r\n"


def test_a_last_line_without_an_end_is_kept() -> None:
    """Given a file that does not end with a line end, when a setting is added, then it has a line of its own."""
    assert with_setting("A=1", "B", "2") == "A=1\nB=2\n"
    assert with_setting("", "B", "2") == "B=2\n"


@given(value=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
def test_what_is_written_is_read_back(value: str) -> None:
    """Given any value, when written, then the file is read as that value, or it is refused."""
    assume("${" not in value and value.strip() == value)
    try:
        changed = with_setting(FILE, "LICENSE_HOST", value)
    except InvalidBackendParameter:
        return
    assert values(changed) == {**values(FILE), "LICENSE_HOST": value}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encoding_and_mode_are_kept(encoding: str, tmp_path: Path) -> None:
    """Given a file of some encoding behind a link, when written, then encoding, mode and link are as before."""
    file, link = tmp_path / "real.conf", tmp_path / "link.conf"
    file.write_text("# Größe\nAPI_PORT=1\n", encoding=encoding)
    file.chmod(0o640)
    link.symlink_to(file)
    text, found = read_text(link)
    write_text(link, with_setting(text, "API_PORT", "2"), found)
    assert file.read_bytes().decode(encoding) == "# Größe\nAPI_PORT=2\n"
    assert (found, file.stat().st_mode & 0o777, link.is_symlink()) == (encoding, 0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.conf", "real.conf"]


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """Given three processes, when each sets another setting at the same time, then the file has all three."""
    changes = {"MAX_LOG_BYTES": "2MiB", "PIXYZ_TIME_LIMIT": "7", "MAX_SCRIPT_BYTES": "2MiB"}
    environment = {**os.environ, "PIXYZ_HOME": str(tmp_path), "PIXYZ_CONFIG": ""}
    code = (
        "import sys; from pixyz_ray.config_change import change_setting; "
        "sys.stdin.read(1); change_setting(*sys.argv[1:])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, *change], env=environment, stdin=subprocess.PIPE)
        for change in changes.items()
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    for process in started:
        process.communicate()
    assert [process.returncode for process in started] == [0, 0, 0]
    assert values((tmp_path / CONFIG_NAME).read_text()) == changes


def test_a_change_waits_for_another_one_for_a_limited_time(tmp_path: Path) -> None:
    """Given a file that another process is changing, when the time to wait is over, then an error says so."""
    file = tmp_path / "missing" / CONFIG_NAME
    with locked(file), pytest.raises(InvalidBackendParameter, match="Another process"), locked(file, 0.05):
        raise AssertionError("two changes at the same time")


def test_a_value_that_the_file_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given bytes that are not UTF-8, as a shell hands them over, when set, then an error names them, and no file."""
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path))
    monkeypatch.setenv("PIXYZ_CONFIG", "")
    with pytest.raises(InvalidBackendParameter, match=r"LICENSE_HOST has the character '\\udcff'"):
        change_setting("LICENSE_HOST", "host\udcff")
    assert list(tmp_path.iterdir()) == []
