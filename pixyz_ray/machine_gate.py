"""The gate of a machine: a file on its local disk; while it is there, no worker of that machine begins an attempt.

The gate is what makes `pixyz drain` last: it belongs to one run of Ray on one machine, outlives the tracker, and is
gone with that run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pixyz_ray.confined_files import read_path, write_file
from pixyz_ray.private_files import own_folder

_MAX_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """Why and since when a gate is closed."""

    since: float
    """When it was closed, in seconds since the epoch."""
    deadline: float | None = None
    """When attempts that still run are ended, in seconds since the epoch; None to let them end."""

    @classmethod
    def from_plain(cls, values: Mapping[str, object]) -> Closed:
        """Return what `asdict` made plain.

        Raises:
            ValueError: it is something else.
        """
        since, deadline = values.get("since"), values.get("deadline")
        if not isinstance(since, int | float) or not (deadline is None or isinstance(deadline, int | float)):
            raise ValueError("a gate without valid times")
        return cls(since=since, deadline=deadline)


class MachineGate:
    """The gate of one run of Ray on this machine.

    Args:
        node_id: Ray's id of this machine.
        folder: where gates are; the folder of this user for temporary files when None.
    """

    def __init__(self, node_id: str, folder: Path | None = None) -> None:
        self._folder = folder or own_folder(Path(tempfile.gettempdir()) / f"pixyz-gates-{os.geteuid()}")
        self._node_id = node_id
        self._path = str(self._folder / node_id)

    @property
    def is_closed(self) -> bool:
        """Whether it is closed; takes about a microsecond, so that each attempt may ask."""
        return os.path.exists(self._path)  # noqa: PTH110 - a Path would take longer than the question

    def closed(self) -> Closed | None:
        """Return why it is closed, or None. One that cannot be read is closed all the same."""
        if not self.is_closed:
            return None
        try:
            return Closed.from_plain(json.loads(read_path(self._path, max_bytes=_MAX_BYTES)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError):
            return Closed(since=0.0)

    def close(self, closed: Closed) -> None:
        """Close it; a file that is written again is not removed as an old temporary file."""
        write_file(str(self._folder), self._node_id, json.dumps(asdict(closed)).encode())

    def open(self) -> None:
        """Open it."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - as above
