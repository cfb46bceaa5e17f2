"""The rows of "What differs" on the page for teams from the Celery-based scheduler, without a platform."""

from __future__ import annotations

import asyncio
import re
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from fastapi import FastAPI

from pixyz_ray.admission import QueueFull
from pixyz_ray.cli.app import cli
from pixyz_ray.clock import SteadyClock
from pixyz_ray.cluster.cleaner import Cleaner
from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.config_file import SYSTEM_CONFIG, find_config, unused_config
from pixyz_ray.retention import Removal, remove_jobs
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.store import JobStore
from pixyz_worker.exception import PixyzSecurityViolation, SoftTimeLimitExceeded
from pixyz_worker.script import LocalPixyzTask
from serve_app.cors import add_cors
from serve_app.errors import STATUS_OF, UploadTooLarge
from serve_app.hosts import HostCheck
from tests.migration_page import JOB, ROOT, covers, inline, table, titles

SCRIPT = ROOT / "tests" / "migration_script.py"
DAY = 86400.0


def cell(title: str, column: int) -> str:
    """Return a cell of the row with that title."""
    tables = ("In scripts", "In graphs", "In jobs and requests", "In operation")
    rows = {row[0].replace("`", ""): row for name in tables for row in table(name)}
    return rows[title][column]


def test_given_the_rows_of_the_page_when_compared_then_each_has_a_test_and_something_to_do() -> None:
    """Here or among the acceptance tests."""
    tests = [*ROOT.glob("tests/unit/test_migration_*.py"), ROOT / "tests" / "acceptance" / "test_migration.py"]
    calls = "".join(found for file in tests for found in re.findall(r"^@covers\((.*?)\)$", _text(file), re.M | re.S))
    assert len(titles()) == len(set(titles())) > 25
    assert [title for title in titles() if f'"{title}"' not in calls] == []
    assert [title for title in titles() if not (cell(title, 1) and cell(title, 2))] == []


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


# --- Scripts and graphs ----------------------------------------------------------------------------------------------


@covers(
    "Paths out of the folder", "Local handles", "retry() of the task", "update_state() of the task",
    "A group in a group", "Task without a queue", "Params merge", "Error callbacks", "A failed member",
)  # fmt: skip
def test_given_the_script_of_facts_when_run_locally_then_each_fact_is_that_of_the_page(tmp_path: Path) -> None:
    """The acceptance tests run the same script on a platform: only the local handles differ."""
    assert LocalPixyzTask.from_commandline(SCRIPT, tmp_path, "main", {"quality": 3}) == {
        "Paths out of the folder": True,
        "Local handles": [False, 1, 1],
        "retry": [True, True, 1],
        "update_state": [None, True, True],
        "A group in a group": [1, 2, 3],
        "Task without a queue": ["gpu", "cpu"],
        "Params merge": [{"quality": 3, "n": 1}, [1]],
        "Error callbacks": True,
        "A failed member": ["FAILURE", True],
    }


@covers("Time limit in a script")
def test_given_the_end_at_a_time_limit_when_exceptions_are_caught_then_it_passes() -> None:
    """`except Exception` does not hold it up."""
    assert not issubclass(SoftTimeLimitExceeded, Exception)


@covers("Archives")
def test_given_an_archive_when_it_is_the_input_then_it_is_unpacked_and_cannot_lead_out(tmp_path: Path) -> None:
    """The root file is the one that the others belong to."""
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        file.writestr("a.txt", "notes")
        file.writestr("part.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    members = ["a.txt", "part.obj"]
    result = LocalPixyzTask.from_commandline(SCRIPT, tmp_path / "out", "archive", {}, tmp_path / "in.zip")
    assert result == ["part.obj", "in.zip", members]
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr("../out.obj", "v 0 0 0\n")
    with pytest.raises(PixyzSecurityViolation):
        LocalPixyzTask.from_commandline(SCRIPT, tmp_path / "out", "archive", {}, tmp_path / "bad.zip")


@covers("Windows and macOS")
def test_given_another_system_when_the_platform_is_started_then_it_says_where_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scripts run there all the same (tests/unit/worker/test_portability.py)."""
    monkeypatch.setattr(sys, "platform", "win32")
    result = CliRunner().invoke(cli, ["up"])
    assert result.exit_code == 1
    assert "runs on Linux" in result.output


# --- Operation -------------------------------------------------------------------------------------------------------


@covers("Address", "Password", "Redis", "Queues of a worker", "Memory", "Full platform")
def test_given_no_settings_when_read_then_defaults_are_those_of_the_page() -> None:
    """Loopback, no password, SQLite, no limit of memory; codes for a full platform."""
    settings = Settings()
    assert settings.api_host == "127.0.0.1"
    assert settings.god_password_sha256 is None
    with pytest.raises(ValueError, match="can be reached from other machines"):
        Settings(api_host="0.0.0.0")
    assert settings.job_store_url.startswith("sqlite:///")
    assert Settings(job_store_url="postgresql+psycopg://u@host/db").job_store_url
    named = Settings(queue_name="cpu,render").queue_table  # type: ignore[arg-type]
    assert named.keys() - settings.queue_table.keys() == {"render"}
    assert settings.queue_table.keys() <= named.keys()
    assert Settings(max_memory_usage="2097152").max_memory_usage == 2 << 30  # type: ignore[arg-type]
    assert Settings(max_memory_usage="8GB").max_memory_usage == 8 << 30  # type: ignore[arg-type]
    assert (STATUS_OF[QueueFull], STATUS_OF[UploadTooLarge]) == (429, 413)


@covers("CORS")
def test_given_an_origin_when_it_is_not_set_then_no_header_lets_its_pages_in() -> None:
    """CORS_ORIGINS as the page writes it lets them in."""
    (written,) = inline(cell("CORS", 2))
    origin = written.partition("=")[2]

    def allowed(settings: Settings) -> str | None:
        app = FastAPI()
        add_cors(app, settings.cors_origins)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://pixyz") as http:
                return await http.get("/openapi.json", headers={"Origin": origin})

        return asyncio.run(ask()).headers.get("access-control-allow-origin")

    assert allowed(Settings()) is None
    assert allowed(Settings(cors_origins=origin)) == origin  # type: ignore[arg-type]


@covers("Host names")
def test_host_names() -> None:
    """Given a name of the service in DNS, when asked for, then a token or ALLOWED_HOSTS is needed."""
    setting, *paths = inline(cell("Host names", 2))
    name = setting.removeprefix("ALLOWED_HOSTS=")

    def status(path: str, allowed: str = "", token: str = "") -> int:
        app = FastAPI()
        app.get("/metrics")(lambda: {"up": 1})
        hosts = Settings(allowed_hosts=allowed).allowed_hosts  # type: ignore[arg-type]
        app.add_middleware(HostCheck, allowed_hosts=hosts, is_known=lambda given: given == "mine")

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{name}") as http:
                return await http.get(path, headers={"x-api-key": token})

        return asyncio.run(ask()).status_code

    for path in paths:
        assert status(path) == 421
        assert status(path, allowed=name) == status(path, token="mine") == 200


@covers("Configuration file")
def test_given_configuration_files_when_found_then_the_order_is_that_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, the home, /etc; never the current folder."""
    order = [code for code in inline(cell("Configuration file", 1)) if "/" in code or code.startswith("$")]
    assert order == ["$PIXYZ_CONFIG", "$PIXYZ_HOME/pixyz-scheduler.conf", str(SYSTEM_CONFIG)]
    (here := tmp_path / "here").mkdir()
    (home := tmp_path / "home").mkdir()
    for folder in (here, home):
        (folder / "pixyz-scheduler.conf").touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("PIXYZ_HOME", str(home))
    monkeypatch.delenv("PIXYZ_CONFIG", raising=False)
    assert find_config() == home / "pixyz-scheduler.conf"
    assert unused_config(find_config()) == here / "pixyz-scheduler.conf"
    monkeypatch.setenv("PIXYZ_CONFIG", "pixyz-scheduler.conf")
    assert find_config() == here / "pixyz-scheduler.conf"


@covers("Several outputs folders")
def test_given_a_second_attempt_when_its_outputs_are_looked_for_then_they_are_where_the_page_says(
    tmp_path: Path,
) -> None:
    """The last one counts."""
    job = JobFolder(tmp_path, JOB)
    (name,) = (code for code in inline(cell("Several outputs folders", 1)) if code.startswith(".outputs"))
    (job.path / "outputs").mkdir(parents=True)
    assert job.outputs == job.path / "outputs"
    (job.path / name).mkdir()
    assert job.outputs == job.path / name


class InProcess:
    """Removes files in this process, as a worker would."""

    def __init__(self, share: Path) -> None:
        self._share = str(share)

    async def remove(self, removals: Sequence[Removal]) -> Mapping[str, str | None]:
        """Remove the files of jobs."""
        return remove_jobs(self._share, removals)


@covers("Share", "Retention")
@pytest.mark.parametrize("enabled", [False, True])
def test_given_jobs_of_another_scheduler_on_the_share_when_two_days_pass_then_they_stay(
    tmp_path: Path, enabled: bool
) -> None:
    """An upload that never became a job goes with clean-up: the page tells why no platform shares its folder."""
    assert Settings().cleanup_enabled is False
    (job := tmp_path / "share" / JOB / "outputs").mkdir(parents=True)
    (ours := tmp_path / "share" / JOB.replace("7", "8")).mkdir()
    (ours / "inputs").mkdir()
    (ours / ".lock").touch()
    settings = Settings(share_path=tmp_path / "share", cleanup_enabled=enabled)
    with closing(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        journal = Journal(StoreAccess(store))
        # The time of change of a folder cannot be set, so the clock is.
        clock = SteadyClock(lambda: time.time() + 2 * DAY)
        remover = InProcess(settings.share_path)
        cleaner = Cleaner(settings, journal, remover, lambda uuid: False, lambda *_: None, clock=clock)

        async def start() -> None:
            running = asyncio.create_task(cleaner.run())
            deadline = time.monotonic() + 10
            while ours.exists() and not running.done() and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            running.cancel()

        asyncio.run(start())
    assert job.is_dir()
    assert ours.exists() is not enabled
