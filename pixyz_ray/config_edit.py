"""Changes to the configuration file: one setting is replaced or removed, all other lines stay as they are."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixyz_ray.config_file import ConfigLine, parse_config
from pixyz_worker.exception import InvalidBackendParameter

_COMMENT = re.compile(r"\s+[#;].*$")
_REFERENCE = "${"


def with_setting(text: str, name: str, value: str) -> str:
    """Return the text of a configuration file with a setting replaced, or added at its end.

    Of several lines that set it the last one counts, so that one is replaced and the others are removed.

    Args:
        text: the file's text.
        name: name of the setting, in capitals.
        value: its new value; `${OTHER}` in it refers to another variable, as in the file.

    Raises:
        InvalidBackendParameter: the value cannot be written, such as one with both kinds of quotes.
    """
    line = _line(name, value)
    rows, end = _rows(text)
    lines = _lines_of(text, name)
    if not lines:
        return end.join([*rows, line, ""])
    *others, last = lines
    rows[last.number - 1 : last.last] = [line + _comment_of(rows, last)]
    for one in reversed(others):
        del rows[one.number - 1 : one.last]
    return end.join([*rows, ""])


def without_setting(text: str, name: str) -> str:
    """Return the text of a configuration file without the lines of a setting; unchanged where there are none."""
    lines = _lines_of(text, name)
    if not lines:
        return text
    rows, end = _rows(text)
    for one in reversed(lines):
        del rows[one.number - 1 : one.last]
    return end.join([*rows, ""]) if rows else ""


@contextmanager
def locked(path: Path, patience_s: float = 20.0) -> Iterator[None]:
    """Keep other processes from changing a configuration file at the same time.

    The lock is on the file's folder (or the nearest one above that exists), so that it leaves no file behind.

    Args:
        path: the file; it need not exist.
        patience_s: seconds to wait for another process.

    Raises:
        InvalidBackendParameter: another process still has the lock.
    """
    folder = path.resolve().parent
    while not folder.is_dir():
        folder = folder.parent
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + patience_s
        while not _lock(handle):
            if time.monotonic() > deadline:
                raise InvalidBackendParameter(
                    f"Another process has been changing {path} for {patience_s:g} s. Try again when it has ended."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_text(path: Path, text: str, encoding: str) -> None:
    """Write a configuration file, all of it or nothing; an existing one keeps its owner and mode, a new one is private.

    Args:
        path: the file; where it is a link, the file that it leads to is replaced.
        text: its text.
        encoding: its encoding.
    """
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            if target.exists():
                about = target.stat()
                if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), about.st_uid, about.st_gid)
                os.fchmod(file.fileno(), about.st_mode & 0o777)
            file.write(text.encode(encoding))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _line(name: str, value: str) -> str:
    """Return a line that is read as this value: bare where that will do, else in quotes."""
    escaped = value.replace("\\", "\\\\")
    for form in (value, "'" + escaped.replace("'", "\\'") + "'", '"' + escaped.replace('"', '\\"') + '"'):
        line = f"{name}={form}"
        lines = parse_config(line)
        if len(lines) == 1 and not lines[0].problem and (lines[0].value == value or _REFERENCE in value):
            return line
    raise InvalidBackendParameter(
        f"This value of {name} cannot be written into the configuration file by this command: edit the file, or set "
        f"{name} in the environment."
    )


def _rows(text: str) -> tuple[list[str], str]:
    """Return the lines of a text, and what ends each of them."""
    end = "\r\n" if "\r\n" in text else "\n"
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if rows[-1] == "":
        rows.pop()
    return rows, end


def _lines_of(text: str, name: str) -> list[ConfigLine]:
    return [line for line in parse_config(text) if line.name.upper() == name]


def _comment_of(rows: list[str], line: ConfigLine) -> str:
    """Return the comment at the end of a line without quotes, which may contain a `#` of its own otherwise."""
    row = rows[line.number - 1]
    if line.problem or line.last != line.number or row.partition("=")[2].lstrip()[:1] in ("'", '"', "{", "["):
        return ""
    found = _COMMENT.search(row)
    return found[0] if found else ""
