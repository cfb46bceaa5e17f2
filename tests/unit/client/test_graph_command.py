"""The graph of a job, asked for by the client and by the command."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pixyz_ray.cli import graph as graph_module
from pixyz_ray.cli.app import cli
from pixyz_ray.client import Client, GraphView
from pixyz_worker.exception import PixyzWebError


@pytest.fixture
def run(peer: Any, server_kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `pixyz graph` on the peer's job in a folder of its own, without long pauses; returns click's result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(graph_module, "_PAUSE_S", 0.001)

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["-u", peer.url, "-k", server_kit.TOKEN, "graph", "-j", server_kit.UUID, *words])

    return run


def graph(job: str, task: str, *, job_end: str | None = None, task_end: str | None = None) -> dict[str, Any]:
    """A job in one state that started a task, which is in another."""
    common = {"entrypoint": "main", "queue": "cpu", "progress": None, "error": None, "started": None, "retry": 0}
    nodes = [
        {"id": "j", "kind": "job", "name": "job.py", "state": job, "stopped": job_end, "parent_id": None},
        {"id": "t", "kind": "task", "name": "work", "state": task, "stopped": task_end, "parent_id": "j"},
    ]
    nodes = [{**common, "duration": None, "group": None, **node} for node in nodes]
    return {"uuid": "j", "state": job, "nodes": nodes, "edges": [{"source": "j", "target": "t", "kind": "starts"}]}


TREE = ["✓ SUCCESS  job.py  cpu  j", "└── ✓ SUCCESS  work  cpu"]


def test_the_client_returns_a_graph_that_shows_itself(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a graph, when the client asks for it, then it is a dictionary, a tree when printed, and a picture."""
    peer.graphs = [graph("SUCCESS", "SUCCESS")]
    found = client.graph(server_kit.UUID)
    assert found == peer.graphs[0]
    assert isinstance(found, GraphView)
    assert str(found).splitlines() == TREE
    assert found._repr_svg_().startswith("<svg ")
    assert found.ended
    assert client.job(server_kit.UUID).graph() == found


def test_the_client_returns_the_pictures_of_the_server(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a format, when the client asks for it, then the server draws; text is made here."""
    peer.graphs = [graph("SUCCESS", "SUCCESS")]
    assert client.graph_as(server_kit.UUID, "mermaid") == "<the graph as mermaid>"
    assert json.loads(client.graph_as(server_kit.UUID, "json")) == peer.graphs[0]
    assert client.graph_as(server_kit.UUID, "text").splitlines() == TREE


def test_a_graph_that_is_not_there_is_an_error(client: Client, peer: Any, server_kit: Any) -> None:
    """Given an unknown job, when its graph is asked for, then the server's sentence is raised."""
    peer.answers[f"/jobs/{server_kit.UUID}/graph"] = [server_kit.refusal(404, "there is no such job")]
    with pytest.raises(PixyzWebError, match="no such job"):
        client.graph(server_kit.UUID)


def test_the_command_prints_a_tree_or_json(run: Any, peer: Any) -> None:
    """Given a graph, when the command shows it, then it is a tree, or JSON."""
    peer.graphs = [graph("SUCCESS", "SUCCESS")]
    result = run()
    assert (result.exit_code, result.stdout.splitlines()) == (0, TREE)
    assert json.loads(run("-f", "json").stdout) == peer.graphs[0]


@pytest.mark.parametrize("format", ["mermaid", "dot", "svg"])
def test_the_command_prints_or_saves_a_picture(run: Any, peer: Any, tmp_path: Path, format: str) -> None:
    """Given a format, when the picture is asked for, then it is printed, or written to a file."""
    peer.graphs = [graph("SUCCESS", "SUCCESS")]
    assert run("-f", format).stdout == f"<the graph as {format}>\n"
    result = run("-f", format, "-o", "picture")
    assert (result.exit_code, result.stdout) == (0, "Saved picture\n")
    assert (tmp_path / "picture").read_text() == f"<the graph as {format}>\n"


def test_a_wrong_format_is_refused(run: Any) -> None:
    """Given a format that there is not, when it is asked for, then the usage is explained."""
    assert run("-f", "gif").exit_code == 2


def test_watching_prints_the_tree_when_the_graph_has_ended(run: Any, peer: Any, server_kit: Any) -> None:
    """Given a task that goes on after its job, when the graph is watched, then the wait is for both."""
    peer.graphs = [graph("RUNNING", "PENDING"), graph("SUCCESS", "RUNNING"), graph("SUCCESS", "SUCCESS")]
    result = run("-w")
    assert (result.exit_code, result.stdout.splitlines()) == (0, TREE)
    assert len(peer.asked(f"/jobs/{server_kit.UUID}/graph")) == 3


def test_watching_saves_the_last_picture(run: Any, peer: Any, tmp_path: Path) -> None:
    """Given -w and a file, when the graph has ended, then the tree is in the file, and nothing else is printed."""
    peer.graphs = [graph("RUNNING", "RUNNING"), graph("SUCCESS", "SUCCESS")]
    assert run("-w", "-o", "tree.txt").stdout == "Saved tree.txt\n"
    assert (tmp_path / "tree.txt").read_text(encoding="utf-8").splitlines() == TREE


NOON, LATER = "2025-03-01T12:00:00+00:00", "2025-03-01T12:00:05.5+00:00"


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (graph("SUCCESS", "SUCCESS"), 0),
        (graph("FAILURE", "FAILURE"), 10),
        (graph("REVOKED", "REVOKED"), 11),
        (graph("SUCCESS", "FAILURE", job_end=LATER, task_end=NOON), 0),
        (graph("SUCCESS", "FAILURE", job_end=NOON, task_end=LATER), 10),
        (graph("SUCCESS", "REVOKED", job_end=NOON, task_end=LATER), 11),
    ],
)
def test_watching_leaves_with_the_status(run: Any, peer: Any, view: dict[str, Any], code: int) -> None:
    """Given an ended graph, when watched, then the code is the job's, unless what it left behind failed later."""
    peer.graphs = [view]
    assert run("-w").exit_code == code


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """True."""
        return True


def test_a_terminal_shows_the_tree_change_in_place(
    run: Any, peer: Any, server_kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a terminal, when a graph is watched, then each state is shown, and the last one stays."""
    peer.graphs = [graph("RUNNING", "PENDING"), graph("RUNNING", "RUNNING"), graph("SUCCESS", "SUCCESS")]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "20", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with Client(peer.url, server_kit.TOKEN) as client:
        view = graph_module._watch(client, server_kit.UUID, live=True)
        graph_module._show(client, server_kit.UUID, "text", None, view)
    shown = terminal.getvalue()
    places = [shown.find(text) for text in ("○ PENDING  work", "◐ RUNNING  work", "✓ SUCCESS  work")]
    assert -1 not in places
    assert places == sorted(places)
    assert shown.rstrip().endswith("└── ✓ SUCCESS  work  cpu")


def test_an_interrupted_watch_leaves_the_job_alone(
    run: Any, peer: Any, server_kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given Ctrl-C, when a graph is watched, then it is said how to go on, and the code is 130."""
    peer.graphs = [graph("RUNNING", "RUNNING")]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(graph_module.time, "sleep", interrupt)
    result = run("-w")
    assert result.exit_code == 130
    assert f"pixyz graph -j {server_kit.UUID} -w" in result.stderr
