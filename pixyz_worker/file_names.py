"""Names of files that Windows cannot have, and names that differ only in ways which some file systems ignore."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path, PureWindowsPath

_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
_SEPARATORS = re.compile(r"[/\\]")


def problem_of(name: str) -> str | None:
    """Return why this system cannot have a file or a folder of a path; None when it can.

    Args:
        name: a path; both kinds of slash separate its parts.

    Returns:
        What is wrong, to be written after the name ("'aux.glb' names a device ..."); None on other systems.
    """
    return windows_problem_of(name) if sys.platform == "win32" else None


def windows_problem_of(name: str) -> str | None:
    """Return why Windows cannot have a file of a path, as problem_of does; None when it can."""
    whole = PureWindowsPath(name)
    for part in whole.parts[1:] if whole.is_absolute() else _SEPARATORS.split(name):
        # Windows writes "part:1.glb" into a hidden stream of a file "part".
        if _is_device(part):
            return f"names a device of Windows ({part!r}), so no file can have it there"
        if found := _FORBIDDEN.search(part):
            return f"has the character {found[0]!r} in it, which no file's name can have on Windows"
        if part not in (".", "..") and part.endswith((".", " ")):
            return f"has a part that ends with {part[-1]!r}, which no file's name can on Windows"
    return None


def windows_name(part: str) -> str:
    r"""Return one component of a path, changed where Windows cannot have a file of that name.

    >>> windows_name("a:b.png"), windows_name("..\\x"), windows_name("aux.glb")
    ('a_b.png', '.._x', '_aux.glb')
    """
    changed = _SEPARATORS.sub("_", _FORBIDDEN.sub("_", part))
    if changed.endswith((".", " ")):
        changed = f"{changed[:-1]}_"
    return f"_{changed}" if _is_device(changed) else changed


def _is_device(part: str) -> bool:
    """Return whether Windows takes a name for a device: "aux.glb" is the device AUX."""
    return _DEVICE.fullmatch(part.partition(".")[0].rstrip()) is not None


def is_remote(name: str) -> bool:
    """Return whether Windows takes a path for one on another machine, or for a device (\\\\host\\share, //./pipe).

    Even the check whether such a file exists sends the user's credentials to that machine.
    """
    return PureWindowsPath(name).drive.startswith("\\\\")


def folded(path: Path | str) -> str:
    """Return a path in the form in which case-insensitive file systems (Windows, macOS) compare it."""
    text = path.as_posix() if isinstance(path, Path) else path
    return unicodedata.normalize("NFC", text).casefold()
