"""Handing a port over: a replica that stops keeps serving until its successor on the machine asks for the port.

Serve starts the successor when it stops a replica, and a new process takes seconds. They meet at an abstract Unix
socket, which belongs to the machine's network as the port does.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

_ANSWER_S = 5.0
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as the kernel reports them."""


def wait_for_successor(port: int, within_s: float, release: Callable[[], None]) -> bool:
    """Release a port when a successor asks for it; return False when none did within the time.

    Args:
        port: the port.
        within_s: seconds to wait.
        release: closes the port.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(within_s)
        try:
            door.bind(_name(port))
            door.listen(1)
            caller, _ = door.accept()
        except OSError:
            return False
        if not _is_ours(caller):
            caller.close()
            return False
        with caller:
            # The successor waits until this connection ends.
            release()
    return True


def ask_for_port(port: int) -> bool:
    """Ask a predecessor that is stopping for its port; return whether there was one, which has then released it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(_ANSWER_S)
        with suppress(OSError):
            door.connect(_name(port))
            if _is_ours(door):
                door.recv(1)
                return True
    return False


def _is_ours(other: socket.socket) -> bool:
    """Return whether the other end belongs to this user: anybody on the machine may use the name."""
    credentials = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1]) == os.geteuid()


def _name(port: int) -> str:
    return f"\0pixyz-api-{port}"
