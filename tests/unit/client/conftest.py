"""A server of the REST contract on the loopback device, whose faults each test chooses."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pixyz_ray.client import Client

UUID = "7f3c2a9e-0000-4000-8000-000000000001"
TOKEN = "open-sesame"


def status(word: str, progress: int | None = None, error: str | None = None) -> tuple[str, dict[str, Any]]:
    """A status event."""
    return "status", {"uuid": UUID, "name": "job", "status": word, "progress": progress, "error": error}


def step(index: int, info: str, progress: int, duration: float = -1) -> tuple[str, dict[str, Any]]:
    """A step event."""
    return "step", {"index": index, "info": info, "duration": duration, "progress": progress}


def log(text: str) -> tuple[str, dict[str, Any]]:
    """A log event."""
    return "log", {"text": text}


class Broken(Exception):
    """Raised in the middle of an answer, so that uvicorn drops the connection."""


@dataclass
class Peer:
    """What the server has, which faults it shows, and what it was asked."""

    url: str = ""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=lambda: [status("SUCCESS", 100)])
    error: str | None = None
    result: Any = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    name: str | None = "job"
    """Alias of the job."""
    notes: list[list[str]] = field(default_factory=list)
    """Notes of the job's details each time they are asked for; the last ones from then on."""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """Attempts of the job's details."""
    parameters: list[dict[str, Any]] | None = None
    """What the documentation of a process says of its parameters."""
    doc: str = "Sleeps."
    """Docstring of a process."""
    listed: list[dict[str, Any]] | None = None
    """Jobs of the list, newest first; the one job when None."""
    files: dict[str, bytes] = field(default_factory=dict)
    log: bytes = b""
    archive: bytes = b"PK-archive"
    waiting: dict[str, Any] | None = None
    """What a job of a list says when it is asked why it waits."""
    standing: dict[str, Any] = field(default_factory=dict)
    """How the queues stand."""
    settings: list[dict[str, Any]] = field(default_factory=list)
    """The settings in force."""
    graphs: list[dict[str, Any]] = field(default_factory=list)
    """Graphs to answer with, one after another; the last one from then on."""
    answers: dict[str, list[Response]] = field(default_factory=dict)
    """Path -> answers to give instead of the right one, first come first."""
    cut: dict[str, list[int]] = field(default_factory=dict)
    """Path -> after how many events or bytes to drop the connection, once each."""
    etag: str = '"v1"'
    requests: list[Request] = field(default_factory=list)
    form: dict[str, Any] = field(default_factory=dict)
    scripts: dict[str, bytes] = field(default_factory=dict)
    """File name -> content of every script of the form; `form` has the last one."""

    def asked(self, path: str) -> list[Request]:
        """The requests for a path, in their order."""
        return [request for request in self.requests if request.url.path == path]

    @property
    def status(self) -> str:
        """The last status in the events."""
        return next(data["status"] for kind, data in reversed(self.events) if kind == "status")

    def state(self) -> dict[str, Any]:
        """JobState."""
        progress = 100 if self.status == "SUCCESS" else 0
        return {
            "uuid": UUID,
            "name": self.name,
            "status": self.status,
            "progress": progress,
            "error": self.error,
        }

    async def answer(self, request: Request) -> Response:
        """Answer any request, faults first."""
        self.requests.append(request)
        path = request.url.path
        if self.answers.get(path):
            return self.answers[path].pop(0)
        if path.startswith("/jobs") and request.headers.get("x-api-key") != TOKEN:
            return refusal(401, "missing or wrong token")
        return await getattr(self, f"_{request.scope['endpoint_name']}")(request)

    async def _root(self, _: Request) -> Response:
        return PlainTextResponse("Welcome to Pixyz on Ray 9.8.7")

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "version": "9.8.7", "ready": True})

    async def _processes(self, _: Request) -> Response:
        return JSONResponse({"processes": ["convert_file", "sleep"]})

    async def _doc(self, request: Request) -> Response:
        name = request.path_params["name"]
        more = {} if self.parameters is None else {"parameters": self.parameters}
        return JSONResponse({"doc": f"Process '{name}' documentation:\n\n{self.doc}", **more})

    async def _jobs(self, request: Request) -> Response:
        if request.method == "GET":
            why = {"waiting": self.waiting} if request.query_params.get("why") == "true" else {}
            if self.listed is not None:
                return self._page(request)
            return JSONResponse({"jobs": [{**self.state(), **why}], "next": None})
        form = await request.form()
        for name, value in form.multi_items():
            self.form[name] = value if isinstance(value, str) else (value.filename, await value.read())
            if name == "script":
                self.scripts.update([self.form[name]])
        await form.close()
        return JSONResponse({**self.state(), "status": "SENT", "progress": None, "error": None})

    def _page(self, request: Request) -> Response:
        """One page of the list, as the server makes it."""
        jobs, limit = self.listed or [], int(request.query_params["limit"])
        begin = (
            1 + [job["uuid"] for job in jobs].index(request.query_params["after"])
            if "after" in request.query_params
            else 0
        )
        page = jobs[begin : begin + limit]
        return JSONResponse({"jobs": page, "next": page[-1]["uuid"] if len(page) == limit else None})

    async def _queues(self, _: Request) -> Response:
        return JSONResponse(self.standing)

    async def _config(self, _: Request) -> Response:
        return JSONResponse({"version": "9.8.7", "settings": self.settings})

    async def _pin(self, _: Request) -> Response:
        return JSONResponse(self.state())

    async def _job(self, request: Request) -> Response:
        if request.path_params["uuid"] != UUID:
            return refusal(404, f"there is no job {request.path_params['uuid']}")
        return JSONResponse(self.state())

    async def _details(self, _: Request) -> Response:
        times = {"request": None, "started": None, "stopped": None}
        more: dict[str, Any] = {"time_info": times, "steps": self.steps, "retry": 0, "result": self.result}
        if self.attempts:
            more["attempts"] = self.attempts
        if self.notes:
            more["notes"] = self.notes.pop(0) if len(self.notes) > 1 else self.notes[0]
        return JSONResponse({**self.state(), **more})

    async def _graph(self, request: Request) -> Response:
        graph = self.graphs.pop(0) if len(self.graphs) > 1 else self.graphs[0]
        format = request.query_params.get("format", "json")
        return JSONResponse(graph) if format == "json" else PlainTextResponse(f"<the graph as {format}>")

    async def _outputs(self, _: Request) -> Response:
        return JSONResponse({"outputs": sorted(self.files)})

    async def _archive(self, request: Request) -> Response:
        return self._bytes(request, self.archive)

    async def _output(self, request: Request) -> Response:
        name = request.path_params["path"]
        return self._bytes(request, self.files[name]) if name in self.files else refusal(404, f"no output {name}")

    async def _cancel(self, _: Request) -> Response:
        return JSONResponse({**self.state(), "status": "REVOKED"})

    async def _logs(self, request: Request) -> Response:
        left = self.log[int(request.query_params.get("offset", 0)) :]
        return StreamingResponse(self._pieces(request, left), media_type="text/plain")

    async def _events(self, request: Request) -> Response:
        begin = int(request.headers.get("last-event-id", 0))
        if begin >= len(self.events):
            return Response(status_code=204)
        return StreamingResponse(self._stream(request, begin), media_type="text/event-stream")

    async def _stream(self, request: Request, begin: int) -> AsyncIterator[bytes]:
        cuts = self.cut.get(request.url.path) or [0]
        cut = cuts.pop(0)
        yield b": keep-alive\n\n"
        for number, (kind, data) in enumerate(self.events[begin:], start=1):
            yield f"id: {begin + number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
            if number == cut:
                raise Broken

    def _bytes(self, request: Request, content: bytes) -> Response:
        start = 0
        if "range" in request.headers and request.headers.get("if-range", self.etag) == self.etag:
            start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Length": str(len(content) - start), "ETag": self.etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        pieces = self._pieces(request, content[start:])
        return StreamingResponse(pieces, 206 if start else 200, headers, "application/octet-stream")

    async def _pieces(self, request: Request, content: bytes) -> AsyncIterator[bytes]:
        cuts = self.cut.get(request.url.path)
        if cuts:
            yield content[: cuts.pop(0)]
            raise Broken
        yield content


def refusal(code: int, sentence: str, **headers: str) -> Response:
    """An error of the REST contract."""
    detail = {"code": code, "message": "no", "details": sentence}
    return JSONResponse({"detail": detail}, code, headers)


ROUTES = {
    "/": "root",
    "/health": "health",
    "/processes": "processes",
    "/processes/{name}": "doc",
    "/queues": "queues",
    "/config": "config",
    "/jobs": "jobs",
    "/jobs/{uuid}": "job",
    "/jobs/{uuid}/details": "details",
    "/jobs/{uuid}/events": "events",
    "/jobs/{uuid}/logs": "logs",
    "/jobs/{uuid}/cancel": "cancel",
    "/jobs/{uuid}/pin": "pin",
    "/jobs/{uuid}/graph": "graph",
    "/jobs/{uuid}/outputs": "outputs",
    "/jobs/{uuid}/outputs/archive": "archive",
    "/jobs/{uuid}/outputs/{path:path}": "output",
}


def _app(current: list[Peer]) -> Starlette:
    def route(path: str, name: str) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope["endpoint_name"] = name
            return await current[0].answer(request)

        return Route(path, endpoint, methods=["GET", "POST", "PUT", "DELETE"])

    return Starlette(routes=[route(path, name) for path, name in ROUTES.items()])


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[str, list[Peer]]]:
    """One server for all tests; the peer that it speaks for is the first of the list."""
    current = [Peer()]
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(_app(current), log_level=60, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", current
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No platform, configuration file or variable of this machine is seen."""
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("PIXYZ_URL", "PIXYZ_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def peer(served: tuple[str, list[Peer]]) -> Peer:
    """A fresh server state."""
    url, current = served
    current[0] = Peer(url=url)
    return current[0]


@pytest.fixture
def client(peer: Peer) -> Iterator[Client]:
    """A client of the peer, impatient enough for a test."""
    with Client(peer.url, TOKEN, patience=2.0) as client:
        yield client


@pytest.fixture
def closed_url() -> str:
    """A URL where nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def server_kit() -> Any:
    """The names that tests build a peer's behaviour with."""
    from types import SimpleNamespace

    return SimpleNamespace(status=status, step=step, log=log, refusal=refusal, UUID=UUID, TOKEN=TOKEN)
