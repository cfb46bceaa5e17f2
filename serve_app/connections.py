"""Connections of the HTTP server: how many there may be, and how long one may take for what it has begun.

A request that is slow to arrive, or an answer that is slow to be read, costs its sender nothing and the server a
descriptor and a buffer. So each connection is in one of these states, all of which are bounded in time:

    half open   no complete header yet: at most `header_timeout_s`
    receiving   the header is complete, the body is not: at most `stall_timeout_s` without a byte
    answering   the answer waits for its reader: at most `stall_timeout_s` without a byte
    idle        between two requests: the server's keep-alive timeout

and half-open and idle ones give way when there are too many. A proper client is half open for milliseconds.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import resource
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pixyz_ray.setting_types import Network
from pixyz_ray.settings import Settings

_SPARE_DESCRIPTORS = 512
"""Left for files, for the tracker and for Ray."""
_MOST_CONNECTIONS = 16_384
"""Each takes some 10 KB, with its parser and buffers."""
_SWEEP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server's connections may take."""

    header_timeout_s: float
    """Seconds for a complete header."""
    stall_timeout_s: float
    """Seconds without a byte, of a body that arrives or of an answer that is read."""
    max_connections: int
    """Connections, of all kinds."""
    max_half_open: int
    """Connections without a complete header."""
    max_half_open_per_address: int
    """The same from one address, or from one /64 network of IPv6; reverse proxies are exempt."""
    trusted_proxies: Sequence[Network] = ()
    """Addresses and networks of reverse proxies."""
    grace_s: float = 1.0
    """Seconds that a connection cannot be one too many of its address: the server accepts a burst of connections before
    it reads from any of them."""


def raise_descriptor_limit() -> int:
    """Let this process open as many descriptors as it may, and return how many of them connections may take."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return min(_MOST_CONNECTIONS, hard - min(_SPARE_DESCRIPTORS, hard // 2))


def limits_of(settings: Settings, max_connections: int) -> Limits:
    """Return the limits that settings ask for.

    Args:
        settings: the operator's.
        max_connections: connections for which there are descriptors.
    """
    return Limits(
        header_timeout_s=settings.api_header_timeout,
        stall_timeout_s=settings.api_stall_timeout,
        max_connections=max_connections,
        # Some must be left for requests that have arrived.
        max_half_open=min(settings.api_max_half_open, max(1, max_connections // 2)),
        max_half_open_per_address=settings.api_max_half_open_per_address,
        trusted_proxies=settings.trusted_proxies,
    )


class Connection(Protocol):
    """What there is to know of one connection."""

    loop: asyncio.AbstractEventLoop
    client_host: str
    """Address of the other end; empty where it has none."""
    address: str
    """The same, shortened to the network that one client has."""
    last_byte: float
    """The loop's time when the last bytes came."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes of answers that the other end has not read."""

    @property
    def reading_paused(self) -> bool:
        """Whether it is us who take no more of the body for now."""

    def drop(self, status: int | None = None) -> None:
        """Close the connection at once, and `leave`; with a status, answer a header that has begun."""


class Connections:
    """The connections of one server.

    Args:
        limits: what they may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        # Dictionaries keep their order: the oldest is first.
        self._half_open: dict[Connection, float] = {}
        self._half_open_of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._receiving: dict[Connection, None] = {}
        self._answering: dict[Connection, tuple[float, int]] = {}
        self._idle: dict[Connection, None] = {}
        self._sweeping = False
        self._exempt = functools.lru_cache(maxsize=1024)(self._is_trusted)

    # --- What the connections report ---------------------------------------------------------------------------------

    def opened(self, one: Connection) -> None:
        """Count a new connection, and make room for it by closing others, or close it where there is none."""
        self._count += 1
        if self._count > self._limits.max_connections:
            victim = next(iter(self._half_open or self._idle), one)
            victim.drop()
            if victim is one:
                return
        if one.address and not self._exempt(one.client_host):
            self._limit_address(one)
        self.half_open(one)
        if len(self._half_open) > self._limits.max_half_open:
            next(iter(self._half_open)).drop()
        if not self._sweeping:
            self._sweeping = True
            one.loop.call_later(self._period_s, self._sweep, one.loop)

    def closed(self, one: Connection) -> None:
        """Forget a connection."""
        self._count -= 1
        self.leave(one)

    def leave(self, one: Connection) -> None:
        """Take a connection that is being closed out of what is limited."""
        self.not_half_open(one)
        self._receiving.pop(one, None)
        self._answering.pop(one, None)
        self._idle.pop(one, None)

    def half_open(self, one: Connection) -> None:
        """Note that bytes, or a connection, came without a complete header; the first note counts."""
        if one not in self._half_open:
            self._half_open[one] = one.loop.time()
            if one.address:
                self._half_open_of[one.address][one] = None

    def not_half_open(self, one: Connection) -> None:
        """Note that a header is complete."""
        if self._half_open.pop(one, None) is not None and one.address:
            others = self._half_open_of[one.address]
            others.pop(one, None)
            if not others:
                del self._half_open_of[one.address]

    def receiving(self, one: Connection, *, more: bool) -> None:
        """Note whether a body has more to come."""
        if more:
            self._receiving[one] = None
        else:
            self._receiving.pop(one, None)

    def answering(self, one: Connection, *, waits: bool) -> None:
        """Note whether an answer waits for its reader."""
        if waits:
            self._answering[one] = (one.loop.time(), one.unsent_bytes)
        else:
            self._answering.pop(one, None)

    def idle(self, one: Connection, *, waits: bool) -> None:
        """Note whether a connection is between two requests."""
        if waits:
            self._idle[one] = None
        else:
            self._idle.pop(one, None)

    # --- Who has to go -----------------------------------------------------------------------------------------------

    def _limit_address(self, one: Connection) -> None:
        others = self._half_open_of.get(one.address, {})
        if len(others) < self._limits.max_half_open_per_address:
            return
        # Two for one, so that a burst that was let in for its grace shrinks again.
        for oldest in list(_first(others, 2)):
            waited_s = one.loop.time() - self._half_open[oldest]
            if waited_s > self._limits.grace_s or len(self._half_open) >= self._limits.max_half_open:
                oldest.drop()

    @property
    def _period_s(self) -> float:
        return min(_SWEEP_S, self._limits.header_timeout_s / 4, self._limits.stall_timeout_s / 4)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = now - self._limits.header_timeout_s
        for one in [one for one, since in self._half_open.items() if since < late]:
            one.drop(408)
        stalled = now - self._limits.stall_timeout_s
        for one in list(self._receiving):
            if one.reading_paused:
                one.last_byte = now
            elif one.last_byte < stalled:
                one.drop()
        for one, (since, unsent) in list(self._answering.items()):
            if one.unsent_bytes != unsent:
                self._answering[one] = (now, one.unsent_bytes)
            elif since < stalled:
                one.drop()
        if self._count:
            loop.call_later(self._period_s, self._sweep, loop)
        else:
            self._sweeping = False

    def _is_trusted(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._limits.trusted_proxies)


def _first(items: dict[Connection, None], count: int) -> list[Connection]:
    return [item for item, _ in zip(items, range(count), strict=False)]
