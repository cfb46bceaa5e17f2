"""Names of files that Windows cannot have, and names that differ only in ways which some file systems ignore."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path, PureWindowsPath

_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


def problem_of(name: str) -> str | None:
    """Return why this system cannot have a file or a folder of a path; None when it can.

    Args:
        name: a path; both kinds of slash separate its parts.

    Returns:
        The end of a sentence that begins with the name. Only Windows has such names.
    """
    return windows_problem_of(name) if sys.platform == "win32" else None


def windows_problem_of(name: str) -> str | None:
    """Return why Windows cannot have a file of a path; see problem_of."""
    whole = PureWindowsPath(name)
    for part in whole.parts[1:] if whole.is_absolute() else re.split(r"[/\\]", name):
        # Windows takes "aux.glb" for the device AUX, and writes "part:1.glb" into a hidden stream of a file "part".
        if _DEVICE.fullmatch(part.partition(".")[0].rstrip()):
            return f"names a device of Windows ({part!r}), so no file can have it there"
        if found := _FORBIDDEN.search(part):
            return f"has the character {found[0]!r} in it, which no file's name can have on Windows"
        if part not in (".", "..") and part.endswith((".", " ")):
            return f"has a part that ends with {part[-1]!r}, which no file's name can on Windows"
    return None


def is_remote(name: str) -> bool:
    """Return whether Windows takes a path for one on another machine, or for a device (\\\\host\\share, //./pipe).

    Looking whether there is such a file already sends the user's credentials to that machine.
    """
    return PureWindowsPath(name).drive.startswith("\\\\")


def folded(path: Path | str) -> str:
    """Return a path as file systems see it that ignore case and how letters are composed (Windows, macOS)."""
    text = path.as_posix() if isinstance(path, Path) else path
    return unicodedata.normalize("NFC", text).casefold()
