"""A client that no death of the platform's parts keeps from sending a job once, and once only."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.faults.chaos_jobs import SCRIPT, Order, Sent
from benchmarks.faults.platform import patiently
from pixyz_ray.client import Client, PlatformUnreachable, ServerBusy
from pixyz_worker.exception import PixyzWebError

_PATIENCE_S = 90.0
_PAGE = 1000
_FULL, _ERROR = 429, 500


class Sender:
    """Sends jobs; where an answer got lost, their alias tells whether they were accepted.

    Args:
        client: connection to the platform.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._script = SCRIPT.read_bytes()
        self.failed_posts = 0
        """Requests that were not answered, or not with success."""

    def send(self, order: Order) -> Sent:
        """Return the job once the platform has it."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                handle = self._client.submit(self._script, params=order.params, name=order.name, config=order.config)
                return Sent(order=order, uuid=handle.id, answered=True)
            except (PlatformUnreachable, PixyzWebError) as error:
                self.failed_posts += 1
                if time.monotonic() > deadline or not _may_come_right(error):
                    raise
                if _may_be_there(error) and (uuid := self.find(order.name)):
                    return Sent(order=order, uuid=uuid, answered=False)
            time.sleep(0.1)

    def find(self, name: str) -> str | None:
        """Return the id of the newest job with that alias, or None."""
        jobs = patiently(lambda: self._client.jobs(limit=_PAGE))["jobs"]
        return next((job["uuid"] for job in jobs if job["name"] == name), None)


def all_jobs(client: Client) -> list[tuple[str, str | None, str]]:
    """Return id, alias and status of every job that the platform knows."""
    found: list[tuple[str, str | None, str]] = []
    after: str | None = None
    while True:
        jobs = patiently(partial(client.jobs, limit=_PAGE, after=after))["jobs"]
        found += [(job["uuid"], job["name"], job["status"]) for job in jobs]
        if len(jobs) < _PAGE:
            return found
        after = jobs[-1]["uuid"]


def _may_come_right(error: Exception) -> bool:
    return isinstance(error, PlatformUnreachable | ServerBusy) or getattr(error, "status_code", 0) == _ERROR


def _may_be_there(error: Exception) -> bool:
    return getattr(error, "status_code", None) != _FULL
