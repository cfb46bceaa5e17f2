"""Free ports for tests."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port such that it and the next one are free: the service asks for two."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return int(port)
