"""Limits for the connections of the HTTP server: their number, and time-outs for each state.

A request that arrives slowly, or an answer that is read slowly, costs the client nothing and the server a descriptor
and a buffer. Each connection is therefore in one of these states, all of which are bounded in time:

    half open   no complete header yet: at most `header_timeout_s`
    receiving   the header is complete, the body is not: at most `stall_timeout_s` without a byte
    answering   the answer waits for its reader: at most `stall_timeout_s` without a byte
    idle        between two requests: the server's keep-alive timeout

When there are too many, the oldest half-open and idle ones are closed. A normal client is half open for milliseconds.
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
"""Descriptors reserved for files, the tracker and Ray."""
_MOST_CONNECTIONS = 16_384
"""Each takes some 10 KB, with its parser and buffers."""
_SWEEP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for the connections of one server."""

    header_timeout_s: float
    """Seconds for a complete header."""
    stall_timeout_s: float
    """Seconds without a byte, of a body that arrives or of an answer that is read."""
    max_connections: int
    """Maximum number of connections."""
    max_half_open: int
    """Maximum number of connections without a complete header."""
    max_half_open_per_address: int
    """The same from one IPv4 address or one IPv6 /64 network; reverse proxies are exempt."""
    trusted_proxies: Sequence[Network] = ()
    """Addresses and networks of reverse proxies."""
    grace_s: float = 1.0
    """Seconds for which a new connection is exempt from the limit per address: the server accepts a burst of
    connections before it reads from any of them."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; return the number that connections may use."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return min(_MOST_CONNECTIONS, hard - min(_SPARE_DESCRIPTORS, hard // 2))


def limits_of(settings: Settings, max_connections: int) -> Limits:
    """Return the limits given by the settings.

    Args:
        settings: the platform's settings.
        max_connections: number of connections for which there are descriptors.
    """
    return Limits(
        header_timeout_s=settings.api_header_timeout,
        stall_timeout_s=settings.api_stall_timeout,
        max_connections=max_connections,
        # Leave some for complete requests.
        max_half_open=min(settings.api_max_half_open, max(1, max_connections // 2)),
        max_half_open_per_address=settings.api_max_half_open_per_address,
        trusted_proxies=settings.trusted_proxies,
    )


class Connection(Protocol):
    """What the registry needs of a connection."""

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
        """Whether the server has paused reading the body."""

    def drop(self, status: int | None = None) -> None:
        """Close the connection at once, and call `leave`; with a status, answer a request whose header has begun."""


class Connections:
    """The connections of one server.

    Args:
        limits: the limits.
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

    # --- Reports of the connections ----------------------------------------------------------------------------------

    def opened(self, one: Connection) -> None:
        """Count a new connection; close the oldest other for it, or itself if there is none to close."""
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
        """Remove a connection that is being closed from all states."""
        self.not_half_open(one)
        self._receiving.pop(one, None)
        self._answering.pop(one, None)
        self._idle.pop(one, None)

    def half_open(self, one: Connection) -> None:
        """Record that a connection has no complete header; time counts from the first call."""
        if one not in self._half_open:
            self._half_open[one] = one.loop.time()
            if one.address:
                self._half_open_of[one.address][one] = None

    def not_half_open(self, one: Connection) -> None:
        """Record that a header is complete."""
        if self._half_open.pop(one, None) is not None and one.address:
            others = self._half_open_of[one.address]
            others.pop(one, None)
            if not others:
                del self._half_open_of[one.address]

    def receiving(self, one: Connection, *, more: bool) -> None:
        """Record whether the body is incomplete."""
        if more:
            self._receiving[one] = None
        else:
            self._receiving.pop(one, None)

    def answering(self, one: Connection, *, waits: bool) -> None:
        """Record whether an answer waits to be read."""
        if waits:
            self._answering[one] = (one.loop.time(), one.unsent_bytes)
        else:
            self._answering.pop(one, None)

    def idle(self, one: Connection, *, waits: bool) -> None:
        """Record whether a connection is between two requests."""
        if waits:
            self._idle[one] = None
        else:
            self._idle.pop(one, None)

    # --- Enforcement -------------------------------------------------------------------------------------------------

    def _limit_address(self, one: Connection) -> None:
        others = self._half_open_of.get(one.address, {})
        if len(others) < self._limits.max_half_open_per_address:
            return
        # Close two for each new one, so that a burst admitted during the grace period shrinks again.
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
