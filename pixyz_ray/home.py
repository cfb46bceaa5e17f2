"""Where the platform of this machine keeps its state: the folder, its address and its token.

The folder is `$PIXYZ_HOME`, else `~/.pixyz`. `pixyz up` writes `platform.json` into it (readable by its owner alone),
and every client on the same machine reads URL and token from there. Only the standard library is imported, since the
command line starts here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT)
DEFAULT_URL = "http://127.0.0.1:8001"


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """The platform that runs, or ran last, on this machine."""

    url: str
    """Base URL of the HTTP service."""
    token: str
    """Token that the service accepts from this machine's owner."""
    pid: int
    """Process id of the supervisor."""
    started: float
    """When the supervisor was started, in seconds since the epoch."""
    version: str
    """Version of the platform."""
    ray_address: str
    """Address of the Ray cluster, `host:port`."""
    session: str
    """Random mark that every process of this run carries in its environment."""
    cluster: str | None = None
    """Address of the Ray cluster that was joined; None for a Ray of its own."""
    owns_serve: bool = False
    """Whether Serve was started on that cluster by this platform."""
    options: dict[str, Any] | None = None
    """Options of `pixyz up` that it was started with, for `pixyz up --replace`; those not given are left out."""


def home() -> Path:
    """Return the folder of this machine's platform; it need not exist."""
    given = os.environ.get("PIXYZ_HOME")
    return Path(given).expanduser().absolute() if given else Path.home() / ".pixyz"


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter, and return it."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "This is a file; PIXYZ_HOME must name a folder", str(path)) from error
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing; on a full disk in place of an older one."""
    private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno not in _FULL or not path.is_file():
            raise
        _write_in_place(path, text)


def _write_in_place(path: Path, text: str) -> None:
    """Write into the room that a file has already: on a full disk there is no other."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "wb", buffering=0) as file:
        file.write(text.encode())
        file.truncate()
        os.fsync(file.fileno())


def read_platform(folder: Path | None = None) -> Platform | None:
    """Return what `pixyz up` wrote, or None where nothing readable is there."""
    path = (folder or home()) / "platform.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Platform(**{one.name: data[one.name] for one in fields(Platform) if one.name in data})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_platform(platform: Platform, folder: Path | None = None) -> None:
    """Write the platform's address and token for this machine's clients."""
    write_private((folder or home()) / "platform.json", json.dumps(asdict(platform), indent=2))


def forget_platform(folder: Path | None = None) -> None:
    """Remove the platform's file; the token is kept for the next start."""
    with contextlib.suppress(FileNotFoundError):
        ((folder or home()) / "platform.json").unlink()


def local_token(folder: Path | None = None) -> str:
    """Return this machine's token, made at random on the first call and kept readable by its owner alone."""
    path = (folder or home()) / "token"
    with contextlib.suppress(FileNotFoundError):
        token = path.read_text(encoding="utf-8").strip()
        if token:
            return token
    write_private(path, secrets.token_urlsafe(32) + "\n")
    return path.read_text(encoding="utf-8").strip()
