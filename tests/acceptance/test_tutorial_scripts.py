"""The tutorial's scripts on a real platform, and on a workstation without one: they come to the same."""

from __future__ import annotations

import os
import subprocess
import sys
from ast import literal_eval
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_graphs import flat
from tests.platforms import ROOT
from tests.rest_client import RestClient

TUTORIAL = ROOT / "scripts" / "tutorial"
STEP = ROOT / "samples" / "bracket_assembly.step"
INPUT = bytes(range(256)) * 33
JOBS: dict[str, dict[str, Any]] = {
    "00_convert_a_file": {"file": (STEP.name, STEP.read_bytes())},
    "00_progress": {},
    "00_sleep": {},
    "02_dag_async": {"file": ("input.dat", INPUT)},
    "02_dag_sync": {"file": ("input.dat", INPUT)},
    "03_group": {},
    "04_chain": {},
    "05_chain_cpu_gpu": {},
    "06_five_queues": {},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Local:
    """What came of a script on the workstation."""

    lines: list[str]
    """What it printed."""
    folder: Path
    """Where its outputs are, in a folder of their own."""

    def value(self, title: str = "") -> Any:
        """Return the value on the last line with a title."""
        return literal_eval([line for line in self.lines if line.startswith(title)][-1].removeprefix(title))


@pytest.fixture(scope="module")
def submitted(rest: RestClient) -> dict[str, str]:
    """All scripts, sent at once."""
    return {
        name: rest.submit((TUTORIAL / f"{name}.py").read_bytes(), script_name=f"{name}.py", **form)
        for name, form in JOBS.items()
    }


@pytest.fixture
def local(tmp_path: Path, request: pytest.FixtureRequest) -> Local:
    """One script, as a newcomer runs it."""
    name = request.param
    arguments = [tmp_path / file[0] for file in (JOBS[name].get("file"),) if file]
    for argument in arguments:
        argument.write_bytes(JOBS[name]["file"][1])
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    command = [sys.executable, str(TUTORIAL / f"{name}.py"), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(outputs)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Local(lines=done.stdout.splitlines(), folder=outputs)


def on(name: str) -> pytest.MarkDecorator:
    """Run a test on one of the scripts."""
    return pytest.mark.parametrize("local", [name], indirect=True, ids=[name])


def ended(rest: RestClient, uuid: str) -> dict[str, Any]:
    """Return the details of a job that must have ended well."""
    details = rest.end(uuid, deadline_s=40)
    assert details["status"] == "SUCCESS", details["error"]
    return details


def infos(details: dict[str, Any]) -> list[str]:
    """Return what a job's steps are called."""
    return [step["info"] for step in details["steps"]]


def test_given_the_tutorial_when_listed_then_all_of_it_is_run_here() -> None:
    """No script is forgotten."""
    assert [path.stem for path in sorted(TUTORIAL.glob("*.py"))] == sorted(JOBS)


@on("00_sleep")
def test_given_sleep_when_run_then_both_print_the_same(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """And the job has a result."""
    details = ended(rest, submitted["00_sleep"])
    assert (details["result"], rest.log(details["uuid"]).splitlines()) == (0.1, local.lines)


@on("00_progress")
def test_given_progress_when_run_then_the_jobs_steps_are_what_is_printed_here(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """There is nobody else to show them here."""
    details = ended(rest, submitted["00_progress"])
    assert (infos(details), details["progress"]) == (local.lines, 100)


@on("00_convert_a_file")
def test_given_a_file_when_converted_then_it_is_there(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """As an output of the job, and in the folder here."""
    details = ended(rest, submitted["00_convert_a_file"])
    assert details["result"] == {"output": "output.pxz"}
    (here,) = local.folder.glob("*/output.pxz")
    there = rest.http.get(f"/jobs/{details['uuid']}/outputs/output.pxz").content
    assert there[:6] == here.read_bytes()[:6] == b"ARROW1"
    assert [local.lines[1], local.lines[-1]] == infos(details)[1:]


@on("02_dag_sync")
def test_given_the_graph_that_is_waited_for_when_run_then_the_jobs_result_is_the_graphs(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """With a step for each task, on the queue for those that wait."""
    details = ended(rest, submitted["02_dag_sync"])
    assert details["result"] == local.value()
    assert (details["queue"], len(details["steps"]), details["progress"]) == ("control", 5, 100)
    assert len(rest.get(f"/jobs/{details['uuid']}/outputs")["outputs"]) == 4


@on("02_dag_async")
def test_given_the_graph_that_is_not_waited_for_when_its_ids_are_followed_then_the_last_has_its_result(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """The same as here, where everything has ended by then."""
    details = ended(rest, submitted["02_dag_async"])
    merge, group, *parts = flat(details["result"])
    assert len(flat(local.value("ids: "))) == 6
    assert ended(rest, merge)["result"] == local.value("result: ")
    crcs = [ended(rest, part)["result"] for part in parts]
    assert ended(rest, group)["result"] == crcs
    assert {each["part"]: each["crc"] for each in crcs} == local.value("result: ")


@on("03_group")
def test_given_the_group_when_run_then_its_results_are_the_same(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """In order; each task's step is in its own record."""
    details = ended(rest, submitted["03_group"])
    assert details["result"] == local.value()
    (ids,) = rest.get(f"/backend/get_task_meta/{details['uuid']}")["children"]
    members = flat(ids)[1:]
    assert [info for member in members for info in infos(ended(rest, member))] == local.lines[:-1]


@on("04_chain")
def test_given_the_tutorials_chain_when_its_ids_are_followed_then_each_task_got_what_it_was_to(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """The example of the tutorial's end."""
    details = ended(rest, submitted["04_chain"])
    last, first = flat(details["result"])
    assert rest.log(details["uuid"]).splitlines()[0].startswith(f"chain return{last}")
    assert len(flat(local.value())) == 2
    jobs = [ended(rest, id) for id in (first, last)]
    assert [job["result"] for job in jobs] == [{"time": 0.2, "id": 2}, {"time": 0.02, "id": 2}]
    printed = [line for job in jobs for line in rest.log(job["uuid"]).splitlines()]
    assert printed == [line for line in local.lines if line.startswith("task params")]
    assert jobs[0]["time_info"]["stopped"] <= jobs[1]["time_info"]["started"]


@on("05_chain_cpu_gpu")
def test_given_the_chain_over_two_queues_when_run_then_the_picture_is_the_same(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """Waited for, and by ids."""
    source = (TUTORIAL / "05_chain_cpu_gpu.py").read_bytes()
    unattended = ended(rest, rest.submit(source, config={"entrypoint": "main_async"}))
    draw, heights = flat(unattended["result"])
    details = ended(rest, submitted["05_chain_cpu_gpu"])
    assert details["result"] == ended(rest, draw)["result"] == local.value("waited for: ")
    assert [rest.details(id)["queue"] for id in (heights, draw)] == ["cpu", "gpu"]
    here = next(local.folder.glob("*/picture.pgm")).read_bytes()
    for uuid in (details["uuid"], unattended["uuid"]):
        assert rest.http.get(f"/jobs/{uuid}/outputs/picture.pgm").content == here


@on("06_five_queues")
def test_given_the_five_queues_when_run_then_each_task_is_in_its_own(
    rest: RestClient, submitted: dict[str, str], local: Local
) -> None:
    """Named the same here, where they mean nothing."""
    details = ended(rest, submitted["06_five_queues"])
    assert details["result"] == [literal_eval(line) for line in local.lines if line.startswith("{")]
    (ids,) = rest.get(f"/backend/get_task_meta/{details['uuid']}")["children"]
    queues = [rest.details(id)["queue"] for id in flat(ids)[1:]]
    assert queues == [answer["queue"] for answer in details["result"]]
