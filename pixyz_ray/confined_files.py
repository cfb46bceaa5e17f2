"""Open files below a folder that a running script may change at any time.

A script may replace any file or folder of its job by a symbolic link, a FIFO, a device, a socket or a folder, also
between a check and the open. Every folder on the way is therefore opened relative to the descriptor of its parent
(openat) and never through a link, no open ever blocks, and what was opened is checked on its descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

from pixyz_worker.exception import PixyzSecurityViolation

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_LINKS = 40
MAX_DEPTH = 200
"""Maximum depth of nested folders. Each is opened from the top, which takes time and descriptors."""
_ATTEMPTS = 3
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EOPNOTSUPP})
"""Errors of opening a link, a FIFO without a reader, a socket, or a folder for writing."""


class NotRegular(OSError):
    """A path that should be a regular file, or a real folder, is something else."""


class FileTooLarge(OSError):
    """A file is larger than its reader allows."""


@contextmanager
def open_folder(root: str, *names: str) -> Iterator[int]:
    """Open a folder below a trusted one and yield its descriptor.

    Args:
        root: the first folder; its parents are trusted, but it must not be a link.
        names: names of the folders below it, outermost first.

    Raises:
        OSError: it does not exist, or one of the folders is not a real folder.
    """
    with _descended(os.open(root, _FOLDER), names) as folder:
        yield folder


@contextmanager
def _descended(folder: int, names: Iterable[str]) -> Iterator[int]:
    """Open folders one below the other and yield the descriptor of the last; all are closed, the given one too."""
    try:
        for name in names:
            below = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def open_file(root: str, *names: str) -> int:
    """Open a regular file below a trusted folder for reading and return its descriptor.

    Raises:
        NotRegular: it is not a regular file.
        OSError: it cannot be opened, for instance since one of the folders is a link.
    """
    *folders, name = names
    with open_folder(root, *folders) as folder:
        return open_at(folder, name)


def open_at(folder: int, name: str) -> int:
    """Open a regular file of a folder for reading and return its descriptor.

    Raises:
        NotRegular: it is not a regular file.
        OSError: it cannot be opened.
    """
    return _open_regular(name, folder)


def _open_regular(name: str, folder: int | None = None) -> int:
    try:
        file = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise NotRegular(error.errno, "it is not a regular file", name) from None
        raise
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise NotRegular(errno.EINVAL, "it is not a regular file", name)


def read_file(root: str, *names: str, max_bytes: int) -> bytes:
    """Return the content of a regular file below a trusted folder.

    Raises:
        FileTooLarge: it has more than `max_bytes`.
        NotRegular: it is not a regular file.
        OSError: it cannot be read.
    """
    file = open_file(root, *names)
    try:
        return _content(file, names[-1], max_bytes)
    finally:
        os.close(file)


def read_path(path: str, *, max_bytes: int) -> bytes:
    """Return the content of a regular file whose folder is trusted; raises as `read_file`."""
    file = _open_regular(path)
    try:
        return _content(file, path, max_bytes)
    finally:
        os.close(file)


def _content(file: int, name: str, max_bytes: int) -> bytes:
    too_large = FileTooLarge(errno.EFBIG, f"it has more than {max_bytes} bytes", name)
    # The size is only a hint: the file may grow while it is read.
    if os.fstat(file).st_size > max_bytes:
        raise too_large
    pieces, left = [], max_bytes + 1
    while left > 0 and (piece := os.read(file, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise too_large
    return b"".join(pieces)


def open_to_append(path: str, folder: int | None = None) -> int:
    """Open a file for appending, creating it if it is missing; anything else with that name is renamed out of the way.

    Args:
        path: the file.
        folder: descriptor of the folder that the path is relative to.

    Raises:
        OSError: it cannot be opened.
    """
    for _ in range(_ATTEMPTS):
        with suppress(NotRegular):
            return _open_to_append(path, folder)
        _set_aside(path, folder)
    raise NotRegular(errno.EINVAL, "something keeps replacing it", path)


def _open_to_append(path: str, folder: int | None) -> int:
    try:
        file = os.open(path, _WRITE | os.O_APPEND, 0o644, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise NotRegular(error.errno, "it is not a regular file", path) from None
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NotRegular(errno.EINVAL, "it is not a regular file", path)
    os.set_blocking(file, True)
    return file


@contextmanager
def made_folder(parent: int, name: str) -> Iterator[int]:
    """Open a subfolder, creating it if it is missing; anything else with that name is renamed out of the way.

    Yields:
        Its descriptor.
    """
    folder = _made_folder(parent, name)
    try:
        yield folder
    finally:
        os.close(folder)


def _made_folder(parent: int, name: str) -> int:
    for _ in range(_ATTEMPTS):
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            if error.errno != errno.ENOENT:
                _set_aside(name, parent)
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
    raise NotRegular(errno.ENOTDIR, "something keeps replacing it", name)


def _set_aside(path: str, folder: int | None) -> None:
    with suppress(FileNotFoundError):
        os.rename(path, f"{path}.replaced-{os.urandom(4).hex()}", src_dir_fd=folder, dst_dir_fd=folder)


def write_file(root: str, name: str, content: bytes) -> None:
    """Write a file of a folder atomically (temporary file, then rename), replacing anything with that name.

    Raises:
        OSError: it cannot be written.
    """
    with open_folder(root) as folder:
        draft = f".{name}-{os.urandom(4).hex()}"
        file = os.open(draft, _WRITE | os.O_EXCL, 0o644, dir_fd=folder)
        try:
            with os.fdopen(file, "wb", buffering=0) as output:
                output.write(content)
            try:
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except IsADirectoryError:
                _set_aside(name, folder)
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise


# --- Links that stay inside ------------------------------------------------------------------------------------------


def open_inside(root: int, root_paths: Sequence[str], name: str) -> tuple[int, str]:
    """Open a regular file below a folder, following links that stay in that folder.

    Each link is read and followed here, one component at a time, so that none can be replaced by one that leads out.

    Args:
        root: descriptor of the folder.
        root_paths: absolute paths of the folder; an absolute link to a path below one of them stays inside.
        name: relative path with forward slashes.

    Returns:
        Descriptor and last name of the file.

    Raises:
        PixyzSecurityViolation: the name, or a link on the way, leads out of the folder.
        NotRegular: it is not a regular file.
        OSError: it cannot be opened.
    """
    folders = [root]
    try:
        return _walk(folders, root_paths, name)
    finally:
        for folder in folders[1:]:
            os.close(folder)


def _walk(folders: list[int], root_paths: Sequence[str], name: str) -> tuple[int, str]:
    waiting, links = deque(_from_root(folders, root_paths, name)), 0
    while waiting:
        part = waiting.popleft()
        if part in {"", "."}:
            continue
        if part == "..":
            if len(folders) == 1:
                raise PixyzSecurityViolation(f"bad file path {name!r}: it leads out of the job's outputs")
            os.close(folders.pop())
            continue
        try:
            found = os.open(part, _READ, dir_fd=folders[-1])
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            links += 1
            if links > _MAX_LINKS:
                raise
            target = os.readlink(part, dir_fd=folders[-1])
            waiting.extendleft(reversed(_from_root(folders, root_paths, target)))
            continue
        kind = os.fstat(found).st_mode
        if stat.S_ISDIR(kind):
            folders.append(found)
            if len(folders) > MAX_DEPTH + 1:
                raise NotRegular(errno.ENAMETOOLONG, f"it lies more than {MAX_DEPTH} folders deep", name)
        elif stat.S_ISREG(kind) and not any(rest not in {"", "."} for rest in waiting):
            return found, part
        else:
            os.close(found)
            raise NotRegular(errno.EINVAL, "it is not a regular file", name)
    raise NotRegular(errno.EISDIR, "it is a folder", name)


def _from_root(folders: list[int], root_paths: Sequence[str], path: str) -> list[str]:
    """Return the parts of a path; for an absolute one, go back to the root folder first."""
    if not path.startswith("/"):
        return path.split("/")
    for root in root_paths:
        if path.startswith(f"{root}/"):
            while len(folders) > 1:
                os.close(folders.pop())
            return path[len(root) + 1 :].split("/")
    raise PixyzSecurityViolation(f"bad file path {path!r}: it leads out of the job's outputs")


def list_inside(root: int, root_paths: Sequence[str], *, max_files: int) -> list[str]:
    """Return the regular files below a folder as sorted relative paths, with links to such files.

    Args:
        root: descriptor of the folder.
        root_paths: as for `open_inside`.
        max_files: maximum number of files and folders.

    Raises:
        FileTooLarge: there are more, or folders are nested too deeply.
        OSError: it cannot be read.
    """
    found: list[str] = []
    folders, seen = [""], 0
    while folders:
        path = folders.pop()
        # Opened from the top again: a descriptor for each folder on the way would not do for wide ones.
        with suppress(FileNotFoundError, NotADirectoryError), _folder_below(root, path) as folder:
            with os.scandir(folder) as entries:
                some = islice(entries, max_files - seen + 1)
                listed = [(entry.name, entry.is_dir(follow_symlinks=False), _is_file(entry)) for entry in some]
            seen += len(listed)
            if seen > max_files:
                raise FileTooLarge(errno.EFBIG, f"there are more than {max_files} files and folders")
            if path.count("/") >= MAX_DEPTH and any(is_folder for _, is_folder, _ in listed):
                raise FileTooLarge(errno.EFBIG, f"folders lie more than {MAX_DEPTH} deep in each other")
            for name, is_folder, is_file in listed:
                if is_folder:
                    folders.append(f"{path}{name}/")
                elif is_file or (is_file is None and _leads_to_file(root, root_paths, path + name)):
                    found.append(path + name)
    return sorted(found)


def _is_file(entry: os.DirEntry[str]) -> bool | None:
    """Return whether an entry is a regular file; None for a link."""
    return None if entry.is_symlink() else entry.is_file(follow_symlinks=False)


def _leads_to_file(root: int, root_paths: Sequence[str], name: str) -> bool:
    try:
        file, _ = open_inside(root, root_paths, name)
    except (OSError, PixyzSecurityViolation):
        return False
    os.close(file)
    return True


@contextmanager
def _folder_below(root: int, path: str) -> Iterator[int]:
    with _descended(os.dup(root), path.split("/")[:-1]) as folder:
        yield folder
