"""State of this machine's supervisor: `supervisor.json` in the platform's home, for commands and people.

`platform.json` has the address of the platform, and stays the same during a restart; this file says whether the
platform is up now. Only the standard library is imported, since the command line reads it.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

from pixyz_ray.home import home, read_platform, write_private

Status = Literal["starting", "up", "restarting", "stopping", "failed"]

_COMES_BACK = {"starting": "it is starting", "up": "its HTTP service is being restarted"}
"""Reasons why a platform does not answer although no restart of everything is recorded, by status."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The state of the supervisor."""

    pid: int
    """Its process id."""
    session: str
    """Mark of the processes of its last run."""
    status: Status
    """What it is doing; `failed` when it has given up."""
    message: str
    """The same as a message, with the reason of a restart."""
    since: float = field(default_factory=time.time)
    """When that began, in seconds since the epoch."""


def read_record(folder: Path | None = None) -> RunRecord | None:
    """Return the supervisor's last record; None if there is none that can be read."""
    try:
        data = json.loads(_path(folder).read_text(encoding="utf-8"))
        return RunRecord(**{one.name: data[one.name] for one in fields(RunRecord)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(record: RunRecord, folder: Path | None = None) -> None:
    """Write the supervisor's record, replacing the last one."""
    write_private(_path(folder), json.dumps(asdict(record), indent=2))


def remove_record(folder: Path | None = None) -> None:
    """Remove the record: the supervisor ends."""
    with contextlib.suppress(FileNotFoundError):
        _path(folder).unlink()


class Progress:
    """Prints the messages of the supervisor while a command waits for it.

    Args:
        folder: the platform's home.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = time.time()
        self._shown: list[str] = []

    def show(self) -> None:
        """Print the supervisor's message if it is new and says more than its status."""
        record = read_record(self._folder)
        if record is None or record.since < self._began or record.message == record.status:
            return
        text = record.message[:1].upper() + record.message[1:]
        if record.status in ("starting", "stopping") and text not in self._shown:
            self._shown.append(text)
            print(text, flush=True)

    def has_shown(self, line: str) -> bool:
        """Return whether a line of the supervisor's log has been printed."""
        return line.rstrip("\n") in self._shown


def outage(url: str, folder: Path | None = None) -> str | None:
    """Return why this machine's platform does not answer now; None if it has no supervisor that will bring it back.

    Args:
        url: address that does not answer; only that of this machine's platform is known here.
        folder: the platform's home.
    """
    record, platform = read_record(folder), read_platform(folder)
    if record is None:
        return None
    is_here = platform is not None and platform.url == url.rstrip("/")
    if not is_here or record.status == "failed" or not _is_alive(record.pid):
        return None
    return _COMES_BACK.get(record.status, record.message)


def _is_alive(pid: int) -> bool:
    # The platform runs on Linux alone, and elsewhere a signal 0 is not harmless.
    return Path(f"/proc/{pid}").exists()


def _path(folder: Path | None) -> Path:
    return (folder or home()) / "supervisor.json"
