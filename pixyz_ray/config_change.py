"""Change one setting in the configuration file: checked as `pixyz up` checks it, before anything is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pixyz_ray.config_edit import locked, with_setting, without_setting, write_text
from pixyz_ray.config_file import CONFIG_NAME, find_config, parse_config, read_text
from pixyz_ray.home import home
from pixyz_ray.private_files import secure_home
from pixyz_ray.setting_names import find_old_name
from pixyz_ray.setting_reading import Reading
from pixyz_ray.setting_sources import ENVIRONMENT, Draft
from pixyz_ray.settings import SETTINGS, read_draft, read_settings
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import suggestion

_LINE_NUMBER = re.compile(r", line \d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What was done to the configuration file."""

    file: Path
    """The file."""
    line: int | None
    """Number of the line that has the setting now; None where none has."""
    changed: bool
    """Whether the file is another one than before."""
    overridden: bool
    """Whether the environment has the setting too, and takes precedence."""


def setting_name(given: str) -> str:
    """Return the name of a setting in capitals.

    Raises:
        InvalidBackendParameter: there is no such setting; the message names the nearest.
    """
    name = given.strip().upper()
    if name in SETTINGS:
        return name
    if (old := find_old_name(name, in_file=True)) is not None:
        raise InvalidBackendParameter(f"{given} has no meaning here: {old.reason}. {old.remedy}")
    hint = suggestion(name, SETTINGS, cutoff=0.6) or " All settings: pixyz config"
    raise InvalidBackendParameter(f"{given} is not a setting.{hint}")


def file_in_force() -> Path:
    """Return the configuration file that is in force; where there is none, the one that would be made.

    Raises:
        InvalidBackendParameter: PIXYZ_CONFIG names something that is not a file.
    """
    try:
        return find_config() or home() / CONFIG_NAME
    except ValueError as error:
        raise InvalidBackendParameter(str(error)) from None


def read_file(path: Path) -> Reading:
    """Read the settings with another configuration file than the one in force.

    Raises:
        InvalidBackendParameter: the file cannot be read.
    """
    return read_draft(Draft(path=path.absolute(), lines=parse_config(_text(path)[0])))


def change_setting(name: str, value: str | None) -> Change:
    """Write a setting into the configuration file in force, or remove it.

    Args:
        name: name of the setting, in capitals.
        value: its value as text; None removes it.

    Raises:
        InvalidBackendParameter: `pixyz up` would not start with it, or another process changes the file for a long
            time; nothing is written.
        OSError: the file cannot be written.
    """
    path = file_in_force()
    with locked(path):
        return _change(path, name, value)


def _change(path: Path, name: str, value: str | None) -> Change:
    before, encoding = _text(path) if path.exists() else ("", "utf-8")
    after = without_setting(before, name) if value is None else with_setting(before, name, value)
    _check_encoding(after, name, path, encoding)
    lines = parse_config(after)
    reading = read_draft(Draft(path=path, lines=lines))
    known = {_LINE_NUMBER.sub("", problem) for problem in read_settings().sources.problems}
    if problems := [one for one in reading.sources.problems if _LINE_NUMBER.sub("", one) not in known]:
        raise InvalidBackendParameter("\n".join([*problems, f"{path} is left as it is."]))
    if after != before:
        if path.parent == home():
            secure_home(path.parent)
        write_text(path, after, encoding)
    given = reading.sources.given.get(name)
    return Change(
        file=path,
        line=next((line.number for line in reversed(lines) if line.name.upper() == name), None),
        changed=after != before,
        overridden=given is not None and given.place == ENVIRONMENT,
    )


def _check_encoding(text: str, name: str, path: Path, encoding: str) -> None:
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        raise InvalidBackendParameter(
            f"{name} has the character {text[error.start]!a}, which {path} ({encoding}) cannot hold. Write it in "
            f"characters of {encoding}."
        ) from None


def _text(path: Path) -> tuple[str, str]:
    try:
        return read_text(path)
    except ValueError as error:
        raise InvalidBackendParameter(str(error)) from None
