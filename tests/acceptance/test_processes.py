"""The pre-built processes on a real platform: real files in, real files out, and nothing left for the next job."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests import opengl
from tests.platforms import ROOT, TestPlatform
from tests.rest_client import RestClient

STEP = ROOT / "samples" / "bracket_assembly.step"
PICTURES = {"iso.png", "x.png", "y.png", "z.png"}
FORMS: dict[str, dict[str, Any]] = {
    "convert_file": {"extension": "glb", "quality": "medium", "decimate": 5000},
    "generate_metadata": {},
    "generate_thumbnails": {"width": 64},
    "thumbnail_chained": {"width": 64},
    "optimize": {"lods": [1, 0.5]},
}

LEAVES_A_SCENE = """
import os
from pixyz_worker.script import *
from pxz import core, io, scene

def main(pc, params):
    found = [len(scene.getPartOccurrences()), core.getModuleProperty("A", "b")]
    io.importScene(pc.get_input_file())
    core.setModuleProperty("A", "b", "c")
    return {"found": found, "now": len(scene.getPartOccurrences()), "pid": os.getpid()}
"""


HANDS_ON = """
import os
from pixyz_worker.script import *
from pxz import io, scene

@pixyz_schedule(wait=True)
def main(pc, params):
    return chain(
        pixyz_execute.s({}, pc.clone(entrypoint="load", raw=True)).set(queue="cpu"),
        pixyz_execute.s(pc=pc.clone(entrypoint="count", raw=True)).set(queue="gpu"),
    ).apply_async()

@pixyz_schedule(isolation="fresh")
def load(pc, params):
    return [os.getpid(), io.importScene(pc.get_input_file())]

@pixyz_schedule(isolation="fresh")
def count(pc, params):
    pid, root = params
    return [pid, os.getpid(), len(scene.getPartOccurrences(root)), scene.getBRepInfos(root)["faceCount"]]
"""


@pytest.fixture(scope="module")
def jobs(rest: RestClient) -> dict[str, dict[str, Any]]:
    """The details of one job of each process on the sample; they are sent at once."""
    file = (STEP.name, STEP.read_bytes())
    sent = {name: rest.submit(process=name, file=file, params=params) for name, params in FORMS.items()}
    return {name: rest.end(uuid, deadline_s=120) for name, uuid in sent.items()}


def outputs(rest: RestClient, job: dict[str, Any]) -> set[str]:
    """The outputs of a job that must have ended well."""
    assert job["status"] == "SUCCESS", job["error"]
    return set(rest.get(f"/jobs/{job['uuid']}/outputs")["outputs"])


def content(rest: RestClient, job: dict[str, Any], name: str) -> bytes:
    """One output."""
    answer = rest.http.get(f"/jobs/{job['uuid']}/outputs/{name}")
    assert answer.status_code == 200, answer.text
    return answer.content


def test_given_a_step_when_converted_then_the_glb_is_whole(rest: RestClient, jobs: dict[str, Any]) -> None:
    """Its header tells its length."""
    job = jobs["convert_file"]
    assert outputs(rest, job) == {"output.glb"}
    assert job["result"].keys() == {"output", "process_duration"} and job["result"]["output"] == "output.glb"
    assert job["notes"] == []
    data = content(rest, job, "output.glb")
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    assert job["steps"][0]["info"] == f"Importing {STEP.name}"


def test_given_a_step_when_described_then_result_and_file_are_the_same(rest: RestClient, jobs: dict[str, Any]) -> None:
    """With the parts of the sample."""
    job = jobs["generate_metadata"]
    assert outputs(rest, job) == {"metadata.json"}
    assert json.loads(content(rest, job, "metadata.json")) == job["result"]["metadata"]
    assert job["result"]["metadata"]["part_count"] == 22


@pytest.mark.parametrize("name", ["generate_thumbnails", "thumbnail_chained"])
def test_given_a_step_when_thumbnails_are_made_then_they_are_the_jobs_outputs(
    rest: RestClient, jobs: dict[str, Any], name: str
) -> None:
    """Of the chain too, whose tasks have folders of their own."""
    job = jobs[name]
    assert outputs(rest, job) == PICTURES | {"preview.glb", "metadata.json"}
    assert job["result"]["thumbs"] == {path.removesuffix(".png"): path for path in sorted(PICTURES)}
    picture = content(rest, job, "iso.png")
    assert struct.unpack_from(">II", picture, 16) == (64, 64)
    preview_bytes = len(content(rest, job, "preview.glb"))
    assert job["result"]["preview"] == {"file": "preview.glb", "size": "64x64", "bytes": preview_bytes}
    assert 0 < job["result"]["process_duration"] < 120
    assert json.loads(content(rest, job, "metadata.json")) == job["result"]["metadata"]


def test_given_the_chain_when_it_has_run_then_each_task_ran_on_its_queue(
    rest: RestClient, jobs: dict[str, Any]
) -> None:
    """The first on cpu, the second on gpu."""
    graph = rest.get(f"/jobs/{jobs['thumbnail_chained']['uuid']}/graph")
    assert {"cpu", "gpu"} <= {node.get("queue") for node in graph["nodes"]}


def test_given_a_step_when_optimised_then_the_second_level_is_lighter(rest: RestClient, jobs: dict[str, Any]) -> None:
    """By half its triangles."""
    job = jobs["optimize"]
    assert outputs(rest, job) == {"lod0.glb", "lod1.glb", "optimize.json"}
    first, second = job["result"]["lods"]
    assert 0 < second["triangles"] <= first["triangles"] / 2 + 1


def test_given_a_scene_with_exact_surfaces_when_it_is_handed_on_then_another_worker_has_them(rest: RestClient) -> None:
    """A chain of two tasks, each in a process of its own; no file lies between them."""
    opengl.need_extra("cad")
    job = rest.run(HANDS_ON, file=(STEP.name, STEP.read_bytes()), deadline_s=120)
    assert job["status"] == "SUCCESS", job["error"]
    first, second, parts, faces = job["result"]
    assert first != second and (parts, faces) == (22, 77)


def test_given_a_job_that_leaves_a_scene_when_the_next_runs_then_it_finds_none(rest: RestClient) -> None:
    """In the same worker process: several jobs one after another, until one comes back to it."""
    file = ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    seen: set[int] = set()
    for _ in range(20):
        result = rest.run(LEAVES_A_SCENE, file=file)["result"]
        assert result["found"] == [0, ""] and result["now"] == 1
        if result["pid"] in seen:
            return
        seen.add(result["pid"])
    raise AssertionError("no worker was used twice")


def test_given_the_command_line_when_it_is_used_then_files_are_downloaded(
    platform: TestPlatform, tmp_path: Path
) -> None:
    """`pixyz convert`, `pixyz thumbnails`, `pixyz metadata`: all that they made is here, side files too."""
    for arguments in (
        ("convert", "-i", str(STEP), "-o", "bracket.obj", "-p", '{"quality": "low"}'),
        ("thumbnails", "-i", str(STEP), "-o", "pictures", "-p", '{"width": 32}'),
        ("metadata", "-i", str(STEP), "-o", "bracket.json"),
    ):
        done = platform.cli(*arguments, cwd=tmp_path, timeout_s=120)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "bracket.mtl").is_file()
    assert "mtllib bracket.mtl" in (tmp_path / "bracket.obj").read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == PICTURES | {"preview.glb", "metadata.json"}
    assert json.loads((tmp_path / "bracket.json").read_text(encoding="utf-8"))["part_count"] == 22


def test_given_a_file_that_is_damaged_when_converted_then_the_job_says_so_and_the_next_works(rest: RestClient) -> None:
    """Bad input, in a sentence."""
    damaged = (STEP.name, STEP.read_bytes()[:5000])
    job = rest.run(process="convert_file", file=damaged, params={"extension": "glb"}, deadline_s=60)
    assert job["status"] == "FAILURE" and STEP.name in job["error"]
    cube = ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert rest.run(process="convert_file", file=cube, params={"extension": "stl"})["status"] == "SUCCESS"
