"""Retention: when an ended job may be removed, and the removal of its files, which reaches nothing but its own folder.

A job's folder is first renamed, in one step, to `.removing-{uuid}`: half of a folder is never seen as a job's, and what
a clean-up that was cut short has left is known by its name. Then it is emptied through descriptors of folders alone.
No link is followed. No mounted file system is entered, since each folder is renamed before it is looked into, and a
place where something is mounted cannot be renamed.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pixyz_ray.jobs import Job
from pixyz_ray.storage import JobFolder, is_uuid
from pixyz_worker.exception import PixyzException, PixyzSecurityViolation, SharePathNotFoundError

REMOVING = ".removing-"
"""What the name of a folder begins with that is being removed; the job's id follows."""
Removal = tuple[str, Sequence[str]]
"""A job, and the jobs whose folders go with it: its own, and those of its graphs' nodes."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


# --- When ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Age:
    """What the store keeps of a job to find it when its time has come; both are None when that never is."""

    stopped: float | None = None
    """When it ended, in seconds since the epoch."""
    expires: float | None = None
    """When it may be removed; None for the operator's delay after its end, which may change between two starts."""


def age_of(job: Job) -> Age:
    """Return when a job ended and may be removed. A job of a graph goes with the job above the graph."""
    keep = job.keep
    if not job.state.terminal or job.home is not None or keep is True:
        return Age()
    stopped = job.requested if job.stopped is None else job.stopped
    if keep is None or keep is False:
        return Age(stopped=stopped)
    # What is no time at all must not remove anything.
    return Age(stopped=stopped, expires=stopped + max(0.0, keep)) if math.isfinite(keep) else Age()


def expiry(job: Job, delay_s: float) -> float | None:
    """Return when a job may be removed, in seconds since the epoch; None for never, or as long as it has not ended.

    Args:
        job: the job.
        delay_s: the operator's delay.
    """
    age = age_of(job)
    if age.stopped is None:
        return None
    return age.stopped + delay_s if age.expires is None else age.expires


# --- Removing --------------------------------------------------------------------------------------------------------


def remove_jobs(share: str, removals: Sequence[Removal]) -> dict[str, str | None]:
    """Remove the files of jobs; return for each None, or why something of it is still there.

    What a clean-up that was cut short has left of them is removed first. One job's trouble does not stop the others.
    """
    return {root: _trouble(Path(share), root, folders) for root, folders in removals}


def _trouble(share: Path, root: str, folders: Sequence[str]) -> str | None:
    errors: list[Exception] = []
    with _noted(errors):
        finish_removal(share, root)
    for uuid in folders:
        with _noted(errors):
            remove_folder(share, uuid)
    return f"{type(errors[0]).__name__}: {errors[0]}" if errors else None


def remove_folder(share: Path, uuid: str) -> bool:
    """Remove a job's folder; return whether there was anything.

    Raises:
        PixyzSecurityViolation: that is not the id of a job.
        SharePathNotFoundError: the share is not there.
        OSError: something of it cannot be removed; the rest is gone.
    """
    found = finish_removal(share, uuid)
    with _open_share(share) as root:
        try:
            os.rename(uuid, REMOVING + uuid, src_dir_fd=root, dst_dir_fd=root)
        except FileNotFoundError:
            return found
    finish_removal(share, uuid)
    return True


def finish_removal(share: Path, uuid: str) -> bool:
    """Remove what a removal that was cut short has left of a job; return whether there was anything.

    Raises:
        PixyzSecurityViolation: that is not the id of a job.
        SharePathNotFoundError: the share is not there.
        OSError: something of it cannot be removed; the rest is gone.
    """
    if not is_uuid(uuid):
        raise PixyzSecurityViolation(f"{uuid!r} is not the id of a job")
    name = REMOVING + uuid
    with _open_share(share) as root:
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
                with _open_folder(root, name) as top:
                    _empty(top)
                os.rmdir(name, dir_fd=root)
            else:
                os.unlink(name, dir_fd=root)
        except FileNotFoundError:
            # It never was, or a task that was begun before a restart has come to the end of it.
            return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftovers:
    """What lies on the share beside the folders of jobs, or may belong to no job of the store."""

    cut_short: list[str]
    """Jobs of which a removal that was cut short has left something."""
    uploads: list[str]
    """Folders of uploads that never became a job, in which nothing was written for some time."""
    jobs: list[str]
    """All other folders of jobs."""


def find_leftovers(share: Path, before: float) -> Leftovers:
    """Look at the share.

    Args:
        share: SHARE_PATH.
        before: only uploads in which nothing was written since, in seconds since the epoch.

    Raises:
        OSError: it cannot be read.
    """
    found = Leftovers(cut_short=[], uploads=[], jobs=[])
    with os.scandir(share) as entries:
        for entry in entries:
            if is_uuid(entry.name):
                with suppress(OSError):
                    folder = JobFolder(share, entry.name)
                    if not entry.is_dir(follow_symlinks=False) or not _is_ours(folder):
                        continue
                    if not _was_upload(folder):
                        found.jobs.append(entry.name)
                    elif _last_change(folder) < before:
                        found.uploads.append(entry.name)
            elif entry.name.startswith(REMOVING) and is_uuid(entry.name.removeprefix(REMOVING)):
                found.cut_short.append(entry.name.removeprefix(REMOVING))
    return found


def has_jobs(share: Path) -> bool:
    """Return whether the share has the folder of a job that was accepted, by whichever store."""
    try:
        with os.scandir(share) as entries:
            named = (entry for entry in entries if is_uuid(entry.name) and entry.is_dir(follow_symlinks=False))
            folders = (JobFolder(share, entry.name) for entry in named)
            return any(_is_ours(folder) and not _was_upload(folder) for folder in folders)
    except OSError:
        return False


def _is_ours(folder: JobFolder) -> bool:
    """Return whether a folder was made by this platform: another scheduler may name the folders of its jobs alike."""
    return folder.log.exists() or folder.lock.exists()


def _was_upload(folder: JobFolder) -> bool:
    """Return whether a folder was made for an upload and nothing else was ever put into it.

    Accepting a job adds its script before anything else happens. Only such a folder may be removed without its record:
    any other may be a job of another store, or one that is newer than a store that was restored from a backup.
    """
    names = set(os.listdir(folder.name))  # noqa: PTH208 - names are all that is wanted
    return folder.lock.name in names and names <= {folder.lock.name, folder.inputs.name}


def _last_change(folder: JobFolder) -> float:
    """Return when something was last written into the folder of an upload, in seconds since the epoch."""
    inside = [folder.inputs, *folder.inputs.iterdir()] if folder.inputs.is_dir() else []
    # On a share that was copied files keep their times, but not the one at which they got there.
    return max(max(one.st_mtime, one.st_ctime) for one in (path.lstat() for path in (folder.path, *inside)))


def _empty(top: int) -> None:
    """Remove all that is in a folder. Folders in folders come up into it first: none is too deep, and no path too long.

    Raises:
        OSError: something of it cannot be removed; the rest is gone.
    """
    errors: list[Exception] = []
    waiting = deque(_take_apart(top, top, errors))
    while waiting:
        name = waiting.popleft()
        with _noted(errors):
            with _open_folder(top, name) as folder:
                waiting.extend(_take_apart(folder, top, errors))
            os.rmdir(name, dir_fd=top)
    if errors:
        raise errors[0]


def _take_apart(folder: int, top: int, errors: list[Exception]) -> list[str]:
    """Remove a folder's files, and bring its folders up into the one at the top; return what they are called there."""
    moved = []
    with os.scandir(folder) as entries:
        listed = list(entries)
    for entry in listed:
        with _noted(errors):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            name = os.urandom(12).hex()
            try:
                os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
            except PermissionError:
                # It must be writable itself to get another parent.
                _make_writable(folder, entry.name)
                os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
            moved.append(name)
    return moved


@contextmanager
def _open_share(share: Path) -> Iterator[int]:
    try:
        folder = os.open(share, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SharePathNotFoundError(f"The share {share} is not there.") from None
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _open_folder(parent: int, name: str) -> Iterator[int]:
    """Open a folder, never a link to one, so that all of it can be removed."""
    try:
        folder = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _make_writable(parent, name)
        folder = os.open(name, _FOLDER, dir_fd=parent)
    try:
        if os.fstat(folder).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            with suppress(PermissionError):
                os.fchmod(folder, stat.S_IRWXU)
        yield folder
    finally:
        os.close(folder)


def _make_writable(parent: int, name: str) -> None:
    """Give a folder that cannot be opened to its owner again; by a descriptor, since its name could become a link."""
    if sys.platform != "linux":
        raise PermissionError(errno.EACCES, "The folder is not its owner's to change", name)
    folder = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{folder}", stat.S_IRWXU)  # noqa: PTH101 - there is no path
    finally:
        os.close(folder)


@contextmanager
def _noted(errors: list[Exception]) -> Iterator[None]:
    """Go on after trouble with one of many, and note it; what has gone by itself is none."""
    try:
        yield
    except FileNotFoundError:
        pass
    except (OSError, PixyzException) as error:
        errors.append(error)
