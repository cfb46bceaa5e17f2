"""The client's requests about the machines of the cluster."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from pixyz_ray.client.connection import Connection
from pixyz_ray.client.shapes import NodeInfo


class MachineRequests(Connection):
    """Requests about machines; a machine is named by host name, address, or at least 6 characters of its id."""

    def nodes(self) -> list[NodeInfo]:
        """Return the machines of the cluster, with what they have and run."""
        return cast("list[NodeInfo]", self._json("/nodes")["nodes"])

    def node(self, name: str) -> NodeInfo:
        """Return one machine."""
        return cast(NodeInfo, self._json(_node(name)))

    def check_node(self, name: str) -> NodeInfo:
        """Have a machine looked at now, such as after its share was mounted, and return it."""
        return cast(NodeInfo, self._request("POST", _node(name, "/check")).json())

    def drain(self, name: str, deadline: float | None = None) -> NodeInfo:
        """Let no more attempts begin on a machine, and return it; its state is `drained` when nothing runs there.

        Args:
            name: the machine.
            deadline: seconds after which attempts that still run are ended, to run on another machine; None to let
                them end.
        """
        params = {} if deadline is None else {"deadline": deadline}
        return cast(NodeInfo, self._request("POST", _node(name, "/drain"), params=params).json())

    def undrain(self, name: str) -> NodeInfo:
        """Let attempts begin on a machine again, and return it."""
        return cast(NodeInfo, self._request("DELETE", _node(name, "/drain")).json())


def _node(name: str, rest: str = "") -> str:
    return f"/nodes/{quote(name, safe='')}{rest}"
