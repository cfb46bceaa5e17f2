"""Checks of the settings for `pixyz doctor`: their sources, which are set, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pixyz_ray.cli.checks import Check, Verdict
from pixyz_ray.cli.running_settings import check_running


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingChecks:
    """The settings that a platform started here would have."""

    checks: list[Check]
    """Where they come from, and one entry for each problem and each note."""
    rows: list[dict[str, str]]
    """Name, value and source of each setting that is not at its default."""


def check_settings(url: str | None = None, token: str | None = None) -> SettingChecks:
    """Read the settings as `pixyz up` would, and compare them with those of this machine's platform if it is up.

    Args:
        url: URL of the platform; None: look it up.
        token: its token; None: look it up.
    """
    from pixyz_ray.settings import read_settings

    reading = read_settings()
    checks = [_order(reading.sources.file, len(reading.rows()))]
    for problem in reading.sources.problems:
        remedy = "Correct the setting: `pixyz up` does not start with it."
        checks.append(Check(name="Settings", verdict=Verdict.PROBLEM, found=problem, remedy=remedy))
    for note in reading.sources.notes:
        checks.append(Check(name="Settings", verdict=Verdict.NOTE, found=note.found, remedy=note.remedy))
    checks += check_running(url, token, reading)
    return SettingChecks(checks=checks, rows=reading.rows())


def _order(file: Path | None, number: int) -> Check:
    from pixyz_ray.config_file import places

    listed = ", else ".join(places())
    found = f"{number} set; environment, over {file or 'a file (none found)'}, over defaults; the file is {listed}"
    return Check(name="Settings", verdict=Verdict.GOOD, found=found)
