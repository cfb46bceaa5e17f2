"""The port of the HTTP service: whether it can be taken."""

from __future__ import annotations

import socket


def port_problem(host: str, port: int) -> str | None:
    """Return why a server cannot listen there, in words; None where it can.

    Args:
        host: address to listen on.
        port: port to listen on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
