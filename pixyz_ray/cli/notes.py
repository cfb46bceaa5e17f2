"""Notes of a job: what the platform did differently from what was asked, printed once each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from pixyz_ray.cli.screen import Screen, printable

if TYPE_CHECKING:
    from pixyz_ray.client import Client, JobDetails


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
        return details
