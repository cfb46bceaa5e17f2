"""Guards: the watchdogs of running attempts, as the tracker knows them: told to stop one, they tell how it died.

A watchdog calls when its attempt has lasted for a moment (see pixyz_ray.watchdog). What is over sooner has none that is
known here, and needs none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pixyz_ray.cluster import messages
from pixyz_ray.cluster.channel import Peer

Key = tuple[str, int]
"""A job's id and the number of its attempt."""

LOOK_EVERY_S = 5.0
_SILENCE_S = 30.0
_LAST_WORDS_S = 2.0
_MAX_DEAD = 1000


@dataclass(slots=True)
class _Guard:
    peer: Peer
    number: int
    heard: float
    usage: Mapping[str, Any] = field(default_factory=dict)


class Guards:
    """The watchdogs that have called, on one event loop.

    Args:
        fell_silent: told of an attempt whose watchdog has not been heard for long: its machine hangs, or is cut off.
    """

    def __init__(self, fell_silent: Callable[[str, int], None]) -> None:
        self._fell_silent = fell_silent
        self._guards: dict[Key, _Guard] = {}
        self._dead: dict[Key, Mapping[str, Any]] = {}
        self._wanted: dict[Key, tuple[str, float]] = {}
        self._awaited: dict[Key, asyncio.Future[None]] = {}

    # --- What watchdogs say ------------------------------------------------------------------------------------------

    async def take_guard(self, peer: Peer, number: int, uuid: str, attempt: int) -> None:
        """Record a watchdog over an attempt."""
        messages.check_attempt(uuid, attempt)
        key = uuid, attempt
        self._guards[key] = _Guard(peer, number, time.monotonic())
        peer.on_close[number] = lambda: self._hung_up(key)
        if key in self._wanted:
            self._push(key, *self._wanted[key])

    def take_usage(self, uuid: str, attempt: int, usage: Mapping[str, Any]) -> None:
        """Take what an attempt is using."""
        messages.check_attempt(uuid, attempt)
        checked = messages.usage(usage)
        if (guard := self._guards.get((uuid, attempt))) is not None:
            guard.heard, guard.usage = time.monotonic(), checked

    def take_alive(self, uuid: str, attempt: int) -> None:
        """Take a sign of life."""
        messages.check_attempt(uuid, attempt)
        if (guard := self._guards.get((uuid, attempt))) is not None:
            guard.heard = time.monotonic()

    def take_died(self, uuid: str, attempt: int, died: Mapping[str, Any]) -> None:
        """Take how an attempt's process came to its end: nothing of it is left then."""
        messages.check_attempt(uuid, attempt)
        key = uuid, attempt
        self._dead[key] = messages.usage(died)
        while len(self._dead) > _MAX_DEAD:
            del self._dead[next(iter(self._dead))]
        self._settle(key)

    def _hung_up(self, key: Key) -> None:
        self._guards.pop(key, None)
        self._settle(key)

    def _settle(self, key: Key) -> None:
        future = self._awaited.pop(key, None)
        if future is not None and not future.done():
            future.set_result(None)

    # --- What the tracker wants --------------------------------------------------------------------------------------

    def stop(self, uuid: str, attempt: int, reason: str, grace_s: float) -> bool:
        """Have an attempt stopped: asked first, and after the grace killed; return whether its watchdog was reached.

        One that calls only now is told then.
        """
        key = uuid, attempt
        self._wanted[key] = reason, grace_s
        if key not in self._guards:
            return False
        self._push(key, reason, grace_s)
        return True

    def _push(self, key: Key, reason: str, grace_s: float) -> None:
        guard = self._guards[key]
        guard.peer.push(guard.number, {"stop": reason, "grace": grace_s})

    def usage(self, uuid: str, attempt: int) -> Mapping[str, Any]:
        """Return what a running attempt is using, as far as it is known."""
        guard = self._guards.get((uuid, attempt))
        return guard.usage if guard is not None else {}

    async def died(self, uuid: str, attempt: int) -> Mapping[str, Any] | None:
        """Return how an attempt's process died, waited for a moment: its watchdog first makes sure that all is gone."""
        key = uuid, attempt
        if key not in self._dead:
            future = self._awaited.setdefault(key, asyncio.get_running_loop().create_future())
            await asyncio.wait([future], timeout=_LAST_WORDS_S)
        return self._dead.get(key)

    def forget(self, uuid: str, attempt: int) -> None:
        """Forget an attempt that is over."""
        key = uuid, attempt
        if (guard := self._guards.pop(key, None)) is not None:
            guard.peer.on_close.pop(guard.number, None)
        self._wanted.pop(key, None)
        self._dead.pop(key, None)
        self._settle(key)

    def look(self) -> None:
        """Tell of those that have not been heard for long."""
        now = time.monotonic()
        for (uuid, attempt), guard in list(self._guards.items()):
            if now - guard.heard > _SILENCE_S:
                self._hung_up((uuid, attempt))
                self._fell_silent(uuid, attempt)
