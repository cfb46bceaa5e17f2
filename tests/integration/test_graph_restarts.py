"""Kill the platform's parts in the middle of graphs: what had finished is not run again, and every graph ends."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from pixyz_ray.client import Client
from pixyz_ray.node_outcomes import find_outcome
from pixyz_ray.storage import JobFolder
from pixyz_worker import ProgramContext, chain, chord, pixyz_execute
from tests.integration.graph_cases import CASES, FEW, NOT_AWAITED, SCRIPT
from tests.platforms import TestPlatform
from tests.rest_client import TERMINAL, RestClient
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

BACK_WITHIN_S = 40.0


@dataclass
class Graphs:
    """Graphs of every kind, at the moment of the kill."""

    platform: TestPlatform
    rest: RestClient
    folder: Path
    """Where tasks leave a line for each run, and where the gates are."""
    roots: dict[str, str] = field(default_factory=dict)
    """Job of each case."""
    nodes: dict[str, list[str]] = field(default_factory=dict)
    """Ids of each case's nodes, in the order of its plan."""

    def start(self, cases: Iterable[str]) -> None:
        """Start them, and return when each is in its middle."""
        for case in cases:
            params = {"dir": str(self.folder), "name": case}
            config = {"entrypoint": case, "queue": "control"}
            form = {"params": params, "config": config, "name": case}
            self.roots[case] = self._send_graph() if case == "sent" else self.rest.submit(SCRIPT, **form)
        for case in self.roots:
            for name in f"{CASES[case].ended} {CASES[case].at_gate}".split():
                wait_until(lambda name=name: self.runs(name), f"task {name} runs", deadline_s=60)
            if case in NOT_AWAITED:
                assert self.rest.end(self.roots[case])["status"] == "SUCCESS"
            wait_until(lambda case=case: len(self.view(case)["nodes"]) > 1, "the script has started its graph")
            self.nodes[case] = [node["id"] for node in self.view(case)["nodes"][1:]]

    def settle(self) -> None:
        """See to what else must have happened before the blow."""
        for id in self.nodes["arrays"][::2]:
            wait_until(self.kept_value(id).is_file, "the array is on the share")
        self.kept_value(self.nodes["arrays"][2]).unlink()
        wait_until(lambda: self.rest.state(self.nodes["failing"][3])["status"] == "FAILURE", "h is not run")
        assert self.rest.http.delete(f"/jobs/{self.roots['cancelled']}").status_code == 200

    def _send_graph(self) -> str:
        script = self.folder / "sent.py"
        script.write_text(SCRIPT)

        def task(name: str, **about: str) -> Any:
            data = {"dir": str(self.folder), "name": name, **about}
            context = ProgramContext.from_local(str(script))
            return pixyz_execute.s(pc=context.update(entrypoint="node", raw=True, compute_only=True, data=data))

        header = [task("w1"), task("w2", gate="gate").set(queue="control")]
        with Client(self.platform.url, self.platform.token) as client:
            return client.run(chord(header, chain(task("w3"), task("w4")))).id

    def runs(self, name: str) -> int:
        """Return how often a task, or a script, was run."""
        path = self.folder / f"{name}.runs"
        return path.read_text().count("ran") if path.exists() else 0

    def view(self, case: str) -> dict[str, Any]:
        """Return a case's graph."""
        return dict(self.rest.get(f"/jobs/{self.roots[case]}/graph"))

    def states(self, case: str) -> list[str]:
        """Return the states of a case's nodes."""
        view = self.view(case)
        assert [node["id"] for node in view["nodes"]][: 1 + len(self.nodes[case])] == [
            self.roots[case],
            *self.nodes[case],
        ]
        return [node["state"] for node in view["nodes"][1:]]

    def result(self, id: str) -> Any:
        """Wait for a job's end and return its result; it must end well."""
        details = self.rest.end(id, deadline_s=60)
        assert details["status"] == "SUCCESS", details
        return details["result"]

    def kept_value(self, id: str) -> Path:
        """Return where a task's value that is no JSON is kept."""
        return self.platform.home / "share" / id / "value.pickle"

    def end_unheard(self) -> None:
        """Let a task end while the tracker does not listen: what it came to is on the share alone."""
        found = self.platform.processes("ray::TrackerActor")
        found[0].send_signal(signal.SIGSTOP)
        (self.folder / "unheard").touch()
        home = JobFolder(self.platform.home / "share", self.roots["unheard"])
        wait_until(lambda: find_outcome(home, self.nodes["unheard"][0], 1), "the task has left its outcome")


@pytest.fixture
def graphs(platform: TestPlatform, rest: RestClient, tmp_path: Path) -> Iterator[Graphs]:
    """No graphs yet."""
    yield Graphs(platform, rest, tmp_path)
    for gate in ("gate", "never", "unheard"):
        (tmp_path / gate).touch()


def _is_back(rest: RestClient) -> bool:
    try:
        return rest.http.get("/health").json().get("ready") is True
    except (httpx.TransportError, ValueError):
        return False


def _check_in_the_middle(graphs: Graphs) -> None:
    """Nothing is lost, nothing that had ended has become undone, nothing goes on that had been stopped."""
    for case, root in graphs.roots.items():
        about = CASES[case]
        state = graphs.rest.state(root)
        assert about.lasts is None or (state["status"] not in TERMINAL) == about.lasts, state
        if about.states:
            seen = [state if state in TERMINAL else "open" for state in graphs.states(case)]
            assert tuple(seen) == about.states, (case, graphs.states(case))
    edges = [(edge["source"], edge["target"], edge["kind"]) for edge in graphs.view("waiting")["edges"]]
    x, y, header, body = graphs.nodes["waiting"]
    root = graphs.roots["waiting"]
    assert edges == [(root, x, "starts"), (root, y, "starts"), (header, body, "data")]


def _check_ends(graphs: Graphs) -> None:
    """Open the gates: each graph goes on from where it was."""
    (graphs.folder / "gate").touch()
    (graphs.folder / "unheard").touch()
    for case in graphs.roots:
        if case in ENDS:
            ENDS[case](graphs, graphs.nodes[case])
    for case in graphs.roots:
        about = CASES[case]
        expected = dict.fromkeys([*about.ended.split(), *about.later.split()], 1)
        expected |= dict.fromkeys(about.at_gate.split(), 2) | dict.fromkeys(about.never.split(), 0)
        expected |= {} if case in expected or case == "sent" else {case: 1}
        assert {name: graphs.runs(name) for name in expected} == expected
        assert set(graphs.states(case)) <= TERMINAL


def _check_detached(graphs: Graphs, nodes: list[str]) -> None:
    assert graphs.result(nodes[2]) == "c(b(a()))"


def _check_waiting(graphs: Graphs, _nodes: list[str]) -> None:
    assert graphs.result(graphs.roots["waiting"]) == "body(x()+y())"
    assert len(graphs.rest.details(graphs.roots["waiting"])["steps"]) == 3


def _check_getting(graphs: Graphs, nodes: list[str]) -> None:
    """The script was run again, and has taken up the graph that it had started."""
    got = graphs.result(graphs.roots["getting"])
    assert (got["value"], set(got["ids"])) == ("q(p())", set(nodes))


def _check_sent(graphs: Graphs, _nodes: list[str]) -> None:
    assert graphs.result(graphs.roots["sent"]) == "w4(w3(w1()+w2()))"
    assert len(graphs.rest.details(graphs.roots["sent"])["steps"]) == 4


def _check_changing(graphs: Graphs, _nodes: list[str]) -> None:
    """The script was run again, and has started another graph instead."""
    assert graphs.result(graphs.roots["changing"]) == "after(new())"
    assert graphs.states("changing") == ["REVOKED", "REVOKED", "SUCCESS", "SUCCESS"]


def _check_failing(graphs: Graphs, nodes: list[str]) -> None:
    failed, other, group, after = nodes
    assert graphs.result(other) == "g()"
    for id in (group, after):
        details = graphs.rest.end(id)
        assert details["status"] == "FAILURE"
        assert details["error"] == f"Not run, because task {failed} (node) failed: ValueError: as it should"


def _check_arrays(graphs: Graphs, nodes: list[str]) -> None:
    """One was kept on the share; of the other somebody is told that it is gone."""
    assert graphs.result(nodes[1]) == 499500
    lost = graphs.rest.end(nodes[3])
    assert lost["status"] == "FAILURE"
    assert "handed on without being kept" in lost["error"]
    assert "\n" not in lost["error"]


def _check_unheard(graphs: Graphs, nodes: list[str]) -> None:
    assert graphs.result(nodes[1]) == "t(s())"


def _check_forsaken(graphs: Graphs, nodes: list[str]) -> None:
    """Its script is gone."""
    for id in nodes:
        details = graphs.rest.end(id)
        assert details["status"] == "FAILURE"
        assert "cannot go on: The graph names the script 'job.py', which its job does not have." in details["error"]


def _check_linked(graphs: Graphs, nodes: list[str]) -> None:
    """The callback that had begun was run again, with its value; the error callback has nothing to do."""
    assert graphs.result(nodes[1]) == "l2(l1())"
    assert graphs.rest.end(nodes[2])["status"] == "REVOKED"


def _check_broken(graphs: Graphs, nodes: list[str]) -> None:
    """The error callback gets the id of the task that has failed, though everything was started anew meanwhile."""
    assert graphs.result(nodes[2]) == f"b3({nodes[0]})"
    assert graphs.rest.end(nodes[1])["status"] == "FAILURE"


def _check_late(graphs: Graphs, nodes: list[str]) -> None:
    """Its countdown has gone on meanwhile."""
    assert graphs.result(nodes[1]) == "d2(d1())"
    times = graphs.rest.details(nodes[0])["time_info"]
    started, requested = (datetime.fromisoformat(times[name]) for name in ("started", "request"))
    assert (started - requested).total_seconds() >= 12


def _check_expiring(graphs: Graphs, nodes: list[str]) -> None:
    details = graphs.rest.end(nodes[0], deadline_s=60)
    assert (details["status"], details["error"].partition(":")[0]) == ("REVOKED", "TaskRevokedError")


ENDS = {
    "linked": _check_linked,
    "broken": _check_broken,
    "late": _check_late,
    "expiring": _check_expiring,
    "detached": _check_detached,
    "waiting": _check_waiting,
    "getting": _check_getting,
    "sent": _check_sent,
    "changing": _check_changing,
    "failing": _check_failing,
    "arrays": _check_arrays,
    "unheard": _check_unheard,
    "forsaken": _check_forsaken,
}


def test_given_graphs_when_the_replica_and_then_the_tracker_is_killed_then_they_go_on(
    platform: TestPlatform, rest: RestClient, graphs: Graphs
) -> None:
    """The first hurts nobody; with the second all tasks die that run, which is Ray's rule."""
    graphs.start(CASES.keys() - {"forsaken"})
    graphs.settle()
    platform.kill("ray::ServeReplica")
    wait_until(lambda: _is_back(rest), "the replica is back", deadline_s=BACK_WITHIN_S)
    _check_in_the_middle(graphs)
    assert {path.read_text() for path in graphs.folder.glob("*.runs")} == {"ran\n"}
    graphs.end_unheard()
    platform.kill("ray::Tracker")
    wait_until(lambda: _is_back(rest), "the tracker is back", deadline_s=BACK_WITHIN_S)
    _check_in_the_middle(graphs)
    _check_ends(graphs)


def test_given_graphs_when_everything_is_killed_then_the_next_start_takes_them_up_again(
    platform: TestPlatform, graphs: Graphs
) -> None:
    """As after a power cut; and what cannot go on does not keep the others from it."""
    graphs.start(CASES)
    graphs.settle()
    graphs.end_unheard()
    platform.kill_everything()
    shutil.rmtree(platform.home / "share" / graphs.roots["forsaken"] / "script")
    platform.up()
    _check_in_the_middle(graphs)
    _check_ends(graphs)


def test_given_graphs_when_the_platform_is_stopped_then_the_next_start_takes_them_up_again(
    platform: TestPlatform, graphs: Graphs
) -> None:
    """`pixyz down` does not wait for graphs and does not lose them."""
    graphs.start(FEW)
    platform.down()
    platform.up()
    _check_in_the_middle(graphs)
    _check_ends(graphs)
