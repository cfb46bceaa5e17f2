"""The address and port of the HTTP service: whether they can be taken, and how this machine reaches it."""

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


def local_host(host: str) -> str:
    """Return the address at which this machine reaches a service that listens on `host`, which may be all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def service_url(host: str, port: int, node_address: str) -> str:
    """Return the URL at which other machines reach an HTTP service that listens on `host`.

    Args:
        host: address to listen on.
        port: port to listen on.
        node_address: this machine's address on its network, for a service that listens on all of them.
    """
    reached = (node_address or local_host(host)) if host in ("0.0.0.0", "::") else host
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def local_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches an HTTP service that listens on `host`."""
    reached = local_host(host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
