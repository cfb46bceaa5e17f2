"""Where each setting comes from: the command line, over the environment, over the configuration file."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixyz_ray.config_file import CONFIG_NAME, ConfigLine, ConfigUnreadable, find_config, read_config, unused_config
from pixyz_ray.setting_names import CLIENT_NAMES, find_old_name, guess_in_environment, guess_in_file

ENVIRONMENT = "in the environment"
COMMAND_LINE = "on the command line"
_FOLDERS = frozenset({"SHARE_PATH", "PROCESS_PATH", "PIXYZ_PYTHON_PATH"})
"""Settings that name a folder."""
_RELATIVE_DATABASE = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?:///)(?P<path>(?!/|:memory:|file:).+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A setting that somebody has set."""

    name: str
    """Name of the setting, in capitals."""
    text: str
    """The value, as it was written."""
    place: str
    """Where: `in the environment`, `in /etc/pixyz-scheduler.conf, line 3`, `on the command line`."""
    folder: Path | None = None
    """Folder of the configuration file that has it; None where no file has it."""

    @property
    def anchored(self) -> str:
        """The value, with a relative path of a configuration file joined to that file's folder.

        The platform must find the same folders from wherever it is started.
        """
        if self.folder is None:
            return self.text
        if self.name in _FOLDERS:
            return str(self.folder / Path(self.text).expanduser())
        if self.name == "JOB_STORE_URL" and (found := _RELATIVE_DATABASE.fullmatch(self.text)) is not None:
            return found["scheme"] + str(self.folder / found["path"])
        return self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """Something about the settings that the operator should know, although the platform starts."""

    found: str
    """The finding, in a sentence."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.found} {self.remedy}"


@dataclass(kw_only=True, slots=True)
class Sources:
    """All that was set, before it is checked."""

    file: Path | None = None
    """The configuration file in force."""
    given: dict[str, Given] = field(default_factory=dict)
    """The value in force, by the setting's name."""
    problems: list[str] = field(default_factory=list)
    """One message for each reason why the settings cannot be used."""
    notes: list[Note] = field(default_factory=list)
    """Further notes for the operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A configuration file as it would be read, in place of the one in force."""

    path: Path
    """The file; it need not exist."""
    lines: list[ConfigLine]
    """Its lines."""


def collect(known: Collection[str], draft: Draft | None = None) -> Sources:
    """Read environment and configuration file.

    Args:
        known: names of the settings, in capitals.
        draft: read in place of the file in force.
    """
    sources = Sources()
    try:
        sources.file = draft.path if draft else find_config()
        lines = draft.lines if draft else read_config(sources.file) if sources.file else []
    except ConfigUnreadable as error:
        sources.problems.append(str(error))
        lines = []
    if sources.file is not None:
        _add_file(sources, sources.file, lines, known)
    if (unused := unused_config(sources.file)) is not None:
        sources.notes.append(
            Note(
                found=f"{unused} is not used: a {CONFIG_NAME} in the current folder does not count.",
                remedy=f"To use it, set PIXYZ_CONFIG={unused}.",
            )
        )
    _add_environment(sources, known)
    return sources


def _add_file(sources: Sources, file: Path, lines: list[ConfigLine], known: Collection[str]) -> None:
    numbers: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        name, place = line.name.upper(), f"in {file}, line {line.number}"
        if name.startswith("["):
            # Elsewhere section headers mean nothing; here the lines below would hold on all machines, unnoticed.
            sources.problems.append(f"{line.name} ({place}) cannot be used: {line.problem}.")
        elif line.problem and (name in known or not name):
            _add_unreadable(sources, file, line, known=name in known)
        elif name not in known:
            sources.notes.append(_unknown(line.name, place, known))
        else:
            numbers[name].append(line.number)
            if line.value:
                sources.given[name] = Given(name=line.name, text=line.value, place=place, folder=file.parent)
    for name, found in numbers.items():
        if len(found) > 1:
            listed = ", ".join(map(str, found[:-1]))
            sources.notes.append(
                Note(
                    found=f"{name} is set more than once in {file}, on the lines {listed} and {found[-1]}.",
                    remedy="The last one counts: remove the others.",
                )
            )


def _add_unreadable(sources: Sources, file: Path, line: ConfigLine, *, known: bool) -> None:
    """Report a line that cannot be read: where it names a setting of ours, the platform must not start without it."""
    if known:
        sources.problems.append(f"{line.name} (in {file}, line {line.number}) cannot be read: {line.problem}.")
    else:
        found = f"Line {line.number} of {file} cannot be read."
        sources.notes.append(Note(found=found, remedy=f"Correct or remove it: {line.problem}."))


def _unknown(name: str, place: str, known: Collection[str]) -> Note:
    """Return the note on a name in the configuration file that is not a setting."""
    old = find_old_name(name.upper(), in_file=True)
    meant = guess_in_file(name.upper(), known)
    if old is not None and not (meant and guess_in_environment(name.upper(), known)):
        return Note(found=f"{name} ({place}) has no meaning here: {old.reason}.", remedy=old.remedy)
    remedy = f"Did you mean {meant}?" if meant else "Remove it, or correct its name."
    return Note(found=f"{name} ({place}) is not a setting.", remedy=remedy)


def _add_environment(sources: Sources, known: Collection[str]) -> None:
    for name, variable, text in _variables():
        if name in known:
            if text:
                sources.given[name] = Given(name=variable, text=text, place=ENVIRONMENT)
        elif name in CLIENT_NAMES:
            continue
        elif (old := find_old_name(name, in_file=False)) is not None:
            found = f"{variable} ({ENVIRONMENT}) has no meaning here: {old.reason}."
            sources.notes.append(Note(found=found, remedy=old.remedy))
        elif (meant := guess_in_environment(name, known)) is not None:
            found = f"{variable} ({ENVIRONMENT}) is not a setting."
            sources.notes.append(Note(found=found, remedy=f"Did you mean {meant}?"))


def _variables() -> Iterator[tuple[str, str, str]]:
    """Yield name in capitals, name and value of each variable; of two spellings, the one in capitals comes last."""
    environment: Mapping[str, str] = os.environ
    for variable in sorted(environment, key=lambda name: (name.upper(), name == name.upper())):
        yield variable.upper(), variable, environment[variable].strip()
