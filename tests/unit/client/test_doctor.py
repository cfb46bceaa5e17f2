"""What the doctor finds and advises."""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from starlette.responses import JSONResponse

from pixyz_ray import home
from pixyz_ray.cli import checks
from pixyz_ray.cli.app import cli
from pixyz_ray.cli.checks import Verdict
from pixyz_ray.cli.platform import LINUX_ONLY
from pixyz_ray.jobs import Job
from pixyz_ray.store import JobStore


def test_every_problem_comes_with_advice(peer: Any, server_kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an installation, when the doctor looks, then what is not good has a remedy, and JSON says the same."""
    monkeypatch.setattr(checks, "_ray", checks._python)  # importing Ray takes a second and is tested elsewhere
    result = CliRunner().invoke(cli, ["-u", peer.url, "-k", server_kit.TOKEN, "doctor", "--json"])
    report = json.loads(result.stdout)
    assert (result.exit_code == 0) == report["healthy"]
    assert all(check["remedy"] for check in report["checks"] if check["verdict"] != "ok")
    platform = next(check for check in report["checks"] if check["name"] == "Platform")
    assert platform["verdict"] == "ok"
    assert "token accepted" in platform["found"]


@pytest.mark.parametrize(
    ("token", "url", "found", "remedy"),
    [("wrong", None, "refuses the token", "-k TOKEN"), (None, "closed", "nothing answers", "network")],
)
def test_a_platform_that_cannot_be_used_is_a_problem(
    peer: Any, closed_url: str, token: str | None, url: str | None, found: str, remedy: str
) -> None:
    """Given a wrong token or a closed port, when the doctor looks, then it says which and what to do."""
    check = checks._platform(closed_url if url else peer.url, token)
    assert check.verdict is Verdict.PROBLEM
    assert found in check.found
    assert remedy in check.remedy


def test_a_library_that_does_not_import_is_named() -> None:
    """Given a module that is not there, when it is tried, then the reason and the way to get it are said."""
    check = checks._library("no_such_module", "no-such", "reads nothing")
    assert check.verdict is Verdict.NOTE
    assert "No module named" in check.found
    assert check.remedy == "pip install 'no-such' (reads nothing)"


def test_the_sdk_is_told_as_the_workers_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an SDK in PIXYZ_PYTHON_PATH, on or off, or none, when the doctor looks, then it says which kernel works."""
    monkeypatch.setenv("PIXYZ_PYTHON_PATH", str(tmp_path))
    assert (checks._pixyz_sdk().verdict, checks._pixyz_sdk().found) == (Verdict.NOTE, f"not in {tmp_path}")
    (tmp_path / "pxz.py").touch()
    assert (checks._pixyz_sdk().verdict, checks._pixyz_sdk().found) == (Verdict.GOOD, f"present ({tmp_path}/pxz.py)")
    monkeypatch.setenv("DISABLE_PIXYZ", "1")
    check = checks._pixyz_sdk()
    assert (check.verdict, check.found) == (
        Verdict.NOTE,
        f"present ({tmp_path}/pxz.py), switched off by DISABLE_PIXYZ",
    )
    assert "open 3D kernel" in check.remedy


def test_settings_have_their_sources_and_mistakes(
    peer: Any, server_kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a mistake, an old name and a secret, when the doctor looks, then it says so, but not the secret."""
    file = tmp_path / "own.conf"
    file.write_text("API_PORT=zero\nREDIS_HOST=x\nMAX_MEMORY_USAGE=2097152\n")
    monkeypatch.setattr(checks, "_ray", checks._python)
    monkeypatch.setenv("PIXYZ_CONFIG", str(file))
    monkeypatch.setenv("GOD_PASSWORD_SHA256", "geheim")
    arguments = ["-u", peer.url, "-k", server_kit.TOKEN, "doctor"]
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    report = json.loads(result.stdout)
    found = {check["found"]: check for check in report["checks"] if check["name"] == "Settings"}
    first, *_ = found
    assert f"environment, over {file}, over defaults" in first
    assert first.endswith("else /etc/pixyz-scheduler.conf")
    assert found[f"API_PORT=zero (in {file}, line 1) is not a whole number."]["verdict"] == "problem"
    assert any(text.startswith(f"REDIS_HOST (in {file}, line 2)") for text in found)
    assert (result.exit_code, report["healthy"]) == (1, False)
    assert [(row["name"], row["source"]) for row in report["settings"]] == [
        ("API_PORT", f"in {file}, line 1"),
        ("GOD_PASSWORD_SHA256", "in the environment"),
        ("MAX_MEMORY_USAGE", f"in {file}, line 3"),
    ]
    text = CliRunner().invoke(cli, arguments).stdout
    assert f"MAX_MEMORY_USAGE=2097152  (in {file}, line 3)" in text
    assert "geheim" not in text + result.stdout


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_platform_needs_linux(system: str, closed_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given another system, when the platform is started, then one sentence says what works there."""
    monkeypatch.setattr(sys, "platform", system)
    for command in ("up", "down"):
        result = CliRunner().invoke(cli, [command])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"Error: {LINUX_ONLY}\n"
    assert (checks._system().verdict, checks._system().remedy) == (Verdict.NOTE, LINUX_ONLY)
    started = checks._startable(closed_url, "default")
    assert (started.verdict, started.remedy) == (Verdict.NOTE, LINUX_ONLY)


def test_an_open_home_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a home that others may read, when the doctor looks, then it says how to close it."""
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("PIXYZ_HOME", str(folder))
    assert checks._home().remedy == f"chmod 700 {folder}"
    folder.chmod(0o700)
    assert checks._home().verdict is Verdict.GOOD
    assert checks._sqlite().verdict is Verdict.GOOD
    assert checks._disk().found.endswith(str(folder))


def test_the_port_is_the_one_that_the_platform_would_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a port in the configuration file, free or taken, when the doctor looks, then it says so of that port."""
    monkeypatch.setattr(home, "DEFAULT_URL", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("PIXYZ_CONFIG", str(tmp_path / "own.conf"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (tmp_path / "own.conf").write_text(f"API_PORT={port}\n")
        check = checks._platform(None, None)
        assert (check.verdict, f"port {port} on 127.0.0.1 cannot be used" in check.found) == (Verdict.PROBLEM, True)
    check = checks._platform(None, None)
    assert (check.verdict, check.found) == (Verdict.NOTE, f"not running; port {port} on 127.0.0.1 is free")
    (tmp_path / "own.conf").write_text("API_PORT=many\n")
    check = checks._platform(None, None)
    assert (check.verdict, "a setting cannot be used" in check.found) == (Verdict.NOTE, True)


def test_somebody_elses_platform_on_the_usual_port_is_no_problem(
    peer: Any, monkeypatch: pytest.MonkeyPatch, closed_url: str
) -> None:
    """Given a platform of somebody else on the usual port, and another port set here, when looked, then that counts."""
    monkeypatch.setattr(home, "DEFAULT_URL", peer.url)
    port = closed_url.rpartition(":")[2]
    monkeypatch.setenv("API_PORT", port)
    check = checks._platform(None, None)
    assert (check.verdict, f"port {port} on 127.0.0.1 is free" in check.found) == (Verdict.NOTE, True)
    monkeypatch.setenv("API_PORT", peer.url.rpartition(":")[2])
    assert "refuses the token" in checks._platform(None, None).found


def test_the_job_store_is_read_and_what_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no store, none beside a full share, or a broken record, when the doctor looks, then it says so."""
    share = tmp_path / "share"
    file = tmp_path / "jobs.db"
    monkeypatch.setenv("SHARE_PATH", str(share))
    monkeypatch.setenv("JOB_STORE_URL", f"sqlite:///{file}")
    assert (checks._store().verdict, checks._store().found) == (Verdict.GOOD, "none yet; `pixyz up` makes it")
    assert not file.exists()
    job = Job(uuid=str(uuid4()), name="job", process="custom", script="job.py")
    (share / job.uuid).mkdir(parents=True)
    (share / job.uuid / "job.log").touch()
    empty = checks._store()
    assert (empty.verdict, "None is removed" in empty.found) == (Verdict.NOTE, True)
    with closing(JobStore(f"sqlite:///{file}")) as store:
        store.write([job])
    assert (checks._store().verdict, checks._store().found) == (Verdict.GOOD, "1 jobs, all records can be read")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE jobs SET record = '{'")
    broken = checks._store()
    assert (broken.verdict, job.uuid in broken.found) == (Verdict.NOTE, True)
    assert "pixyz remove -j ID" in broken.remedy


def test_a_store_that_does_not_answer_is_a_problem(closed_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a database that refuses connections, when the doctor looks, then it is a problem, told in one line."""
    pytest.importorskip("psycopg")
    monkeypatch.setenv("JOB_STORE_URL", f"postgresql+psycopg://u:secret@{closed_url.removeprefix('http://')}/jobs")
    check = checks._store()
    assert check.verdict is Verdict.PROBLEM
    assert "refused" in check.found
    assert not any(part in check.found for part in ("\n", "sqlalche.me", "secret"))


def test_a_share_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given SHARE_PATH below a file, or where nobody may write, when the doctor looks, then it names the setting."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "share", Path("/proc/1/share")):
        monkeypatch.setenv("SHARE_PATH", str(folder))
        check = checks._share()
        assert (check.verdict, check.found) == (Verdict.PROBLEM, f"{folder} is not writable")
        assert "SHARE_PATH" in check.remedy
    monkeypatch.setenv("SHARE_PATH", str(tmp_path / "share"))
    assert checks._share().verdict is Verdict.GOOD
    assert not (tmp_path / "share").exists()


def test_a_platform_that_is_not_ready_is_a_problem(peer: Any, server_kit: Any) -> None:
    """Given a platform that answers but whose store is locked, when the doctor looks, then it says what is missing."""
    health = {"version": "1", "ready": False, "checks": {"tracker": "ok", "store": "The database is locked."}}
    peer.answers["/health"] = [JSONResponse(health, 503) for _ in range(2)]
    check = checks._platform(peer.url, server_kit.TOKEN)
    assert check.verdict is Verdict.PROBLEM
    assert "not ready: store: The database is locked." in check.found
