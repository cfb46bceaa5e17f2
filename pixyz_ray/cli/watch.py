"""Follow a job on the screen by its event stream, and say how it ended by an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from pixyz_ray.cli.interrupt import interruptible
from pixyz_ray.cli.screen import Screen

if TYPE_CHECKING:
    from pixyz_ray.client import Client, Event, JobInfo

EXIT_CODES: Mapping[str, int] = MappingProxyType(
    {
        "SUCCESS": 0,
        "FAILURE": 10,
        "REVOKED": 11,
        "RETRY": 12,
        "PENDING": 13,
        "STARTED": 14,
        "RECEIVED": 15,
        "REJECTED": 16,
    }
)
"""Exit code for the status that a watched job ended with; 17 for any other word."""

_OTHER = 17
_INTERRUPTED = 130
_FAILED = frozenset({"FAILURE", "REVOKED"})
_TOLD = _FAILED | {"SUCCESS", "RETRY"}
"""Changes of state that are worth a line of their own where lines cannot change in place."""


def exit_code(status: str) -> int:
    """Return the exit code for the last status of a watched job."""
    return EXIT_CODES.get(status, _OTHER)


def job_line(uuid: str, status: str, progress: int | None, info: str) -> str:
    """Return the line of a job's state, as the contract's client prints it."""
    step = f" ({info})" if info else ""
    glass = "⌛" if status in _FAILED else "⏳"
    return f"Job [ {uuid} ] progress: {progress or 0}, status: {status}{step} [{glass}]"


class _View:
    """State of a followed job."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._status = "SENT"
        self._progress: int | None = None
        self._info = ""
        self._begun = 0
        self.last: JobInfo | None = None

    def take(self, event: Event) -> str | None:
        """Note an event; return the line that it is worth, if any, where lines cannot change in place."""
        from pixyz_ray.client import LogEvent, StatusEvent

        if isinstance(event, LogEvent):
            return None
        before = self.line()
        if isinstance(event, StatusEvent):
            self._status, self._progress = event.status, event.progress
            if event.terminal:
                self.last = {
                    "uuid": self._uuid,
                    "name": event.name,
                    "status": event.status,
                    "progress": event.progress,
                    "error": event.error,
                }
            return self.line() if event.status in _TOLD and self.line() != before else None
        if event.duration >= 0 and event.index < self._begun:
            return None  # the end of a step that was told says nothing new to a reader
        self._begun, self._info, self._progress = event.index + 1, event.info, event.progress
        if self._status not in _TOLD:
            self._status = "RUNNING"
        return self.line() if self.line() != before else None

    def line(self) -> str:
        return job_line(self._uuid, self._status, self._progress, self._info)


def watch(client: Client, uuid: str, screen: Screen, *, logs: bool = False) -> JobInfo:
    """Show a job until it ends, and return its last state.

    Interrupted, it says that the job goes on, and leaves with 130.
    """
    from pixyz_ray.client import LogEvent

    view = _View(uuid)
    try:
        for event in interruptible(client.events(uuid)):
            if logs and isinstance(event, LogEvent):
                screen.text(event.text)
                continue
            line = view.take(event)
            if line and (view.last or not screen.is_terminal):
                screen.line(line)
            elif not view.last:
                screen.live(view.line())
        return view.last or _ended_before(client, uuid, screen)
    except KeyboardInterrupt:
        screen.close()
        raise stopped_watching(f"pixyz status -j {uuid} -w") from None


def stopped_watching(command: str) -> click.exceptions.Exit:
    """Say that the job goes on, and by which command it is followed again; return what to leave with."""
    click.echo(f"Stopped watching; the job goes on. Follow it with: {command}", err=True)
    return click.exceptions.Exit(_INTERRUPTED)


def show_error(info: JobInfo, screen: Screen) -> None:
    """Print why a job failed."""
    if info["status"] in _FAILED and info["error"]:
        screen.line(info["error"].rstrip())


def _ended_before(client: Client, uuid: str, screen: Screen) -> JobInfo:
    """Show and return the state of a job whose stream has nothing left to say."""
    details = client.details(uuid)
    info = details["steps"][-1]["info"] if details["steps"] else ""
    screen.line(job_line(uuid, details["status"], details["progress"], info))
    return client.state(uuid)
