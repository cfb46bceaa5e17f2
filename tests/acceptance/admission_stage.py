"""The stage of the tests of admission: a platform with small limits of all kinds, and books that scripts write into."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

SCRIPT = Path(__file__).with_name("admission_script.py").read_text(encoding="utf-8")
MIB = 1 << 20
SEATS = 2
MAX_QUEUED = 40
MAX_OWN_QUEUED = 2
MAX_TASKS = 30
MAX_GROWTH = 200 * MIB
TOKENS = {
    "big": {"share": 3},
    "small": {"share": 1},
    "narrow": {"concurrency": 1},
    "modest": {"max_queued": MAX_OWN_QUEUED},
}
QUEUES = {
    "one": {"num_cpus": 0, "concurrency": 1},
    "two": {"num_cpus": 0, "concurrency": 2},
    "free": {"num_cpus": 0},
}

Submit = Callable[..., str]


def limited_platform() -> TestPlatform:
    """Return the platform, which is not up yet."""
    tokens = {name: {**limits, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name, limits in TOKENS.items()}
    return TestPlatform(
        CONCURRENT_TASKS="2",
        PIXYZ_QUEUES=json.dumps(QUEUES),
        PIXYZ_POOLS=json.dumps({"catia": SEATS, "seat": 1}),
        PIXYZ_TOKENS=json.dumps(tokens),
        MAX_QUEUED_JOBS=str(MAX_QUEUED),
        MAX_TASKS_BEFORE_SHUTDOWN=str(MAX_TASKS),
        MAX_WORKER_GROWTH=str(MAX_GROWTH),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of a book."""

    what: str
    """`begin` or `end`."""
    name: str
    """Who it was."""
    time: float
    """When, in seconds since the epoch."""
    pid: int
    """In which process."""


@dataclass(frozen=True)
class Book:
    """What scripts have noted so far."""

    path: Path
    """The file."""

    def entries(self) -> list[Entry]:
        """Return all lines, oldest first."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        entries = [Entry(**json.loads(line)) for line in text.splitlines()]
        return sorted(entries, key=lambda entry: entry.time)

    def begun(self) -> list[str]:
        """Return who has begun, in order."""
        return [entry.name for entry in self.entries() if entry.what == "begin"]

    def most_at_a_time(self, *beginnings: str) -> int:
        """Return how many were at it at the same time; only those whose name begins so, if anything is given."""
        now = most = 0
        for entry in self.entries():
            if not beginnings or entry.name.startswith(beginnings):
                now += 1 if entry.what == "begin" else -1
                most = max(most, now)
        return most


def caller(platform: TestPlatform, token: str) -> RestClient:
    """Return a client with another token."""
    return RestClient(platform.url, token)


def all_well(rest: RestClient, uuids: list[str]) -> list[Any]:
    """Return the results of jobs that must end well."""
    details = [rest.end(uuid) for uuid in uuids]
    assert not [(one["name"], one["error"], one["attempts"]) for one in details if one["status"] != "SUCCESS"]
    return [one["result"] for one in details]


def run(rest: RestClient, submit: Submit, entrypoint: str, **config: Any) -> Any:
    """Return the result of a job."""
    return all_well(rest, [submit(entrypoint, **config)])[0]


def row(rest: RestClient, kind: str, name: str) -> dict[str, Any]:
    """Return what GET /queues tells of one queue, pool or submitter."""
    return dict(next(one for one in rest.get("/queues")[kind] if one["name"] == name))


def all_given_back(rest: RestClient) -> None:
    """Wait until no seat is held any more."""
    wait_until(
        lambda: [pool["held"] for pool in rest.get("/queues")["pools"]] == [0, 0], "all seats are free", deadline_s=5
    )


def check_full(answer: httpx.Response, sentence: str) -> None:
    """Hold a refusal against the contract."""
    assert answer.status_code == 429, answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    detail = answer.json()["detail"]
    assert (detail["code"], detail["message"]) == (429, "Too Many Requests")
    assert re.search(sentence, detail["details"]), detail
