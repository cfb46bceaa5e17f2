"""Graphs that stand in each other's way, are cancelled at odd moments, or are no graphs: each job of them ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pixyz_worker import ProgramContext, chain, pixyz_execute
from pixyz_worker.plan import compile_plan
from pixyz_worker.wire import plan_as_plain
from tests.acceptance.scripts import WAIT_AT_GATE
from tests.rest_client import TERMINAL, RestClient
from tests.waiting import wait_until

MORE_THAN_RAY_GETS = 70
"""Nodes; the tracker hands Ray far fewer at a time on a small machine."""

SCRIPT = (
    WAIT_AT_GATE
    + """
from pixyz_worker.script import *

def task(pc, params, entrypoint="waits_at_gate"):
    return pixyz_execute.s(params, pc.clone(entrypoint=entrypoint, raw=True, compute_only=True))

def nothing(pc, params):
    return 1

def waits_at_gate(pc, params):
    wait_at(params["gate"])
    return "through"

def fails_at_gate(pc, params):
    wait_at(params["gate"])
    raise ValueError("as it should")

@pixyz_schedule(queue="cpu", wait=True)
def parent(pc, params):
    return task(pc, params, "nothing").delay()

def many_parents(pc, params):
    return group(task(pc, params, "parent") for _ in range(params["n"]))().as_tuple()

def chain_into_group(pc, params):
    return (task(pc, params) | group(fed(pc), fed(pc)))().as_tuple()

def long_chain(pc, params):
    return chain(task(pc, params), *(fed(pc) for _ in range(params["n"])))().as_list()

def fed(pc):
    return pixyz_execute.s(pc=pc.clone(entrypoint="nothing", raw=True, compute_only=True))

@pixyz_schedule(wait=True)
def nested(pc, params):
    return task(pc, {"gate": params["never"]}).delay()

def fail_fast(pc, params):
    tasks = task(pc, params, "fails_at_gate"), task(pc, params, "nested")
    return group(tasks).set(fail_fast=True, queue="control")().as_tuple()

@pixyz_schedule(wait=True)
def outer(pc, params):
    return chain(task(pc, params, "nested"))()
"""
)


def _start(rest: RestClient, entrypoint: str, params: dict[str, Any]) -> str:
    return rest.submit(SCRIPT, config={"entrypoint": entrypoint, "queue": "control"}, params=params)


def _nodes(rest: RestClient, uuid: str) -> list[dict[str, Any]]:
    return list(rest.get(f"/jobs/{uuid}/graph")["nodes"][1:])


def test_given_more_waiting_nodes_than_ray_is_given_when_each_starts_a_task_then_nobody_waits_for_ever(
    rest: RestClient,
) -> None:
    """A node that waits for its own graph does not keep that from beginning."""
    root = _start(rest, "many_parents", {"n": MORE_THAN_RAY_GETS})
    (group, _), members = rest.end(root)["result"]
    assert len(members) == MORE_THAN_RAY_GETS
    assert rest.end(group, deadline_s=60)["result"] == [1] * MORE_THAN_RAY_GETS


def test_given_a_group_that_waits_when_cancelled_then_what_comes_before_it_still_ends(
    rest: RestClient, tmp_path: Path
) -> None:
    """Its turn comes when it has ended already."""
    gate = tmp_path / "gate"
    root = _start(rest, "chain_into_group", {"gate": str(gate)})
    (group, ((first, _), _)), members = rest.end(root)["result"]
    rest.wait_for(first, "RUNNING")
    assert rest.http.delete(f"/jobs/{group}").json()["status"] == "REVOKED"
    gate.touch()
    assert rest.end(first)["status"] == "SUCCESS"
    assert [rest.state(id)["status"] for (id, _), _ in members] == ["REVOKED"] * 2


def test_given_a_chain_too_long_to_be_nested_when_its_job_is_asked_for_then_the_ids_are_flat(
    rest: RestClient, tmp_path: Path
) -> None:
    """JSON cannot hold a thousand tuples in one another; and the whole of it is cancelled at once."""
    root = _start(rest, "long_chain", {"gate": str(tmp_path / "gate"), "n": 1000})
    ids = rest.end(root)["result"]
    assert rest.get(f"/backend/get_task_meta/{root}")["children"] == [ids[::-1]]
    assert rest.http.delete(f"/jobs/{root}").status_code == 200
    assert {node["state"] for node in _nodes(rest, root)} == {"REVOKED"}


@pytest.mark.parametrize("entrypoint", ["outer", "fail_fast"])
def test_given_a_task_with_a_graph_of_its_own_when_cancelled_then_that_is_cancelled_too(
    rest: RestClient, tmp_path: Path, entrypoint: str
) -> None:
    """By a caller, or since another of its composition has failed."""
    root = _start(rest, entrypoint, {"gate": str(tmp_path / "gate"), "never": str(tmp_path / "never")})
    inner = wait_until(lambda: [node for node in _nodes(rest, root) if node["parent_id"] != root], "all have begun")
    rest.wait_for(inner[0]["id"], "RUNNING")
    if entrypoint == "outer":
        assert rest.http.delete(f"/jobs/{root}").json()["status"] == "REVOKED"
    else:
        (tmp_path / "gate").touch()
    assert rest.end(inner[0]["id"])["status"] == "REVOKED"
    wait_until(lambda: {node["state"] for node in _nodes(rest, root)} <= TERMINAL, "everything has ended")


def _plan(gate: Path) -> str:
    context = ProgramContext({"script": "job.py", "entrypoint": "waits_at_gate", "raw": True, "compute_only": True})
    first = pixyz_execute.s({"gate": str(gate)}, context)
    plan = compile_plan(chain(first, pixyz_execute.s(pc=context.clone(entrypoint="nothing"))))
    return json.dumps(plan_as_plain(plan, lambda _: "job.py"))


def _post(rest: RestClient, graph: str) -> httpx.Response:
    return rest.http.post("/jobs", files=[("graph", (None, graph.encode())), ("script", ("job.py", SCRIPT.encode()))])


def test_given_a_graph_when_sent_twice_then_the_second_is_refused_and_the_first_goes_on(
    rest: RestClient, tmp_path: Path
) -> None:
    """Its ids are taken, also those of tasks whose turn has not come."""
    gate = tmp_path / "gate"
    plan = _plan(gate)
    answer = _post(rest, plan)
    assert answer.status_code == 200, answer.text
    first, second = (node["id"] for node in json.loads(plan)["nodes"])
    other = json.loads(plan)
    other["nodes"] = [{**other["nodes"][1], "after": None}]
    for again in (plan, json.dumps({**other, "parents": {}})):
        refused = _post(rest, again)
        assert refused.status_code == 400, refused.text
        assert "already" in refused.text
    gate.touch()
    assert rest.end(answer.json()["uuid"])["result"] == 1
    assert [rest.state(id)["status"] for id in (first, second)] == ["SUCCESS"] * 2


@pytest.mark.parametrize(
    "graph", ["null", "[]", "{}", "1", '{"nodes": null}', '{"version": 1, "nodes": [1], "end": 2}']
)
def test_given_no_graph_when_sent_as_one_then_the_answer_says_so(rest: RestClient, graph: str) -> None:
    """A mistake of the caller's."""
    answer = _post(rest, graph)
    assert answer.status_code == 400, answer.text
    assert "graph" in answer.text
