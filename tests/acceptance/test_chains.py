"""The next task of a chain is given to Ray ahead of its turn: it runs when that has come, and only then."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.scripts import WAIT_AT_GATE
from tests.rest_client import RestClient
from tests.waiting import wait_until

SCRIPT = (
    WAIT_AT_GATE
    + """
import os, signal, time
from pathlib import Path
from pixyz_worker.script import *

def task(pc, params, entrypoint, **options):
    return pixyz_execute.s(params, pc.clone(entrypoint=entrypoint, raw=True, compute_only=True)).set(**options)

def tries(params):
    with open(params["folder"] + "/first", "a") as file:
        file.write("x")
    return len(Path(params["folder"], "first").read_text())

def crashes_once(pc, params):
    if tries(params) == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return params

def is_late_once(pc, params):
    if tries(params) == 1:
        time.sleep(60)
    return params

def raises(pc, params):
    tries(params)
    raise ValueError("no second one")

def waits(pc, params):
    tries(params)
    wait_at(params["gate"])
    return params

def second(pc, params):
    with open(params["folder"] + "/second", "a") as file:
        file.write("x")
    return params

def third(pc, params):
    return [pc["task"].id, params["n"]]

def main(pc, params):
    steps = [task(pc, params, params["first"], time_limit=params.get("limit", 60))]
    for name in ("second", "third"):
        steps.append(pixyz_execute.s(pc=pc.clone(entrypoint=name, raw=True, compute_only=True)))
    if params.get("own"):
        steps[1] = pixyz_execute.si(params, pc.clone(entrypoint="second", raw=True, compute_only=True))
    return chain(steps)().as_list()[::-1]
"""
)


def _start(rest: RestClient, first: str, folder: Path, **params: Any) -> list[str]:
    given = {"first": first, "folder": str(folder), "n": 7, **params}
    ids: list[str] = rest.run(SCRIPT, params=given)["result"]
    return ids


def _runs(folder: Path, name: str) -> int:
    path = folder / name
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("first", ["crashes_once", "is_late_once"])
def test_given_a_first_task_that_is_run_again_when_it_ends_well_then_the_second_runs_once(
    rest: RestClient, tmp_path: Path, first: str, own: bool
) -> None:
    """Whatever Ray had made of the second when the first one's process died; also where it takes no result."""
    ids = _start(rest, first, tmp_path, own=own, limit=1 if first == "is_late_once" else 60)
    assert rest.end(ids[2])["result"] == [ids[2], 7]
    assert (_runs(tmp_path, "first"), _runs(tmp_path, "second")) == (2, 1)
    assert [rest.details(id)["retry"] for id in ids] == [1, 0, 0]


@pytest.mark.parametrize("own", [False, True])
def test_given_a_first_task_that_fails_when_it_has_then_the_second_does_not_run(
    rest: RestClient, tmp_path: Path, own: bool
) -> None:
    """Nor the third."""
    ids = _start(rest, "raises", tmp_path, own=own)
    ends = [rest.end(id) for id in ids]
    assert [end["status"] for end in ends] == ["FAILURE"] * 3
    assert ends[2]["error"] == f"Not run, because task {ids[0]} (raises) failed: ValueError: no second one"
    assert _runs(tmp_path, "second") == 0


def test_given_a_first_task_that_runs_when_it_is_cancelled_then_the_second_does_not_run(
    rest: RestClient, tmp_path: Path, gate: Path
) -> None:
    """It is revoked with it."""
    ids = _start(rest, "waits", tmp_path, gate=str(gate))
    wait_until(lambda: _runs(tmp_path, "first"), "the first runs")
    assert rest.http.delete(f"/jobs/{ids[0]}").json()["status"] == "REVOKED"
    assert [rest.end(id)["status"] for id in ids] == ["REVOKED"] * 3
    gate.touch()
    # What was given to Ray ahead has been taken back: a task submitted later would come after it.
    rest.run("def main(pc, params):\n    return 1\n")
    assert _runs(tmp_path, "second") == 0


def test_given_a_second_task_that_waits_when_it_is_cancelled_then_the_first_goes_on(
    rest: RestClient, tmp_path: Path, gate: Path
) -> None:
    """And what was given to Ray ahead does not run."""
    ids = _start(rest, "waits", tmp_path, gate=str(gate))
    wait_until(lambda: _runs(tmp_path, "first"), "the first runs")
    assert rest.http.delete(f"/jobs/{ids[1]}").json()["status"] == "REVOKED"
    gate.touch()
    assert [rest.end(id)["status"] for id in ids] == ["SUCCESS", "REVOKED", "REVOKED"]
    rest.run("def main(pc, params):\n    return 1\n")
    assert _runs(tmp_path, "second") == 0


def test_given_a_chain_when_each_task_has_ended_then_its_times_follow_one_another(
    rest: RestClient, tmp_path: Path, gate: Path
) -> None:
    """What was given ahead begins when its turn has come, and is then seen to run."""
    began = time.time()
    ids = _start(rest, "waits", tmp_path, gate=str(gate))
    wait_until(lambda: _runs(tmp_path, "first"), "the first runs")
    assert [rest.state(id)["status"] for id in ids[1:]] == ["PENDING"] * 2
    gate.touch()
    times = [rest.end(id)["time_info"] for id in ids]
    assert times[0]["stopped"] <= times[1]["started"] <= times[1]["stopped"] <= times[2]["started"]
    assert time.time() - began < 60
