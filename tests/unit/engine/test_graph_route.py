"""The route of a graph: its formats, its headers, and who is let in."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.errors import UnknownJob
from pixyz_ray.settings import Settings
from serve_app.auth import token_check
from serve_app.errors import add_error_handlers
from serve_app.routes.jobs import jobs_router
from serve_app.schemas import GraphView

TOKEN = "open-sesame"


class Graphs:
    """An engine that has the graph of one job, as large as a test wants it."""

    def __init__(self) -> None:
        self.members = 3

    async def graph(self, uuid: str) -> dict[str, Any]:
        """Return the graph of the job `known`."""
        if uuid != "known":
            raise UnknownJob(f"There is no job {uuid!r}.")
        common = {"entrypoint": "main", "queue": "cpu", "progress": None, "error": None, "started": None}
        common |= {"stopped": None, "duration": 0.5, "retry": 0}
        places = [("known", "job", None, None), ("g", "group", None, "known")]
        places += [(f"t{n}", "task", "g", "known") for n in range(self.members)]
        nodes = [
            {
                **common,
                "id": id,
                "kind": kind,
                "name": f"<{id}>",
                "state": "SUCCESS",
                "group": group,
                "parent_id": above,
            }
            for id, kind, group, above in places
        ]
        edges = [{"source": "known", "target": f"t{n}", "kind": "starts"} for n in range(self.members)]
        return {"uuid": "known", "state": "SUCCESS", "nodes": nodes, "edges": edges}


@pytest.fixture
def graphs() -> Graphs:
    """What the engine has."""
    return Graphs()


class Http:
    """A client of the routes over an engine."""

    def __init__(self, graphs: Graphs) -> None:
        self._app = FastAPI()
        check = token_check(Settings(), hashlib.sha256(TOKEN.encode()).hexdigest())
        self._app.include_router(jobs_router(cast(Engine, graphs), check))
        add_error_handlers(self._app, debug=False)

    def get(self, path: str, token: str = TOKEN) -> httpx.Response:
        """Ask for a path."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
                return await client.get(path, headers={"x-api-key": token})

        return asyncio.run(ask())


@pytest.fixture
def http(graphs: Graphs) -> Http:
    """A client of the routes over the graphs."""
    return Http(graphs)


def test_given_a_graph_when_asked_for_then_it_is_json_of_the_schema(http: Http) -> None:
    """JSON is what comes without a format, and it is as documented."""
    for answer in (http.get("/jobs/known/graph"), http.get("/jobs/known/graph?format=json")):
        assert answer.headers["content-type"] == "application/json"
        assert GraphView(**answer.json()).model_dump() == answer.json()


@pytest.mark.parametrize("members", [3, 5000])
@pytest.mark.parametrize(
    ("format", "media_type", "begin"),
    [
        ("mermaid", "text/plain; charset=utf-8", "%%{init"),
        ("dot", "text/plain; charset=utf-8", "digraph"),
        ("svg", "image/svg+xml", "<svg "),
    ],
)
def test_given_a_format_when_asked_for_then_it_is_a_picture_that_can_do_nothing(
    http: Http, graphs: Graphs, members: int, format: str, media_type: str, begin: str
) -> None:
    """A browser is told to take it for what it is, and to run nothing in it."""
    graphs.members = members
    answer = http.get(f"/jobs/known/graph?format={format}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.text.startswith(begin)
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "sandbox"} <= set(policy)


@pytest.mark.parametrize(("path", "code"), [("/jobs/other/graph", 404), ("/jobs/known/graph?format=gif", 400)])
def test_given_a_wrong_request_when_made_then_it_is_refused(http: Http, path: str, code: int) -> None:
    """An unknown job, and a format that there is not."""
    answer = http.get(path)
    assert answer.status_code == code
    assert answer.json()["detail"]["code"] == code


def test_given_a_wrong_token_when_asked_for_then_nothing_is_told(http: Http) -> None:
    """A picture needs the token as much as JSON does."""
    assert http.get("/jobs/known/graph?format=svg", token="guess").status_code == 401


def test_given_the_documentation_when_made_then_the_route_is_in_it(http: Http) -> None:
    """Its formats, its schema and its other media types are documented."""
    operation = http.get("/openapi.json").json()["paths"]["/jobs/{uuid}/graph"]["get"]
    (format,) = [each for each in operation["parameters"] if each["name"] == "format"]
    assert format["schema"]["enum"] == ["json", "mermaid", "dot", "svg"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/plain", "image/svg+xml"}
