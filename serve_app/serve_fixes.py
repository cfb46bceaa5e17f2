"""What Serve 2.60 does without a setting to change it, and we cannot have. Checked against the pinned version by tests.

- The replica's gRPC server, which unpickles what it is sent, listens on all interfaces. Where Ray asks for no token (on
  a cluster without RAY_AUTH_MODE), anybody who reaches the port could run code in the replica.
- The replica's HTTP server listens on the address of Serve's proxy. A service for other machines would open the proxy's
  random port to them too.
- The HTTP server cannot take a port again whose last connections are not quite gone.
"""

from __future__ import annotations

import functools
import socket
from typing import Any

import ray
from ray.serve._private import http_util, replica

from pixyz_worker.exception import InternalError

_HOOK = "add_port_to_grpc_server"


def keep_grpc_on_node_address() -> None:
    """Make the replica of this process bind its gRPC server to the node's address; call it before Serve does.

    Raises:
        InternalError: this version of Serve does it differently, so that nothing is sure any more.
    """
    original = getattr(replica, _HOOK, None)
    if original is None:
        raise InternalError("This version of Ray Serve cannot be kept off other interfaces; use the pinned one.")
    address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]

    def add_port(server: Any, wanted: str) -> int:
        port = wanted.rpartition(":")[2]
        return int(original(server, f"{address}:{port}"))

    setattr(replica, _HOOK, add_port)


def listen_on(host: str) -> None:
    """Make this process's replica listen on `host` instead of the proxy's address; call it before Serve starts it.

    The proxy stays on loopback: on another address it would expose the service a second time, on a random port.
    """
    module: Any = http_util
    start = module.start_asgi_http_server

    @functools.wraps(start)
    async def start_there(app: Any, options: Any, **others: Any) -> Any:
        return await start(app, options.model_copy(update={"host": host}), **others)

    module.start_asgi_http_server = start_there


def reuse_address() -> None:
    """Let a replica listen although connections of the one before it have not quite ended.

    Serve binds without SO_REUSEADDR: when a replica was killed while somebody was connected, its port would be refused
    to the next one for a minute, and Serve would move to another port.
    """
    start = http_util.start_asgi_http_server

    def reuse(sock: socket.socket) -> bool:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return True

    @functools.wraps(start)
    async def start_reusing(*arguments: Any, **options: Any) -> Any:
        return await start(*arguments, **{**options, "enable_so_reuseport": True})

    # Not SO_REUSEPORT, which would let two servers share the port.
    http_util.set_socket_reuse_port = reuse
    replica.start_asgi_http_server = start_reusing  # type: ignore[attr-defined]
