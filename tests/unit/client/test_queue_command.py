"""What waits, why, and how a job is to be treated: `queue`, `jobs --why`, `pin`, and options of `exec`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pixyz_ray.cli.app import cli
from pixyz_ray.cli.tables import ahead, span
from pixyz_ray.cli.treatment import KeepParam, SeatsParam, SizeParam

Run = Callable[..., Result]

STANDING = {
    "queues": [
        {
            "name": "cpu",
            "purpose": "computing",
            "waiting": 12,
            "running": 8,
            "concurrency": None,
            "places": 16,
            "oldest_wait": 95.0,
            "mean_run": 4.2,
            "started_last_minute": 31,
        },
        {
            "name": "gpu",
            "purpose": "computing on [red]a GPU\x1b[2J",
            "waiting": 0,
            "running": 0,
            "concurrency": 2,
            "places": 2,
            "oldest_wait": None,
            "mean_run": None,
            "started_last_minute": 0,
        },
    ],
    "pools": [{"name": "catia", "seats": 3, "held": 3, "waiting": 5}],
    "submitters": [{"name": "local", "waiting": 12, "running": 8, "share": 1.0}],
    "queued": 12,
    "max_queued": 200000,
    "cluster": {"CPU": 8.0, "GPU": 0.0, "nodes": 1},
}


@pytest.fixture
def run(peer: Any, server_kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in a folder with a script."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").write_text("def main(pc, params): ...")
    peer.standing = STANDING
    return lambda *words: CliRunner().invoke(cli, ["-u", peer.url, "-k", server_kit.TOKEN, *words])


def test_given_a_platform_when_its_queue_is_asked_then_tables_show_it(run: Run) -> None:
    """Queues, pools and submitters, each on a line; what a name has in it moves no cursor."""
    result = run("queue")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (0, "")
    assert ["cpu", "12", "8", "-", "16", "1", "min", "35", "s", "4.2", "s", "31", "computing"] in rows
    assert ["gpu", "0", "0", "2", "2", "-", "-", "0", "computing", "on", "[red]a", "GPU�[2J"] in rows
    assert ["catia", "3", "3", "5"] in rows
    assert ["local", "12", "8", "1.0"] in rows
    assert result.stdout.endswith(
        "Queued: 12 of at most 200000, without those that Ray has\nCluster: 8 CPU, 0 GPU, nodes: 1\n"
    )


@pytest.mark.parametrize("flag", ["-r", "--json"])
def test_given_a_program_when_it_asks_then_the_queue_is_json(run: Run, flag: str) -> None:
    """The server's answer as it is."""
    assert json.loads(run("queue", flag).stdout) == STANDING


def test_given_jobs_that_wait_when_asked_why_then_each_says_so(run: Run, peer: Any, server_kit: Any) -> None:
    """Position, whole id, when it should begin, and the reason."""
    soon = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    reason = "All 3 seats of pool catia are held; 4 jobs are before it, and that is a long story to tell here."
    peer.waiting = {"position": 5, "reason": reason, "expected_start": soon}
    titles, row = run("jobs", "--why", "--limit", "3").stdout.splitlines()
    assert titles.split() == ["position", "job", "name", "starts", "waits", "for"]
    assert row.split()[:3] == ["5", server_kit.UUID, "job"]
    assert "in 1 min" in row
    assert row.rstrip().endswith(reason)
    assert dict(peer.requests[-1].query_params) == {"status": "PENDING", "limit": "3", "why": "true"}
    assert json.loads(run("jobs", "--why", "-r", "--status", "retry").stdout)["jobs"][0]["waiting"] == peer.waiting
    assert peer.requests[-1].query_params["status"] == "RETRY"


def test_given_more_than_a_page_when_asked_why_then_the_next_command_is_told(
    run: Run, peer: Any, server_kit: Any
) -> None:
    """What does not fit is one command away; a job of which nothing is known stands last."""
    from starlette.responses import JSONResponse

    places = {"first": 1, "never": None, "second": 2}
    jobs = [
        {**peer.state(), "name": name, "waiting": {"position": place, "reason": "why", "expected_start": None}}
        for name, place in places.items()
    ]
    peer.answers["/jobs"] = [JSONResponse({"jobs": jobs, "next": "ID"})]
    _, *rows, last = run("jobs", "--why").stdout.splitlines()
    assert [row.split()[2] for row in rows] == ["first", "second", "never"]
    assert last == "There are more: pixyz jobs --why --status PENDING --after ID"


def test_given_nobody_that_waits_when_asked_why_then_it_is_said(run: Run) -> None:
    """A sentence is better than an empty table."""
    assert run("jobs", "--why").stdout == "No job waits.\n"


def test_given_a_job_when_pinned_then_the_platform_is_told(run: Run, peer: Any, server_kit: Any) -> None:
    """A PUT pins, a DELETE takes it away."""
    assert json.loads(run("pin", "-j", server_kit.UUID).stdout) == peer.state()
    assert run("pin", "-j", server_kit.UUID, "--off").exit_code == 0
    assert [request.method for request in peer.asked(f"/jobs/{server_kit.UUID}/pin")] == ["PUT", "DELETE"]


@pytest.mark.parametrize(
    ("words", "config"),
    [
        ("--priority 9 --retries 0", {"priority": 9, "retries": 0}),
        ("--memory-limit 2GiB", {"memory_limit": 2 << 30}),
        ("--pool catia --pool nx:2", {"pools": {"catia": 1, "nx": 2}}),
        ("--isolation fresh --keep", {"isolation": "fresh", "keep": True}),
        ("--keep 7d", {"keep": 7 * 86400}),
        ("--keep 0", {"keep": 0}),
    ],
)
@pytest.mark.parametrize("command", [["exec", "-s", "s.py"], ["process", "-n", "sleep"]])
def test_given_options_of_treatment_when_a_job_is_sent_then_they_are_in_its_config(
    run: Run, peer: Any, command: list[str], words: str, config: dict[str, Any]
) -> None:
    """Only what is given is sent, and the header shows it behind the contract's keys."""
    result = run(*command, *words.split())
    assert result.exit_code == 0, result.output
    assert json.loads(peer.form["config"]) == config
    (shown,) = [line for line in result.stdout.splitlines() if line.startswith("- worker config:")]
    defaults = {"entrypoint": "main", "queue": None, "time_limit": 3600}
    assert shown == f"- worker config:  {json.dumps({**defaults, **json.loads(peer.form['config'])})}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--priority 10", "0<=x<=9"),
        ("--retries -1", "x>=0"),
        ("--memory-limit 2GX", "500MB, 2GiB"),
        ("--memory-limit 0", "500MB, 2GiB"),
        ("--pool :2", "NAME:N"),
        ("--pool catia:0", "NAME:N"),
        ("--isolation cold", "'warm', 'fresh'"),
        ("--keep soon", "forever"),
    ],
)
def test_given_an_option_that_makes_no_sense_when_a_job_is_sent_then_nothing_is(
    run: Run, peer: Any, words: str, sentence: str
) -> None:
    """The sentence says how it is written."""
    result = run("exec", "-s", "s.py", *words.split())
    assert (result.exit_code, peer.requests) == (2, [])
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (SizeParam(), "1024", 1024),
        (SizeParam(), "500MB", 500 << 20),
        (SizeParam(), "1.5 gib", 3 << 29),
        (SizeParam(), 7, 7),
        (KeepParam(), "90", 90),
        (KeepParam(), "1.5", 1.5),
        (KeepParam(), "30m", 1800),
        (KeepParam(), "12H", 43200),
        (KeepParam(), "1h30m", 5400),
        (KeepParam(), "forever", True),
        (SeatsParam(), "catia", ("catia", 1)),
        (SeatsParam(), "catia:3", ("catia", 3)),
    ],
)
def test_given_an_amount_when_written_for_people_then_it_is_a_number(
    kind: click.ParamType[Any], text: Any, value: Any
) -> None:
    """Sizes are bytes, times are seconds, seats have a pool."""
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (-1, "0 s"),
        (0.254, "0.25 s"),
        (41.7, "42 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_given_seconds_when_shown_then_they_are_read_at_a_glance(seconds: float | None, text: str | None) -> None:
    """Two figures are enough."""
    assert span(seconds) == text


def test_given_a_moment_when_shown_then_it_is_said_how_far_ahead_it_is() -> None:
    """One that has passed is now."""
    assert ahead(None) is None
    assert ahead((datetime.now(UTC) - timedelta(hours=1)).isoformat()) == "now"
    assert ahead((datetime.now(UTC) + timedelta(hours=1, seconds=5)).isoformat()) == "in 1 h 0 min"
