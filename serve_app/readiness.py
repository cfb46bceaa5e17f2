"""Replicas beside the head step aside while they cannot take jobs."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from pixyz_ray.cluster.engine import Engine
from pixyz_worker.exception import PixyzException

_log = logging.getLogger(__name__)
_EVERY_S = 2.0
_TOLERATED = 2
"""Failed checks in a row during which the port stays open and answers 503: the tracker may just be restarting."""
_GOOD = "ok"


class Port(Protocol):
    """A port that can be opened and closed."""

    async def open_port(self) -> None:
        """Listen."""

    def close_port(self) -> None:
        """Refuse new connections."""


async def follow_readiness(engine: Engine, port: Port, *, every_s: float = _EVERY_S) -> None:
    """Close the port while this machine cannot reach the tracker or the share, and open it again afterwards.

    A load balancer cannot send a request again that it has sent already, since the job could run twice. It can when
    the connection is refused; that also holds for balancers that do not ask for `/health/ready`. The replica on the
    head stays open, and says what is wrong.

    Args:
        engine: what is asked.
        port: the port of this replica.
        every_s: seconds between two checks.
    """
    failed = 0
    while True:
        try:
            checks, _warnings = await engine.health()
            problem = "; ".join(f"{name}: {found}" for name, found in checks.items() if found != _GOOD)
        except PixyzException as error:
            problem = str(error)
        if not problem:
            if failed > _TOLERATED:
                _log.warning("this machine can take jobs again: the HTTP service is open")
            failed = 0
            await _open(port)
        else:
            failed += 1
            if failed == _TOLERATED + 1:
                _log.warning("the HTTP service of this machine is closed until it can take jobs again: %s", problem)
                port.close_port()
        await asyncio.sleep(every_s)


async def _open(port: Port) -> None:
    try:
        await port.open_port()
    except PixyzException as error:
        _log.warning("%s", error)
