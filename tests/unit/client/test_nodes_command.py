"""The machines of the cluster on the command line: `nodes` and `drain`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pixyz_ray.cli.app import cli
from pixyz_ray.cli.checks import Verdict
from pixyz_ray.cli.machine_checks import check_machines
from pixyz_ray.jobs import iso_time

Run = Callable[..., Result]


def machine(name: str = "b", state: str = "ready", **changes: Any) -> dict[str, Any]:
    """Return a machine as the server shows it."""
    return {
        "id": name * 56,
        "name": name,
        "address": "10.0.0.2",
        "state": state,
        "reason": None,
        "head": name == "a",
        "cpus": {"total": 8.0, "used": 2.5},
        "gpus": {"total": 1.0, "used": None, "cards": [{"model": "H200", "memory": 2**37}]},
        "memory": {"total": 2**34, "used": 2**33},
        "share": {"ok": True, "disk": {"path": "/share", "total": 2**40, "free": 2**39}},
        "spill_disk": None,
        "pixyz": "1.2.3",
        "python": "3.11.2",
        "ray": "2.60.0",
        "workers": {"idle": 3, "busy": 2},
        "running": 2,
        "jobs": ["job-1", "job-2"],
        "labels": {"gpu": "high"},
        "joined": None,
        "left": None,
        "probed": 1.5,
        "drain": None,
        **changes,
    }


class Platform:
    """A server that knows machines; what it was asked is in `asked`."""

    def __init__(self) -> None:
        self.nodes = [machine("a"), machine("b")]
        self.asked: list[str] = []
        self.states: list[str] = []
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                platform.asked.append(f"{self.command} {self.path}")
                one = {**platform.nodes[-1], **({"state": platform.states.pop(0)} if platform.states else {})}
                body = json.dumps({"nodes": platform.nodes} if self.path == "/nodes" else one).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A server that knows two machines."""
    platform = Platform()
    yield platform
    platform.server.shutdown()
    platform.server.server_close()


@pytest.fixture
def run(platform: Platform) -> Run:
    """Run a command line against it."""
    return lambda *words: CliRunner().invoke(cli, ["-u", platform.url, "-k", "token", *words])


def test_table(run: Run, platform: Platform) -> None:
    """Given machines, one of them unfit, when listed, then with figures, and the reason below."""
    platform.nodes.append(machine("c", "unfit", reason="Machine c cannot see the share.", share={"ok": False}))
    platform.nodes[-1]["share"]["disk"] = None
    platform.nodes.append(machine("d", "dead", reason="Machine d has left the cluster: no heartbeat."))
    platform.nodes[-1].update(left=iso_time(time.time() - 65))
    platform.nodes.append(machine("b", "dead", id="9" * 56, left=iso_time(time.time() - 300)))
    shown = run("nodes").output
    for words in ("a (head)", "2.5/8", "?/1", "8.0/16.0 GiB", "512.0 GiB", "not seen", "bbbbbbbb"):
        assert words in shown
    assert "\nMachine c cannot see the share.\n" in shown
    assert " dead for 1 min " in shown
    assert shown.rstrip().endswith("no heartbeat.")
    # Ray was started on b again.
    assert "99999999" not in shown
    assert "99999999  dead for 5 min" in run("nodes", "--all").output
    assert len(json.loads(run("nodes", "-r").output)["nodes"]) == 4


def test_one(run: Run, platform: Platform) -> None:
    """Given a machine, when shown or looked at, then with its jobs, cards and labels."""
    shown = run("nodes", "b").output
    for words in ("H200, 128.0 GiB", "Running: job-1 job-2", "gpu=high", "1.5 s ago"):
        assert words in shown
    run("nodes", "--check", "b")
    assert platform.asked == ["GET /nodes/b", "POST /nodes/b/check"]
    assert run("nodes", "--check").exit_code == 2


def test_drain(run: Run, platform: Platform) -> None:
    """Given a machine, when drained, waited for and undone, then the requests say so, and the exit code."""
    platform.states = ["draining"]
    assert "b (bbbbbbbb) is draining, 2 jobs run there." in run("drain", "b").output
    platform.states, platform.nodes[-1]["running"] = ["draining", "drained"], 0
    assert "b: waiting for the machine to confirm" in run("drain", "b", "--wait").stderr
    platform.states, platform.nodes[-1]["running"] = ["draining", "drained"], 1
    assert "b: waiting for 1 running job\n" in run("drain", "b", "--wait").stderr
    platform.states = ["draining", "drained"]
    assert "is drained" in run("drain", "b", "--wait", "--deadline", "5").output
    platform.states = ["draining"] * 100
    assert run("drain", "b", "--wait", "--timeout", "0.01").exit_code == 1
    platform.states = []
    assert "is ready" in run("drain", "b", "--undo").output
    assert platform.asked[0] == "POST /nodes/b/drain"
    assert "POST /nodes/b/drain?deadline=5" in platform.asked
    assert platform.asked[-1] == "DELETE /nodes/b/drain"


@pytest.mark.parametrize("words", [["--undo", "--wait"], ["--timeout", "1"], ["--undo", "--deadline", "1"]])
def test_options_that_contradict(run: Run, platform: Platform, words: list[str]) -> None:
    """Given options that make no sense together, when given, then nothing is sent."""
    assert run("drain", "b", *words).exit_code == 2
    assert platform.asked == []


def test_doctor(platform: Platform) -> None:
    """Given machines, when doctor looks, then an unfit one is a problem and a drained one a note."""
    found = []
    for state in ("ready", "drained", "unfit"):
        platform.nodes[-1] = machine("b", state, reason="Mount it.")
        found += check_machines(platform.url, "token")
    assert [one.verdict for one in found] == [Verdict.GOOD, Verdict.NOTE, Verdict.PROBLEM]
    assert found[-1].remedy == "Mount it."
    assert check_machines("http://127.0.0.1:9", "token") == []


def test_doctor_names_machines_that_died(platform: Platform) -> None:
    """Given a machine that has died, when doctor looks, then it is a note, until the machine is back."""
    dead = machine("c", "dead", reason="Machine c has left the cluster: no heartbeat.")
    platform.nodes.append({**dead, "left": iso_time(time.time() - 5)})
    good, note = check_machines(platform.url, "token")
    assert (good.verdict, good.found) == (Verdict.GOOD, "2 of 2 can run jobs")
    assert (note.verdict, note.found.startswith("left the cluster: c 5")) == (Verdict.NOTE, True)
    assert "no heartbeat" in note.remedy
    platform.nodes.append(machine("c"))
    assert [one.verdict for one in check_machines(platform.url, "token")] == [Verdict.GOOD]
