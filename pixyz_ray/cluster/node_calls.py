"""NodeCalls: the calls of the HTTP service to the tracker about machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pixyz_ray.cluster.channel import Channel

_ORDER_PATIENCE_S = 15.0
"""More than the tracker waits for the answer of a machine."""


class NodeCalls:
    """Calls about machines, over the engine's channel.

    Args:
        patiently: the engine's way to use its channel.
    """

    def __init__(self, patiently: Callable[..., Awaitable[Any]]) -> None:
        self._patiently = patiently

    async def nodes(self) -> list[dict[str, Any]]:
        """Return all machines of the cluster."""
        answer: list[dict[str, Any]] = await self._ask("nodes")
        return answer

    async def node(self, name: str) -> dict[str, Any]:
        """Return one machine, by host name, address, or beginning of its id."""
        answer: dict[str, Any] = await self._ask("node", name)
        return answer

    async def drain(self, name: str, deadline_s: float | None) -> dict[str, Any]:
        """Let no more attempts begin on a machine; return the machine.

        Args:
            name: host name, address, or beginning of its id.
            deadline_s: seconds after which attempts that still run are ended, to run on another machine; None to let
                them end.
        """
        answer: dict[str, Any] = await self._ask("drain", name, deadline_s)
        return answer

    async def undrain(self, name: str) -> dict[str, Any]:
        """Let attempts begin on a machine again; return the machine."""
        answer: dict[str, Any] = await self._ask("undrain", name)
        return answer

    async def check(self, name: str) -> dict[str, Any]:
        """Probe a machine now; return the machine."""
        answer: dict[str, Any] = await self._ask("check_node", name)
        return answer

    async def _ask(self, method: str, *arguments: Any) -> Any:
        def call(channel: Channel, _again: bool) -> Awaitable[Any]:
            return channel.call(method, *arguments)

        return await self._patiently(call, patience_s=_ORDER_PATIENCE_S)
