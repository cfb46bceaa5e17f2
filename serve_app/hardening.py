"""Keeps Serve's own gRPC server, which unpickles what it is sent and asks nobody for a token, off other interfaces.

Serve 2.60 binds it to all interfaces with no setting to change that (`Replica._on_initialized`). Anybody who reaches
the port could run code in the replica. It is bound to the node's own Ray address instead, which on a workstation is
loopback.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.serve._private import replica

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
