"""What Serve 2.60 does without a setting to change it, and we cannot have. Checked against the pinned version by tests.

The replica's gRPC server, which unpickles what it is sent, listens on all interfaces. Where Ray asks for no token (on a
cluster without RAY_AUTH_MODE), anybody who reaches the port could run code in the replica.
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
