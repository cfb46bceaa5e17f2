"""Reading the jobs that have ended past the tracker, from SQLite's file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from pixyz_ray.jobs import TERMINAL

_STATE_NAMES = ("uuid", "name", "status", "progress", "error")
_STATE_SQL = "SELECT uuid, alias, state, progress, error FROM jobs WHERE uuid = ?"
_ENDED_STATES = frozenset(map(str, TERMINAL))


class EndedJobs:
    """Reads the jobs that have ended beside the tracker, in the process that wants to know.

    They never change again, and a look into SQLite's file takes a tenth of the time of asking the tracker. It is only
    that: where the store is not a file of this machine, or the job has not ended, there is nothing to see.

    Args:
        url: SQLAlchemy URL of the store.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._path = Path(parsed.database).absolute() if parsed.database else None
        self._usable = parsed.get_backend_name() == "sqlite" and self._path is not None
        self._connection: sqlite3.Connection | None = None

    def state(self, uuid: str) -> dict[str, Any] | None:
        """Return the JobState of a job that has ended; None where that cannot be told."""
        if not self._usable:
            return None
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro" if self._path else "", uri=True)
            row = self._connection.execute(_STATE_SQL, (uuid,)).fetchone()
        except sqlite3.Error:
            return None
        if row is None or row[2] not in _ENDED_STATES:
            return None
        return dict(zip(_STATE_NAMES, row, strict=True))

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
