"""The bare apps themselves, each run in a process of its own; imported there only.

app PORT FOLDER       Ray and a Serve app that submits tasks, in the platform's own environment, until it is ended
empty ADDRESS PORT    deploys an empty app on a running Ray, runs one task, and leaves
plain PORT FOLDER     a uvicorn app that stores a form and serves FOLDER/large.bin
"""

import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ray
import uvicorn
from fastapi import FastAPI, File, Form, UploadFile
from ray import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.load import HOST, LARGE_FILE


def no_op() -> float:
    """Return when it began: the bare task."""
    return time.time()


def _note(notes: str, figure: float) -> None:
    with Path(notes).open("a") as file:
        file.write(f"{figure}\n")


@ray.remote(max_retries=0)
def _step(params: float, notes: str) -> float:
    now = time.time()
    if params:
        _note(notes, now - params)
    return time.time()


@ray.remote(max_retries=0)
def _noop(params: Any) -> Any:
    return params


@ray.remote(max_retries=0)
def _count(*params: Any) -> int:
    return len(params)


@ray.remote(max_retries=0)
def _make(megabytes: int) -> Any:
    import numpy

    return numpy.ones(megabytes * (1 << 20) // 8)


@ray.remote(max_retries=0)
def _hand_on(params: Any, notes: str) -> Any:
    status = Path("/proc/self/status").read_text()
    _note(notes, 1024 * float(status.partition("RssAnon:")[2].split()[0]))
    return params


@ray.remote(max_retries=0)
def _add_up(params: Any) -> float:
    return float(params.sum())


def chain(n: int, notes: str) -> float:
    """Run a chain, submitted whole, each task with a reference to the last; each notes how long it took to begin."""
    value: Any = 0
    for _ in range(n):
        value = _step.remote(value, notes)
    end: float = ray.get(value)
    return end


def group(n: int, notes: str) -> int:
    """Run so many tasks, submitted in a loop."""
    return len(ray.get([_noop.remote(number) for number in range(n)]))


def chord(n: int, notes: str) -> int:
    """Run so many tasks, and one that gets all their results."""
    count: int = ray.get(_count.remote(*[_noop.remote(number) for number in range(n)]))
    return count


def array(n: int, notes: str) -> float:
    """Pass an array of so many MiB through a chain of five; those in the middle note their private memory."""
    value = _make.remote(n)
    for _ in range(3):
        value = _hand_on.remote(value, notes)
    total: float = ray.get(_add_up.remote(value))
    return total


def build_task_app() -> FastAPI:
    """Return what anybody would write first: a form comes in, a task goes out."""
    app = FastAPI()
    running: dict[str, Any] = {}
    task = ray.remote(max_retries=0)(no_op)

    @app.get("/")
    async def welcome() -> str:
        return "bare"

    @app.post("/tasks")
    async def submit(script: UploadFile = File(), params: str = Form("{}")) -> dict[str, str]:  # noqa: B008
        await script.read()
        uuid = secrets.token_hex(16)
        running[uuid] = task.remote()
        return {"uuid": uuid}

    @app.get("/tasks/{uuid}")
    async def result(uuid: str) -> float:
        return await running.pop(uuid)

    for path, run_graph in (("/chains", chain), ("/groups", group), ("/chords", chord), ("/arrays", array)):
        app.get(path + "/{n}")(run_graph)

    @app.post("/runs")
    async def run(script: UploadFile = File(), params: str = Form("{}")) -> float:  # noqa: B008
        await script.read()
        return await task.remote()

    return app


def build_empty_app() -> FastAPI:
    """Return an app without a route."""
    return FastAPI()


def serve_task_app(folder: str) -> None:
    """Start Ray and the app, and stay as their driver."""
    ray.init(
        address="local",
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address=HOST,
        _temp_dir=folder,
    )
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": HOST, "port": 0},
        logging_config={"enable_access_log": False},
    )

    @serve.deployment(name="api", max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0})
    @serve.ingress(build_task_app)
    class Api:
        """The replica."""

    serve.run(Api.bind(), name="bare", route_prefix="/")
    signal.pause()


def deploy_empty_app(address: str, port: int) -> None:
    """Deploy an app that does nothing, and run one task."""

    @serve.deployment
    @serve.ingress(build_empty_app)
    class Api:
        """The replica."""

    ray.init(address=address, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": HOST, "port": port})
    serve.run(Api.bind())
    ray.get(ray.remote(no_op).remote())


def serve_plain_app(port: int, folder: str) -> None:
    """Serve uploads and downloads as a plain application does."""

    async def welcome(_request: Request) -> Response:
        return PlainTextResponse("plain")

    async def upload(request: Request) -> Response:
        # The form's file is on disk here; a real application would still have to copy it to its place.
        async with request.form() as form:
            return JSONResponse({"size": form["file"].size})  # type: ignore[union-attr]

    async def download(_request: Request) -> Response:
        return FileResponse(Path(folder) / LARGE_FILE)

    routes = [Route("/", welcome), Route("/files", upload, methods=["POST"]), Route("/file", download)]
    uvicorn.run(Starlette(routes=routes), host=HOST, port=port, log_level="warning")


def main() -> None:
    """Run one of the bare apps."""
    kind, first, second = sys.argv[1:]
    if kind == "app":
        serve_task_app(second)
    elif kind == "empty":
        deploy_empty_app(first, int(second))
    else:
        serve_plain_app(int(first), second)
