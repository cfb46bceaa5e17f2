"""Notes of a job: what the platform did differently from what was asked, and failed attempts; printed once each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from pixyz_ray.cli.screen import Screen, printable

if TYPE_CHECKING:
    from pixyz_ray.client import Client, JobDetails

_ASKED_FOR = "retry"
"""Class of an attempt that the script itself ended (pc["task"].retry)."""
_MOST_ERROR_CHARS = 300


class NotePrinter:
    """Prints the notes of one job as `Note: ...`.

    Args:
        screen: where the job's lines go.
        to_stderr: print to standard error, because standard output is for a program.
    """

    def __init__(self, screen: Screen, *, to_stderr: bool = False) -> None:
        self._screen = screen
        self._to_stderr = to_stderr
        self._printed: set[str] = set()

    def show(self, notes: Iterable[str] | None) -> None:
        """Print those that were not printed yet."""
        for note in notes or ():
            if note in self._printed:
                continue
            self._printed.add(note)
            line = f"Note: {printable(note)}"
            if self._to_stderr:
                self._screen.clear()
                click.echo(line, err=True)
            else:
                self._screen.line(line)

    def fetch(self, client: Client, uuid: str) -> JobDetails | None:
        """Print the notes that the platform has by now, and return the job's details.

        A server that does not answer this is no reason to fail: the job is accepted, and None is returned.
        """
        from pixyz_worker.exception import PixyzException

        try:
            details = client.details(uuid)
        except PixyzException:
            return None
        self.show(details.get("notes"))
        self.show(attempt_notes(details))
        return details


def attempt_notes(details: JobDetails) -> list[str]:
    """Return a sentence for each attempt that failed and was followed by another.

    The end of the job says nothing of them. Attempts that a script ended itself, to be run again, are left out.
    """
    attempts = details.get("attempts") or []
    return [
        _attempt_note(one, following)
        for one, following in pairwise(attempts)
        if one.get("failure") not in (None, _ASKED_FOR)
    ]


def _attempt_note(one: Mapping[str, Any], following: Mapping[str, Any]) -> str:
    # The error of a script may be long; its last line says what happened.
    error = (str(one.get("error") or "").strip().splitlines() or [""])[-1]
    if len(error) > _MOST_ERROR_CHARS:
        error = f"{error[:_MOST_ERROR_CHARS]}..."
    reason = f"{one['failure']} ({error})" if error else one["failure"]
    return (
        f"Attempt {one.get('number')} on queue {one.get('queue')} ended: {reason}. "
        f"The job was tried again on {following.get('queue')}."
    )
