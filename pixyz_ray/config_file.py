"""The configuration file: which one is read, and its lines.

The first that exists is read: `$PIXYZ_CONFIG`, `$PIXYZ_HOME/pixyz-scheduler.conf`, `/etc/pixyz-scheduler.conf`. A file
in the current folder is not read: a service must not depend on the folder that it is started in.

A line is `NAME=value` as in a dotenv file (quotes, escapes, `export`, `${OTHER}`, comments after `#`). As in files for
configparser and shells, these are accepted too: comments after `;`, section headers (they mean nothing), a byte
order mark, Windows line ends, and text that is not UTF-8.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from pixyz_ray.home import home

CONFIG_NAME = "pixyz-scheduler.conf"
CONFIG_VARIABLE = "PIXYZ_CONFIG"
SYSTEM_CONFIG = Path("/etc") / CONFIG_NAME

_UNUSED_LINE = re.compile(r"^[^\S\n]*(?:;|\[[\w .:/-]+\][^\S\n]*(?:[#;]|$))[^\n]*", re.MULTILINE)
_MACHINE_SECTION = re.compile(r"^[^\S\n]*(\[nodes?[.:/ ][\w .:/-]+\])", re.MULTILINE | re.IGNORECASE)
_SEMICOLON_COMMENT = re.compile(r"\s+;(?:\s.*)?$")
_AFTER_QUOTES = re.compile(r"""^([^=\n]*=[^\S\n]*(?:"[^"\n]*"|'[^'\n]*'))[^\S\n]*;[^\n]*$""", re.MULTILINE)
_FIRST_WORD = re.compile(r"\s*(?:export\s+)?'?([A-Za-z_]\w*)")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|KEY|URL", re.IGNORECASE)
"""Names of settings whose values are not shown in messages."""
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


_NO_SECTIONS = (
    "settings hold on all machines of a cluster, and cannot be given for one of them. Remove the section; where a "
    "machine has a folder elsewhere, mount or link it at the same path"
)


class ConfigUnreadable(ValueError):
    """The configuration file cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigLine:
    """One line of the file that sets something, or was meant to."""

    number: int
    """Number of the line, from 1."""
    last: int = 0
    """Number of its last line, since a value in quotes may have several; 0 where it was not read from a file."""
    name: str
    """Name of the setting; for a line that cannot be read, its first word or an empty text."""
    value: str = ""
    """The value, without quotes and comments."""
    problem: str = ""
    """Why the line cannot be read; empty for one that can."""


def find_config() -> Path | None:
    """Return the configuration file that is in force, or None.

    Raises:
        ConfigUnreadable: PIXYZ_CONFIG names something that is not a file.
    """
    if given := os.environ.get(CONFIG_VARIABLE, "").strip():
        path = Path(given).expanduser().absolute()
        if not _is_file(path):
            raise ConfigUnreadable(f"PIXYZ_CONFIG={given} (in the environment) is not a file.")
        return path
    return next((path for path in (home() / CONFIG_NAME, SYSTEM_CONFIG) if _is_file(path)), None)


def places() -> list[str]:
    """Return where the configuration file may be, the first place first."""
    return ["$PIXYZ_CONFIG", str(home() / CONFIG_NAME), str(SYSTEM_CONFIG)]


def unused_config(used: Path | None) -> Path | None:
    """Return the file in the current folder that earlier versions read, if it is there and not the one in force."""
    path = Path.cwd() / CONFIG_NAME
    if not _is_file(path) or (used is not None and path.samefile(used)):
        return None
    return path


def read_config(path: Path) -> list[ConfigLine]:
    """Return the lines of a configuration file that set something, and those that cannot be read.

    Raises:
        ConfigUnreadable: the file cannot be opened, or holds no text.
    """
    return parse_config(read_text(path)[0])


def read_text(path: Path) -> tuple[str, str]:
    """Return the text of a configuration file, and its encoding.

    Raises:
        ConfigUnreadable: the file cannot be opened, or holds no text.
    """
    try:
        text, encoding = _decode(path.read_bytes())
    except OSError as error:
        raise ConfigUnreadable(f"The configuration file {path} cannot be read: {error.strerror or error}.") from None
    if "\0" in text:
        raise ConfigUnreadable(f"The configuration file {path} is not a text file.")
    return text, encoding


def parse_config(text: str) -> list[ConfigLine]:
    """Return the lines of a configuration file's text that set something, and those that cannot be read."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    sections = [
        ConfigLine(number=number, last=number, name=found[1], problem=_NO_SECTIONS)
        for found in _MACHINE_SECTION.finditer(text)
        for number in (text.count("\n", 0, found.start(1)) + 1,)
    ]
    return [*sections, *_lines(_AFTER_QUOTES.sub(r"\1", _UNUSED_LINE.sub("#", text)))]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder above it is closed to us
        return False


def _decode(data: bytes) -> tuple[str, str]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace"), "utf-16"
    try:
        return data.decode("utf-8-sig"), "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _lines(text: str) -> Iterator[ConfigLine]:
    earlier: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = _line(binding, earlier)
        if line is not None:
            yield line
            if not line.problem:
                earlier[line.name] = line.value


def _line(binding: Binding, earlier: Mapping[str, str]) -> ConfigLine | None:
    """Return what the dotenv parser found as a line; None for comments and blank lines."""
    written = binding.original.string
    blank = len(written) - len(written.lstrip())
    number = binding.original.line + written.count("\n", 0, blank)
    last = number + written.strip().count("\n")
    if binding.error or (binding.key is not None and binding.value is None):
        word = _FIRST_WORD.match(written)
        return ConfigLine(number=number, last=last, name=word[1] if word else "", problem=_problem(written))
    if binding.key is None:
        return None
    value = binding.value or ""
    if written.partition("=")[2].lstrip()[:1] not in ("'", '"', "{", "["):
        value = _SEMICOLON_COMMENT.sub("", value)
    known = {**os.environ, **earlier}
    missing = [found[1] for found in _REFERENCE.finditer(value) if found[1] not in known and found[2] is None]
    if missing:
        # It may be a part of a secret that only looks like a variable.
        name = "VARIABLE" if _SECRET.search(binding.key) else missing[0]
        problem = f"${{{name}}} is not set: set it above, or write ${{{name}:-DEFAULT}}"
        return ConfigLine(number=number, last=last, name=binding.key, problem=problem)
    value = _REFERENCE.sub(lambda match: known.get(match[1], match[2] or ""), value)
    return ConfigLine(number=number, last=last, name=binding.key, value=value.strip())


def _problem(written: str) -> str:
    """Return why the dotenv parser cannot read a line."""
    value = written.partition("=")[2].strip()
    quote = value[:1]
    if quote not in ("'", '"'):
        return "write NAME=value"
    return "something follows the closing quote" if quote in value[1:] else f"the quote {quote} is not closed"
