"""A client of the REST contract and of nothing else: plain HTTP, written from the contract's page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

from tests.waiting import wait_until

TERMINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
STATUSES = TERMINAL | {"SENT", "PENDING", "RECEIVED", "STARTED", "RUNNING", "RETRY"}
Json = dict[str, Any]


class RestClient:
    """Talks to one server.

    Args:
        url: its base URL.
        token: what goes into the header `x-api-key`.
        timeout_s: how long it waits for an answer.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 30.0) -> None:
        self.http = httpx.Client(base_url=url, headers={"x-api-key": token}, timeout=timeout_s)

    def __enter__(self) -> RestClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.http.close()

    def post(
        self,
        script: str | bytes | None = None,
        *,
        process: str | None = None,
        file: tuple[str, bytes] | None = None,
        params: Any = None,
        name: str | None = None,
        config: Any = None,
        script_name: str = "job.py",
    ) -> httpx.Response:
        """Send a form; what is None is left out. `params` and `config` are JSON values, or texts sent as they are."""
        texts = {"process": process, "params": _text(params), "name": name, "config": _text(config)}
        parts: list[tuple[str, Any]] = [
            (key, (None, value.encode())) for key, value in texts.items() if value is not None
        ]
        if script is not None:
            parts.append(("script", (script_name, script if isinstance(script, bytes) else script.encode())))
        if file is not None:
            parts.append(("file", file))
        # An empty form would be sent as none at all.
        return self.http.post("/jobs", files=parts or [("name", (None, b""))])

    def submit(self, script: str | bytes | None = None, **form: Any) -> str:
        """Send a form that must be accepted, and return the job's id."""
        answer = self.post(script, **form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["uuid"])

    def get(self, path: str, **options: Any) -> Any:
        """Return the JSON of a path that must answer 200."""
        answer = self.http.get(path, **options)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def state(self, uuid: str) -> Json:
        """Return a job's JobState."""
        return dict(self.get(f"/jobs/{uuid}"))

    def details(self, uuid: str) -> Json:
        """Return a job's JobDetails."""
        return dict(self.get(f"/jobs/{uuid}/details"))

    def log(self, uuid: str) -> str:
        """Return what a job has printed so far."""
        answer = self.http.get(f"/jobs/{uuid}/logs")
        assert answer.status_code == 200, answer.text
        return answer.text

    def wait_for(self, uuid: str, *statuses: str, deadline_s: float = 30.0) -> Json:
        """Return the job's state once it has one of the statuses."""

        def reached() -> Json | None:
            state = self.state(uuid)
            ended = state["status"] in TERMINAL and not set(statuses) & TERMINAL
            assert not ended, f"the job ended before it was {statuses}: {state}"
            return state if state["status"] in statuses else None

        return wait_until(reached, f"job {uuid} is {' or '.join(statuses)}", deadline_s=deadline_s) or {}

    def end(self, uuid: str, deadline_s: float = 30.0) -> Json:
        """Wait for a job's end and return its details."""
        self.wait_for(uuid, *TERMINAL, deadline_s=deadline_s)
        return self.details(uuid)

    def run(self, script: str | bytes | None = None, *, deadline_s: float = 30.0, **form: Any) -> Json:
        """Submit a job, wait for its end, and return its details."""
        return self.end(self.submit(script, **form), deadline_s)

    @contextmanager
    def stream(self, uuid: str, last_id: str | None = None) -> Iterator[httpx.Response]:
        """Open a job's event stream."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        with self.http.stream("GET", f"/jobs/{uuid}/events", headers=headers) as answer:
            yield answer

    def events(self, uuid: str, last_id: str | None = None) -> list[ServerSentEvent]:
        """Return a job's events up to its end."""
        with self.stream(uuid, last_id) as answer:
            assert answer.status_code in (200, 204), answer.read()
            return [] if answer.status_code == 204 else list(EventSource(answer).iter_sse())


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
