"""The folder of Ray's sockets, logs and spilled objects; each home has one.

Ray makes its folder world-writable (mode 777), so its parent is a folder that other users cannot enter:
`/tmp/pixyz-UID/ray-HASH`. Not in the home, whose name may be too long for a Unix socket, nor in XDG_RUNTIME_DIR, which
is small and is removed at logout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pixyz_ray.private_files import own_folder
from pixyz_worker.exception import PixyzSecurityViolation

MAX_SOCKET_BYTES = 107
"""Longest name of a Unix socket on Linux, without its final zero."""
_BELOW = "/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""Longest name of a socket that Ray makes below its folder; process ids have up to seven digits."""
_SHORT = Path("/tmp")


def ray_folder(home: Path) -> Path:
    """Return Ray's folder for the platform of a home. Its parent is made, or checked to be this user's alone.

    Raises:
        PixyzSecurityViolation: other users can write to the parent, or to all folders that it may be in.
    """
    problems = []
    for folder in dict.fromkeys((Path(tempfile.gettempdir()), _SHORT)):
        path = folder / f"pixyz-{os.geteuid()}" / f"ray-{_digest(home)}"
        problem = _problem(folder, path)
        if problem is None:
            own_folder(path.parent)
            return path
        problems.append(f"{folder} {problem}")
    raise PixyzSecurityViolation(
        f"There is no folder for Ray's sockets: {', and '.join(problems)}. Set TMPDIR to a folder of your own "
        f"with a name of at most {_longest()} characters."
    )


def clear_ray_folder(home: Path, *, sessions_kept: int = 0) -> None:
    """Remove the files of earlier runs of this home's platform; links among them are not followed.

    Args:
        home: the platform's home.
        sessions_kept: number of Ray's last sessions whose folders are kept, for their logs.

    Raises:
        PixyzSecurityViolation: other users can write to the folder's parent, so nothing is removed.
    """
    folder = ray_folder(home)
    sessions = sorted(path for path in folder.glob("session_*") if not path.is_symlink())
    kept = sessions[-sessions_kept:] if sessions_kept else []
    left = [path for path in folder.iterdir() if path not in kept] if folder.is_dir() else []
    for path in (*left, *_of_earlier_versions(home)):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            # Safe against links below it.
            shutil.rmtree(path, ignore_errors=True)


def _of_earlier_versions(home: Path) -> Iterator[Path]:
    """Yield the folder that earlier versions used for this home, if it is this user's. Others can write into it."""
    path = Path(tempfile.gettempdir()) / f"pixyz-{os.geteuid()}-{_digest(home)}"
    with suppress(OSError):
        about = path.lstat()
        if stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid():
            yield path


def _problem(folder: Path, path: Path) -> str | None:
    """Return why a temporary folder cannot contain Ray's folder, as a predicate ("has too long a name"), or None."""
    if len(os.fsencode(path)) + len(_BELOW) > MAX_SOCKET_BYTES:
        return "has too long a name for Unix sockets"
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        return "lets other users replace what is in it (mode without sticky bit)"
    return None


def _longest() -> int:
    """Return the most characters that the name of the folder for temporary files may have."""
    return MAX_SOCKET_BYTES - len(_BELOW) - len(f"/pixyz-{os.geteuid()}/ray-{_digest(_SHORT)}")


def _digest(home: Path) -> str:
    return hashlib.sha256(str(home).encode()).hexdigest()[:8]
