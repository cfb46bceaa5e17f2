"""docs/security.md names settings that exist, and all private files; the ports are compared on a running platform."""

from __future__ import annotations

import re
from pathlib import Path

from pixyz_ray.private_files import HOME_FILES
from pixyz_ray.settings import SETTINGS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
OTHER_VARIABLES = {"PIXYZ_HOME", "RAY_AUTH_MODE"}


def _section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_each_setting_exists() -> None:
    """Given the page, when its settings are collected, then each is one of the platform."""
    named = set(re.findall(r"`\$?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|DEBUG)\b", PAGE))
    assert {"API_HOST", "SHARE_UMASK", "GOD_PASSWORD_SHA256"} <= named
    assert named - OTHER_VARIABLES <= SETTINGS.keys()


def test_each_private_file_is_named() -> None:
    """Given the files that are closed at the start, when the table of files is read, then each is in it."""
    files = set(re.findall(r"`(?:\$PIXYZ_HOME/)?([\w.-]+)`", _section("Files")))
    # SQLite has it only while it changes the mode of its journal.
    assert set(HOME_FILES) - files == {"jobs.db-journal"}


def test_each_row_has_a_mode() -> None:
    """Given the table of files, when it is read, then each has its mode; those in the home are the owner's alone."""
    rows = re.findall(r"^\| `([^`]+)` \| (\S+) \|", _section("Files"), re.MULTILINE)
    assert len(rows) > 8
    assert {name: mode for name, mode in rows if name.startswith("$PIXYZ_HOME/") and mode != "600"} == {}
