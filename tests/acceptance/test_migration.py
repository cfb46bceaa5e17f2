"""The page for teams from the Celery-based scheduler, followed on a real machine: its commands, and what differs."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.migration_page import JOB, ROOT, blocks, console_lines, covers, section
from tests.platforms import TestPlatform
from tests.rest_client import RestClient

SCRIPT = (ROOT / "tests" / "migration_script.py").read_text(encoding="utf-8")
CRASH = "import os, signal\n\n\ndef main(pc, params):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
RAISE = "def main(pc, params):\n    raise ValueError('broken')\n"
NOTHING = "def main(pc, params):\n    return params\n"
TOKEN = "the token of the old scheduler"
OLD_CONFIGURATION = f"""\
GOD_PASSWORD_SHA256={hashlib.sha256(TOKEN.encode()).hexdigest()}
PIXYZ_MAX_TIME_LIMIT=1h
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform that is started by the commands of the page, beside whatever else runs on this machine."""
    platform = TestPlatform()
    del platform.env["GOD_PASSWORD_SHA256"]
    (bin := platform.home / "bin").mkdir()
    pixyz = bin / "pixyz"
    pixyz.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from pixyz_ray.cli import main; main()' \"$@\"\n")
    pixyz.chmod(pixyz.stat().st_mode | stat.S_IXUSR)
    platform.env["PATH"] = f"{bin}{os.pathsep}{platform.env['PATH']}"
    # The page's home is `pixyz-ray` in the user's own folder.
    platform.home = platform.home / "pixyz-ray"
    platform.env["PIXYZ_HOME"] = str(platform.home)
    try:
        yield platform
        if platform.sessions:
            platform.close()
    finally:
        shutil.rmtree(bin.parent)


def typed(platform: TestPlatform, *lines: str) -> str:
    """Run lines in a shell as a user would, on the test's port; return what they print."""
    script = "set -e\n" + "\n".join(lines).replace("8101", str(platform.port)).replace(
        "API_PORT", f"{OLD_CONFIGURATION}API_PORT", 1
    )
    environment = {name: value for name, value in platform.env.items() if name != "PIXYZ_HOME"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=platform.env["HOME"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def started(platform: TestPlatform) -> str:
    """What the commands of step 3 print, from the home to the first job."""
    lines = console_lines(section("3. Run both side by side"))
    # `pixyz doctor` leaves with 1 while no platform answers.
    said = typed(platform, *(f"{line} || true" if line == "pixyz doctor" else line for line in lines))
    platform.sessions.append(platform.record.session)
    return said


@pytest.fixture(scope="module")
def rest(platform: TestPlatform, started: str) -> Iterator[RestClient]:
    """A client of the old scheduler, with its token."""
    with RestClient(platform.url, TOKEN) as client:
        yield client


def test_given_the_steps_of_the_page_when_typed_then_a_platform_runs_beside_the_old_one(
    platform: TestPlatform, started: str
) -> None:
    """Its own home, share and port; the old settings are named by the doctor; a job runs."""
    assert '"Hello World!"' in started
    assert f"CONCURRENT_TASKS=2  (in {platform.home / 'pixyz-scheduler.conf'}" in started
    assert [path for path in (platform.home / "share").iterdir() if path.is_dir()]
    assert platform.record.url == platform.url
    # Redis' port is left alone on one machine; on several, the page says where to change it.
    assert not platform.record.ray_address.endswith(":6379")
    assert "--port=6379" in (ROOT / "cluster.yaml").read_text(encoding="utf-8")


def test_given_a_client_when_it_is_moved_as_the_page_says_then_its_job_runs(
    platform: TestPlatform, rest: RestClient
) -> None:
    """URL and the token of the old scheduler in the environment."""
    folder = Path(platform.env["HOME"])
    (folder / "script.py").write_text(NOTHING)
    (folder / "bolt.step").write_text("ISO-10303-21;")
    lines = console_lines(section("4. Move the clients, one by one"))
    said = typed(platform, lines[0].replace("PIXYZ_TOKEN=TOKEN", f"PIXYZ_TOKEN='{TOKEN}'"), *lines[1:])
    assert "api_test" in said
    assert "status: SUCCESS" in said


def test_given_two_jobs_when_compared_as_the_page_says_then_what_differs_is_named(
    platform: TestPlatform, rest: RestClient
) -> None:
    """This platform stands for both: one needs no more than the contract's paths."""
    jobs = [rest.submit(NOTHING, params={"n": n}) for n in (1, 2)]
    for job in jobs:
        rest.end(job)
    (code,) = blocks("python", section("5. Compare results"))
    environment = {
        **platform.env,
        **dict.fromkeys(("OLD_URL", "PIXYZ_URL"), platform.url),
        **dict.fromkeys(("OLD_TOKEN", "PIXYZ_TOKEN"), TOKEN),
    }
    for pair, expected in ((jobs, "differs: {'n': 1} -> {'n': 2}"), ((jobs[0], jobs[0]), "same")):
        environment |= {"OLD_JOB": pair[0], "NEW_JOB": pair[1]}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == f"status same\nresult {expected}\noutputs same\n"


@covers(
    "Paths out of the folder", "Local handles", "retry() of the task", "update_state() of the task",
    "A group in a group", "Task without a queue", "Params merge", "Error callbacks", "A failed member",
)  # fmt: skip
def test_given_the_script_of_facts_when_it_is_a_job_then_each_fact_is_that_of_the_page(rest: RestClient) -> None:
    """As on a workstation, but for the handles, which give the record."""
    details = rest.run(SCRIPT, params={"quality": 3}, deadline_s=120)
    assert details["status"] == "SUCCESS", details["error"]
    assert details["result"] == {
        "Paths out of the folder": True,
        "Local handles": [True, 1, 1],
        "retry": [True, True, 1],
        "update_state": [None, True, True],
        "A group in a group": [1, 2, 3],
        "Task without a queue": ["gpu", "cpu"],
        "Params merge": [{"quality": 3, "n": 1}, [1]],
        "Error callbacks": True,
        "A failed member": ["FAILURE", True],
    }


def refusal(rest: RestClient, *args: Any, **form: Any) -> tuple[int, str]:
    """Return code and text of a submission that is refused."""
    answer = rest.post(*args, **form)
    return answer.status_code, str(answer.json()["detail"]["details"])


@covers("Unknown job", "Script that does not parse", "Misspelt keys and parameters", "Time limits", "name of a job")
def test_given_mistakes_when_sent_then_the_answers_are_those_of_the_page(rest: RestClient) -> None:
    """404, 400 with line and column, notes or 400 with `strict`, 400 above the cap."""
    assert rest.http.get(f"/jobs/{JOB}").status_code == 404
    code, text = refusal(rest, "def main(pc, params)\n    pass\n")
    assert (code, "line 1, column" in text) == (400, True)
    wrong = {"process": "sleep", "params": {"t": 0.01, "stps": 1}}
    code, text = refusal(rest, **wrong, config={"strict": True})
    assert (code, "Did you mean 'steps'?" in text) == (400, True)
    noted = rest.run(**wrong)
    assert (noted["status"], "'steps'" in noted["notes"][0]) == ("SUCCESS", True)
    code, text = refusal(rest, NOTHING, config={"time_limit": 3601})
    assert (code, "PIXYZ_MAX_TIME_LIMIT" in text) == (400, True)
    longer = rest.run(NOTHING, config={"time_limit": 3000})
    assert longer["time_limit"] == 3000
    assert (longer["name"], longer["label"]) == (None, "job.py")


@covers("Retries", "Task without a queue")
def test_given_a_crash_and_an_exception_when_they_end_then_only_the_crash_was_tried_again(rest: RestClient) -> None:
    """Once, on gpuhigh; not with `retries` 0."""
    crashed = rest.run(CRASH, deadline_s=60)
    assert [attempt["queue"] for attempt in crashed["attempts"]] == ["cpu", "gpuhigh"]
    assert len(rest.run(CRASH, config={"retries": 0}, deadline_s=60)["attempts"]) == 1
    assert len(rest.run(RAISE)["attempts"]) == 1


@covers("POST /dev/callback", "CORS", "Flower")
def test_given_a_body_when_sent_to_dev_callback_then_it_is_as_the_page_says(rest: RestClient) -> None:
    """Not without DEBUG; no page of another origin is let in; metrics need no token."""
    with httpx.Client(base_url=str(rest.http.base_url)) as anybody:
        assert anybody.post("/dev/callback", content=b'{"a": 1}').status_code == 404
        answer = anybody.get("/metrics", headers={"Origin": "https://app.example.com"})
    assert "pixyz_queue_depth" in answer.text
    assert "access-control-allow-origin" not in answer.headers


@covers("Restart")
def test_given_jobs_when_the_platform_is_restarted_then_those_that_ended_are_there(
    platform: TestPlatform, rest: RestClient
) -> None:
    """Going back, and forth again: `pixyz down`, `pixyz up`. Jobs that run are the integration tests'."""
    job = rest.submit(NOTHING, params={"kept": True})
    rest.end(job)
    typed(platform, "export PIXYZ_HOME=$HOME/pixyz-ray", "pixyz down", "pixyz up --detach")
    platform.sessions.append(platform.record.session)
    assert rest.details(job)["result"] == {"kept": True}
