"""Tasks that a script starts on the cluster: each is a job of its own, and its parent gets its result."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rest_client import RestClient

SCRIPT = """
from pixyz_worker.script import *

def double(pc, params):
    pc.progress_set_total(1)
    pc.progress_next("doubling")
    print("child prints", params["n"])
    return {"n": params["n"] * 2, "queue": pc["queue"]}

def fail(pc, params):
    raise ValueError("the child's own fault")

def reads(pc, params):
    return open(pc.get_input_file()).read()

def main(pc, params):
    handle = pixyz_execute.apply_async(args=({"n": 21}, pc.clone(entrypoint="double", raw=params.get("raw", False))))
    return {"id": handle.id, "value": handle.get(timeout=30)}

def by_context(pc, params):
    return pc.execute({"n": 1}, entrypoint="double", raw=True).get(timeout=30)

def by_subtask(pc, params):
    return subtask_async(pc, "double", {"n": 2}, raw=True).get(timeout=30)

def on_a_queue(pc, params):
    signature = pixyz_execute.s({"n": 3}, pc.clone(entrypoint="double", raw=True))
    return signature.set(queue="gpuhigh").delay().get(timeout=30)

def with_input(pc, params):
    return pc.execute({}, entrypoint="reads", raw=True).get(timeout=30)

def failing(pc, params):
    handle = pc.execute({}, entrypoint="fail")
    try:
        handle.get(timeout=30)
    except Exception as error:
        return {"error": str(error), "state": handle.state, "failed": handle.failed(), "id": handle.id}

def failing_through(pc, params):
    return pc.execute({}, entrypoint="fail").get(timeout=30)

def nested(pc, params):
    return pc.execute({}, entrypoint="by_context", raw=True).get(timeout=30)

@pixyz_schedule(wait=True)
def waits(pc, params):
    return pc.execute({"n": 5}, entrypoint="double")

@pixyz_schedule(wait=True)
def waits_in_vain(pc, params):
    return pc.execute({}, entrypoint="fail")

def hands_out(pc, params):
    return pc.execute({"n": 7}, entrypoint="double").as_tuple()
"""


def _run(rest: RestClient, entrypoint: str, **form: Any) -> dict[str, Any]:
    return rest.run(SCRIPT, config={"entrypoint": entrypoint}, **form)


def test_given_a_task_when_waited_for_then_its_record_is_the_value_and_it_is_a_job(rest: RestClient) -> None:
    """With state, details, log and parent of its own."""
    details = _run(rest, "main")
    assert details["status"] == "SUCCESS", details["error"]
    child = rest.details(details["result"]["id"])
    assert details["result"]["value"]["result"] == child["result"] == {"n": 42, "queue": "gpu"}
    assert child["status"] == "SUCCESS"
    assert [step["info"] for step in child["steps"]] == ["doubling"]
    assert rest.log(child["uuid"]) == "child prints 21\n"
    assert "child prints" not in rest.log(details["uuid"])
    assert rest.get(f"/backend/get_task_meta/{child['uuid']}")["parent_id"] == details["uuid"]


def test_given_a_raw_task_when_waited_for_then_its_bare_value_comes(rest: RestClient) -> None:
    """`raw=True` in the context."""
    assert _run(rest, "main", params={"raw": True})["result"]["value"] == {"n": 42, "queue": "gpu"}


@pytest.mark.parametrize(
    ("entrypoint", "value"),
    [
        ("by_context", {"n": 2, "queue": "gpu"}),
        ("by_subtask", {"n": 4, "queue": "gpu"}),
        ("on_a_queue", {"n": 6, "queue": "gpuhigh"}),
        ("nested", {"n": 2, "queue": "gpu"}),
    ],
)
def test_given_each_way_to_start_a_task_when_used_then_it_runs(rest: RestClient, entrypoint: str, value: Any) -> None:
    """pc.execute, subtask_async, a signature with options; and a task that starts another."""
    details = _run(rest, entrypoint)
    assert (details["status"], details["result"]) == ("SUCCESS", value), details["error"]


def test_given_an_input_when_a_task_is_started_then_it_reads_its_parents(rest: RestClient) -> None:
    """Without a copy of it."""
    assert _run(rest, "with_input", file=("in.txt", b"shared"))["result"] == "shared"


def test_given_a_failing_task_when_waited_for_then_its_error_reaches_the_parent(rest: RestClient) -> None:
    """Which may catch it; and the child's own record has the traceback."""
    details = _run(rest, "failing")
    assert details["status"] == "SUCCESS", details["error"]
    assert "the child's own fault" in details["result"]["error"]
    assert (details["result"]["state"], details["result"]["failed"]) == ("FAILURE", True)
    assert rest.details(details["result"]["id"])["error"].endswith("ValueError: the child's own fault")


def test_given_a_failing_task_when_its_parent_does_not_catch_it_then_both_fail(rest: RestClient) -> None:
    """And the parent's error names the cause."""
    details = _run(rest, "failing_through")
    assert details["status"] == "FAILURE"
    assert "the child's own fault" in details["error"]


def test_given_wait_true_when_a_handle_is_returned_then_its_result_is_the_jobs(rest: RestClient) -> None:
    """The job runs on `control` and shows a step for the task."""
    details = _run(rest, "waits")
    assert (details["status"], details["queue"]) == ("SUCCESS", "control"), details["error"]
    assert details["result"] == {"n": 10, "queue": "gpu"}
    assert len(details["steps"]) == 1
    failed = _run(rest, "waits_in_vain")
    assert failed["status"] == "FAILURE"
    assert "the child's own fault" in failed["error"]


def test_given_ids_when_handed_out_then_the_client_can_follow_them_as_jobs(rest: RestClient) -> None:
    """`as_tuple()` is JSON."""
    details = _run(rest, "hands_out")
    assert details["status"] == "SUCCESS", details["error"]
    (child, parent), children = details["result"]
    assert (parent, children) == (None, None)
    assert rest.end(child)["result"]["n"] == 14


def test_given_waiting_parents_on_every_cpu_when_their_tasks_need_one_then_nobody_waits_for_ever(
    rest: RestClient,
) -> None:
    """A parent that waits gives its CPU back."""
    uuids = [rest.submit(SCRIPT, config={"entrypoint": "by_context"}) for _ in range(8)]
    assert [rest.end(uuid, deadline_s=40)["status"] for uuid in uuids] == ["SUCCESS"] * 8
