"""Routes that operators look at: health, metrics, queues, pins, and why a job waits or is refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from pixyz_ray.admission import QueueFull
from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.meters import Meters
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder, OpenedFile
from pixyz_ray.store import StoreUnusable
from pixyz_ray.version import VERSION
from pixyz_worker.exception import PixyzFileNotFound
from serve_app import schemas
from serve_app.auth import token_check
from serve_app.errors import add_error_handlers
from serve_app.replica_warning import replica_warnings
from serve_app.routes.jobs import jobs_router
from serve_app.routes.queues import queues_router
from serve_app.routes.service import service_router

TOKEN = "open-sesame"
UUID = "7f3c2a9e-0000-4000-8000-000000000001"
WELL = {"tracker": "ok", "store": "ok", "share": "ok"}
Ask = Callable[..., httpx.Response]

QUEUE = {
    "name": "cpu",
    "purpose": "computing",
    "waiting": 1,
    "dispatched": 0,
    "running": 0,
    "concurrency": None,
    "places": 4,
    "oldest_wait": 2.5,
    "mean_run": None,
    "started_last_minute": 0,
}
POOL = {"name": "catia", "seats": 3, "held": 1, "waiting": 0}
WAITING = {"position": 1, "reason": "All 4 places of queue cpu are taken.", "expected_start": None}


class Standing:
    """An engine with one job, which waits."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.checks: Mapping[str, str] = WELL
        self.warnings: list[str] = []
        self.job = Job(uuid=UUID, name="bolt", process="custom", script="s.py", state=JobState.PENDING)
        self.asked: list[Any] = []
        self.retry_after_s = 5.0
        self.failure: Exception | None = None
        self.portions: list[list[str] | None] = [[UUID]]

    async def health(self) -> tuple[Mapping[str, str], list[str]]:
        """Return what the checks found."""
        self.asked.append("health")
        return self.checks, self.warnings

    async def meters(self) -> dict[str, Any]:
        """Return the figures."""
        meters = Meters()
        meters.started("cpu", 0.25)
        workers = {"alive": 2, "started": 2, "lost": 0}
        return {**meters.as_plain(), "jobs": {"PENDING": 1}, "queues": [QUEUE], "pools": [POOL], "workers": workers}

    async def queues(self) -> dict[str, Any]:
        """Return how the queues stand."""
        return {
            "queues": [QUEUE],
            "pools": [POOL],
            "submitters": [{"name": "local", "waiting": 1, "running": 0, "share": 1.0}],
            "queued": 1,
            "max_queued": 100,
            "cluster": {"CPU": 4.0, "GPU": 0.0, "nodes": 1},
        }

    async def pin(self, uuid: str, pinned: bool) -> dict[str, Any]:
        """Note that a job is pinned, or no longer."""
        self.asked.append((uuid, pinned))
        return self.job.as_state()

    def new_folder(self) -> JobFolder:
        """Take no more jobs."""
        raise QueueFull("100 jobs wait.", self.retry_after_s)

    async def page(self, *, state: str | None, limit: int, after: str | None, why: bool) -> list[dict[str, Any]]:
        """Return the job."""
        self.asked.append(limit)
        return [{**self.job.as_list_item(), **({"waiting": WAITING} if why else {})}]

    async def all_jobs(self, *, state: str | None, after: str | None, why: bool) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield portions, and fail where the test wants that."""
        self.asked.append((state, after, why))
        for portion in self.portions:
            if portion is None:
                raise EngineNotReady("The engine is being restarted.")
            yield [{**self.job.as_list_item(), "uuid": uuid} for uuid in portion]

    async def output(self, uuid: str, name: str) -> OpenedFile:
        """Note which output is wanted; there is none."""
        self.asked.append(name)
        raise PixyzFileNotFound(f"There is no output {name!r}.")

    async def details(self, uuid: str) -> dict[str, Any]:
        """Return all that is known of the job, or fail as the test wants."""
        if self.failure is not None:
            raise self.failure
        return self.job.as_details()


@pytest.fixture
def standing() -> Standing:
    """What the engine has."""
    return Standing()


@pytest.fixture
def ask(standing: Standing) -> Ask:
    """Send a request to the routes over an engine."""
    app, engine = FastAPI(), cast(Engine, standing)
    check = token_check(standing.settings, hashlib.sha256(TOKEN.encode()).hexdigest())
    for router in (service_router(engine, check), jobs_router(engine, check), queues_router(engine, check)):
        app.include_router(router)
    add_error_handlers(app, debug=False)

    def ask(path: str, method: str = "GET", token: str | None = TOKEN, content: bytes = b"") -> httpx.Response:
        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
                return await client.request(method, path, headers=headers, content=content)

        headers = {"x-api-key": token} if token else {}
        return asyncio.run(sent())

    return ask


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
@pytest.mark.parametrize(
    ("checks", "code", "status"),
    [
        (WELL, 200, "ok"),
        ({**WELL, "tracker": "The tracker does not answer."}, 503, "starting"),
        ({**WELL, "share": "The shared folder cannot be written."}, 503, "degraded"),
    ],
)
def test_given_checks_when_health_is_asked_then_it_says_what_is_wrong(
    ask: Ask, standing: Standing, path: str, checks: dict[str, str], code: int, status: str
) -> None:
    """Ready only when all is well; what is wrong is for callers with a token."""
    standing.checks = checks
    for token in (TOKEN, None, "guess"):
        answer = ask(path, token=token)
        assert answer.status_code == code
        expected = {"status": status, "version": VERSION, "live": True, "ready": code == 200, "checks": checks}
        expected["warnings"] = []
        found = answer.json()
        if token != TOKEN:
            assert found["checks"].keys() == checks.keys()
            assert {text == "ok" for text in found["checks"].values()} == {text == "ok" for text in checks.values()}
            assert not set(found["checks"].values()) & (set(checks.values()) - {"ok"})
            expected["checks"] = found["checks"]
        assert found == expected == schemas.Health(**found).model_dump()


def test_health_warnings(ask: Ask, standing: Standing) -> None:
    """Given a warning, when health is asked, then jobs can be taken all the same; a token is needed to read it."""
    standing.warnings = ["GPU: 2 jobs wait: no machine of the cluster has a GPU."]
    for token, warnings in ((TOKEN, standing.warnings), (None, [])):
        answer = ask("/health", token=token)
        assert (answer.status_code, answer.json()["status"], answer.json()["warnings"]) == (200, "ok", warnings)


@pytest.mark.parametrize("token", [TOKEN, None])
def test_errors_without_details(
    ask: Ask, standing: Standing, caplog: pytest.LogCaptureFixture, token: str | None
) -> None:
    """Given a store that fails, when asked, then SQL, hosts and paths are in the log, not in the answer."""
    secret = "(psycopg.OperationalError) host db.internal [SQL: SELECT record FROM jobs] /var/lib/pixyz"
    standing.failure = StoreUnusable(f"The job store does not answer: {secret}")
    answer = ask(f"/jobs/{UUID}/details", token=token)
    assert answer.status_code == (503 if token else 401)
    assert not any(word in answer.text for word in ("psycopg", "db.internal", "SELECT", "/var/lib"))
    assert bool(token) == (secret in caplog.text)


def test_given_a_platform_in_trouble_when_asked_whether_it_lives_then_it_does(ask: Ask, standing: Standing) -> None:
    """Nobody is asked: what a restart of this process does not mend is no reason for one."""
    standing.checks = dict.fromkeys(WELL, "gone")
    answer = ask("/health/live", token=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": VERSION, "live": True})
    assert standing.asked == []


def test_given_a_supervisor_that_has_died_when_asked_whether_it_lives_then_503(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would restart the platform: Kubernetes is to do so."""
    monkeypatch.setenv("PIXYZ_SUPERVISOR", "999999999")
    app = FastAPI()
    engine = cast(Engine, standing)
    app.include_router(service_router(engine, token_check(engine.settings, "0" * 64)))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.get("/health/live")

    answer = asyncio.run(ask())
    assert answer.status_code == 503
    assert schemas.LostLife(**answer.json()).model_dump() == answer.json()


@pytest.mark.parametrize(
    ("debug", "token", "content", "code"),
    [
        (False, TOKEN, b"{}", 404),
        (True, None, b"{}", 401),
        (True, "guess", b"{}", 401),
        (True, TOKEN, b'{"a": [1]}', 200),
        (True, TOKEN, b"{", 400),
        (True, TOKEN, b"\xff", 400),
        (True, TOKEN, b"[" * 100_000 + b"]" * 100_000, 400),
        (True, TOKEN, b" " * (1 << 20) + b"1", 413),
    ],
)
def test_webhook(ask: Ask, standing: Standing, debug: bool, token: str | None, content: bytes, code: int) -> None:
    """Given a body, when sent to /dev/callback, then only DEBUG, a token and JSON of a sensible size let it in."""
    standing.settings.__dict__["debug"] = debug
    assert ask("/dev/callback", "POST", token=token, content=content).status_code == code


def test_given_figures_when_scraped_then_they_are_prometheus_text(ask: Ask) -> None:
    """No token is needed."""
    answer = ask("/metrics", token=None)
    assert answer.headers["content-type"].startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"pixyz_jobs", "pixyz_queue_depth", "pixyz_wait_seconds", "pixyz_workers", "pixyz_info"} <= names
    assert UUID not in answer.text


def test_given_queues_when_asked_for_then_the_answer_is_as_documented(ask: Ask) -> None:
    """With a token alone."""
    answer = ask("/queues")
    assert schemas.Queues(**answer.json()).model_dump() == answer.json()
    assert ask("/queues", token=None).status_code == 401


def test_given_a_job_when_pinned_then_the_engine_is_told(ask: Ask, standing: Standing) -> None:
    """PUT pins, DELETE takes it away; both answer its state, and want a token."""
    for method, pinned in (("PUT", True), ("DELETE", False)):
        assert ask(f"/jobs/{UUID}/pin", method).json() == standing.job.as_state()
        assert standing.asked.pop() == (UUID, pinned)
        assert ask(f"/jobs/{UUID}/pin", method, token="guess").status_code == 401
    assert standing.asked == []


def test_given_a_job_that_waits_when_listed_then_it_says_why_if_asked(ask: Ask) -> None:
    """Lists without the question stay as they were."""
    (job,) = ask("/jobs?why=true&limit=10").json()["jobs"]
    assert schemas.ListedJob(**job).model_dump() == job
    assert job["waiting"] == WAITING
    assert "waiting" not in ask("/jobs").json()["jobs"][0]


@pytest.mark.parametrize(
    "portions", [[[]], [["a"]], [["a", "b"], ["c"]], [[], ["a"], [], ["b"], []], [["a"], []]], ids=str
)
def test_all_jobs(ask: Ask, standing: Standing, portions: list[list[str] | None]) -> None:
    """Given any portions, when all jobs are listed, then the answer is one JSON document with each of them once."""
    standing.portions = portions
    answer = ask("/jobs?status=SUCCESS&after=x")
    assert answer.headers["content-type"] == "application/json"
    assert [job["uuid"] for job in answer.json()["jobs"]] == [uuid for portion in portions for uuid in portion or ()]
    assert answer.json()["next"] is None
    assert standing.asked == [(JobState.SUCCESS, "x", False)]


def test_all_jobs_cut_short(ask: Ask, standing: Standing) -> None:
    """Given an engine that goes away, when all jobs are listed, then a part is never taken for the whole."""
    standing.portions = [None]
    assert ask("/jobs").status_code == 503
    standing.portions = [["a"], None]
    with pytest.raises(Exception, match="response already started"):
        ask("/jobs")


def test_given_a_job_when_its_details_are_asked_then_they_are_as_documented(ask: Ask) -> None:
    """Every key of the answer is in the schema, and the other way round."""
    details = ask(f"/jobs/{UUID}/details").json()
    assert set(schemas.JobDetails.model_fields) == set(details)


@pytest.mark.parametrize(("after_s", "header"), [(0.0, "1"), (1.2, "2"), (60.0, "60")])
def test_given_a_full_queue_when_a_job_is_sent_then_it_is_said_when_to_come_back(
    ask: Ask, standing: Standing, after_s: float, header: str
) -> None:
    """429 of the contract; seconds are rounded up, and never none."""
    standing.retry_after_s = after_s
    answer = ask("/jobs", "POST")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, header)
    assert answer.json()["detail"] == {"code": 429, "message": "Too Many Requests", "details": "100 jobs wait."}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "/jobs?status=FAILED",
            "'status' must be one of SENT, PENDING, RECEIVED, STARTED, RUNNING, SUCCESS, FAILURE, ",
        ),
        ("/jobs?status=FAILED", ", not 'FAILED'. Did you mean 'FAILURE'?"),
        ("/jobs?status=Success", "Did you mean 'SUCCESS'?"),
        ("/jobs?status=xyz", ", not 'xyz'."),
        (
            f"/jobs/{UUID}/graph?format=svgg",
            "'format' must be one of json, mermaid, dot, svg, not 'svgg'. Did you mean 'svg'?",
        ),
    ],
)
def test_given_a_word_that_is_none_of_the_choices_when_asked_then_the_answer_names_them(
    ask: Ask, path: str, words: str
) -> None:
    """The nearest one is named where there is one."""
    answer = ask(path)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]["details"]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a/b%20c.stl", "a/b c.stl"),
        ("caf%C3%A9.stl", "café.stl"),
        ("caf%E9/outputs/%FF.stl", "caf\udce9/outputs/\udcff.stl"),
        ("%EF%BF%BD.stl", "\ufffd.stl"),
        ("%E9%2Fx%0Ay", "\udce9/x\ny"),
    ],
)
def test_given_an_output_in_any_encoding_when_it_is_asked_for_then_its_name_is_the_one_on_the_disk(
    ask: Ask, standing: Standing, sent: str, name: str
) -> None:
    """Given names that are no UTF-8, as a list gives them, when asked for percent-encoded, then those are opened."""
    assert ask(f"/jobs/{UUID}/outputs/{sent}").status_code == 404
    assert standing.asked == [name]


class Machines:
    """The machines of a cluster, one of which has left."""

    async def nodes(self) -> list[dict[str, Any]]:
        """Return them."""
        return [{"state": "ready"}, {"state": "unfit"}, {"state": "dead"}]


@pytest.mark.parametrize(("replicas", "warned"), [(1, False), (2, False), (3, True)])
def test_fewer_machines_than_replicas(replicas: int, warned: bool) -> None:
    """Given API_REPLICAS, when the cluster has fewer machines, then /health stays ready and has a warning."""
    engine = Standing()
    engine.settings = Settings(api_replicas=replicas, api_host="0.0.0.0", god_password_sha256="0" * 64)
    engine.machines = Machines()  # type: ignore[attr-defined]
    found = asyncio.run(replica_warnings(cast(Engine, engine)))
    assert bool(found) is warned
    assert not warned or "API_REPLICAS is 3, but the cluster has 2 machines" in found[0]
