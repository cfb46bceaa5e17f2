"""A job's log, kept within bounds while scripts and their child processes write to it."""

from __future__ import annotations

import errno
import os
import stat

_KEPT_BYTES = 1 << 19
_TAIL_BYTES = 1 << 16


def trim(path: str, max_bytes: int) -> bool:
    """Cut a log that has grown too long back to its beginning, and say so there; return whether that was done.

    Whoever writes to it has opened it for appending and goes on at the new end. A reader may stand behind that end: one
    that finds the file shorter than what it has read goes on from the new end too.

    Args:
        path: the log.
        max_bytes: length from which on it is cut.
    """
    try:
        if os.lstat(path).st_size <= max_bytes:
            return False
        file = _open(path, os.O_WRONLY | os.O_APPEND)
    except OSError:
        return False
    try:
        length = os.fstat(file).st_size
        if length <= max_bytes:  # the worker has cut it at its end meanwhile: what it wrote since then stays
            return False
        kept = min(_KEPT_BYTES, max_bytes // 2)
        os.ftruncate(file, kept)
        left_out = length - kept
        os.write(
            file, f"\n--- the log was longer than {max_bytes} bytes: {left_out} bytes left out here ---\n".encode()
        )
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def tail(path: str) -> bytes:
    """Return the last 64 KiB of a log; nothing if there is none."""
    try:
        file = _open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.pread(file, _TAIL_BYTES, max(0, os.fstat(file).st_size - _TAIL_BYTES))
    except OSError:
        return b""
    finally:
        os.close(file)


def _open(path: str, flags: int) -> int:
    """Open a regular file; a script may have put a link, or a FIFO that never opens, in its place.

    Raises:
        OSError: it is not a regular file, or is not there.
    """
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "it is not a regular file", path)
