"""Files and folders that only the platform's user may open, and the umask that keeps them so.

Every process of the platform runs with umask 077. Processes that write to the share are the exception: their
files are for colleagues too, so they use the umask of the share, which they get through the environment.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from pixyz_worker.exception import PixyzSecurityViolation

SHARE_MASK = "PIXYZ_MASK_OF_SHARE"
"""Variable that carries the umask for the share, in octal, from the supervisor to the workers and the HTTP service."""
PRIVATE_MASK = 0o077
HOME_FILES = (
    *("token", "ray-token", "platform.json", "supervisor.json", "supervisor.log", "supervisor.lock"),
    *("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-journal", "jobs.db-reserve", "jobs.db-lock"),
)
"""Files of the platform's home; all are private."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def share_mask(setting: int | None) -> int:
    """Return the umask for files on the share: the setting, else that of whoever started the platform."""
    if setting is not None:
        return setting
    return _started_with() if SHARE_MASK in os.environ else _current_mask()


def make_process_private(setting: int | None) -> None:
    """Set umask 077 for this process and its future children, and remember the share's umask in the environment.

    Args:
        setting: SHARE_UMASK.
    """
    os.environ[SHARE_MASK] = f"{share_mask(setting):03o}"
    _started_with.cache_clear()
    os.umask(PRIVATE_MASK)


def use_share_mask() -> None:
    """Set the share's umask for this process. It takes less than a microsecond, so every task may call it."""
    os.umask(_started_with())


def make_shared_folder(path: Path) -> None:
    """Make a folder with the share's umask; an existing one is left alone. Only for a process with one thread."""
    before = os.umask(_started_with())
    try:
        path.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(before)


def own_folder(path: Path) -> Path:
    """Make a private folder where other users can write, or check an existing one; return it.

    Raises:
        PixyzSecurityViolation: it is a link, belongs to another user, or is open to others.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
        problem = "is a link"
    elif about.st_uid != os.geteuid():
        problem = f"belongs to another user (uid {about.st_uid})"
    elif not stat.S_ISDIR(about.st_mode) or about.st_mode & _OTHERS:
        problem = f"is open to other users (mode {stat.S_IMODE(about.st_mode):03o})"
    else:
        return path
    raise PixyzSecurityViolation(
        f"{path} {problem}, so other users could misuse the platform's files in it. "
        "Remove it, or set TMPDIR to a folder of your own."
    )


def secure_home(folder: Path) -> list[str]:
    """Make the platform's home, or close an existing one to other users; return a message for each change.

    Raises:
        PixyzSecurityViolation: it belongs to another user.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    changes = []
    about = folder.stat()
    check_owner(folder)
    if about.st_mode & _OTHERS:
        folder.chmod(stat.S_IMODE(about.st_mode) & ~_OTHERS)
        changes.append(
            f"{folder} was open to other users (mode {stat.S_IMODE(about.st_mode):03o}) and is yours alone now. "
            "If others read jobs' files in it, set SHARE_PATH to a folder outside."
        )
    opened = (path for name in HOME_FILES if tighten(path := folder / name))
    return changes + [f"{path} was open to other users and is yours alone now." for path in opened]


def check_owner(folder: Path) -> None:
    """Check that this user owns the platform's home: files that root makes in it would keep the platform from starting.

    Raises:
        PixyzSecurityViolation: it belongs to another user.
    """
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise PixyzSecurityViolation(
            f"{folder} belongs to another user (uid {owner}), who could misuse the platform's files in it. "
            f"For the platform of that user:  sudo -u '#{owner}' env PIXYZ_HOME={folder} pixyz ...  "
            "For one of your own set PIXYZ_HOME to another folder; it is made when it is missing."
        )


def tighten(path: Path) -> bool:
    """Remove other users' rights to a file of this user; return whether there were any. Links are not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or not about.st_mode & _OTHERS:
            return False
        os.fchmod(handle, stat.S_IMODE(about.st_mode) & ~_OTHERS)
        return True
    finally:
        os.close(handle)


def open_private(path: Path) -> BinaryIO:
    """Truncate and open a file for unbuffered writing; only its owner may read it. Links are not followed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(handle, 0o600)
    os.ftruncate(handle, 0)
    return open(handle, "wb", buffering=0)  # noqa: PTH123 - a descriptor, not a path


@lru_cache(maxsize=1)
def _started_with() -> int:
    return int(os.environ.get(SHARE_MASK, "022"), 8)


def _current_mask() -> int:
    mask = os.umask(PRIVATE_MASK)
    os.umask(mask)
    return mask
