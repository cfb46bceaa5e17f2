"""The marker of a share: a file with a random id, by which every machine knows that it sees the share of the head.

The tracker writes it. A machine where it is missing has not mounted the share; one where it has another id has mounted
another share.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pixyz_ray.confined_files import read_path, write_file

MARKER = ".pixyz-share"
"""Name of the file in SHARE_PATH."""
_MAX_BYTES = 4096
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_EVERY_S = 1.0
_PATIENCE_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareMarker:
    """Content of the marker file."""

    id: str
    """Random id of the share."""
    since: str
    """When it was first used, in ISO 8601."""


def read_marker(share: str | os.PathLike[str]) -> ShareMarker | None:
    """Return the marker of a share; None where there is none that can be understood.

    Raises:
        OSError: the share cannot be read.
    """
    try:
        found = json.loads(read_path(f"{os.fspath(share)}/{MARKER}", max_bytes=_MAX_BYTES))
        return ShareMarker(id=str(found["id"]), since=str(found["since"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def write_marker(share: Path, marker: ShareMarker | None = None) -> ShareMarker:
    """Return the marker of a share, writing one where there is none.

    Args:
        share: the share's folder.
        marker: what to write; a new id when None.

    Raises:
        OSError: the share cannot be read or written.
    """
    if (found := read_marker(share)) is not None:
        return found
    marker = marker or ShareMarker(id=uuid4().hex, since=datetime.now(UTC).isoformat(timespec="seconds"))
    # SHARE_PATH itself may be a link. Machines may run Ray as different users; the id is no secret.
    write_file(os.path.realpath(share), MARKER, json.dumps(asdict(marker)).encode())
    (share / MARKER).chmod(0o644)
    # Two heads may have started at the same time: the file that was renamed last counts for both.
    return read_marker(share) or marker


def share_problem(share: str, share_id: str) -> str | None:
    """Return why this machine cannot use a share, or None; the text follows the name of the machine in a message.

    It may block for as long as a server of files does not answer.

    Args:
        share: SHARE_PATH.
        share_id: id of the marker that the head sees.
    """
    try:
        marker = read_marker(share)
    except OSError as error:
        return f"cannot read the share {share} ({error.strerror or error})"
    if marker is None:
        return f"cannot see the share {share} (it has no {MARKER} there)"
    if marker.id != share_id:
        return f"has another share at {share} ({MARKER} is that of a share in use since {marker.since})"
    try:
        os.close(os.open(share, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        # File systems without unnamed files, such as NFS, say so before they look whether they can be written.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, *_FULL):
            return f"cannot write to the share {share} ({error.strerror})"
        if not os.access(share, os.W_OK | os.X_OK):
            return f"cannot write to the share {share} (it is read-only)"
    return None


class ShareCheck:
    """Checks a share for a process that uses it again and again: at most once a second, and never for long.

    Args:
        share: SHARE_PATH.
        share_id: id of the marker that the head sees.
        every_s: seconds for which a good answer holds.
        patience_s: seconds after which a share that does not answer counts as away.
    """

    def __init__(
        self, share: str, share_id: str, *, every_s: float = _EVERY_S, patience_s: float = _PATIENCE_S
    ) -> None:
        self._share = share
        self._id = share_id
        self._every_s = every_s
        self._patience_s = patience_s
        self._good_until = 0.0
        self._answered: threading.Event | None = None
        self._found: str | None = None

    def problem(self) -> str | None:
        """Return why the share cannot be used (see share_problem), or None."""
        if time.monotonic() < self._good_until:
            return None
        if self._answered is None:
            self._answered = threading.Event()
            # In another thread: a call to a file system whose server is away blocks, and no signal ends it.
            threading.Thread(target=self._ask, args=(self._answered,), name="pixyz-share", daemon=True).start()
        if not self._answered.wait(self._patience_s):
            return f"gets no answer from the share {self._share} within {self._patience_s:g} s"
        self._answered = None
        if self._found is None:
            self._good_until = time.monotonic() + self._every_s
        return self._found

    def _ask(self, answered: threading.Event) -> None:
        found: str | None = f"cannot use the share {self._share}"
        with suppress(Exception):
            found = share_problem(self._share, self._id)
        self._found = found
        answered.set()
