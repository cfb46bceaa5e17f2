"""Fencing of the writers of a job store: one tracker writes at a time, and one that was replaced writes no more.

Each tracker claims the store with a new epoch, and each of its transactions checks that this epoch is still current: a
tracker that was cut off, and replaced meanwhile, cannot overwrite what its successor has written. On a database server,
each new connection of a tracker begins a new epoch too: what the network still delivers of a lost one comes too late. A
lock, held for as long as the tracker is connected, keeps a second platform from claiming the store of one that runs.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, insert, select, update

from pixyz_ray.store_errors import StoreUnusable
from pixyz_ray.store_schema import WRITER

CHECK_SQLITE = f"SELECT 1 FROM {WRITER.name} WHERE epoch = ?"
CHECK_POSTGRES = f"SELECT 1 / coalesce((SELECT 1 FROM {WRITER.name} WHERE epoch = %(epoch)s FOR SHARE), 0)"
"""Aborts the transaction if the epoch is old, and makes a claim wait for the transaction's end."""
OLD_EPOCH = "22012"
"""SQLSTATE of that abort, division by zero; no other statement of a writer divides."""
_KEY = 1_885_960_314
LOCK_POSTGRES = f"SELECT pg_try_advisory_lock({_KEY}, hashtext(current_schema()))"
"""Takes the lock of a store for the time of a connection; there is one for each schema of a database."""
RENEW_POSTGRES = f"UPDATE {WRITER.name} SET epoch = epoch + 1 WHERE token = %(token)s RETURNING epoch"
"""Begins a new epoch of the current tracker; returns no row if another one has claimed the store."""
EVICT_POSTGRES = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    f"AND classid = {_KEY} AND objid::bigint = (hashtext(current_schema())::bigint & 4294967295) "
    f"AND pid <> pg_backend_pid() AND EXISTS (SELECT 1 FROM {WRITER.name} WHERE %(owner)s IN (holder, token))"
)
"""Ends the connection that has the lock, if the store is that of the owner: a platform or a tracker."""
WAIT_S = 20.0
_PAUSE_S = 0.2


class StoreFenced(StoreUnusable):
    """Another tracker has taken over the store; this one must end."""


def fenced() -> StoreFenced:
    """Return the error for a tracker that was replaced."""
    return StoreFenced(
        "Another tracker has taken over the job store: this one writes nothing any more, and ends. If two platforms "
        "use one JOB_STORE_URL, give each a database of its own."
    )


class StoreInUse(StoreUnusable):
    """The tracker of another platform is connected to the store."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A tracker that claims a store."""

    holder: str
    """Name of its platform. A tracker replaces one of its own platform at once, and never one of another platform that
    is still connected."""
    token: str = field(default_factory=lambda: uuid4().hex)
    """Its own, random name."""


def claim(engine: Engine, claimant: Claimant, lock: Callable[[], bool], *, wait_s: float = WAIT_S) -> int:
    """Claim a store; return the epoch of the claim.

    Args:
        engine: the database.
        claimant: the tracker.
        lock: takes the store's lock and returns whether it got it.
        wait_s: seconds to wait for the tracker of another platform to disconnect; it may be dead, and the server may
            not have noticed.

    Raises:
        StoreInUse: it is still connected.
    """
    deadline = time.monotonic() + wait_s
    while True:
        is_free = lock()
        with engine.begin() as connection:
            current = connection.execute(select(WRITER.c.holder)).scalar()
            if is_free or current is None or current == claimant.holder:
                # The database's own increment: two claims at the same time get different epochs.
                new = {"epoch": WRITER.c.epoch + 1, **asdict(claimant), "since": time.time()}
                epoch = connection.execute(update(WRITER).values(new).returning(WRITER.c.epoch)).scalar()
                if epoch is None:
                    connection.execute(insert(WRITER).values({**new, "number": 1, "epoch": 1}))
                return 1 if epoch is None else int(epoch)
        if time.monotonic() > deadline:
            raise StoreInUse(
                f"The job store belongs to another platform that is connected to it: {current}. Stop that one, or set "
                "another JOB_STORE_URL."
            )
        time.sleep(_PAUSE_S)


class FileLock:
    """Lock of a SQLite store: a file beside it, locked for as long as the process lives.

    Args:
        store: file of the store.
    """

    def __init__(self, store: Path) -> None:
        self._file = store.with_name(f"{store.name}-lock")
        self._handle: int | None = None

    def take(self) -> bool:
        """Take the lock; return whether no other process has it."""
        if self._handle is None:
            self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Release it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
