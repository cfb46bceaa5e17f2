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

LOOK_EVERY_S = 0.5
SILENCE_S = 10.0
"""Seconds without a message from any watchdog of a machine, after which the machine is lost.

A watchdog reports at least every second, and a virtual machine may be paused for eight.
"""
_ONE_SILENT_S = 30.0
"""The same for a single watchdog while others on its machine are heard."""
_MOST_COUNTED_S = 1.0
"""Seconds of silence that count between two looks: while this process was stalled it could not hear anybody."""
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
        fell_silent: called with an attempt whose watchdog has been silent for too long.
        machine_lost: called with Ray's id of a machine whose watchdogs have all been silent for too long: it hangs,
            or is cut off.
        clock: the time in seconds, from any moment on.
    """

    def __init__(
        self,
        fell_silent: Callable[[str, int], None],
        machine_lost: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fell_silent = fell_silent
        self._machine_lost = machine_lost
        self._guards: dict[Key, _Guard] = {}
        self.own_node = ""
        """Ray's id of this process's own machine, which is never lost: its watchdogs are only starved."""
        self._places: dict[Key, str] = {}
        self._clock = clock
        self._looked = clock()
        self._counted = 0.0
        self._dead: dict[Key, Mapping[str, Any]] = {}
        self._wanted: dict[Key, tuple[str, float]] = {}
        self._awaited: dict[Key, asyncio.Future[None]] = {}

    def _now(self) -> float:
        """Return the time on a clock that advances little while this process is stalled."""
        return self._counted + min(self._clock() - self._looked, _MOST_COUNTED_S)

    # --- Where attempts run ------------------------------------------------------------------------------------------

    def on_start(self, uuid: str, attempt: int, node_id: str) -> None:
        """Record that an attempt runs on a machine."""
        self._places[uuid, attempt] = node_id

    def node_of(self, uuid: str, attempt: int) -> str | None:
        """Return Ray's id of the machine of a running attempt, if it is known."""
        return self._places.get((uuid, attempt))

    def placed_on(self, node_id: str) -> list[Key]:
        """Return the running attempts on a machine."""
        return [key for key, place in self._places.items() if place == node_id]

    # --- What watchdogs say ------------------------------------------------------------------------------------------

    async def take_guard(self, peer: Peer, number: int, uuid: str, attempt: int) -> None:
        """Record a watchdog over an attempt."""
        messages.check_attempt(uuid, attempt)
        key = uuid, attempt
        self._guards[key] = _Guard(peer, number, self._now())
        peer.on_close[number] = lambda: self._hung_up(key)
        if key in self._wanted:
            self._push(key, *self._wanted[key])

    def take_usage(self, uuid: str, attempt: int, usage: Mapping[str, Any]) -> None:
        """Take what an attempt is using."""
        messages.check_attempt(uuid, attempt)
        checked = messages.usage(usage)
        if (guard := self._guards.get((uuid, attempt))) is not None:
            guard.heard, guard.usage = self._now(), checked

    def take_alive(self, uuid: str, attempt: int) -> None:
        """Take a sign of life."""
        messages.check_attempt(uuid, attempt)
        if (guard := self._guards.get((uuid, attempt))) is not None:
            guard.heard = self._now()

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
        self._places.pop(key, None)
        self._settle(key)

    def look(self) -> None:
        """Report machines, and single watchdogs, that have been silent for too long."""
        now = self._counted = self._now()
        self._looked = self._clock()
        silent = [key for key, guard in self._guards.items() if now - guard.heard > SILENCE_S]
        if not silent:
            return
        heard: dict[str, float] = {}
        for key, guard in self._guards.items():
            place = self._place(key)
            heard[place] = max(heard.get(place, 0.0), guard.heard)
        for key in silent:
            if key not in self._guards:
                # Given up with its machine.
                continue
            place = self._place(key)
            is_silent = now - heard[place] > SILENCE_S and place != self.own_node
            if is_silent and key in self._places:
                self._machine_lost(place)
            elif is_silent or now - self._guards[key].heard > _ONE_SILENT_S:
                self._fell_silent(*key)

    def _place(self, key: Key) -> str:
        # One whose machine is not known stands for a machine of its own.
        return self._places.get(key) or f"{key}"

    def give_up(self, uuid: str, attempt: int) -> None:
        """Have an attempt ended that counts for nothing any more, as soon as its watchdog is reached again."""
        if (uuid, attempt) in self._guards:
            self._push((uuid, attempt), "lost", 0.0)
