"""Graphs of tasks on a real platform: every node a job, whatever fails, dies or is cancelled."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.rest_client import RestClient
from tests.waiting import wait_until

SOURCE = Path(__file__).with_name("graph_script.py").read_text(encoding="utf-8")
Json = dict[str, Any]


def start(rest: RestClient, entrypoint: str, **form: Any) -> str:
    """Start the job that starts a graph."""
    return rest.submit(SOURCE, config={"entrypoint": entrypoint}, **form)


def run(rest: RestClient, entrypoint: str, **form: Any) -> Json:
    """Run it to its end, which must be a good one."""
    details = rest.end(start(rest, entrypoint, **form), deadline_s=40)
    assert details["status"] == "SUCCESS", details["error"]
    return details


def flat(ids: Any) -> list[str]:
    """Return the ids that `as_tuple()` gives, each before those that it leads back to, as `as_list()` does."""
    if ids is None:
        return []
    (id, parent), members = ids
    return [id, *(each for member in members or [] for each in flat(member)), *flat(parent)]


def statuses(rest: RestClient, ids: list[str]) -> list[str]:
    """Return how jobs stand."""
    return [rest.state(id)["status"] for id in ids]


def processes(gate: Path) -> list[int]:
    """Return the processes of the two tasks at the gate, once both are there."""
    files = [Path(f"{gate}.{n}") for n in range(2)]
    wait_until(lambda: all(file.exists() for file in files), "both tasks are at the gate")
    return [int(file.read_text()) for file in files]


def gone(pids: list[int]) -> bool:
    """Return whether processes are over."""
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- Every node is a job ---------------------------------------------------------------------------------------------


def test_given_ids_of_as_tuple_when_followed_then_each_is_a_job(rest: RestClient) -> None:
    """With state, details, log, outputs and what other schedulers' clients ask for; a group too."""
    root = run(rest, "followed")
    ids = flat(root["result"])
    assert [rest.end(id)["status"] for id in ids] == ["SUCCESS"] * 7
    end, adder, empty, total, parts, *members = ids
    told = [[[member, None], None] for member in members]
    above = [[total, [[parts, None], told]], None]
    assert root["result"] == [[end, above], [[[adder, None], None], [[empty, None], []]]]
    results = {end: [2, []], adder: 2, empty: [], total: 1, parts: [0, 1], members[0]: 0, members[1]: 1}
    for id, result in results.items():
        details = rest.details(id)
        kind = "group" if id in (end, empty, parts) else "task"
        assert (details["result"], details["parent_id"], details["kind"]) == (result, root["uuid"], kind)
        meta = rest.get(f"/backend/get_task_meta/{id}")
        assert (meta["status"], meta["result"]["result"]) == ("SUCCESS", result)
        assert (meta["parent_id"], meta["children"]) == (root["uuid"], [])
        assert isinstance(rest.log(id), str)
    for n, id in enumerate(members):
        assert [step["info"] for step in rest.details(id)["steps"]] == ["telling"]
        assert rest.log(id) == f"told {n}\n"
        assert rest.get(f"/jobs/{id}/outputs") == {"outputs": ["told.txt"]}
        assert rest.http.get(f"/jobs/{id}/outputs/told.txt").text == str(n)
    assert rest.get(f"/backend/get_task_meta/{root['uuid']}")["children"] == [root["result"]]


def test_given_a_graph_when_asked_for_then_it_comes_as_nodes_and_edges_and_as_pictures(rest: RestClient) -> None:
    """From the job that started it, and from any of its nodes."""
    root = run(rest, "followed")
    end, adder, empty, total, parts, *members = flat(root["result"])
    rest.end(end)
    view = rest.get(f"/jobs/{root['uuid']}/graph")
    assert (view["uuid"], view["state"]) == (root["uuid"], "SUCCESS")
    nodes = {node["id"]: node for node in view["nodes"]}
    assert view["nodes"][0]["id"] == root["uuid"]
    assert nodes.keys() == {root["uuid"], end, adder, empty, total, parts, *members}
    kinds = {"job": {root["uuid"]}, "group": {end, empty, parts}, "task": {adder, total, *members}}
    assert {kind: {id for id, node in nodes.items() if node["kind"] == kind} for kind in kinds} == kinds
    assert {node["state"] for node in view["nodes"]} == {"SUCCESS"}
    assert {id: node["group"] for id, node in nodes.items() if node["group"]} == {
        **dict.fromkeys(members, parts),
        **dict.fromkeys((adder, empty), end),
    }
    assert {(edge["source"], edge["target"], edge["kind"]) for edge in view["edges"]} >= {
        *((root["uuid"], member, "starts") for member in members),
        (parts, total, "data"),
        (total, adder, "data"),
    }
    assert rest.get(f"/jobs/{total}/graph")["nodes"] == view["nodes"]
    beginnings = {"mermaid": "flowchart", "dot": "digraph", "svg": "<svg"}
    for format, beginning in beginnings.items():
        answer = rest.http.get(f"/jobs/{root['uuid']}/graph", params={"format": format})
        assert (answer.status_code, answer.text.count("total") > 0) == (200, True), answer.text
        assert beginning in answer.text[:200]


def test_given_a_node_that_starts_a_graph_when_it_runs_then_that_is_in_the_same_view(rest: RestClient) -> None:
    """Its result goes on as if it were the node's own."""
    root = run(rest, "nesting")
    assert root["result"] == (2 + 1) * 2 + 1
    view = rest.get(f"/jobs/{root['uuid']}/graph")
    (nested,) = [node["id"] for node in view["nodes"] if node["entrypoint"] == "nested"]
    assert sorted(node["entrypoint"] or "" for node in view["nodes"] if node["parent_id"] == nested) == [
        "",
        "add",
        "add",
        "total",
    ]
    assert [step["info"].rpartition(" ")[2] for step in root["steps"]] == ["SUCCESS"] * 3
    assert len(rest.details(nested)["steps"]) == 3
    inner = rest.get(f"/backend/get_task_meta/{nested}")
    assert (len(flat(inner["children"][0])), inner["parent_id"]) == (4, root["uuid"])


def test_given_tasks_of_another_job_when_asked_for_by_id_then_they_are_known(rest: RestClient) -> None:
    """A bare id, and all ids of a graph as JSON; an id of nothing is only PENDING."""
    other = run(rest, "followed")
    ids = flat(other["result"])
    asked = {"id": ids[3], "ids": other["result"], "unknown": str(uuid.uuid4())}
    assert run(rest, "ask", params=asked)["result"] == {
        "value": 1,
        "state": "SUCCESS",
        "whole": [2, []],
        "flat": ids,
        "unknown": "PENDING",
    }


def test_given_options_when_set_then_each_task_runs_with_them(rest: RestClient) -> None:
    """A task's own are stronger than those of what is around it."""
    (_, high, control) = flat(run(rest, "options")["result"])
    seen = [rest.end(id) for id in (high, control)]
    assert [(each["queue"], each["time_limit"], each["result"]) for each in seen] == [
        ("gpuhigh", 5, "gpuhigh"),
        ("control", 7, "control"),
    ]


# --- What goes from task to task -------------------------------------------------------------------------------------


def test_given_arrays_when_handed_on_then_they_arrive_as_they_are(rest: RestClient) -> None:
    """Down a chain, and to the script that waits; a record shows what cannot be JSON."""
    root = run(rest, "arrays")
    assert root["result"] == {"last": 999_999.0 * 4, "type": "ndarray", "both": [3, 4]}
    first = rest.get(f"/jobs/{root['uuid']}/graph")["nodes"][1]["id"]
    assert rest.details(first)["result"] == {
        "type": "numpy.ndarray",
        "shape": [1_000_000],
        "dtype": "float64",
        "nbytes": 8_000_000,
    }


def test_given_an_arrow_table_when_handed_on_then_it_arrives(rest: RestClient) -> None:
    """As a table."""
    pytest.importorskip("pyarrow")
    assert run(rest, "tables")["result"] == ["Table", 1000]


def test_given_items_when_mapped_in_chunks_then_the_list_of_lists_comes(rest: RestClient) -> None:
    """One task to a part."""
    root = run(rest, "mapped")
    assert root["result"] == [[1, 2], [3, 4], [5]]
    kinds = [node["kind"] for node in rest.get(f"/jobs/{root['uuid']}/graph")["nodes"]]
    assert sorted(kinds) == ["group", "job", "part", "part", "part"]


def test_given_an_input_when_split_then_each_task_reads_its_part(rest: RestClient) -> None:
    """With a folder of its own, and without; the parent's own input too."""
    root = run(rest, "split", file=("lines.txt", b"one\ntwo\nthree"))
    assert root["result"] == ["one\ntwo\nthree", "one", "two", "three"]


def test_given_a_chain_of_a_thousand_when_run_then_its_length_costs_no_recursion(rest: RestClient) -> None:
    """Its ids nest too deeply for a result: the error says what to return instead."""
    root = run(rest, "long_chain", params={"n": 1000})
    assert (root["result"], len(root["steps"])) == (1000, 1000)
    assert len(rest.get(f"/jobs/{root['uuid']}/graph")["nodes"]) == 1001
    refused = rest.end(start(rest, "long_ids", params={"n": 1000}))
    assert refused["status"] == "FAILURE"
    assert "return as_list()" in refused["error"].lower().replace("of a chain of more than 90 tasks ", "")
    rest.http.delete(f"/jobs/{refused['uuid']}")


def test_given_a_chord_of_two_hundred_when_run_then_its_body_gets_all(rest: RestClient) -> None:
    """In order or not, the sum is the same; each is a step of the job that waits."""
    root = run(rest, "big_chord", params={"n": 200})
    assert (root["result"], root["progress"], len(root["steps"])) == (200 * 201 // 2, 100, 201)


# --- Failure ---------------------------------------------------------------------------------------------------------


def test_given_a_member_that_fails_when_the_rest_runs_then_the_body_names_it_and_the_siblings_finish(
    rest: RestClient, gate: Path
) -> None:
    """The graph's fate is told at once; nobody waits for it to become clear."""
    ids = flat(run(rest, "failing_chord", params={"gate": str(gate)})["result"])
    last, body, members, good, bad, sibling = ids
    named = f"Not run, because task {bad} (boom) failed: ValueError: bad part"
    for id in (last, body, members):
        details = rest.end(id)
        assert (details["status"], details["error"]) == ("FAILURE", named)
        assert details["attempts"] == []
    assert rest.end(bad)["error"].endswith("ValueError: bad part")
    wait_until(Path(f"{gate}.0").exists, "the sibling runs")
    assert rest.state(sibling)["status"] == "RUNNING"
    gate.touch()
    assert [rest.end(id)["status"] for id in (good, sibling)] == ["SUCCESS", "SUCCESS"]
    nodes = rest.get(f"/jobs/{last}/graph")["nodes"]
    assert {node["id"]: node["error"] for node in nodes if node["error"]} == {
        bad: "ValueError: bad part",
        **dict.fromkeys((last, body, members), named),
    }


def test_given_fail_fast_when_a_task_fails_then_the_others_are_cancelled(rest: RestClient, gate: Path) -> None:
    """And their processes are over."""
    body, members, waiting, bad = flat(run(rest, "fail_fast", params={"gate": str(gate)})["result"])
    assert [rest.end(id)["status"] for id in (bad, body, members, waiting)] == [
        "FAILURE",
        "FAILURE",
        "FAILURE",
        "REVOKED",
    ]
    assert rest.details(waiting)["error"] == (f"Cancelled, because task {bad} failed and the composition is fail_fast.")
    wait_until(lambda: gone([int(Path(f"{gate}.0").read_text())]), "the cancelled task's process is over")


def test_given_failures_when_a_script_looks_then_its_handles_tell_all(rest: RestClient, gate: Path) -> None:
    """The exceptions themselves, raised or not, in messages, and of a task that took too long."""
    result = run(rest, "exceptions", params={"gate": str(gate)})["result"]
    assert result["values"] == ["2", "ValueError('bad part')", "3"]
    assert result["raised"] == "bad part"
    assert result["messages"] == [
        list(pair) for pair in zip(result["ids"], ["SUCCESS", "FAILURE", "SUCCESS"], strict=True)
    ]
    assert result["counts"] == [2, True, False, True, "FAILURE"]
    assert result["timed out"] is True


def test_given_a_member_that_crashes_once_when_run_again_then_its_graph_goes_on(
    rest: RestClient, tmp_path: Path
) -> None:
    """On the queue for retries."""
    root = run(rest, "with_crash", params={"tries": str(tmp_path / "tries"), "times": 1})
    assert root["result"] == 12
    (node,) = [node for node in rest.get(f"/jobs/{root['uuid']}/graph")["nodes"] if node["entrypoint"] == "crash"]
    assert (node["state"], node["queue"], node["retry"]) == ("SUCCESS", "gpuhigh", 1)
    attempts = rest.details(node["id"])["attempts"]
    assert [(each["queue"], each["failure"]) for each in attempts] == [("gpu", "crash"), ("gpuhigh", None)]


def test_given_a_member_that_always_crashes_when_run_then_its_graph_fails(rest: RestClient, tmp_path: Path) -> None:
    """And says which one it was."""
    root = rest.end(start(rest, "with_crash", params={"tries": str(tmp_path / "tries"), "times": 9}))
    (node,) = [node for node in rest.get(f"/jobs/{root['uuid']}/graph")["nodes"] if node["entrypoint"] == "crash"]
    attempts = rest.details(node["id"])["attempts"]
    assert [(each["queue"], each["failure"]) for each in attempts] == [("gpu", "crash"), ("gpuhigh", "crash")], attempts
    assert (root["status"], node["state"], node["retry"]) == ("FAILURE", "FAILURE", 1)
    assert f"Not run, because task {node['id']} (crash) failed: PixyzSignalFault: The job's process" in root["error"]


def test_given_a_timeout_when_the_graph_takes_longer_then_the_job_that_waits_fails_in_time(
    rest: RestClient, gate: Path
) -> None:
    """What it waited for goes on."""
    root = start(rest, "impatient", params={"gate": str(gate)})
    processes(gate)
    details = rest.end(root, deadline_s=10)
    assert details["status"] == "FAILURE"
    assert details["error"].startswith("PixyzTimeout: The graph did not end within the 1 s")
    gate.touch()
    ids = rest.get(f"/backend/get_task_meta/{root}")["children"][0]
    assert [rest.end(id)["status"] for id in flat(ids)] == ["SUCCESS"] * 6


# --- Cancelling ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(rest: RestClient, gate: Path) -> Iterator[tuple[str, list[str], list[int]]]:
    """A graph in its middle: the job that waits for it, its ids, and the processes at the gate."""
    root = start(rest, "awaited_gates", params={"gate": str(gate)})
    pids = processes(gate)
    rest.wait_for(root, "RUNNING")
    yield root, flat(rest.get(f"/backend/get_task_meta/{root}")["children"][0]), pids


def test_given_a_graph_in_its_middle_when_its_parent_is_cancelled_then_nothing_of_it_is_left(
    rest: RestClient, stopped: tuple[str, list[str], list[int]]
) -> None:
    """What had ended stays as it is."""
    root, ids, pids = stopped
    rest.http.delete(f"/jobs/{root}")
    assert rest.end(root)["status"] == "REVOKED"
    *others, first = ids
    assert statuses(rest, others) == ["REVOKED"] * 5
    assert rest.state(first)["status"] == "SUCCESS"
    wait_until(lambda: gone(pids), "the processes at the gate are over")


def test_given_a_graph_in_its_middle_when_a_group_is_cancelled_then_its_members_and_what_depends_on_it_are(
    rest: RestClient, stopped: tuple[str, list[str], list[int]]
) -> None:
    """The job that waits fails, and names the one that was cancelled."""
    root, (last, total, at_gate, *members, first), pids = stopped
    assert rest.http.post(f"/jobs/{at_gate}/cancel").json()["status"] == "REVOKED"
    details = rest.end(root)
    assert details["status"] == "FAILURE"
    assert details["error"].endswith("was cancelled.")
    assert [rest.end(id)["status"] for id in (last, total, *members)] == ["REVOKED"] * 4
    assert rest.details(last)["error"].startswith("Not run, because task ")
    assert rest.state(first)["status"] == "SUCCESS"
    wait_until(lambda: gone(pids), "the processes at the gate are over")


def test_given_a_graph_in_its_middle_when_its_handle_is_revoked_then_the_rest_of_it_is_cancelled(
    rest: RestClient, gate: Path
) -> None:
    """By the script that started it, which goes on."""
    root = run(rest, "revoking", params={"gate": str(gate)})
    assert root["result"]["states"] == ["REVOKED"] * 5 + ["SUCCESS"]
    assert "cancelled" in root["result"]["error"]
    assert statuses(rest, root["result"]["ids"]) == root["result"]["states"]
    wait_until(lambda: gone(processes(gate)), "the processes at the gate are over")


def test_given_a_graph_when_the_job_that_started_it_has_ended_then_it_can_still_be_cancelled(
    rest: RestClient, gate: Path
) -> None:
    """Through that job, which itself stays as it is."""
    root = run(rest, "unattended_gates", params={"gate": str(gate)})
    pids = processes(gate)
    rest.http.delete(f"/jobs/{root['uuid']}")
    assert [rest.end(id)["status"] for id in flat(root["result"])] == ["REVOKED"] * 5 + ["SUCCESS"]
    assert rest.details(root["uuid"]) == root
    wait_until(lambda: gone(pids), "the processes at the gate are over")
