"""Machines that are lost, as far as the tracker knows: Ray itself takes several seconds to declare a machine dead."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)
DOUBT_S = 30.0
"""Seconds for which a machine gets no work after it was found lost. By then Ray has declared it dead, or it is back."""


class LostMachines:
    """The machines that get no work for a while since an attempt was lost there.

    Args:
        on_change: takes Ray's ids of all of them when there are others than before.
    """

    def __init__(self, on_change: Callable[[frozenset[str]], None]) -> None:
        self._on_change = on_change
        self._since: dict[str, float] = {}

    @property
    def node_ids(self) -> frozenset[str]:
        """Ray's ids of the machines."""
        return frozenset(self._since)

    def add(self, node_id: str) -> None:
        """Give no work to a machine for a while."""
        is_new = node_id not in self._since
        self._since[node_id] = time.monotonic()
        if is_new:
            _log.warning("machine %s is lost; it gets no work for %g s", node_id, DOUBT_S)
            self._on_change(self.node_ids)

    def review(self) -> None:
        """Give work again to machines that have been excluded for long enough."""
        before = len(self._since)
        now = time.monotonic()
        self._since = {node_id: since for node_id, since in self._since.items() if now - since < DOUBT_S}
        if len(self._since) != before:
            self._on_change(self.node_ids)
